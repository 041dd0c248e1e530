"""Sliding windows in NumPy, over any number of spatial axes, which the kernels of convolutions and pools share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np


def pad_image(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """x[N, C, …] with elements of `value` before and after each map: `pads` is that of every axis before, then after."""
    if not any(pads):
        return x
    rank = x.ndim - 2
    before, after = pads[:rank], pads[rank:]
    sizes = x.shape[2:]
    out = np.full((*x.shape[:2], *(b + n + a for b, n, a in zip(before, sizes, after, strict=True))), value, x.dtype)
    out[(..., *(slice(b, b + n) for b, n in zip(before, sizes, strict=True)))] = x
    return out


def taps(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], size: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each kernel position, the view of padded x[N, C, …] it meets: [N, C, *size]."""
    for position in product(*map(range, kernel)):
        starts = [k * d for k, d in zip(position, dilations, strict=True)]
        yield x[(..., *(slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(starts, size, strides, strict=True)))]
