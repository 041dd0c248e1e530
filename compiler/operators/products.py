"""Convolutions and matrix products, in float32 and in exact integers.

Convolution has three forms, all of one value, between which a schedule chooses. "direct" sums over windows of the padded
image; "columns" first lays the windows out as a matrix of C·KH·KW rows and OH·OW columns (im2col), and takes the image itself
for that matrix where it can; "depthwise" is for one input channel in each group, whose axis it does without. In the first and
the last, horizontal strides are resolved while padding, by splitting columns into `stride` phases, so that the inner loop
reads neighbouring elements:

    padded[n, c, h, p, w] = pad(x)[n, c, h, w·stride + p]

Every form ends in "acc" and an elementwise "y" that adds the bias, or requantises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.opset import window_output
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    broadcast_index,
    of_channel,
    padded_image,
    phased_image,
    placeholders,
    required,
)  # fmt: skip

At = Callable[[Expr, Expr, Expr, Expr], Expr]
"""(n, o, h, w) → a value there."""


@dataclass(frozen=True)
class Geometry:
    """A convolution's numbers: x[n, groups·c, h, w], w[groups·o, c, kh, kw] → [n, groups·o, oh, ow]."""

    n: int
    groups: int
    c: int
    o: int
    height: int
    width: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def output(self) -> tuple[int, int]:
        (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = self.kernel, self.strides, self.dilations, self.pads
        return window_output(self.height, kh, sy, top + bottom, dy), window_output(self.width, kw, sx, left + right, dx)

    @property
    def is_pointwise(self) -> bool:
        """Whether the image itself is the matrix of columns."""
        return self.kernel == (1, 1) and self.strides == (1, 1) and not any(self.pads)

    @property
    def is_depthwise(self) -> bool:
        """Whether each group is one channel."""
        return self.c == self.o == 1


def geometry(types: Types, a: Attributes) -> Geometry:
    x, w = types[:2]
    assert x is not None
    assert w is not None
    n, _, height, width = x.shape
    groups = a["groups"]
    (o, c, kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = w.shape, a["strides"], a["dilations"], a["pads"]
    return Geometry(n, groups, c, o // groups, height, width, (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right))


def phased(x: te.Tensor, g: Geometry, pad_value: float, wide: str) -> te.Tensor:
    """Padded x[N, C, H', phase, W'], in the accumulator's dtype."""
    reach = (g.kernel[1] - 1) * g.dilations[1] // g.strides[1] + g.output[1]  # the furthest column of any phase that is used
    return phased_image(x, g.pads, g.strides[1], reach, pad_value, wide)


def patches(x: te.Tensor, g: Geometry, pad_value: float, wide: str, form: str) -> Callable[..., Expr]:
    """(n, input channel, kh, kw, h, w) → the element of the padded image under kernel position (kh, kw) of output (h, w)."""
    (sy, sx), (dy, dx) = g.strides, g.dilations
    if g.is_pointwise:
        return lambda n, c, kh, kw, h, w: te.cast(x[n, c, h, w], wide)
    if form == "columns":
        image = padded_image(x, g.pads, pad_value)
        matrix = te.compute(
            (g.n, g.groups * g.c, *g.kernel, *g.output),
            lambda n, c, kh, kw, h, w: te.cast(image[n, c, h * sy + kh * dy, w * sx + kw * dx], wide),
            "columns",
        )
        return lambda *at: matrix[at]
    padded = phased(x, g, pad_value, wide)

    def at(n: Expr, c: Expr, kh: Expr, kw: Expr, h: Expr, w: Expr) -> Expr:
        column = kw * dx
        phase, shift = (column % sx, column // sx) if sx > 1 else (Const(0), column)
        return padded[n, c, h * sy + kh * dy, phase, w + shift]

    return at


def accumulated(x: te.Tensor, weight: te.Tensor, g: Geometry, pad_value: float, wide: str, form: str) -> te.Tensor:
    """acc[n, o, h, w] = Σ over c, kh, kw; in columns form acc[n, o, p] for position p = h·OW + w."""
    patch = patches(x, g, pad_value, wide, form)
    kh, kw = te.reduce_axis(g.kernel[0], "kh"), te.reduce_axis(g.kernel[1], "kw")
    shape = (g.n, g.groups * g.o, *g.output)
    if form == "depthwise":
        single = lambda n, o, h, w: te.sum(patch(n, o, kh, kw, h, w) * te.cast(weight[o, 0, kh, kw], wide), (kh, kw))  # noqa: E731
        return te.compute(shape, single, "acc")
    c = te.reduce_axis(g.c, "c")

    def window(n: Expr, o: Expr, h: Expr, w: Expr) -> Expr:
        channel = c if g.groups == 1 else o // g.o * g.c + c
        return te.sum(patch(n, channel, kh, kw, h, w) * te.cast(weight[o, c, kh, kw], wide), (c, kh, kw))

    if form == "columns":
        width = g.output[1]
        return te.compute((*shape[:2], g.output[0] * width), lambda n, o, p: window(n, o, p // width, p % width), "acc")
    return te.compute(shape, window, "acc")


def at_position(acc: te.Tensor, g: Geometry, form: str) -> At:
    """(n, o, h, w) → the sum there, in either shape of `acc`."""
    return (lambda n, o, h, w: acc[n, o, h * g.output[1] + w]) if form == "columns" else (lambda *at: acc[at])


def conv2d(types: Types, a: Attributes, form: str = "direct") -> Definition:
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    g = geometry(types, a)
    total = at_position(accumulated(x, w, g, 0, "float32", form), g, form)
    biased = lambda n, o, h, w: total(n, o, h, w) + b[o] if b is not None else total(n, o, h, w)  # noqa: E731
    return Definition(required(x, w, b), te.compute((g.n, g.groups * g.o, *g.output), biased, "y"))


def qconv2d(types: Types, a: Attributes, form: str = "direct") -> Definition:
    """y = requantise(Σ pad(x)·w [+ rescale(residual)], bias, scale), int32 accumulation wrapping."""
    names = ("x", "w", "bias", "scale", "residual", "residual_bias", "residual_scale")
    x, w, *parameters = inputs = required(*placeholders(types, *names))
    g = geometry(types, a)
    total = at_position(accumulated(x, w, g, a["pad_value"], "int32", form), g, form)
    return Definition(inputs, requantised(g, total, parameters, a))


def requantised(g: Geometry, total: At, parameters: Sequence[te.Tensor], a: Attributes) -> te.Tensor:
    """ "y" from the sums at (n, o, h, w). parameters: bias, scale and, with a residual, itself and its bias and scale."""
    bias, scale, *extra = parameters

    def element(n: Expr, o: Expr, h: Expr, w: Expr) -> Expr:
        value = total(n, o, h, w)
        if extra:
            residual, residual_bias, residual_scale = extra
            wide = te.cast(residual[n, o, h, w], "int32")
            value = value + te.rescale(wide, of_channel(residual_bias, o), of_channel(residual_scale, o))
        return te.cast(te.requantise(value, of_channel(bias, o), of_channel(scale, o), a["low"], a["high"]), "int8")

    return te.compute((g.n, g.groups * g.o, *g.output), element, "y")


def dot_products(x: te.Tensor, w: te.Tensor, wide: str, lanes: int) -> te.Tensor:
    """acc[…, o] = Σ_i x[…, i] · w[o, i], by way of a partial sum for each of `lanes`, a divisor of I: i = k·lanes + lane."""
    depth, shape = x.shape[-1], (*x.shape[:-1], w.shape[0])
    k, lane = te.reduce_axis(depth // lanes, "k"), te.reduce_axis(lanes, "lane")

    def products(*at: Expr) -> Expr:
        i = k * lanes + at[-1]
        return te.sum(te.cast(x[(*at[:-2], i)], wide) * te.cast(w[at[-2], i], wide), k)

    partial = te.compute((*shape, lanes), products, "partial")
    return te.compute(shape, lambda *at: te.sum(partial[(*at, lane)], lane), "acc")


def dense(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    acc = dot_products(x, w, "float32", lanes)
    y = te.compute(acc.shape, lambda *at: acc[at] + b[at[-1]] if b is not None else acc[at], "y")
    return Definition(required(x, w, b), y)


def qdense(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    x, w, bias, scale = required(*placeholders(types, "x", "w", "bias", "scale"))
    acc = dot_products(x, w, "int32", lanes)

    def element(*at: Expr) -> Expr:
        channel = at[-1]
        return te.cast(
            te.requantise(acc[at], of_channel(bias, channel), of_channel(scale, channel), a["low"], a["high"]), "int8"
        )

    return Definition((x, w, bias, scale), te.compute(acc.shape, element, "y"))


def matmul(types: Types, a: Attributes) -> Definition:
    """(…, M, K) · (…, K, N), batch dimensions broadcast."""
    x, y = required(*placeholders(types, "a", "b"))
    batch = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    k = te.reduce_axis(x.shape[-1], "k")

    def element(*at: Expr) -> Expr:
        left, right = broadcast_index(x.shape[:-2], at[:-2]), broadcast_index(y.shape[:-2], at[:-2])
        return te.sum(x[(*left, at[-2], k)] * y[(*right, k, at[-1])], k)

    acc = te.compute((*batch, x.shape[-2], y.shape[-1]), element, "acc")
    return Definition((x, y), te.compute(acc.shape, lambda *at: acc[at], "y"))


def qadd(types: Types, a: Attributes) -> Definition:
    """y = requantise(rescale(a, a_bias, a_scale) + rescale(b, b_bias, b_scale), bias, scale) along axis 1."""
    names = ("a", "b", "a_bias", "a_scale", "b_bias", "b_scale", "bias", "scale")
    x, y, *parameters = required(*placeholders(types, *names))

    def element(*at: Expr) -> Expr:
        x_bias, x_scale, y_bias, y_scale, bias, scale = (of_channel(p, at[1]) for p in parameters)
        left = te.rescale(te.cast(x[at], "int32"), x_bias, x_scale)
        right = te.rescale(te.cast(y[at], "int32"), y_bias, y_scale)
        return te.cast(te.requantise(left + right, bias, scale, a["low"], a["high"]), "int8")

    return Definition((x, y, *parameters), te.compute(x.shape, element, "y"))


def requantize(types: Types, a: Attributes) -> Definition:
    x, bias, scale = required(*placeholders(types, "x", "bias", "scale"))

    def element(*at: Expr) -> Expr:
        wide = te.cast(x[at], "int32")
        return te.cast(te.requantise(wide, of_channel(bias, at[1]), of_channel(scale, at[1]), a["low"], a["high"]), "int8")

    return Definition((x, bias, scale), te.compute(x.shape, element, "y"))
