"""Activation functions, with the parameters and the names ONNX gives them."""

from __future__ import annotations

from math import inf, isfinite, pi, sqrt

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, real
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.elementwise import constant, number, unary
from vdla.compiler.operators.operator import FLOAT, NUMBER
from vdla.compiler.operators.shapes import present
from vdla.compiler.operators.unary import erf
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

SELU = {"alpha": real(1.67326319217681884765625), "gamma": real(1.05070102214813232421875)}


def below(x: Expr, negative: Expr, otherwise: Expr) -> Expr:
    """`negative` where x < 0. NaN goes to `otherwise`."""
    return te.select(x < constant(x, 0), negative, otherwise)


def relu(x: Expr) -> Expr:
    """The constant comes first, so that NaN passes through."""
    return te.maximum(constant(x, 0), x)


def clip(x: Expr, a: Attributes) -> Expr:
    low, high = bounds_in(x.dtype, a)
    return te.minimum(constant(x, high), te.maximum(constant(x, low), x))


def bounds_in(dtype: str, a: Attributes) -> tuple[float, float]:
    """The bounds as values of `dtype`, which those of an integer may lie beyond."""
    low, high = a["low"], a["high"]
    if dtype in FLOAT:
        return low, high
    least, greatest = ELEMENT_TYPES[dtype].range
    return int(min(max(low, least), greatest)), int(min(max(high, least), greatest))


def infer_clip(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """An integer's bounds are whole numbers, or infinite. A lower one above the upper one gives the upper one everywhere."""
    (x,) = present(types)
    if x.dtype not in FLOAT and any(isfinite(a[name]) and a[name] != int(a[name]) for name in ("low", "high")):
        raise ModelError("a bound of an integer is no whole number", found=(a["low"], a["high"]), expected="whole numbers")
    return (x,)


def numpy_clip(x: np.ndarray, a: Attributes) -> np.ndarray:
    low, high = a["low"], a["high"]
    if x.dtype.kind != "f":
        limits = np.iinfo(x.dtype)
        low, high = (limits.min if v < limits.min else limits.max if v > limits.max else int(v) for v in (low, high))
    return np.clip(x, number(x, low), number(x, high))


def hard_sigmoid(x: Expr, a: Attributes) -> Expr:
    return te.minimum(constant(x, 1), te.maximum(constant(x, 0), x * a["alpha"] + constant(x, a["beta"])))


def hard_swish(x: Expr) -> Expr:
    return x * hard_sigmoid(x, {"alpha": 1 / 6, "beta": 0.5})


def shrink(x: Expr, a: Attributes) -> Expr:
    """What lies within the threshold becomes 0, all else moves towards it by the bias."""
    high, bias = constant(x, a["threshold"]), constant(x, a["bias"])
    low = constant(x, -a["threshold"])
    return te.select(x < low, x + bias, te.select(x > high, x - bias, constant(x, 0)))


def softplus(x: Expr) -> Expr:
    """log(1 + eˣ), by way of e⁻|ˣ|, which does not overflow."""
    return te.maximum(constant(x, 0), x) + te.log1p(te.exp(te.absolute(x) * -1))


def gelu(x: Expr, a: Attributes) -> Expr:
    if a["approximate"] == "tanh":
        inner = x * (x * x * 0.044715 + constant(x, 1)) * sqrt(2 / pi)
        return x * 0.5 * (te.tanh(inner) + constant(x, 1))
    return x * 0.5 * (te.erf(x * sqrt(0.5)) + constant(x, 1))


def numpy_sigmoid(x: np.ndarray) -> np.ndarray:
    """By tanh, which does not overflow."""
    return number(x, 0.5) * np.tanh(number(x, 0.5) * x) + number(x, 0.5)


def numpy_hard_sigmoid(x: np.ndarray, a: Attributes) -> np.ndarray:
    return np.clip(number(x, a["alpha"]) * x + number(x, a["beta"]), number(x, 0), number(x, 1))


def numpy_hard_swish(x: np.ndarray) -> np.ndarray:
    return x * np.clip(x / number(x, 6) + number(x, 0.5), number(x, 0), number(x, 1))


def numpy_shrink(x: np.ndarray, a: Attributes) -> np.ndarray:
    high, bias = x.dtype.type(a["threshold"]), x.dtype.type(a["bias"])
    return np.select([x < -high, x > high], [x + bias, x - bias], x.dtype.type(0))


def numpy_softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, number(x, 0))


