"""Operators whose elements depend on one element of each input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    broadcast_index,
    of_channel,
    placeholders,
    required,
)


def unary(function: Callable[[Expr, Attributes], Expr]) -> Callable[[Types, Attributes], Definition]:
    """y = function(x, attributes)."""

    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        return Definition((x,), te.compute(x.shape, lambda *at: function(x[at], a), "y"))

    return define


def binary(function: Callable[[Expr, Expr], Expr]) -> Callable[[Types, Attributes], Definition]:
    """y = function(a, b), broadcast as NumPy does."""

    def define(types: Types, a: Attributes) -> Definition:
        x, y = required(*placeholders(types, "a", "b"))
        shape = np.broadcast_shapes(x.shape, y.shape)
        both = lambda *at: function(x[broadcast_index(x.shape, at)], y[broadcast_index(y.shape, at)])  # noqa: E731
        return Definition((x, y), te.compute(shape, both, "y"))

    return define


def constant(x: Expr, value: float) -> Expr:
    return te.const(value, x.dtype)


def relu(x: Expr, a: Attributes) -> Expr:
    """The constant comes first, so that NaN passes through."""
    return te.maximum(constant(x, 0), x)


def clip(x: Expr, a: Attributes) -> Expr:
    return te.minimum(constant(x, a["high"]), te.maximum(constant(x, a["low"]), x))


def hard_sigmoid(x: Expr, a: Attributes) -> Expr:
    return te.minimum(constant(x, 1), te.maximum(constant(x, 0), x * a["alpha"] + constant(x, a["beta"])))


def hard_swish(x: Expr, a: Attributes) -> Expr:
    return x * hard_sigmoid(x, {"alpha": 1 / 6, "beta": 0.5})


def quantize(x: Expr, a: Attributes) -> Expr:
    """float32 → int8; halves to even; clipped before conversion, so that nothing overflows."""
    steps = te.round_even(x / constant(x, a["scale"])) + constant(x, a["zero_point"])
    return te.cast(te.cast(te.clip(steps, constant(x, -128), constant(x, 127)), "int32"), "int8")


def dequantize(types: Types, a: Attributes) -> Definition:
    """int8 → float32; a scale for each channel along `axis` is a constant input."""
    (x,) = required(*placeholders(types, "x"))
    scale = np.asarray(a["scale"], np.float32).reshape(-1)
    scales = te.placeholder(scale.shape, "float32", "scale")

    def element(*at: Expr) -> Expr:
        steps = te.cast(te.cast(x[at], "int32") - int(a["zero_point"]), "float32")
        return steps * of_channel(scales, at[a["axis"]] if len(scale) > 1 else at[0])

    return Definition((x, scales), te.compute(x.shape, element, "y"), (scale,))


def batch_norm(types: Types, a: Attributes) -> Definition:
    """(x - mean) · gamma / √(variance + epsilon) + beta along axis 1: one multiply and one add for each element."""
    x, gamma, beta, mean, variance = required(*placeholders(types, "x", "gamma", "beta", "mean", "variance"))
    channels = gamma.shape
    factor = te.compute(channels, lambda c: gamma[c] * te.rsqrt(variance[c] + te.const(a["epsilon"], "float32")), "factor")
    element = lambda *at: (x[at] - mean[at[1]]) * factor[at[1]] + beta[at[1]]  # noqa: E731
    return Definition((x, gamma, beta, mean, variance), te.compute(x.shape, element, "y"))


ELEMENTWISE: dict[str, Callable[[Types, Attributes], Definition]] = {
    "relu": unary(relu),
    "clip": unary(clip),
    "sigmoid": unary(lambda x, a: te.sigmoid(x)),
    "tanh": unary(lambda x, a: te.tanh(x)),
    "hard_sigmoid": unary(hard_sigmoid),
    "hard_swish": unary(hard_swish),
    "quantize": unary(quantize),
    "add": binary(lambda x, y: x + y),
    "sub": binary(lambda x, y: x - y),
    "mul": binary(lambda x, y: x * y),
    "div": binary(lambda x, y: x / y),
}

CHANNELWISE: dict[str, Callable[[Types, Attributes], Definition]] = {"dequantize": dequantize, "batch_norm": batch_norm}
