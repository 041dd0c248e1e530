"""Arithmetic and logic on two operands or more."""

from __future__ import annotations

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.elementwise import binary, broadcasting, constant, variadic
from vdla.compiler.operators.operator import BOOL, FLOAT, NUMBER, SIGNED, Fusion, Input, Operator
from vdla.compiler.operators.shapes import broadcast_shape, present
from vdla.errors import ModelError


def divide(x: Expr, y: Expr) -> Expr:
    """Integers divide towards zero, and by zero give zero: a processor would trap, as it would where the quotient overflows."""
    if x.dtype in FLOAT:
        return x / y
    zero, one = constant(x, 0), constant(x, 1)
    safe = te.select(traps(y), one, y)
    down = x // safe
    if x.dtype not in SIGNED:
        return te.select(te.equal(y, zero), zero, down)
    inexact = te.logical_and(te.not_equal(x % safe, zero), te.not_equal(x < zero, safe < zero))
    quotient = down + te.select(inexact, one, zero)
    return te.select(te.equal(y, zero), zero, te.select(te.equal(y, constant(y, -1)), zero - x, quotient))


def traps(y: Expr) -> Expr:
    """Whether a processor may trap on dividing by y: 0, and -1, by which the least integer has no quotient."""
    zero = te.equal(y, constant(y, 0))
    return te.logical_or(zero, te.equal(y, constant(y, -1))) if y.dtype in SIGNED else zero


def numpy_divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of integers by their magnitudes as uint64, modulo 2^64."""
    if x.dtype.kind == "f":
        return x / y
    safe = np.where(y == 0, np.ones((), y.dtype), y)
    quotient = magnitude(x) // magnitude(safe)
    signed = np.where((x < 0) != (safe < 0), np.uint64(0) - quotient, quotient)
    return np.where(y == 0, np.uint64(0), signed).astype(x.dtype)


def magnitude(x: np.ndarray) -> np.ndarray:
    return np.where(x < 0, np.uint64(0) - x.astype(np.uint64), x.astype(np.uint64))


def modulo(x: Expr, y: Expr, a: Attributes) -> Expr:
    """The remainder with the sign of the divisor, or (fmod) of the dividend. Of a division by zero: 0; of floats, NaN."""
    if x.dtype in FLOAT:
        return te.fmod(x, y) if a["fmod"] else float_modulo(x, y)
    zero, one = constant(x, 0), constant(x, 1)
    safe = te.select(traps(y), one, y)
    remainder = x % safe
    if not a["fmod"] or x.dtype not in SIGNED:
        return remainder
    return te.select(
        te.logical_and(te.not_equal(remainder, zero), te.not_equal(x < zero, safe < zero)), remainder - safe, remainder
    )


def float_modulo(x: Expr, y: Expr) -> Expr:
    """fmod, and the divisor once more where the signs differ. A zero has the divisor's sign too."""
    zero, remainder = constant(x, 0), te.fmod(x, y)
    signed_zero = te.select(y < zero, constant(x, -0.0), zero)
    corrected = te.select(te.not_equal(remainder < zero, y < zero), remainder + y, remainder)
    return te.select(te.equal(remainder, zero), signed_zero, corrected)


def numpy_modulo(x: np.ndarray, y: np.ndarray, a: Attributes) -> np.ndarray:
    return np.fmod(x, y) if a["fmod"] else np.mod(x, y)


def greater_of(x: Expr, y: Expr) -> Expr:
    """NaN if either is: `maximum` then gives its second operand. x, which may be the greatest of many already, stands once."""
    return te.select(te.not_equal(y, y), y, te.maximum(y, x)) if x.dtype in FLOAT else te.maximum(y, x)


def lesser_of(x: Expr, y: Expr) -> Expr:
    return te.select(te.not_equal(y, y), y, te.minimum(y, x)) if x.dtype in FLOAT else te.minimum(y, x)


def infer_prelu(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, slope = present(types)
    if broadcast_shape([x.shape, slope.shape]) != x.shape:
        raise ModelError("the slope does not broadcast to the input", found=f"{slope.shape} to {x.shape}")
    return (x,)


NO_PAIR = "no VDLA kernel: shapes differ, or an operand is constant, or no operand is int8"

PRELU = Operator(
    name="prelu",
    inputs=(Input("x"), Input("slope", like="x")),
    infer=infer_prelu,
    define=broadcasting(lambda x, slope: te.select(x < constant(x, 0), x * slope, x), "x", "slope"),
    kernel=lambda inputs, a: np.where(inputs[0] < 0, inputs[0] * inputs[1], inputs[0]),
    fusion=Fusion.ELEMENTWISE,
    reads=3,
)

FAMILY = (
    binary(
        "add", lambda x, y: x + y, lambda x, y: x + y, dtypes=NUMBER, rescaled_form="qadd", takes_clip=True, slope=1,
        host_reason=NO_PAIR,
    ),
    binary(
        "sub", lambda x, y: x - y, lambda x, y: x - y, dtypes=NUMBER, rescaled_form="qsub", takes_clip=True, slope=1,
        host_reason=NO_PAIR,
    ),
    binary("mul", lambda x, y: x * y, lambda x, y: x * y, dtypes=NUMBER, product_form="qmul"),
    binary("div", divide, numpy_divide, dtypes=NUMBER),
    binary("mod", modulo, numpy_modulo, dtypes=NUMBER, attributes={"fmod": flag()}, reads=7),
    binary("pow", te.power, np.power),
    variadic(
        "max", greater_of, np.maximum, dtypes=NUMBER, rescaled_form="qmax", takes_clip=True, reads=4, slope=1,
        host_reason=NO_PAIR,
    ),
    variadic(
        "min", lesser_of, np.minimum, dtypes=NUMBER, rescaled_form="qmin", takes_clip=True, reads=4, slope=1,
        host_reason=NO_PAIR,
    ),
    PRELU,
    binary("and", te.logical_and, np.logical_and, dtypes=BOOL),
    binary("or", te.logical_or, np.logical_or, dtypes=BOOL),
    binary("xor", te.not_equal, np.logical_xor, dtypes=BOOL),
)  # fmt: skip
