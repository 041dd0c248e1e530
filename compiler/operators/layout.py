"""Operators between the host's NCHW and the accelerator's tiles.

pack_nchwc    x[N, C, H, W] (or [N, C], taken as H = W = 1) → y[N/batch, C/block, H, W, batch, block], rounded up,
              zero-filled
unpack_nchwc  the inverse, to `shape`
im2col        fold "columns": y[n, j·C + c, h, ow] = pad(x)[n, c, h, ow·stride + j·dilation], horizontal padding only;
              fold "window":  y[n, (i·KW + j)·C + c, oh, ow] = pad(x)[n, c, oh·stride + i·dilation, ow·stride + j·dilation];
              for a first layer of few channels, so that kernel columns (or the window) fill the input block
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div, round_up
from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import choice, integer, integers
from vdla.compiler.operators.convolution import PADS, PAIR
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    inside,
    phased_image,
    placeholders,
    required,
)  # fmt: skip
from vdla.compiler.operators.integer_arithmetic import PAD_LEVEL
from vdla.compiler.operators.operator import ANY, IMAGE, INT8, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present, window_output
from vdla.compiler.operators.windows import pad_image, taps
from vdla.errors import ModelError


def infer_pack(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if len(x.shape) == 3:
        raise ModelError("input of pack_nchwc is no image", found=x.shape, expected="(N, C, H, W) or (N, C)")
    n, c, h, w = (*x.shape, 1, 1)[:4]
    return (TensorType((ceil_div(n, a["batch"]), ceil_div(c, a["block"]), h, w, a["batch"], a["block"]), x.dtype),)


def infer_unpack(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    batches, blocks, h, w, batch, block = x.shape
    n, c, *size = (*a["shape"], 1, 1)[:4] if len(a["shape"]) in (2, 4) else (0, 0, 0, 0)
    if (h, w) != tuple(size) or (batches, blocks) != (ceil_div(n, batch), ceil_div(c, block)):
        raise ModelError("tiles do not hold the shape", found=a["shape"], expected=f"what fills {x.shape}")
    return (TensorType(tuple(a["shape"]), x.dtype),)


def infer_im2col(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    n, c, h, w = x.shape
    (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = a["kernel"], a["strides"], a["dilations"], a["pads"]
    ow = window_output(w, kw, sx, left + right, dx)
    if a["fold"] == "columns":
        return (TensorType((n, kw * c, h, ow), x.dtype),)
    return (TensorType((n, kh * kw * c, window_output(h, kh, sy, top + bottom, dy), ow), x.dtype),)


def define_pack_nchwc(types: Types, a: Attributes) -> Definition:
    """x[N, C(, H, W)] → y[N/batch, C/block, H, W, batch, block], zeros beyond N and C."""
    (x,) = required(*placeholders(types, "x"))
    batch, block = a["batch"], a["block"]
    n, c = x.shape[:2]

    def element(nb: Expr, cb: Expr, h: Expr, w: Expr, b: Expr, k: Expr) -> Expr:
        image, channel = nb * batch + b, cb * block + k
        rest = (h, w) if len(x.shape) == 4 else ()
        there = x[(clamped(image, n, batch), clamped(channel, c, block), *rest)]
        return inside([(image, n, 0, n % batch), (channel, c, 0, c % block)], there, 0)

    shape = infer_pack(types, a)[0].shape
    return Definition((x,), (te.compute(shape, element, "y"),))


def clamped(index: Expr, size: int, step: int) -> Expr:
    """An index that is never past the end, so that reading there needs no branch."""
    return te.minimum(index, te.const(size - 1, "int32")) if size % step else index


def define_unpack_nchwc(types: Types, a: Attributes) -> Definition:
    """x[N/batch, C/block, H, W, batch, block] → y[N, C(, H, W)]."""
    (x,) = required(*placeholders(types, "x"))
    batch, block = x.shape[4:]

    def element(*at: Expr) -> Expr:
        n, c = at[:2]
        rest = at[2:] or (Const(0), Const(0))
        return x[(n // batch, c // block, *rest, n % batch, c % block)]

    return Definition((x,), (te.compute(a["shape"], element, "y"),))


def define_im2col(types: Types, a: Attributes) -> Definition:
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

    return Definition((x,), (te.compute((n, kh * kw * c, oh, ow), window, "y"),))


def pack_nchwc(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, batch, block = operands[0], a["batch"], a["block"]
    n, c, h, w = (*x.shape, 1, 1)[:4]
    whole = np.zeros((round_up(n, batch), round_up(c, block), h, w), x.dtype)
    whole[:n, :c] = x.reshape(n, c, h, w)
    tiles = whole.reshape(whole.shape[0] // batch, batch, whole.shape[1] // block, block, h, w)
    return np.ascontiguousarray(tiles.transpose(0, 2, 4, 5, 1, 3))


def unpack_nchwc(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    n_outer, c_outer, h, w, batch, block = operands[0].shape
    n, c = a["shape"][:2]
    whole = operands[0].transpose(0, 4, 1, 5, 2, 3).reshape(n_outer * batch, c_outer * block, h, w)
    return np.ascontiguousarray(whole[:n, :c]).reshape(a["shape"])


def im2col(operands: Sequence[Any], a: Attributes) -> np.ndarray:
    x, (kh, kw), (top, left, bottom, right) = operands[0], a["kernel"], a["pads"]
    strides, dilations = a["strides"], a["dilations"]
    if a["fold"] == "columns":
        kh, top, bottom, strides, dilations = 1, 0, 0, (1, strides[1]), (1, dilations[1])
    padded = pad_image(x, (top, left, bottom, right), a["pad_value"])
    size = [window_output(padded.shape[2 + i], (kh, kw)[i], strides[i], 0, dilations[i]) for i in (0, 1)]
    columns = np.stack(list(taps(padded, (kh, kw), strides, dilations, size)), axis=1)
    return columns.reshape(len(x), kh * kw * x.shape[1], *size)


FAMILY = (
    Operator(
        name="pack_nchwc",
        inputs=(Input("x", ANY, rank=(2, 4)),),
        attributes={"batch": integer(low=1), "block": integer(low=1)},
        infer=infer_pack,
        define=define_pack_nchwc,
        kernel=pack_nchwc,
        fusion=Fusion.INJECTIVE,
        moves=True,
    ),
    Operator(
        name="unpack_nchwc",
        inputs=(Input("x", ANY, rank=(6, 6)),),
        attributes={"shape": integers(low=1)},
        infer=infer_unpack,
        define=define_unpack_nchwc,
        kernel=unpack_nchwc,
        fusion=Fusion.INJECTIVE,
        moves=True,
    ),
    Operator(
        name="im2col",
        inputs=(Input("x", INT8, rank=IMAGE),),
        attributes={
            "kernel": integers(2, low=1),
            "strides": PAIR,
            "pads": PADS,
            "dilations": PAIR,
            "pad_value": PAD_LEVEL,
            "fold": choice("columns", "window"),
        },
        infer=infer_im2col,
        define=define_im2col,
        kernel=im2col,
        fusion=Fusion.INJECTIVE,
        moves=True,
        host_reason="the host arranges a first layer's input while it copies it",
    ),
)
