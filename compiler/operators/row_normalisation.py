"""Normalisations of one axis or of all trailing ones: layer and root-mean-square norms, soft maxima, norms of vectors.

layer_norm y = (x - mean) / √(variance + epsilon) · scale + bias over the axes from `axis` on
rms_norm y = x / √(mean of x² + epsilon) · scale, likewise
lp_norm y = x / (Σ|x|ᵖ)^(1/p) along `axis`; 0 where that is 0
log_softmax y = x - log Σ exp(x) along `axis`
masked_softmax as softmax, but 0 all along where every element is -∞

lanes, of a definition: see `greatest_along`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import integer, real
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present
from vdla.errors import ModelError

ROWS = (1, MAX_RANK)


def infer_along_axis(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """The input's type; `axis` is one of its axes."""
    x = present(types)[0]
    axis_in(a["axis"], len(x.shape))
    return (x,)


def infer_trailing(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """The input's type; scale and bias have the shape of its axes from `axis` on."""
    x = present(types)[0]
    normalised = x.shape[axis_in(a["axis"], len(x.shape)) :]
    for parameter in types[1:]:
        if parameter is not None and parameter.shape != normalised:
            raise ModelError("parameters do not fit the normalised axes", found=parameter.shape, expected=str(normalised))
    return (x,)


def summed(x: te.Tensor, axis: int, of: Callable[..., Expr], name: str) -> te.Tensor:
    """Σ of(leading indices, element) over the axes from `axis` on: of shape x.shape[:axis], or (1,) for all."""
    along = tuple(te.reduce_axis(size, f"k{d}") for d, size in enumerate(x.shape[axis:]))
    element = lambda *at: te.sum(of(at, x[(*at[:axis], *along)]), along)  # noqa: E731
    return te.compute(x.shape[:axis] or (1,), element, name)


def leading(at: Sequence[Expr], axis: int) -> tuple[Expr, ...]:
    """Where `summed` has what belongs to element `at`."""
    return tuple(at[:axis]) or (Const(0),)


def define_layer_norm(types: Types, a: Attributes) -> Definition:
    """Two sums: the variance is that of differences from the mean, which does not cancel."""
    x, scale, bias = placeholders(types, "x", "scale", "bias")
    assert x is not None
    axis = a["axis"] % len(x.shape)
    width = te.const(prod(x.shape[axis:]), x.dtype)
    epsilon = te.const(a["epsilon"], x.dtype)
    total = summed(x, axis, lambda at, value: value, "total")
    mean = te.compute(total.shape, lambda *at: total[at] / width, "mean")
    squares = summed(x, axis, lambda at, value: (value - mean[at]) * (value - mean[at]), "squares")
    inverse = te.compute(total.shape, lambda *at: te.rsqrt(squares[at] / width + epsilon), "inverse")

    def element(*at: Expr) -> Expr:
        row = leading(at, axis)
        return scaled((x[at] - mean[row]) * inverse[row], scale, bias, at[axis:])

    return Definition(required(x, scale, bias), (te.compute(x.shape, element, "y"),))


def define_rms_norm(types: Types, a: Attributes) -> Definition:
    x, scale = placeholders(types, "x", "scale")
    assert x is not None
    axis = a["axis"] % len(x.shape)
    width, epsilon = te.const(prod(x.shape[axis:]), x.dtype), te.const(a["epsilon"], x.dtype)
    squares = summed(x, axis, lambda at, value: value * value, "squares")
    inverse = te.compute(squares.shape, lambda *at: te.rsqrt(squares[at] / width + epsilon), "inverse")
    element = lambda *at: scaled(x[at] * inverse[leading(at, axis)], scale, None, at[axis:])  # noqa: E731
    return Definition(required(x, scale), (te.compute(x.shape, element, "y"),))


def scaled(value: Expr, scale: te.Tensor | None, bias: te.Tensor | None, at: Sequence[Expr]) -> Expr:
    value = value * scale[tuple(at)] if scale is not None else value
    return value + bias[tuple(at)] if bias is not None else value


def reduced_along(
    x: te.Tensor, axis: int, reduce: Callable[..., te.Reduction], of: Callable[..., Expr], name: str
) -> te.Tensor:
    """`reduce` of of(indices, position along `axis`), to a shape that has `axis` as 1."""
    k = te.reduce_axis(x.shape[axis], "k")
    shape = tuple(1 if d == axis else n for d, n in enumerate(x.shape))
    return te.compute(shape, lambda *at: reduce(of((*at[:axis], k, *at[axis + 1 :]), at), k), name)


def greatest_along(x: te.Tensor, axis: int, lanes: int) -> te.Tensor:
    """The greatest element along `axis`, by way of the greatest of each of `lanes` where it is the last axis.

    A maximum that must pass NaN on is not for a compiler to reorder; lanes are vectors as they stand.
    """
    width = x.shape[-1]
    if lanes == 1 or axis != len(x.shape) - 1:
        return reduced_along(x, axis, te.max, lambda at, row: x[at], "greatest")
    k = te.reduce_axis(width // lanes, "k")
    partial = te.compute((*x.shape[:-1], lanes), lambda *at: te.max(x[(*at[:-1], k * lanes + at[-1])], k), "partial")
    rest = width % lanes
    lane = te.reduce_axis(lanes + rest, "lane")

    def element(*at: Expr) -> te.Reduction:
        value = partial[(*at[:-1], lane)]
        beyond = x[(*at[:-1], lane + (width - rest - lanes))]
        return te.max(te.select(lane < lanes, value, beyond) if rest else value, lane)

    return te.compute((*x.shape[:-1], 1), element, "greatest")


def at_axis(at: Sequence[Expr], axis: int) -> tuple[Expr, ...]:
    """Where `reduced_along` has what belongs to element `at`."""
    return (*at[:axis], Const(0), *at[axis + 1 :])


def define_log_softmax(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    """By way of the greatest element, so that nothing overflows."""
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)
    greatest = greatest_along(x, axis, lanes)
    total = reduced_along(x, axis, te.sum, lambda at, row: te.exp(x[at] - greatest[row]), "total")
    shift = te.compute(total.shape, lambda *at: te.log(total[at]), "shift")
    element = lambda *at: x[at] - greatest[at_axis(at, axis)] - shift[at_axis(at, axis)]  # noqa: E731
    return Definition((x,), (te.compute(x.shape, element, "y"),))


def define_masked_softmax(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    """Where all is -∞ nothing is taken off, every exponential is 0, and 0 is divided by 1."""
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)
    zero, lowest = te.const(0, x.dtype), te.const(-inf, x.dtype)
    greatest = greatest_along(x, axis, lanes)
    level = te.compute(
        greatest.shape, lambda *at: te.select(te.equal(greatest[at], lowest), zero, greatest[at]), "level"
    )  # fmt: skip
    exponent = te.compute(x.shape, lambda *at: te.exp(x[at] - level[at_axis(at, axis)]), "exponent")
    total = reduced_along(x, axis, te.sum, lambda at, row: exponent[at], "total")
    divisor = te.compute(
        total.shape, lambda *at: te.select(te.equal(total[at], zero), te.const(1, x.dtype), total[at]), "divisor"
    )  # fmt: skip
    return Definition((x,), (te.compute(x.shape, lambda *at: exponent[at] / divisor[at_axis(at, axis)], "y"),))


def define_lp_norm(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    axis, square = a["axis"] % len(x.shape), a["p"] == 2
    of = lambda at, row: x[at] * x[at] if square else te.absolute(x[at])  # noqa: E731
    total = reduced_along(x, axis, te.sum, of, "total")
    zero, one = te.const(0, x.dtype), te.const(1, x.dtype)

    def inverse_at(*at: Expr) -> Expr:
        norm = te.sqrt(total[at]) if square else total[at]
        return te.select(te.equal(total[at], zero), zero, one / norm)

    inverse = te.compute(total.shape, inverse_at, "inverse")
    return Definition((x,), (te.compute(x.shape, lambda *at: x[at] * inverse[at_axis(at, axis)], "y"),))


def layer_norm(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, scale, bias = (*inputs, None, None)[:3]
    axes = tuple(range(a["axis"] % x.ndim, x.ndim))
    y = (x - x.mean(axis=axes, keepdims=True)) / np.sqrt(x.var(axis=axes, keepdims=True) + x.dtype.type(a["epsilon"]))
    y = y if scale is None else y * scale
    return np.asarray(y if bias is None else y + bias)


def rms_norm(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, scale = (*inputs, None)[:2]
    axes = tuple(range(a["axis"] % x.ndim, x.ndim))
    y = x / np.sqrt(np.square(x).mean(axis=axes, keepdims=True) + x.dtype.type(a["epsilon"]))
    return np.asarray(y if scale is None else y * scale)


def log_softmax(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    shifted = inputs[0] - inputs[0].max(axis=a["axis"], keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=a["axis"], keepdims=True)))


def masked_softmax(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x = inputs[0]
    hidden = np.isneginf(x).all(axis=a["axis"], keepdims=True)
    x = np.where(hidden, x.dtype.type(0), x)
    exponents = np.exp(x - x.max(axis=a["axis"], keepdims=True))
    return np.where(hidden, x.dtype.type(0), exponents / exponents.sum(axis=a["axis"], keepdims=True))


def lp_norm(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    norm = np.linalg.norm(inputs[0], ord=a["p"], axis=a["axis"], keepdims=True)
    return np.asarray(inputs[0] / np.where(norm == 0, norm.dtype.type(1), norm))


AXIS = {"axis": integer(-1)}
TRAILING = {**AXIS, "epsilon": real(1e-5, low=0)}


def along_axis(name: str, define: Any, kernel: Any, **fields: Any) -> Operator:
    """An operator along one axis."""
    declared = (Input("x", rank=ROWS),)
    fields = {"attributes": AXIS, "fusion": Fusion.COMPLEX, **fields}
    return Operator(name=name, inputs=declared, infer=infer_along_axis, define=define, kernel=kernel, **fields)


FAMILY = (
    Operator(
        name="layer_norm",
        inputs=(Input("x", rank=ROWS), Input("scale", like="x"), Input("bias", like="x")),
        optional=2,
        attributes=TRAILING,
        infer=infer_trailing,
        define=define_layer_norm,
        kernel=layer_norm,
        fusion=Fusion.COMPLEX,
    ),
    Operator(
        name="rms_norm",
        inputs=(Input("x", rank=ROWS), Input("scale", like="x")),
        optional=1,
        attributes=TRAILING,
        infer=infer_trailing,
        define=define_rms_norm,
        kernel=rms_norm,
        fusion=Fusion.COMPLEX,
    ),
    along_axis("log_softmax", define_log_softmax, log_softmax),
    along_axis("masked_softmax", define_masked_softmax, masked_softmax, non_negative=True),
    along_axis("lp_norm", define_lp_norm, lp_norm, attributes={**AXIS, "p": integer(2, 1, 2)}),
)
