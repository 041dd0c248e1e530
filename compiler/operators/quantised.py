"""Operators on int8 levels, whose arithmetic is integer and exact, and the way from floats to levels and back.

    qconv2d     y = requantise(Σ pad(x)·w [+ rescale(residual, residual_bias, residual_scale)], bias, scale, low, high)
                with a table: table[y + 128]
    qdense      the same for x[N, I], w[O, I] (no residual)
    requantize  y = requantise(int32(x), bias, scale, low, high)
    quantize    y = clip(round_half_even(x / scale) + zero_point, -128, 127), float32 → int8
    dequantize  y = (int32(x) - zero_point) · scale, int8 → float32; both may be per channel along `axis`

What the parameters are, `integer_arithmetic` says. Pools of levels are in `pooling`, what is elementwise of two tensors or by
table in `quantised_pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import integer, integer_or_integers, positive_real, positive_reals
from vdla.compiler.operators.convolution import WINDOW, infer_conv2d
from vdla.compiler.operators.definition import Attributes, Definition, Types, of_channel, placeholders, required
from vdla.compiler.operators.dense import infer_dense
from vdla.compiler.operators.elementwise import constant, unary
from vdla.compiler.operators.integer_arithmetic import (
    HIGH,
    LEVELS,
    LOW,
    PAD_LEVEL,
    conv_accumulate,
    exact_matmul,
    parameters_of,
    requantise_channels,
    rescale_int32,
)
from vdla.compiler.operators.operator import IMAGE, INT8, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.products import QCONV2D_INPUTS, accumulated, at_position, dot_products, geometry, requantised
from vdla.compiler.operators.quantised_pairs import qtable, require_table
from vdla.compiler.operators.shapes import axis_in, present, same
from vdla.errors import ModelError

ZERO_POINT = integer(0, LOW, HIGH)


def infer_qconv2d(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """A residual has the output's shape, and comes with its bias and scale; a table has an entry for each level."""
    outputs = infer_conv2d(types, a)
    extra, tables = types[4:7], types[7:]
    if tables and tables[0]:
        require_table(tables[0])
    if extra and any(extra):
        residual = extra[0]
        if len(extra) != 3 or not all(extra):
            raise ModelError("a residual without its bias and scale", found=f"{len([t for t in extra if t])} of 3 inputs")
        if residual is not None and residual.shape != outputs[0].shape:
            raise ModelError("the residual does not fit the output", found=residual.shape, expected=str(outputs[0].shape))
    return outputs


