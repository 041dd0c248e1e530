"""Batch norm, softmax, local response normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer, real
from vdla.compiler.operators.definition import Attributes, Definition, Types, inside, placeholders, required
from vdla.compiler.operators.operator import MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.row_normalisation import at_axis, greatest_along, infer_along_axis, reduced_along
from vdla.compiler.operators.shapes import same


def define_batch_norm(types: Types, a: Attributes) -> Definition:
    """(x - mean) · gamma / √(variance + epsilon) + beta along axis 1: one multiply and one add for each element."""
    x, gamma, beta, mean, variance = required(*placeholders(types, "x", "gamma", "beta", "mean", "variance"))
    channels = gamma.shape
    factor = te.compute(channels, lambda c: gamma[c] * te.rsqrt(variance[c] + te.const(a["epsilon"], x.dtype)), "factor")
    element = lambda *at: (x[at] - mean[at[1]]) * factor[at[1]] + beta[at[1]]  # noqa: E731
    return Definition((x, gamma, beta, mean, variance), (te.compute(x.shape, element, "y"),))


def batch_norm(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Inference: x over its axis 1 with running statistics."""
    x = inputs[0]
    along = (1, -1) + (1,) * (x.ndim - 2)
    gamma, beta, mean, variance = (p.reshape(along) for p in inputs[1:])
    return (x - mean) * (gamma / np.sqrt(variance + x.dtype.type(a["epsilon"]))) + beta


def define_softmax(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    """exp(x - max) / Σ exp(x - max) along `axis`. lanes: see `greatest_along`."""
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)
    greatest = greatest_along(x, axis, lanes)
    exponent = te.compute(x.shape, lambda *at: te.exp(x[at] - greatest[at_axis(at, axis)]), "exponent")
    total = reduced_along(x, axis, te.sum, lambda at, row: exponent[at], "total")
    return Definition((x,), (te.compute(x.shape, lambda *at: exponent[at] / total[at_axis(at, axis)], "y"),))


def softmax(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    exponents = np.exp(inputs[0] - inputs[0].max(axis=a["axis"], keepdims=True))
    return exponents / exponents.sum(axis=a["axis"], keepdims=True)


def define_lrn(types: Types, a: Attributes) -> Definition:
    """x / (bias + alpha/size · Σ x² over `size` neighbouring channels)^beta."""
    (x,) = required(*placeholders(types, "x"))
    size, channels = a["size"], x.shape[1]
    before = (size - 1) // 2
    k = te.reduce_axis(size, "k")

    def squares(n: Expr, c: Expr, *at: Expr) -> Expr:
        neighbour = x[(n, c + k - before, *at)]
        return te.sum(inside([(c + k, channels, before, size - 1 - before)], neighbour * neighbour, 0), k)

    total = te.compute(x.shape, squares, "total", axes=("n", "c", *(f"s{i}" for i in range(len(x.shape) - 2))))
    scale, bias = te.const(a["alpha"] / size, x.dtype), te.const(a["bias"], x.dtype)
    return Definition((x,), (te.compute(x.shape, lambda *at: x[at] / raised(bias + scale * total[at], a["beta"]), "y"),))


def raised(base: Expr, exponent: float) -> Expr:
    """base^exponent; the usual 3/4 by square roots, which vectorise."""
    if exponent == 0.75:
        root = te.sqrt(base)
        return root * te.sqrt(root)
    return te.power(base, te.const(exponent, base.dtype))


def lrn(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """x / (bias + alpha/size · Σ x² over `size` neighbouring channels)^beta."""
    x, size = inputs[0], a["size"]
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2
    squares = np.pad(x * x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
    total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
    return x / (x.dtype.type(a["bias"]) + x.dtype.type(a["alpha"] / size) * total) ** x.dtype.type(a["beta"])


FAMILY = (
    Operator(
        name="batch_norm",
        inputs=(
            Input("x", rank=(2, MAX_RANK)),
            *(Input(name, like="x", channels=("x", 1)) for name in ("gamma", "beta", "mean", "variance")),
        ),
        attributes={"epsilon": real(1e-5, low=0)},
        infer=same,
        define=define_batch_norm,
        kernel=batch_norm,
        fusion=Fusion.ELEMENTWISE,
        takes_clip=True,
    ),
    Operator(
        name="softmax",
        inputs=(Input("x", rank=(1, MAX_RANK)),),
        attributes={"axis": integer()},
        infer=infer_along_axis,
        define=define_softmax,
        kernel=softmax,
        non_negative=True,
    ),
    Operator(
        name="lrn",
        inputs=(Input("x", rank=(3, MAX_RANK)),),
        attributes={"size": integer(low=1), "alpha": real(1e-4), "beta": real(0.75), "bias": real(1.0)},
        infer=same,
        define=define_lrn,
        kernel=lrn,
        fusion=Fusion.COMPLEX,
        reads=2,
    ),
)
