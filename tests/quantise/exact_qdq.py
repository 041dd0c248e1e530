"""QDQ arithmetic in exact rational numbers, as the ONNX operators' texts say it, and how an executor's levels differ from it.

quantize(real) = saturate(round half to even(real / scale) + zero point), of a real number that nothing has rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Array = np.ndarray
NEAR = 2.0**-20
"""Quotients in float64 (below 2^12, right to 2^-38) that are at least so far from a tie round as the exact ones do."""


def quantize_sums(terms: list[tuple[Array, Fraction]], zero_point: int, low: int = -128, high: int = 127) -> Array:
    """Levels of Σ numbers · ratio; terms: whole numbers below 2^31 (of shapes that broadcast), and the ratio of their unit to
    the output's scale."""
    quotient = sum(numbers.astype(np.float64) * float(ratio) for numbers, ratio in terms)
    quotient = np.clip(quotient, -(2.0**12), 2.0**12)
    levels = np.rint(quotient).astype(np.int64)
    whole = np.broadcast_arrays(*(numbers for numbers, _ in terms))
    for index in zip(*np.nonzero(np.abs(np.abs(quotient - levels) - 0.5) < NEAR), strict=True):
        exact = sum((int(numbers[index]) * ratio for numbers, (_, ratio) in zip(whole, terms, strict=True)), Fraction(0))
        levels[index] = round(exact)  # Python rounds half to even
    return np.clip(levels + zero_point, low, high).astype(np.int8)


@dataclass
class Differences:
    """How many of how many levels differ, and by at most what."""

    outputs: int = 0
    different: int = 0
    largest: int = 0

    def add(self, found: Array, expected: Array) -> None:
        """Levels inside the range count; the bounds, at which nothing can differ, do only where one of both is inside."""
        inside = (np.abs(expected + 0.5) < 127) | (np.abs(found + 0.5) < 127)
        apart = np.abs(found.astype(int) - expected.astype(int))
        self.outputs += int(inside.sum())
        self.different += int((apart > 0).sum())
        self.largest = max(self.largest, int(apart.max(initial=0)))

    @property
    def share(self) -> float:
        return self.different / self.outputs
