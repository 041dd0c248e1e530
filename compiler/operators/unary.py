"""Functions of one element, as mathematics has them. Activations of networks are in `activations`."""

from __future__ import annotations

import math
from math import inf

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag
from vdla.compiler.operators.definition import Attributes
from vdla.compiler.operators.elementwise import constant, number, unary
from vdla.compiler.operators.operator import BOOL, NUMBER, SIGNED

UNSIGNED = tuple(dtype for dtype in NUMBER if dtype not in SIGNED)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; NaN stays."""
    if x.dtype in UNSIGNED:
        return te.minimum(x, constant(x, 1))
    return te.select(x > constant(x, 0), constant(x, 1), te.select(x < constant(x, 0), constant(x, -1), x))


def erf(x: np.ndarray) -> np.ndarray:
    """In float64, element by element: NumPy has none."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x)).astype(x.dtype)


def is_infinite(x: Expr, a: Attributes) -> Expr:
    """x compared with those infinities that count."""
    wanted = [te.equal(x, constant(x, value)) for value, name in ((inf, "positive"), (-inf, "negative")) if a[name]]
    return te.logical_or(*wanted) if wanted else te.logical_and(x > constant(x, inf), x < constant(x, 0))


def infinite(x: np.ndarray, a: Attributes) -> np.ndarray:
    return (np.isposinf(x) & a["positive"]) | (np.isneginf(x) & a["negative"])


FAMILY = (
    unary("abs", te.absolute, np.abs, dtypes=NUMBER, non_negative=True, slope=1),
    unary("neg", lambda x: x * -1, np.negative, dtypes=SIGNED, slope=1),
    unary("sign", sign, np.sign, dtypes=NUMBER, reads=3, monotone=True),
    unary("reciprocal", lambda x: constant(x, 1) / x, lambda x: number(x, 1) / x),
    unary("sqrt", te.sqrt, np.sqrt, non_negative=True, domain=(0, inf), monotone=True),
    unary("exp", te.exp, np.exp, non_negative=True, monotone=True),
    unary("log", te.log, np.log, domain=(0, inf), monotone=True),
    unary("erf", te.erf, erf, slope=1.13, monotone=True),
    unary("floor", te.floor, np.floor, monotone=True),
    unary("ceil", te.ceil, np.ceil, monotone=True),
    unary("round", te.round_even, np.rint, monotone=True),
    unary("sin", te.sin, np.sin, slope=1),
    unary("cos", te.cos, np.cos, slope=1),
    unary("tan", te.tan, np.tan),
    unary("asin", te.asin, np.arcsin, domain=(-1, 1), monotone=True),
    unary("acos", te.acos, np.arccos, domain=(-1, 1), non_negative=True),
    unary("atan", te.atan, np.arctan, slope=1, monotone=True),
    unary("sinh", te.sinh, np.sinh, monotone=True),
    unary("cosh", te.cosh, np.cosh, non_negative=True),
    unary("asinh", te.asinh, np.arcsinh, slope=1, monotone=True),
    unary("acosh", te.acosh, np.arccosh, domain=(1, inf), non_negative=True, monotone=True),
    unary("atanh", te.atanh, np.arctanh, domain=(-1, 1), monotone=True),
    unary("is_nan", lambda x: te.not_equal(x, x), np.isnan, output="bool", reads=2),
    unary(
        "is_inf", is_infinite, infinite, output="bool", reads=2, attributes={"positive": flag(True), "negative": flag(True)}
    ),
    unary("not", lambda x: te.equal(x, constant(x, 0)), np.logical_not, dtypes=BOOL),
)  # fmt: skip
