"""Operators that only move elements."""

from __future__ import annotations

from vdla.compiler import te
from vdla.compiler.graph.opset import OPERATORS, window_output
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    flatten,
    inside,
    phased_image,
    placeholders,
    required,
    unflatten,
)  # fmt: skip


def pad(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    before, after = a["before"], a["after"]
    shape = [b + s + e for s, b, e in zip(x.shape, before, after, strict=True)]

    def element(*at: Expr) -> Expr:
        checks = list(zip(at, x.shape, before, after, strict=True))
        return inside(checks, x[tuple(i - b if b else i for i, b in zip(at, before, strict=True))], a["value"])

    return Definition((x,), te.compute(shape, element, "y"))


def concat(types: Types, a: Attributes) -> Definition:
    axis = a["axis"]
    inputs = required(*placeholders(types, *(f"x{i}" for i in range(len(types)))))
    axis += len(inputs[0].shape) if axis < 0 else 0
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)

    def element(*at: Expr) -> Expr:
        """x0 below the first boundary, else x1 below the second, …"""
        start = shape[axis]
        value: Expr | None = None
        for x in reversed(inputs):
            end, start = start, start - x.shape[axis]
            here = x[(*at[:axis], at[axis] - start if start else at[axis], *at[axis + 1 :])]
            value = here if value is None else te.select(at[axis] < end, here, value)
        assert value is not None
        return value

    return Definition(inputs, te.compute(shape, element, "y"))


def reshape(types: Types, a: Attributes) -> Definition:
    """A copy in order."""
    (x,) = required(*placeholders(types, "x"))
    shape = tuple(a["shape"])
    return Definition((x,), te.compute(shape, lambda *at: x[unflatten(flatten(at, shape), x.shape)], "y"))


def transpose(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    permutation = a["permutation"]
    source = lambda at: tuple(at[permutation.index(d)] for d in range(len(permutation)))  # noqa: E731
    permutation = list(permutation)
    return Definition((x,), te.compute([x.shape[p] for p in permutation], lambda *at: x[source(at)], "y"))


def pack_nchwc(types: Types, a: Attributes) -> Definition:
    """x[N, C(, H, W)] → y[N/batch, C/block, H, W, batch, block], zeros beyond N and C."""
    (x,) = required(*placeholders(types, "x"))
    batch, block = a["batch"], a["block"]
    n, c = x.shape[:2]

    def element(nb: Expr, cb: Expr, h: Expr, w: Expr, b: Expr, k: Expr) -> Expr:
        image, channel = nb * batch + b, cb * block + k
        rest = (h, w) if len(x.shape) == 4 else ()
        there = x[(clamped(image, n, batch), clamped(channel, c, block), *rest)]
        return inside([(image, n, 0, n % batch), (channel, c, 0, c % block)], there, 0)

    shape = OPERATORS["pack_nchwc"].infer(tuple(types), a).shape
    return Definition((x,), te.compute(shape, element, "y"))


def clamped(index: Expr, size: int, step: int) -> Expr:
    """An index that is never past the end, so that reading there needs no branch."""
    return te.minimum(index, te.const(size - 1, "int32")) if size % step else index


def unpack_nchwc(types: Types, a: Attributes) -> Definition:
    """x[N/batch, C/block, H, W, batch, block] → y[N, C(, H, W)]."""
    (x,) = required(*placeholders(types, "x"))
    batch, block = x.shape[4:]

    def element(*at: Expr) -> Expr:
        n, c = at[:2]
        rest = at[2:] or (Const(0), Const(0))
        return x[(n // batch, c // block, *rest, n % batch, c % block)]

    return Definition((x,), te.compute(a["shape"], element, "y"))


def im2col(types: Types, a: Attributes) -> Definition:
    """Kernel columns, or whole windows, laid along the channels."""
    (x,) = required(*placeholders(types, "x"))
    n, c, height, width = x.shape
    (kh, kw), (sy, sx), (dy, dx), pads = a["kernel"], a["strides"], a["dilations"], a["pads"]
    ow = window_output(width, kw, sx, pads[1] + pads[3], dx)
    if a["fold"] == "columns":
        pads, kh, sy, dy = (0, pads[1], 0, pads[3]), 1, 1, 1
    oh = window_output(height, kh, sy, pads[0] + pads[2], dy)
    padded = phased_image(x, pads, sx, ow + (kw - 1) * dx // sx, a["pad_value"])

    def window(n: Expr, k: Expr, h: Expr, w: Expr) -> Expr:
        row, column = k // (kw * c) * dy, k // c % kw * dx
        return padded[n, k % c, h * sy + row, column % sx, w + column // sx]

    return Definition((x,), te.compute((n, kh * kw * c, oh, ow), window, "y"))


MOVEMENT = {
    "pad": pad,
    "concat": concat,
    "reshape": reshape,
    "transpose": transpose,
    "pack_nchwc": pack_nchwc,
    "unpack_nchwc": unpack_nchwc,
    "im2col": im2col,
}