def infer_dequantize(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    for key, what in (("scale", "scales"), ("zero_point", "zero points")):
        if isinstance(a[key], tuple | list):
            axis = axis_in(a["axis"], len(x.shape))
            if len(a[key]) not in (1, x.shape[axis]):
                raise ModelError(f"{what} do not fit the axis", found=len(a[key]), expected=f"1 or {x.shape[axis]}")
    return (TensorType(x.shape, "float32"),)


def define_qconv2d(types: Types, a: Attributes, form: str = "direct") -> Definition:
    """y = [table at] requantise(Σ pad(x)·w [+ rescale(residual)], bias, scale), int32 accumulation wrapping."""
    x, w, *parameters = inputs = required(*placeholders(types, *QCONV2D_INPUTS))
    g = geometry(types, a)
    total = at_position(accumulated(x, w, g, a["pad_value"], "int32", form), g, form)
    return Definition(inputs, (requantised(g, total, parameters, a),))


def define_qdense(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    x, w, bias, scale = required(*placeholders(types, "x", "w", "bias", "scale"))
    acc = dot_products(x, w, "int32", lanes)

    def element(*at: Expr) -> Expr:
        channel = at[-1]
        return te.cast(
            te.requantise(acc[at], of_channel(bias, channel), of_channel(scale, channel), a["low"], a["high"]), "int8"
        )

    return Definition((x, w, bias, scale), (te.compute(acc.shape, element, "y"),))


def define_requantize(types: Types, a: Attributes) -> Definition:
    x, bias, scale = required(*placeholders(types, "x", "bias", "scale"))

    def element(*at: Expr) -> Expr:
        wide = te.cast(x[at], "int32")
        return te.cast(te.requantise(wide, of_channel(bias, at[1]), of_channel(scale, at[1]), a["low"], a["high"]), "int8")

    return Definition((x, bias, scale), (te.compute(x.shape, element, "y"),))


def levels(x: Expr, a: Attributes) -> Expr:
    """Halves to even; clipped before conversion, so that nothing overflows."""
    steps = te.round_even(x / constant(x, a["scale"])) + constant(x, a["zero_point"])
    return te.cast(te.cast(te.clip(steps, constant(x, -128), constant(x, 127)), "int32"), "int8")


def define_dequantize(types: Types, a: Attributes) -> Definition:
    """int8 → float32; scales and zero points for each channel along `axis` are constant inputs."""
    (x,) = required(*placeholders(types, "x"))
    scale, zero = np.asarray(a["scale"], np.float32).reshape(-1), np.asarray(a["zero_point"], np.int32).reshape(-1)
    scales, zeros = te.placeholder(scale.shape, "float32", "scale"), te.placeholder(zero.shape, "int32", "zero")

    def element(*at: Expr) -> Expr:
        def of(values: te.Tensor) -> Expr:
            return of_channel(values, at[a["axis"]] if values.shape[0] > 1 else Const(0))

        offset = of(zeros) if len(zero) > 1 else Const(int(zero[0]))
        return te.cast(te.cast(x[at], "int32") - offset, "float32") * of(scales)

    y = te.compute(x.shape, element, "y")
    return Definition((x, scales, zeros), (y,), (scale, zero)) if len(zero) > 1 else Definition((x, scales), (y,), (scale,))


def qconv2d(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, w, bias, scale, residual, residual_bias, residual_scale, table = (*operands, *[None] * 4)[:8]
    acc = conv_accumulate(x, w, a)
    if residual is not None:
        acc += rescale_int32(residual, residual_bias, residual_scale)
    y = requantise_channels(acc, bias, scale, a["low"], a["high"])
    return y if table is None else qtable((y, table), {})


def qdense(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, w, bias, scale = operands
    return requantise_channels(exact_matmul(w, x.T).T, bias, scale, a["low"], a["high"])


def requantize(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, bias, scale = operands
    return requantise_channels(x.astype(np.int32), bias, scale, a["low"], a["high"])


def quantize(x: np.ndarray, a: Attributes) -> np.ndarray:
    """clip(round_half_even(x / scale) + zero_point, -128, 127), float32 → int8."""
    return np.clip(np.rint(x / np.float32(a["scale"])) + a["zero_point"], -128, 127).astype(np.int8)


def dequantize(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """(x - zero_point) · scale; those for each channel lie along `axis`."""
    x = inputs[0]
    along = [-1 if d == a["axis"] % max(x.ndim, 1) else 1 for d in range(x.ndim)]
    scale, zero = np.asarray(a["scale"], np.float32), np.asarray(a["zero_point"], np.int32)
    offset = zero.reshape(along) if zero.ndim else zero
    real: np.ndarray = (x.astype(np.int32) - offset).astype(np.float32) * (scale.reshape(along) if scale.ndim else scale)
    return real


FAMILY = (
    unary(
        "quantize", levels, quantize, dtypes=("float32",), output="int8",
        attributes={"scale": positive_real(), "zero_point": ZERO_POINT},
        host_reason="floats become int8 on the host",
    ),
    Operator(
        name="dequantize",
        inputs=(Input("x", INT8),),
        attributes={"scale": positive_reals(), "zero_point": integer_or_integers(0, LOW, HIGH), "axis": integer(1)},
        infer=infer_dequantize,
        define=define_dequantize,
        kernel=dequantize,
        fusion=Fusion.ELEMENTWISE,
        host_reason="int8 becomes floats on the host",
    ),
    Operator(
        name="qconv2d",
        inputs=(
            Input("x", INT8, rank=IMAGE),
            Input("w", INT8, rank=IMAGE),
            *parameters_of(("w", 0)),
            Input("residual", INT8, rank=IMAGE),
            *parameters_of(("w", 0), "residual_"),
            Input("table", INT8, rank=(1, 1)),
        ),
        optional=4,
        attributes={**WINDOW, **LEVELS, "pad_value": PAD_LEVEL},
        infer=infer_qconv2d,
        define=define_qconv2d,
        kernel=qconv2d,
        fusion=Fusion.COMPLEX,
    ),
    Operator(
        name="qdense",
        inputs=(Input("x", INT8, rank=(2, 2)), Input("w", INT8, rank=(2, 2)), *parameters_of(("w", 0))),
        attributes=LEVELS,
        infer=infer_dense,
        define=define_qdense,
        kernel=qdense,
        fusion=Fusion.COMPLEX,
    ),
    Operator(
        name="requantize",
        inputs=(Input("x", INT8, rank=(2, MAX_RANK)), *parameters_of(("x", 1))),
        attributes=LEVELS,
        infer=same,
        define=define_requantize,
        kernel=requantize,
        fusion=Fusion.ELEMENTWISE,
    ),
)  # fmt: skip
