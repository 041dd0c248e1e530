"""Deformable convolution of images (arXiv 1811.11168): each kernel position reads the image at an offset of its own.

offset[N, G·KH·KW·2, OH, OW] has, for each group of input channels and kernel position, how far down and right of its regular
place to read; mask[N, G·KH·KW, OH, OW] what to multiply by. Between elements the image is interpolated linearly, and beyond
its border it is 0:

    columns[n, c, k, h, w] = mask · Σ of the four neighbours, each weighed by its nearness
    acc[n, o, h, w] = Σ over c, k of columns · weights;  y = acc + b
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr, all_of
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.convolution import WINDOW, infer_conv2d
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import IMAGE, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, w, offset = present(types)[:3]
    (y,) = infer_conv2d((x, w), a)
    taps, groups = w.shape[2] * w.shape[3], a["offset_groups"]
    bias, mask = (*types, None, None)[3:5]
    if x.shape[1] % groups:
        raise ModelError("offset_groups does not divide the channels", found=f"{groups} of {x.shape[1]}")
    for what, given, channels in (("offset", offset, 2 * taps * groups), ("mask", mask, taps * groups)):
        if given is not None and given.shape != (x.shape[0], channels, *y.shape[2:]):
            expected = str((x.shape[0], channels, *y.shape[2:]))
            raise ModelError(f"{what} does not fit the convolution", found=given.shape, expected=expected)
    if bias is not None and bias.shape != (w.shape[0],):
        raise ModelError("the bias does not fit the weight", found=bias.shape, expected=f"({w.shape[0]},)")
    return (y,)


def define(types: Types, a: Attributes) -> Definition:
    x, w, offset, b, mask = placeholders(types, "x", "w", "offset", "b", "mask")
    assert x is not None
    assert w is not None
    assert offset is not None
    (y_type,) = infer(types, a)
    (n, channels, height, width), (o, depth, kh, kw) = x.shape, w.shape
    top, left = a["pads"][:2]
    per_offset, per_group = channels // a["offset_groups"], o // a["groups"]
    small, one = te.const(-2, x.dtype), te.const(1, x.dtype)

    def place(n: Expr, c: Expr, k: Expr, h: Expr, w: Expr, axis: int) -> Expr:
        """Where the kernel position k of output (h, w) reads along an axis; what lies far off is brought near the border."""
        stride, dilation, pad, size = a["strides"][axis], a["dilations"][axis], (top, left)[axis], (height, width)[axis]
        regular = (h, w)[axis] * stride + (k // kw, k % kw)[axis] * dilation - pad
        moved = te.cast(regular, x.dtype) + offset[n, ((c // per_offset) * (kh * kw) + k) * 2 + axis, h, w]
        return te.clip(moved, small, te.const(size + 1, x.dtype))

    places_shape = (n, a["offset_groups"], kh * kw, *y_type.shape[2:])
    places = [
        te.compute(
            places_shape, lambda n, g, k, h, w, axis=axis: place(n, g * per_offset, k, h, w, axis), ("down", "across")[axis]
        )
        for axis in (0, 1)
    ]

    def sampled(n: Expr, c: Expr, k: Expr, h: Expr, w: Expr) -> Expr:
        y, across = (p[n, c // per_offset, k, h, w] for p in places)
        y0, x0 = te.floor(y), te.floor(across)
        fractions = (y - y0, across - x0)
        row, column = te.cast(y0, "int32"), te.cast(x0, "int32")
        total: Expr | None = None
        for dy in (0, 1):
            for dx in (0, 1):
                inside = all_of([row + dy >= 0, row + dy < height, column + dx >= 0, column + dx < width])
                at = te.clip(row + dy, 0, height - 1), te.clip(column + dx, 0, width - 1)
                near = [f if d else one - f for d, f in zip((dy, dx), fractions, strict=True)]
                part = te.select(inside, x[(n, c, *at)] * near[0] * near[1], te.const(0, x.dtype))
                total = part if total is None else total + part
        assert total is not None
        return total if mask is None else total * mask[n, (c // per_offset) * (kh * kw) + k, h, w]

    columns = te.compute((n, channels, kh * kw, *y_type.shape[2:]), sampled, "columns")
    c, ky, kx = te.reduce_axis(depth, "c"), te.reduce_axis(kh, "ky"), te.reduce_axis(kw, "kx")

    def products(n: Expr, out: Expr, h: Expr, w_: Expr) -> Expr:
        channel = c if a["groups"] == 1 else out // per_group * depth + c
        return te.sum(columns[n, channel, ky * kw + kx, h, w_] * w[out, c, ky, kx], (c, ky, kx))

    acc = te.compute(y_type.shape, products, "acc")
    y = te.compute(y_type.shape, lambda *at: acc[at] + b[at[1]] if b is not None else acc[at], "y")
    return Definition(required(x, w, offset, b, mask), (y,))


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Every place at once, on an image with a border of zeros two wide."""
    x, w, offset, b, mask = (*inputs, None, None)[:5]
    (n, channels, height, width), (o, depth, kh, kw) = x.shape, w.shape
    groups, taps = a["offset_groups"], kh * kw
    oh, ow = offset.shape[2:]
    offset = offset.reshape(n, groups, kh, kw, 2, oh, ow)
    grid = np.meshgrid(np.arange(kh), np.arange(kw), np.arange(oh), np.arange(ow), indexing="ij")
    places = []
    for axis, size in enumerate((height, width)):
        regular = grid[2 + axis] * a["strides"][axis] + grid[axis] * a["dilations"][axis] - a["pads"][axis]
        places.append(np.clip(regular.astype(x.dtype) + offset[:, :, :, :, axis], -2, size + 1))
    bordered = np.pad(x, ((0, 0), (0, 0), (2, 3), (2, 3))).reshape(n, groups, channels // groups, height + 5, width + 5)
    floors = [np.floor(p).astype(np.int64) for p in places]
    near = [(1 - (p - f), p - f) for p, f in zip(places, floors, strict=True)]
    batch, group = np.ogrid[:n, :groups]
    index = (batch[..., None, None, None, None], group[..., None, None, None, None])
    columns = np.zeros((n, groups, kh, kw, oh, ow, channels // groups), x.dtype)
    moved = bordered.transpose(0, 1, 3, 4, 2)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (near[0][dy] * near[1][dx])[..., None].astype(x.dtype)
            columns += moved[(*index, floors[0] + dy + 2, floors[1] + dx + 2)] * weight
    if mask is not None:
        columns *= mask.reshape(n, groups, kh, kw, oh, ow)[..., None]
    rows = columns.transpose(0, 1, 6, 2, 3, 4, 5).reshape(n, a["groups"], depth * taps, oh * ow)
    y = np.matmul(w.reshape(a["groups"], o // a["groups"], depth * taps), rows).reshape(n, o, oh, ow)
    return np.asarray(y if b is None else y + b.reshape(1, -1, 1, 1))


FAMILY = (
    Operator(
        name="deform_conv2d",
        inputs=(
            Input("x", rank=IMAGE),
            Input("w", like="x", rank=IMAGE),
            Input("offset", like="x", rank=IMAGE),
            Input("b", like="x", rank=(1, 1)),
            Input("mask", like="x", rank=IMAGE),
        ),
        optional=2,
        attributes={**WINDOW, "offset_groups": integer(1, low=1)},
        infer=infer,
        define=define,
        kernel=kernel,
        fusion=Fusion.COMPLEX,
        host_reason="no VDLA kernel: convolution that reads where data says",
    ),
)
