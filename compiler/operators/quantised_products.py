"""Products of two computed int8 tensors: attention's, and whatever else multiplies activations.

    qmatmul     y = requantise(Σ (a - a_zero_point)·(b - b_zero_point), bias, scale, low, high), a[…, M, K] · b[…, K, N]
    qmatmul2d   the same for images, a[N, K, H, W] and b[N, K, P, 1] → y[N, P, H, W]: a 1×1 convolution of each image of a by
                weights of its own, which are the positions of one of b. How the accelerator multiplies

Parameters are one for all. Batch dimensions of qmatmul broadcast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.dense import infer_matmul
from vdla.compiler.operators.integer_arithmetic import HIGH, LEVELS, LOW, requantise_channels
from vdla.compiler.operators.operator import IMAGE, INT8, INT32, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import broadcast_shape, present
from vdla.errors import ModelError

Array = np.ndarray
ATTRIBUTES = {**LEVELS, "a_zero_point": integer(0, LOW, HIGH), "b_zero_point": integer(0, LOW, HIGH)}
PARAMETERS = (Input("bias", INT32, rank=(1, 1)), Input("scale", INT32, rank=(1, 1)))
NAMES = ("a", "b", "bias", "scale")


def with_one_of_each(types: Types) -> Types:
    """The operands' types. Raises `ModelError` for parameters of which there is not one."""
    a, b, bias, scale = present(types)
    if bias.shape != (1,) or scale.shape != (1,):
        raise ModelError("a product of two activations has one bias and scale", found=f"{bias.shape} and {scale.shape}")
    return a, b


def infer_qmatmul(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    return infer_matmul(with_one_of_each(types), a)


def infer_qmatmul2d(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, y = present(with_one_of_each(types))
    if x.shape[:2] != y.shape[:2] or y.shape[3] != 1:
        raise ModelError(
            "images that cannot be multiplied", found=f"{x.shape} and {y.shape}", expected="(N, K, H, W), (N, K, P, 1)"
        )
    return (TensorType((x.shape[0], y.shape[2], *x.shape[2:]), "int8"),)


def products(types: Types, a: Attributes, shape: Sequence[int], depth: int, at: Callable[..., tuple[Expr, Expr]]) -> Definition:
    """at: an output's indices and that of the sum → the two factors."""
    x, y, bias, scale = required(*placeholders(types, *NAMES))
    k = te.reduce_axis(depth, "k")

    def product(*place: Expr) -> Expr:
        left, right = at(x, y, place, k)
        return te.sum((te.cast(left, "int32") - a["a_zero_point"]) * (te.cast(right, "int32") - a["b_zero_point"]), k)

    acc = te.compute(tuple(shape), product, "acc")

    def element(*place: Expr) -> Expr:
        return te.cast(te.requantise(acc[place], bias[Const(0)], scale[Const(0)], a["low"], a["high"]), "int8")

    return Definition((x, y, bias, scale), (te.compute(acc.shape, element, "y"),))


def define_qmatmul(types: Types, a: Attributes) -> Definition:
    x, y = present(types)[:2]
    shape = (*broadcast_shape([x.shape[:-2], y.shape[:-2]]), x.shape[-2], y.shape[-1])

    def factors(x: te.Tensor, y: te.Tensor, at: tuple[Expr, ...], k: Expr) -> tuple[Expr, Expr]:
        left, right = broadcast_index(x.shape[:-2], at[:-2]), broadcast_index(y.shape[:-2], at[:-2])
        return x[(*left, at[-2], k)], y[(*right, k, at[-1])]

    return products(types, a, shape, x.shape[-1], factors)


def define_qmatmul2d(types: Types, a: Attributes) -> Definition:
    (shape,) = (t.shape for t in infer_qmatmul2d(types, a))

    def factors(x: te.Tensor, y: te.Tensor, at: tuple[Expr, ...], k: Expr) -> tuple[Expr, Expr]:
        n, p, h, w = at
        return x[n, k, h, w], y[n, k, p, Const(0)]

    return products(types, a, shape, present(types)[0].shape[1], factors)


def qmatmul(operands: Sequence[Any], a: Attributes) -> Array:
    """In float64, which holds every sum of products of levels exactly."""
    x, y, bias, scale = operands
    left, right = (t.astype(np.float64) - a[f"{name}_zero_point"] for t, name in ((x, "a"), (y, "b")))
    acc = np.matmul(left, right).astype(np.int64).astype(np.int32)
    return requantise_channels(acc, bias, scale, a["low"], a["high"])


def qmatmul2d(operands: Sequence[Any], a: Attributes) -> Array:
    x, y, *parameters = operands
    (n, k, h, w), (_, _, p, _) = x.shape, y.shape
    swapped = {**a, "a_zero_point": a["b_zero_point"], "b_zero_point": a["a_zero_point"]}
    columns = y.reshape(n, k, p).transpose(0, 2, 1)
    return qmatmul((columns, x.reshape(n, k, h * w), *parameters), swapped).reshape(n, p, h, w)


FAMILY = (
    Operator(
        name="qmatmul",
        inputs=(Input("a", INT8, rank=(2, MAX_RANK)), Input("b", INT8, rank=(2, MAX_RANK)), *PARAMETERS),
        attributes=ATTRIBUTES,
        infer=infer_qmatmul,
        define=define_qmatmul,
        kernel=qmatmul,
        fusion=Fusion.COMPLEX,
        host_reason="no VDLA kernel: a factor has a zero point, is broadcast or constant, or tiles hold several images",
    ),
    Operator(
        name="qmatmul2d",
        inputs=(Input("a", INT8, rank=IMAGE), Input("b", INT8, rank=IMAGE), *PARAMETERS),
        attributes=ATTRIBUTES,
        infer=infer_qmatmul2d,
        define=define_qmatmul2d,
        kernel=qmatmul2d,
        fusion=Fusion.COMPLEX,
    ),
)
