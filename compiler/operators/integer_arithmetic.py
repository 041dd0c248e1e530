"""Quantised arithmetic in NumPy, exactly, and what the declarations of quantised operators share.

It shares no code with the tensor expressions or the accelerator, so that agreement with it means something. `requantise` and
`rescale` are those of vdla.isa.semantics and act for each channel c (axis 1), with int32[C] (or [1], for all) constants `bias`
and `scale` (packed scale words). Zero points of inputs are folded into `bias`, and `pad_value` is the input's zero point, so
that padding is exact.

Convolution is a matrix product in floating point on BLAS, exact because every partial sum is an integer below the
mantissa's limit: K is cut into chunks whose worst partial sum, from the actual weights, stays within 2²⁴ in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import Attributes
from vdla.compiler.operators.operator import INT32, Input
from vdla.compiler.operators.shapes import window_output
from vdla.compiler.operators.windows import pad_image, taps
from vdla.isa.semantics import INT32_MAX, INT32_MIN, unpack_scale

Array = np.ndarray
LOW, HIGH = -128, 127
LEVELS = {"low": integer(LOW, LOW, HIGH), "high": integer(HIGH, LOW, HIGH)}
"""What a requantisation clips to."""
PAD_LEVEL = integer(0, LOW, HIGH)
FLOAT32_EXACT = 1 << 24
"""float32 holds every integer of at most this magnitude."""


def parameters_of(channels: tuple[str, int], prefix: str = "") -> tuple[Input, Input]:
    """The constants of one rescaling: a bias and a scale word for each channel, or one for all."""
    return (
        Input(f"{prefix}bias", INT32, channels=channels, or_one=True),
        Input(f"{prefix}scale", INT32, channels=channels, or_one=True),
    )


def rescale_channels(acc: Array, bias: Array, scale: Array) -> Array:
    """`semantics.rescale` with bias and scale words along axis 1 of acc (int32[N, C, …]); works in place where it can."""
    along = (-1,) + (1,) * (acc.ndim - 2)
    multiplier, shift, zero_point = (part.reshape(along) for part in unpack_scale(scale))
    total = (acc + bias.reshape(along).astype(np.int32)).astype(np.int64)  # int32 addition wraps, as the machine's does
    total *= multiplier
    odd = total >> shift & (shift > 0)  # half to even: the half itself goes up only to leave an odd number
    odd &= 1
    total += np.where(shift > 0, (np.int64(1) << np.maximum(shift - 1, 0)) - 1, 0)
    total += odd
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
    others = tuple(range(w.ndim - 1))
    largest = np.maximum(w.max(axis=others, initial=0).astype(np.int64), -w.min(axis=others, initial=0).astype(np.int64))
    reach = largest.cumsum() * 128
    result = np.zeros((*np.broadcast_shapes(w.shape[:-2], x.shape[:-2]), w.shape[-2], x.shape[-1]), np.int32)
    start = 0
    while start < depth:
        before = reach[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(reach, before + FLOAT32_EXACT, side="right")))
        part = np.matmul(w[..., start:stop].astype(np.float32), x[..., start:stop, :].astype(np.float32, copy=False))
        result += part.astype(np.int32)
        start = stop
    return result


def conv_accumulate(x: Array, w: Array, a: Attributes) -> Array:
    """Σ pad(x)·w → int32[N, O, OH, OW], by im2col for each group at once."""
    groups = a["groups"]
    o, c, kh, kw = w.shape
    padded = pad_image(x, a["pads"], a["pad_value"])
    size = [window_output(padded.shape[2 + i], (kh, kw)[i], a["strides"][i], 0, a["dilations"][i]) for i in (0, 1)]
    if c == 1 and groups == o:
        return depthwise_accumulate(padded, w, a, size)
    n = len(x)
    columns = np.empty((n, groups * c, kh * kw, *size), np.float32)
    for position, view in enumerate(taps(padded, (kh, kw), a["strides"], a["dilations"], size)):
        columns[:, :, position] = view
    weights = w.reshape(groups, o // groups, c * kh * kw)
    return exact_matmul(weights, columns.reshape(n, groups, c * kh * kw, size[0] * size[1])).reshape(n, o, *size)


def depthwise_accumulate(padded: Array, w: Array, a: Attributes, size: Sequence[int]) -> Array:
    """A sum over the kernel's positions, in float32 while that is exact."""
    exact = int(np.abs(w.astype(np.int64)).sum(axis=(1, 2, 3)).max(initial=0)) * 128 <= FLOAT32_EXACT
    dtype = np.dtype(np.float32 if exact else np.int32)
    acc: Array = np.zeros((len(padded), len(w), *size), dtype)
    views = taps(padded.astype(dtype), w.shape[2:], a["strides"], a["dilations"], size)
    for view, weight in zip(views, w.astype(dtype).reshape(len(w), -1).T, strict=True):
        acc += view * weight.reshape(1, -1, 1, 1)
    return acc.astype(np.int32)


def window_sums(padded: Array, kernel: Sequence[int], strides: Sequence[int], size: Sequence[int]) -> Array:
    """int8[N, C, H, W] → int32[N, C, OH, OW], the sum over each window."""
    if tuple(size) == (1, 1):
        total: Array = padded[:, :, : kernel[0], : kernel[1]].sum(axis=(2, 3), dtype=np.int32, keepdims=True)
        return total
    total = np.zeros((*padded.shape[:2], *size), np.int32)
    for view in taps(padded, kernel, strides, (1, 1), size):
        total += view
    return total
