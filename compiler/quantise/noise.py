"""How far quantised values are from float ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Array = np.ndarray


def relative_error(exact: Array, found: Array) -> float:
    """‖found − exact‖ / ‖exact‖; 0 when both are zero, ∞ when only `exact` is."""
    difference = float(np.linalg.norm(found.astype(np.float64) - exact))
    size = float(np.linalg.norm(exact.astype(np.float64)))
    return difference / size if size else (np.inf if difference else 0.0)


def sqnr_db(exact: Array, found: Array) -> float:
    """Signal to quantisation noise; ∞ without noise."""
    error = relative_error(exact, found)
    return -20 * float(np.log10(error)) if 0 < error < np.inf else (np.inf if error == 0 else -np.inf)


def signal_to_noise(exact: Sequence[Mapping[str, Array]], found: Sequence[Mapping[str, Array]]) -> float:
    """The same over all arrays of all samples: 10 log₁₀(Σ exact² / Σ (found − exact)²)."""
    pairs = [(a[name], b[name]) for a, b in zip(exact, found, strict=True) for name in a]
    if not pairs:
        return np.inf
    return sqnr_db(
        *(np.concatenate([np.ravel(array).astype(np.float64) for array in side]) for side in zip(*pairs, strict=True))
    )
