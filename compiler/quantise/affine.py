"""What the levels of a quantised tensor mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
LOW, HIGH = -128, 127


@dataclass(frozen=True, slots=True)
class Affine:
    """real = scale · (q - zero_point), q in -128..127."""

    scale: float
    zero_point: int

    def to_level(self, value: float) -> int:
        """The nearest int8 level of a real value, ±inf included."""
        level = min(max(value / self.scale, -1024.0), 1024.0)
        return int(np.clip(np.rint(level) + self.zero_point, LOW, HIGH))

    def to_levels(self, values: Array) -> Array:
        """Real values, ±inf included → int8, halves to even."""
        steps = np.clip(np.asarray(values, np.float64) / self.scale, -1024.0, 1024.0)
        return np.clip(np.rint(steps) + self.zero_point, LOW, HIGH).astype(np.int8)

    def to_real(self, levels: Array) -> Array:
        """int8 levels → float64."""
        return self.scale * (levels.astype(np.float64) - self.zero_point)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest real value that can be represented."""
        return self.scale * (LOW - self.zero_point), self.scale * (HIGH - self.zero_point)


Levels = Mapping[str, tuple[str, Affine]]
"""int8 tensor → the float tensor it represents, and how."""
