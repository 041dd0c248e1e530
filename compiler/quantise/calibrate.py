"""Calibration: run sample inputs through the float graph and choose the range each activation is quantised over."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError, RunError

Array = np.ndarray
Inputs = Mapping[str, Array]

BINS = 4096
"""Histogram bins over the symmetric range; an activation that is never negative uses half of them."""


class Method(StrEnum):
    """How a range is chosen. MSE minimises the expected squared error of clipping and rounding together."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"


@dataclass(frozen=True, slots=True)
class Range:
    """What was observed in a tensor, and the interval chosen to be represented."""

    low: float
    high: float
    observed_low: float
    observed_high: float


class Histogram:
    """Counts of a tensor's values over [-reach, reach], which doubles when a value lies outside; exact zeros apart.

    Zeros are represented without error at any range (padding, ReLU), so they have no part in the choice.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.reach = 0.0
        self.low, self.high = np.inf, -np.inf

    def add(self, values: Array, where: str) -> None:
        """Count float values. Raises `ModelError` when one is not finite."""
        flat = values.ravel()
        low, high = float(flat.min()), float(flat.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise ModelError(
                "an activation is not finite", where=where, found=f"{low} to {high}", hint="other calibration inputs"
            )
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

    def choose(self, method: Method, percentile: float) -> Range:
        """The range to represent; always holds 0."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if method is Method.PERCENTILE:
            low, high = self._percentile_range(percentile)
        elif method is Method.MSE:
            low, high = self._least_squares_range()
        return Range(low, high, self.low, self.high)

    def _percentile_range(self, percentile: float) -> tuple[float, float]:
        total = self.counts.cumsum()
        tail = (100.0 - percentile) / 100.0 * total[-1]
        edges = np.linspace(-self.reach, self.reach, BINS + 1)
        low = edges[np.searchsorted(total, tail, side="right")] if total[-1] else 0.0
        high = edges[min(np.searchsorted(total, total[-1] - tail, side="left") + 1, BINS)] if total[-1] else 0.0
        return float(np.clip(low, min(self.low, 0.0), 0.0)), float(np.clip(high, 0.0, max(self.high, 0.0)))

    def _least_squares_range(self, steps: int = 64) -> tuple[float, float]:
        """The (low, high) of a grid with the least expected squared error.

        A clipped value errs by its distance to the bound; one inside by step²/12, as if uniform between levels.
        """
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if high == low:
            return low, high
        x = self.centres
        fractions = np.arange(1, steps + 1) / steps
        lows = low * fractions if low < 0 else np.zeros(1)
        highs = high * fractions if high > 0 else np.zeros(1)
        below, n_below = _tail_error(x, self.counts, lows)
        above, n_above = _tail_error(-x, self.counts, -highs)
        step = (highs[None, :] - lows[:, None]) / 255
        inside = self.counts.sum() - n_below[:, None] - n_above[None, :]
        error = below[:, None] + above[None, :] + inside * step**2 / 12
        i, j = np.unravel_index(int(error.argmin()), error.shape)
        margin = 1 + float(self.counts.sum()) ** -0.5  # few values seen say little about the extremes
        return float(lows[i]) * margin, float(highs[j]) * margin


def _tail_error(x: Array, counts: Array, bounds: Array) -> tuple[Array, Array]:
    """For each bound: Σ counts·(bound - x)² over x < bound, and the count of them."""
    gap = np.maximum(bounds[:, None] - x[None, :], 0.0)
    return (gap**2) @ counts, (gap > 0) @ counts


def calibrate(
    graph: Graph,
    calibration: Sequence[Inputs],
    tensors: Collection[str],
    method: Method = Method.MSE,
    percentile: float = 99.99,
) -> dict[str, Range]:
    """The range of each of `tensors` over all calibration inputs.

    Raises `RunError` when there are no inputs to observe them with, `ModelError` when an activation is not finite.
    """
    if not tensors:
        return {}
    if not calibration:
        raise RunError("no calibration inputs", expected="at least one dict of input name to array")
    histograms = {name: Histogram() for name in tensors}

    def count(name: str, values: Array) -> None:
        if name in histograms:
            histograms[name].add(values, name)

    for inputs in calibration:
        run_reference(graph, inputs, observe=count)
    return {name: histogram.choose(method, percentile) for name, histogram in histograms.items()}


def generate_calibration(graph: Graph, count: int = 4, seed: int = 0) -> list[dict[str, Array]]:
    """Standard normal inputs, for a model that comes without data. Inputs that are not float32 are refused."""
    generator = np.random.default_rng(seed)
    for name in graph.inputs:
        if graph.tensors[name].dtype != "float32":
            raise ModelError(
                "calibration data can be generated for float32 inputs only", where=name, found=graph.tensors[name].dtype
            )
    return [
        {name: generator.standard_normal(graph.tensors[name].shape, dtype=np.float32) for name in graph.inputs}
        for _ in range(count)
    ]
