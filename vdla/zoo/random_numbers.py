"""Random numbers that stay the same: from a bit generator's raw output, the only stream NumPy promises never to change."""

from __future__ import annotations

from math import prod
from zlib import crc32

import numpy as np


def stream(seed: int, name: str) -> np.random.PCG64:
    """A stream for each (seed, name), so that a layer's weights do not depend on the layers before it."""
    return np.random.PCG64([seed, crc32(name.encode())])


def gaussian(bits: np.random.PCG64, shape: tuple[int, ...]) -> np.ndarray:
    """Nearly normal float32 of mean 0 and variance 1: the sum of four uniforms, so within ±3.47."""
    quarters = np.asarray(bits.random_raw(prod(shape))).view(np.uint16).reshape(-1, 4)
    total = quarters[:, 0].astype(np.float32)
    for i in (1, 2, 3):
        total += quarters[:, i]
    total -= np.float32(2 * 65535)
    total *= np.float32(3**0.5 / 65536)
    return total.reshape(shape)


def uniform(bits: np.random.PCG64, low: float, high: float, count: int) -> np.ndarray:
    """float32[count] between low and high."""
    fraction = (np.asarray(bits.random_raw(count)) >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
    return (np.float32(low) + np.float32(high - low) * fraction).astype(np.float32)
