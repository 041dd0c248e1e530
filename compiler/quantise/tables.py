"""Functions of one number as tables from 256 levels to 256 levels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vdla.compiler.graph.unary_regions import UnaryRegion
from vdla.compiler.quantise.affine import HIGH, LOW, Affine

Array = np.ndarray


def table_of(region: UnaryRegion, x: Affine, y: Affine) -> Array:
    """int8[256]: entry q + 128 is the level of y nearest to the function, by the reference kernels, of what level q of x means.

    Where the function is no number (the logarithm of a level below 0) the nearest level at which it is one stands in: no
    activation that calibration saw lies there, but by rounding.
    """
    real = x.to_real(np.arange(LOW, HIGH + 1)).astype(np.float32)
    return y.to_levels(without_gaps(region.evaluate(real).astype(np.float64)))


def as_function(region: UnaryRegion) -> Callable[[Array], Array]:
    """The region as a function of float64."""
    return lambda x: region.evaluate(x.astype(np.float32)).astype(np.float64)


def without_gaps(values: Array) -> Array:
    """The values, each NaN replaced by the nearest number; all zero where there is none."""
    numbers = np.flatnonzero(~np.isnan(values))
    if not len(numbers):
        return np.zeros_like(values)
    nearest = np.abs(np.arange(len(values))[:, None] - numbers[None, :]).argmin(axis=1)
    return values[numbers[nearest]]
