"""Elementwise operators on int8 levels: of two tensors, and by table of one.

    qadd, qsub  y = requantise(rescale(a, a_bias, a_scale) ± rescale(b, b_bias, b_scale), bias, scale, low, high)
    qmax, qmin  the same with the greater or the lesser of the two in place of their sum
    qmul        y = requantise((a - a_zero_point)·(b - b_zero_point), bias, scale, low, high)
    qtable      y = table[x + 128]: any function of one element

Two operands are of one rank and broadcast as NumPy does; either may be a constant. Parameters are for each of a's channels
(axis 1), or one for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import (
    TABLE_SIZE,
    Attributes,
    Definition,
    Types,
    broadcast_index,
    of_channel,
    placeholders,
    required,
    table_index,
)
from vdla.compiler.operators.integer_arithmetic import HIGH, LEVELS, LOW, parameters_of, requantise_channels, rescale_int32
from vdla.compiler.operators.operator import INT8, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import broadcast_shape, present
from vdla.errors import ModelError

OPERANDS = (Input("a", INT8, rank=(2, MAX_RANK)), Input("b", INT8, rank=(2, MAX_RANK)))
ZERO_POINT = integer(0, LOW, HIGH)


def infer_pair(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """Two operands of one rank, broadcast: where channels lie must not depend on which has more axes."""
    x, y = present(types)[:2]
    if len(x.shape) != len(y.shape):
        raise ModelError("operands differ in rank", found=f"{x.shape} and {y.shape}")
    return (TensorType(broadcast_shape([x.shape, y.shape]), "int8"),)


def elements(types: Types, a: Attributes, names: Sequence[str], joined: Callable[..., Expr]) -> Definition:
    """requantise(joined(x, y, channel, parameters)), the parameters between operands and the last two being its own.

    joined: int32 elements, the channel and the parameters before `bias` and `scale` → int32.
    """
    x, y, *parameters = required(*placeholders(types, *names))
    *inner, bias, scale = parameters

    def element(*at: Expr) -> Expr:
        left, right = (te.cast(t[broadcast_index(t.shape, at)], "int32") for t in (x, y))
        total = joined(left, right, *(of_channel(p, at[1]) for p in inner))
        words = of_channel(bias, at[1]), of_channel(scale, at[1])
        return te.cast(te.requantise(total, *words, a["low"], a["high"]), "int8")

    return Definition((x, y, *parameters), (te.compute(infer_pair(types, a)[0].shape, element, "y"),))


def rescaled_pair(name: str, expression: Callable[[Expr, Expr], Expr], kernel: np.ufunc) -> Operator:
    """y = requantise(a' ∘ b', bias, scale) for a' = rescale(a, a_bias, a_scale) and b' alike.

    expression, kernel: ∘ of int32 elements and of arrays.
    """
    names = ("a", "b", "a_bias", "a_scale", "b_bias", "b_scale", "bias", "scale")

    def joined(x: Expr, y: Expr, x_bias: Expr, x_scale: Expr, y_bias: Expr, y_scale: Expr) -> Expr:
        return expression(te.rescale(x, x_bias, x_scale), te.rescale(y, y_bias, y_scale))

    def levels_of(operands: Sequence[Any], a: Attributes) -> np.ndarray:
        x, y, x_bias, x_scale, y_bias, y_scale, bias, scale = operands
        left, right = along_channels(x, x_bias, x_scale), along_channels(y, y_bias, y_scale)
        return requantise_channels(kernel(left, right), bias, scale, a["low"], a["high"])

    def along_channels(x: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """An operand of one channel has as many as its parameters."""
        count = max(len(bias), len(scale), x.shape[1])
        return rescale_int32(np.broadcast_to(x, (x.shape[0], count, *x.shape[2:])), bias, scale)

    return Operator(
        name=name,
        inputs=(*OPERANDS, *parameters_of(("a", 1), "a_"), *parameters_of(("a", 1), "b_"), *parameters_of(("a", 1))),
        attributes=LEVELS,
        infer=infer_pair,
        define=lambda types, a: elements(types, a, names, joined),
        kernel=levels_of,
        fusion=Fusion.ELEMENTWISE,
    )


def define_qmul(types: Types, a: Attributes) -> Definition:
    def product(x: Expr, y: Expr) -> Expr:
        return (x - a["a_zero_point"]) * (y - a["b_zero_point"])

    return elements(types, a, ("a", "b", "bias", "scale"), product)


def qmul(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, y, bias, scale = operands
    product = (x.astype(np.int32) - np.int32(a["a_zero_point"])) * (y.astype(np.int32) - np.int32(a["b_zero_point"]))
    return requantise_channels(product, bias, scale, a["low"], a["high"])


def infer_qtable(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, table = present(types)
    require_table(table)
    return (x,)


def require_table(table: TensorType) -> None:
    if table.shape != (TABLE_SIZE,):
        raise ModelError("a table of wrong length", found=table.shape, expected=f"({TABLE_SIZE},), an entry for each level")


def define_qtable(types: Types, a: Attributes) -> Definition:
    x, table = required(*placeholders(types, "x", "table"))
    y = te.compute(x.shape, lambda *at: table[table_index(te.cast(x[at], "int32"))], "y")
    return Definition((x, table), (y,))


def qtable(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    """The table read by the level's own byte: its upper half, from level 0, comes first there."""
    x, table = operands
    by_byte: np.ndarray = np.roll(table, LOW)[x.view(np.uint8)]
    return by_byte


FAMILY = (
    rescaled_pair("qadd", lambda x, y: x + y, np.add),
    rescaled_pair("qsub", lambda x, y: x - y, np.subtract),
    rescaled_pair("qmax", te.maximum, np.maximum),
    rescaled_pair("qmin", te.minimum, np.minimum),
    Operator(
        name="qmul",
        inputs=(*OPERANDS, *parameters_of(("a", 1))),
        attributes={**LEVELS, "a_zero_point": ZERO_POINT, "b_zero_point": ZERO_POINT},
        infer=infer_pair,
        define=define_qmul,
        kernel=qmul,
        fusion=Fusion.ELEMENTWISE,
    ),
    Operator(
        name="qtable",
        inputs=(Input("x", INT8), Input("table", INT8, rank=(1, 1))),
        infer=infer_qtable,
        define=define_qtable,
        kernel=qtable,
        fusion=Fusion.INJECTIVE,
    ),
)
