"""The integer reference executor: what every quantised operator computes, exactly, in NumPy.

It is the float reference executor with these kernels added. It shares no code with the tensor expressions or the
accelerator, so that agreement with it means something.

Convolution is a matrix product in floating point on BLAS, exact because every partial sum is an integer below the
mantissa's limit: K is cut into chunks whose worst partial sum, from the actual weights, stays within 2²⁴ in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.kernels import KERNELS as FLOAT_KERNELS
from vdla.compiler.graph.kernels import Attributes, Kernel, pad_image, taps
from vdla.compiler.graph.opset import window_output
from vdla.compiler.graph.reference import run_reference
from vdla.isa.semantics import INT32_MAX, INT32_MIN, unpack_scale

Array = np.ndarray
Operands = Sequence[Any]  # an absent optional operand is None

FLOAT32_EXACT = 1 << 24
"""float32 holds every integer of at most this magnitude."""


def run_integer_reference(graph: Graph, inputs: Mapping[str, Array], *, keep: str = "all") -> dict[str, Array]:
    """Execute a graph of float and quantised operators: every tensor but the constants, or with keep="outputs" those alone.

    inputs: one array for each of `graph.inputs`, of its shape and dtype. Raises `RunError` when they are not.
    """
    return run_reference(graph, inputs, keep=keep, kernels=KERNELS)


def rescale_channels(acc: Array, bias: Array, scale: Array) -> Array:
    """`semantics.rescale` with bias and scale words along axis 1 of acc (int32[N, C, …]); works in place where it can."""
    along = (-1,) + (1,) * (acc.ndim - 2)
    multiplier, shift, zero_point = (part.reshape(along) for part in unpack_scale(scale))
    total = (acc + bias.reshape(along).astype(np.int32)).astype(np.int64)  # int32 addition wraps, as the machine's does
    total *= multiplier
    total += np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    total >>= shift
    total += zero_point
    return total


def requantise_channels(acc: Array, bias: Array, scale: Array, low: int, high: int) -> Array:
    """`semantics.requantise` along axis 1, as int8."""
    return np.clip(rescale_channels(acc, bias, scale), low, high).astype(np.int8)


def rescale_int32(x: Array, bias: Array, scale: Array) -> Array:
    """`semantics.rescale` along axis 1 of int8 x, saturated to int32."""
    return np.clip(rescale_channels(x.astype(np.int32), bias, scale), INT32_MIN, INT32_MAX).astype(np.int32)


def exact_matmul(w: Array, x: Array) -> Array:
    """int8 w[…, O, K] · x[…, K, P] → int32[…, O, P], modulo 2³². x holds int8 values, in float32 already or not.

    Every partial sum of a chunk is at most Σ|w|·128 over it, whatever order BLAS adds in, so float32 is exact while that
    stays within 2²⁴.
    """
    depth = w.shape[-1]
    reach = np.abs(w.astype(np.int32)).max(axis=tuple(range(w.ndim - 1)), initial=0).astype(np.int64).cumsum() * 128
    result = np.zeros((*np.broadcast_shapes(w.shape[:-2], x.shape[:-2]), w.shape[-2], x.shape[-1]), np.int32)
    start = 0
    while start < depth:
        before = reach[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(reach, before + FLOAT32_EXACT, side="right")))
        part = np.matmul(w[..., start:stop].astype(np.float32), x[..., start:stop, :].astype(np.float32, copy=False))
        result += part.astype(np.int32)
        start = stop
    return result


def _output_size(x: Array, kernel: Sequence[int], a: Attributes) -> tuple[int, int]:
    """Windows over padded x, vertically and horizontally."""
    dilations = a.get("dilations", (1, 1))
    height, width = (window_output(x.shape[2 + i], kernel[i], a["strides"][i], 0, dilations[i]) for i in (0, 1))
    return height, width


def conv_accumulate(x: Array, w: Array, a: Attributes) -> Array:
    """Σ pad(x)·w → int32[N, O, OH, OW], by im2col for each group at once."""
    groups = a["groups"]
    o, c, kh, kw = w.shape
    padded = pad_image(x, a["pads"], a["pad_value"])
    size = _output_size(padded, (kh, kw), a)
    if c == 1 and groups == o:
        return _depthwise_accumulate(padded, w, a, size)
    n = len(x)
    columns = np.empty((n, groups * c, kh * kw, *size), np.float32)
    for position, view in enumerate(taps(padded, (kh, kw), a["strides"], a["dilations"], size)):
        columns[:, :, position] = view
    weights = w.reshape(groups, o // groups, c * kh * kw)
    return exact_matmul(weights, columns.reshape(n, groups, c * kh * kw, size[0] * size[1])).reshape(n, o, *size)


def _depthwise_accumulate(padded: Array, w: Array, a: Attributes, size: tuple[int, int]) -> Array:
    """A sum over the kernel's positions, in float32 while that is exact."""
    exact = int(np.abs(w.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0)) * 128 <= FLOAT32_EXACT
    dtype = np.dtype(np.float32 if exact else np.int32)
    acc: Array = np.zeros((len(padded), len(w), *size), dtype)
    views = taps(padded.astype(dtype), w.shape[2:], a["strides"], a["dilations"], size)
    for view, weight in zip(views, w.astype(dtype).reshape(len(w), -1).T, strict=True):
        acc += view * weight.reshape(1, -1, 1, 1)
    return acc.astype(np.int32)


