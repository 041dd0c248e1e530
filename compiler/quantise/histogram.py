"""What was seen of one tensor, and the range chosen for its levels by one of four methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

Array = np.ndarray
Function = Callable[[Array], Array]
"""float64 of any shape → the same."""

BINS = 4096
"""Over the symmetric range; an activation that is never negative uses half of them."""
LEVELS = 256
CLIPPED = 2.0
"""How much more a clipped error counts than a rounded one: what is clipped errs always to one side, and noise averages out."""
STEPS = 64
"""Ranges tried from nothing to all that was observed, on each side of zero."""


class Method(StrEnum):
    """How a range is chosen.

    minmax: all that was seen. percentile: all but the tails. entropy: the least Kullback-Leibler divergence of the clipped
    distribution from its quantised form. mse: the least expected squared error of clipping and rounding together, seen through
    the functions that read the tensor, where these are all that do. best: of the others but entropy, the one whose outputs
    are nearest to the float model's on calibration inputs.
    """

    BEST = "best"

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"


@dataclass(frozen=True, slots=True)
class Range:
    """What was observed in a tensor, and the interval chosen to be represented."""

    low: float
    high: float
    observed_low: float
    observed_high: float

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.observed_low) and np.isfinite(self.observed_high))


class Histogram:
    """Counts of a tensor's values over [-reach, reach], which doubles when a value lies outside; exact zeros apart.

    Zeros are represented without error at any range (padding, ReLU), so they have no part in the choice. Once a value is not
    finite, `low` and `high` are not, and there is nothing to choose.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.reach = 0.0
        self.low, self.high = np.inf, -np.inf

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    def add(self, values: Array) -> None:
        """Count float values."""
        flat = values.ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite(low) or not np.isfinite(high):
            self.low, self.high = -np.inf, np.inf
            return
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high))
        if self.reach == 0.0:
            return
        index = (flat * np.float32(BINS / 2 / self.reach) + np.float32(BINS / 2)).astype(np.int32)
        counts = np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)
        counts[BINS // 2] -= flat.size - np.count_nonzero(flat)
        self.counts += counts

    def _widen(self, reach: float) -> None:
        """Double the reach, merging bins in pairs, until it holds `reach`."""
        if self.reach == 0.0:
            self.reach = max(reach, 1e-30) if reach > 0 else 0.0
        while self.reach < reach:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS // 4 + BINS // 2] = merged
            self.reach *= 2

    @property
    def centres(self) -> Array:
        return (np.arange(BINS) + 0.5) * (2 * self.reach / BINS) - self.reach

    def choose(self, method: Method, percentile: float, functions: Sequence[Function] = ()) -> Range:
        """The range to represent; always holds 0. functions: what alone reads the tensor, for Method.MSE."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if not self.finite or high == low:
            return Range(low, high, self.low, self.high)
        match method:
            case Method.PERCENTILE:
                low, high = self._percentile_range(percentile)
            case Method.ENTROPY:
                low, high = self._entropy_range(low, high)
            case Method.MSE:
                low, high = self._least_squares_range(low, high, functions)
        return Range(low, high, self.low, self.high)

    def _percentile_range(self, percentile: float) -> tuple[float, float]:
        total = self.counts.cumsum()
        tail = (100.0 - percentile) / 100.0 * total[-1]
        edges = np.linspace(-self.reach, self.reach, BINS + 1)
        low = edges[np.searchsorted(total, tail, side="right")] if total[-1] else 0.0
        high = edges[min(np.searchsorted(total, total[-1] - tail, side="left") + 1, BINS)] if total[-1] else 0.0
        return float(np.clip(low, min(self.low, 0.0), 0.0)), float(np.clip(high, 0.0, max(self.high, 0.0)))

    def _entropy_range(self, low: float, high: float) -> tuple[float, float]:
        """Both sides narrowed by one fraction, from where a bin is a level on."""
        x = self.centres
        fractions = [f for f in np.arange(STEPS // 8, STEPS + 1) / STEPS if (high - low) * f * BINS > 2 * self.reach * LEVELS]
        found = [divergence(self.counts, (x >= low * f) & (x <= high * f)) for f in fractions]
        best = fractions[int(np.argmin(found))] if found else 1.0
        return low * float(best), high * float(best)

    def _least_squares_range(self, low: float, high: float, functions: Sequence[Function]) -> tuple[float, float]:
        """The (low, high) of a grid with the least expected squared error of f(x̂) for each f that reads x.

        A clipped value errs by f's distance to the bound; one inside by f'²·step²/12, as if uniform between levels.
        """
        x = self.centres
        fractions = np.arange(1, STEPS + 1) / STEPS
        lows = low * fractions if low < 0 else np.zeros(1)
        highs = high * fractions if high > 0 else np.zeros(1)
        step = (highs[None, :] - lows[:, None]) / (LEVELS - 1)
        error = np.zeros(step.shape)
        for function in functions or (identity,):
            y = np.nan_to_num(function(x), posinf=0.0, neginf=0.0)
            size = float(self.counts @ y**2) or 1.0
            slope = self.counts * np.nan_to_num(np.gradient(y, x)) ** 2
            ends = (np.nan_to_num(function(bounds), posinf=0.0, neginf=0.0) for bounds in (lows, highs))
            below, lost_below = tail_error(x, y, self.counts, slope, lows, next(ends))
            above, lost_above = tail_error(-x, y, self.counts, slope, -highs, next(ends))
            inside = slope.sum() - lost_below[:, None] - lost_above[None, :]
            error += (CLIPPED * (below[:, None] + above[None, :]) + inside * step**2 / 12) / size
        i, j = np.unravel_index(int(error.argmin()), error.shape)
        margin = 1 + float(self.counts.sum()) ** -0.5  # few values seen say little about the extremes
        return float(lows[i]) * margin, float(highs[j]) * margin


def identity(x: Array) -> Array:
    return x


def tail_error(x: Array, y: Array, counts: Array, slope: Array, bounds: Array, at: Array) -> tuple[Array, Array]:
    """For each bound: Σ counts·(f(bound) - f(x))² over x < bound, and the sum of `slope` there. y: f(x); at: f(bounds)."""
    outside = x[None, :] < bounds[:, None]
    return (np.where(outside, at[:, None] - y[None, :], 0.0) ** 2) @ counts, outside @ slope


def divergence(counts: Array, inside: Array) -> float:
    """Kullback-Leibler divergence of a histogram clipped to the bins `inside` from the same in LEVELS levels."""
    kept = np.flatnonzero(inside)
    first, last = int(kept[0]), int(kept[-1])
    clipped = counts[first : last + 1].astype(np.float64)
    level = np.arange(len(clipped)) * LEVELS // len(clipped)
    filled = clipped > 0
    total = np.bincount(level, clipped, LEVELS)
    share = np.bincount(level, filled, LEVELS)
    spread = np.where(filled, (total / np.maximum(share, 1))[level], 0.0)
    clipped[0] += counts[:first].sum()
    clipped[-1] += counts[last + 1 :].sum()
    p, q = clipped / max(clipped.sum(), 1.0), spread / max(spread.sum(), 1.0)
    return float(np.sum(p * np.log((p + 1e-12) / (q + 1e-12))))
