"""Operators on the bits of integers."""

from __future__ import annotations

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice
from vdla.compiler.operators.definition import Attributes
from vdla.compiler.operators.elementwise import binary, constant, unary
from vdla.compiler.operators.operator import INTEGER
from vdla.element_types import ELEMENT_TYPES


def shift(x: Expr, y: Expr, a: Attributes) -> Expr:
    """By the width or more, or by less than nothing, every bit has left: 0, or -1 for a negative number shifted right."""
    bits = ELEMENT_TYPES[x.dtype].bits
    beyond = te.reinterpret(y, f"uint{bits}") >= bits
    if a["direction"] == "left":
        return te.select(beyond, constant(x, 0), te.shift_left(x, y))
    if not ELEMENT_TYPES[x.dtype].signed:
        return te.select(beyond, constant(x, 0), te.shift_right(x, y))
    return te.shift_right(x, te.select(beyond, constant(y, bits - 1), y))


def numpy_shift(x: np.ndarray, y: np.ndarray, a: Attributes) -> np.ndarray:
    """NumPy shifts that far too."""
    return np.left_shift(x, y) if a["direction"] == "left" else np.right_shift(x, y)


FAMILY = (
    binary("bitwise_and", te.bit_and, np.bitwise_and, dtypes=INTEGER),
    binary("bitwise_or", te.bit_or, np.bitwise_or, dtypes=INTEGER),
    binary("bitwise_xor", te.bit_xor, np.bitwise_xor, dtypes=INTEGER),
    unary("bitwise_not", te.bit_not, np.invert, dtypes=INTEGER),
    binary("bit_shift", shift, numpy_shift, dtypes=INTEGER, attributes={"direction": choice("left", "right")}),
)