def _qconv2d(operands: Operands, a: Attributes) -> Array:
    x, w, bias, scale, residual, residual_bias, residual_scale = (*operands, None, None, None)[:7]
    acc = conv_accumulate(x, w, a)
    if residual is not None:
        acc += rescale_int32(residual, residual_bias, residual_scale)
    return requantise_channels(acc, bias, scale, a["low"], a["high"])


def _qdense(operands: Operands, a: Attributes) -> Array:
    x, w, bias, scale = operands
    return requantise_channels(exact_matmul(w, x.T).T, bias, scale, a["low"], a["high"])


def _qadd(operands: Operands, a: Attributes) -> Array:
    x, y, x_bias, x_scale, y_bias, y_scale, bias, scale = operands
    return requantise_channels(
        rescale_int32(x, x_bias, x_scale) + rescale_int32(y, y_bias, y_scale), bias, scale, a["low"], a["high"]
    )


def _qavg_pool2d(operands: Operands, a: Attributes) -> Array:
    """With `ceil`, the last windows hang over the end, where there is padding too."""
    x, bias, scale = operands
    (kh, kw), (sy, sx) = a["kernel"], a["strides"]
    top, left, bottom, right = a["pads"]
    if a["ceil"]:
        bottom += -(x.shape[2] + top + bottom - kh) % sy
        right += -(x.shape[3] + left + right - kw) % sx
    padded = pad_image(x, (top, left, bottom, right), a["pad_value"])
    size = _output_size(padded, (kh, kw), a)
    if size == (1, 1):
        acc = padded[:, :, :kh, :kw].sum(axis=(2, 3), dtype=np.int32, keepdims=True)
        return requantise_channels(acc, bias, scale, a["low"], a["high"])
    acc = np.zeros((*x.shape[:2], *size), np.int32)
    for view in taps(padded, (kh, kw), (sy, sx), (1, 1), size):
        acc += view
    return requantise_channels(acc, bias, scale, a["low"], a["high"])


def _requantize(operands: Operands, a: Attributes) -> Array:
    x, bias, scale = operands
    return requantise_channels(x.astype(np.int32), bias, scale, a["low"], a["high"])


def _pack_nchwc(operands: Operands, a: Attributes) -> Array:
    x, batch, block = operands[0], a["batch"], a["block"]
    n, c, h, w = (*x.shape, 1, 1)[:4]
    whole = np.zeros((-(-n // batch) * batch, -(-c // block) * block, h, w), x.dtype)
    whole[:n, :c] = x.reshape(n, c, h, w)
    tiles = whole.reshape(whole.shape[0] // batch, batch, whole.shape[1] // block, block, h, w)
    return np.ascontiguousarray(tiles.transpose(0, 2, 4, 5, 1, 3))


def _unpack_nchwc(operands: Operands, a: Attributes) -> Array:
    n_outer, c_outer, h, w, batch, block = operands[0].shape
    n, c = a["shape"][:2]
    whole = operands[0].transpose(0, 4, 1, 5, 2, 3).reshape(n_outer * batch, c_outer * block, h, w)
    return np.ascontiguousarray(whole[:n, :c]).reshape(a["shape"])


def _im2col(operands: Operands, a: Attributes) -> Array:
    x, (kh, kw), (top, left, bottom, right) = operands[0], a["kernel"], a["pads"]
    strides, dilations = a["strides"], a["dilations"]
    if a["fold"] == "columns":
        kh, top, bottom, strides, dilations = 1, 0, 0, (1, strides[1]), (1, dilations[1])
    padded = pad_image(x, (top, left, bottom, right), a["pad_value"])
    size = _output_size(padded, (kh, kw), {"strides": strides, "dilations": dilations})
    columns = np.stack(list(taps(padded, (kh, kw), strides, dilations, size)), axis=1)
    return columns.reshape(len(x), kh * kw * x.shape[1], *size)


QUANTISED_KERNELS: dict[str, Kernel] = {
    "qconv2d": _qconv2d,
    "qdense": _qdense,
    "qadd": _qadd,
    "qavg_pool2d": _qavg_pool2d,
    "requantize": _requantize,
    "pack_nchwc": _pack_nchwc,
    "unpack_nchwc": _unpack_nchwc,
    "im2col": _im2col,
}

KERNELS: dict[str, Kernel] = {**FLOAT_KERNELS, **QUANTISED_KERNELS}
"""Every operator; those that only move or compare data (reshape, concat, qmax_pool2d, …) are the float executor's own."""
