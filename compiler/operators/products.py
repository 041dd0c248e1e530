"""The tensor expressions of convolutions and matrix products, of floats and in exact integers.

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

from vdla.compiler import te
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.definition import Attributes, Types, of_channel, padded_image, phased_image, table_index
from vdla.compiler.operators.shapes import window_output

QCONV2D_INPUTS = ("x", "w", "bias", "scale", "residual", "residual_bias", "residual_scale", "table")
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


def requantised(g: Geometry, total: At, parameters: Sequence[te.Tensor], a: Attributes) -> te.Tensor:
    """ "y" from the sums at (n, o, h, w). parameters: bias, scale and, with a residual, itself and its bias and scale; with a
    table, that."""
    bias, scale, *extra = parameters
    table = extra.pop() if len(extra) in (1, 4) else None

    def element(n: Expr, o: Expr, h: Expr, w: Expr) -> Expr:
        value = total(n, o, h, w)
        if extra:
            residual, residual_bias, residual_scale = extra
            wide = te.cast(residual[n, o, h, w], "int32")
            value = value + te.rescale(wide, of_channel(residual_bias, o), of_channel(residual_scale, o))
        level = te.requantise(value, of_channel(bias, o), of_channel(scale, o), a["low"], a["high"])
        return te.cast(level, "int8") if table is None else table[table_index(level)]

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
