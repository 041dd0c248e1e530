"""Functions of one element, as mathematics has them. Activations of networks are in `activations`."""

from __future__ import annotations

import math
from math import inf

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, flag
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.elementwise import constant, unary
from vdla.compiler.operators.operator import BOOL, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present

CASTABLE = ("bool", *NUMBER)


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; NaN stays."""
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


def define_cast(types: Types, a: Attributes) -> Definition:
    """Floats are truncated towards zero; what the integer cannot hold is undefined."""
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (te.compute(x.shape, lambda *at: te.cast(x[at], a["to"]), "y"),))


CAST = Operator(
    name="cast",
    inputs=(Input("x", CASTABLE),),
    attributes={"to": choice(*CASTABLE)},
    infer=lambda types, a: (TensorType(present(types)[0].shape, a["to"]),),
    define=define_cast,
    kernel=lambda inputs, a: inputs[0].astype(a["to"]),
    fusion=Fusion.ELEMENTWISE,
)

FAMILY = (
    unary("abs", te.absolute, np.abs, dtypes=NUMBER, non_negative=True, slope=1),
    unary("neg", lambda x: x * -1, np.negative, dtypes=NUMBER, slope=1),
    unary("sign", sign, np.sign, dtypes=NUMBER, reads=3, monotone=True),
    unary("reciprocal", lambda x: constant(x, 1) / x, lambda x: np.float32(1) / x),
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
    CAST,
)  # fmt: skip
