"""Sliding windows in NumPy, which the kernels of convolutions and pools share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def pad_image(x: np.ndarray, pads: Sequence[int], value: float) -> np.ndarray:
    """x[N, C, H, W] with (top, left, bottom, right) elements of `value` around each map."""
    if not any(pads):
        return x
    top, left, bottom, right = pads
    n, c, h, w = x.shape
    out = np.full((n, c, top + h + bottom, left + w + right), value, x.dtype)
    out[:, :, top : top + h, left : left + w] = x
    return out


def taps(
    x: np.ndarray, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], size: Sequence[int]
) -> Iterator[np.ndarray]:
    """For each kernel position, the view of padded x[N, C, H, W] it meets: [N, C, OH, OW]."""
    (sy, sx), (dy, dx), (oh, ow) = strides, dilations, size
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            yield x[:, :, ky * dy : ky * dy + (oh - 1) * sy + 1 : sy, kx * dx : kx * dx + (ow - 1) * sx + 1 : sx]