def numpy_elu(x: np.ndarray, a: Attributes) -> np.ndarray:
    return np.where(x < 0, number(x, a["alpha"]) * np.expm1(x), x)


def numpy_gelu(x: np.ndarray, a: Attributes) -> np.ndarray:
    """In float64."""
    wide = x.astype(np.float64)
    if a["approximate"] == "tanh":
        return (0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))).astype(x.dtype)
    return (0.5 * wide * (1 + erf(wide / np.sqrt(2)))).astype(x.dtype)


FAMILY = (
    unary(
        "relu", relu, lambda x: np.maximum(x, number(x, 0)), dtypes=NUMBER,
        takes_clip=True, non_negative=True, clips=lambda a: (0.0, inf), slope=1, monotone=True,
    ),
    unary(
        "clip", clip, numpy_clip, dtypes=NUMBER, infer=infer_clip,
        attributes={"low": real(), "high": real()}, takes_clip=True,
        clips=lambda a: (a["low"], a["high"]), slope=1, monotone=True,
    ),
    unary("sigmoid", te.sigmoid, numpy_sigmoid, non_negative=True, slope=0.25, monotone=True),
    unary("tanh", te.tanh, np.tanh, slope=1, monotone=True),
    unary(
        "hard_sigmoid", hard_sigmoid, numpy_hard_sigmoid,
        attributes={"alpha": real(0.2), "beta": real(0.5)}, non_negative=True, slope=0.2, monotone=True,
    ),
    unary("hard_swish", hard_swish, numpy_hard_swish, reads=2, slope=1.5),
    unary(
        "swish", lambda x, a: x * te.sigmoid(x * a["alpha"]), lambda x, a: x * numpy_sigmoid(number(x, a["alpha"]) * x),
        attributes={"alpha": real(1.0)}, reads=2, slope=1.1,
    ),
    unary(
        "leaky_relu", lambda x, a: below(x, x * a["alpha"], x), lambda x, a: np.where(x < 0, number(x, a["alpha"]) * x, x),
        attributes={"alpha": real(0.01)}, reads=3, slope=1, monotone=True,
    ),
    unary(
        "elu", lambda x, a: below(x, te.expm1(x) * a["alpha"], x), numpy_elu,
        attributes={"alpha": real(1.0)}, reads=3, slope=1, monotone=True,
    ),
    unary(
        "celu", lambda x, a: below(x, te.expm1(x / constant(x, a["alpha"])) * a["alpha"], x),
        lambda x, a: np.maximum(x, 0) + np.minimum(number(x, a["alpha"]) * np.expm1(x / number(x, a["alpha"])), 0),
        attributes={"alpha": real(1.0)}, reads=3, slope=1, monotone=True,
    ),
    unary(
        "selu", lambda x, a: below(x, te.expm1(x) * a["alpha"], x) * a["gamma"],
        lambda x, a: number(x, a["gamma"]) * numpy_elu(x, a), attributes=SELU, reads=3, slope=1.76, monotone=True,
    ),
    unary(
        "thresholded_relu", lambda x, a: te.select(x > constant(x, a["alpha"]), x, constant(x, 0)),
        lambda x, a: np.where(x > a["alpha"], x, number(x, 0)), attributes={"alpha": real(1.0)}, reads=2,
    ),
    unary(
        "shrink", shrink, numpy_shrink, attributes={"threshold": real(0.5), "bias": real(0.0)}, reads=4,
    ),
    unary("softplus", softplus, numpy_softplus, non_negative=True, reads=2, slope=1, monotone=True),
    unary(
        "softsign", lambda x: x / (te.absolute(x) + constant(x, 1)), lambda x: x / (number(x, 1) + np.abs(x)),
        reads=2, slope=1, monotone=True,
    ),
    unary("mish", lambda x: x * te.tanh(softplus(x)), lambda x: x * np.tanh(numpy_softplus(x)), reads=3, slope=1.1),
    unary(
        "gelu", gelu, numpy_gelu, attributes={"approximate": choice("none", "tanh", default="none")}, reads=4, slope=1.13
    ),
)  # fmt: skip
