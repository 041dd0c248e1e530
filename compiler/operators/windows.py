"""Sliding windows in NumPy, over any number of spatial axes, which the kernels of convolutions and pools share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np


def region(starts: Sequence[int], sizes: Sequence[int], strides: Sequence[int] | None = None) -> tuple[slice, ...]:
    """Of x[N, C, …] the part of each map that begins at `starts` and has `sizes` elements, `strides` apart."""
    steps = strides or (1,) * len(starts)
    spatial = (slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(starts, sizes, steps, strict=True))
    return (slice(None), slice(None), *spatial)


def pad_image(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """x[N, C, …] with elements of `value` before and after each map: `pads` is that of every axis before, then after."""
    if not any(pads):
        return x
    rank = x.ndim - 2
    before, after = pads[:rank], pads[rank:]
    sizes = x.shape[2:]
    out = np.full((*x.shape[:2], *(b + n + a for b, n, a in zip(before, sizes, after, strict=True))), value, x.dtype)
    out[region(before, sizes)] = x
    return out


def taps(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], size: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each kernel position, the view of padded x[N, C, …] it meets: [N, C, *size]."""
    for position in product(*map(range, kernel)):
        starts = [k * d for k, d in zip(position, dilations, strict=True)]
        yield x[region(starts, size, strides)]
