"""Made-up photographs: smooth noise at several scales, normalised as ImageNet's images are."""

from __future__ import annotations

import numpy as np

from vdla.zoo.random_numbers import gaussian, stream

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
OCTAVES = {4: 1.0, 8: 0.7, 16: 0.5, 32: 0.35, 64: 0.25, 128: 0.15}  # grid points across the image: strength (about 1/f)


def photographs(count: int, seed: int, size: int = 224) -> np.ndarray:
    """float32[count, 3, size, size]: brightness in [0, 1], less ImageNet's mean, over its deviation."""
    return ((brightness(count, seed, size) - MEAN) / DEVIATION).astype(np.float32)


def brightness(count: int, seed: int, size: int = 224) -> np.ndarray:
    """float32[count, 3, size, size] in [0, 1]. Colours are correlated."""
    bits = stream(seed, "photographs")
    light = np.zeros((count, 3, size, size), np.float32)
    for points, strength in OCTAVES.items():
        weights = interpolation(size, points)
        noise = 0.8 * gaussian(bits, (count, 1, points, points)) + 0.6 * gaussian(bits, (count, 3, points, points))
        light += np.float32(strength) * (weights @ noise.astype(np.float32) @ weights.T)
    return (1 / (1 + np.exp(-light))).astype(np.float32)


def interpolation(size: int, points: int) -> np.ndarray:
    """float32[size, points]: linear interpolation from a grid of `points` to `size` pixels."""
    position = np.linspace(0, points - 1, size)[:, None]
    return np.maximum(0, 1 - np.abs(position - np.arange(points))).astype(np.float32)
