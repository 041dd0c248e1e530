"""How far one array is from another, element by element and as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.element_types import ElementType, numpy_dtype

TOLERANCE = 1e-3
"""Of an output's relative error. Sums in float32 in another order, functions by other formulas: 10⁻⁵ is much already."""
UNITS_IN_LAST_PLACE = 8
"""Of an output in a narrower type, whose rounding is the larger part of the error."""
CHUNK = 1 << 16
"""Elements compared at once, so that the comparison needs no memory to speak of."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of `found` from `expected`, arrays of one shape.

    largest: absolute, over all elements; infinite where one of the two is not finite and the other is not the same.
    relative: ‖found − expected‖ / ‖expected‖ over what is finite there; `largest` where that norm is 0.
    differing: elements outside the tolerance.
    where: the index of the largest difference; found, expected: the values there (None for arrays without elements).
    """

    largest: float
    relative: float
    differing: int
    elements: int
    where: tuple[int, ...] = ()
    found: float | None = None
    expected: float | None = None


def difference(found: np.ndarray, expected: np.ndarray, rtol: float = 0.0, atol: float = 0.0) -> Difference:
    """In float64. An element differs when |found − expected| > atol + rtol · |expected|; NaN equals NaN."""
    flat_found, flat_expected = np.ravel(found), np.ravel(expected)
    largest, at, differing, error, norm = -1.0, 0, 0, 0.0, 0.0
    for start in range(0, flat_expected.size, CHUNK):
        a = flat_found[start : start + CHUNK].astype(np.float64)
        b = flat_expected[start : start + CHUNK].astype(np.float64)
        apart, outside = _apart(a, b, rtol, atol)
        differing += int(np.count_nonzero(outside))
        error += float(apart @ apart)
        finite = b[np.isfinite(b)]
        norm += float(finite @ finite)
        furthest = int(apart.argmax())
        if apart[furthest] > largest:
            largest, at = float(apart[furthest]), start + furthest
    if not flat_expected.size:
        return Difference(0.0, 0.0, 0, 0)
    where = tuple(int(i) for i in np.unravel_index(at, np.shape(expected)))
    relative = (error / norm) ** 0.5 if norm else largest
    return Difference(largest, relative, differing, flat_expected.size, where, float(flat_found[at]), float(flat_expected[at]))


def _apart(a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> tuple[np.ndarray, np.ndarray]:
    """|a − b|, and whether that is outside the tolerance."""
    with np.errstate(all="ignore"):  # infinities, which are what they are
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(a - b))
        apart[np.isnan(apart)] = np.inf
        return apart, ~same & ~(apart <= atol + rtol * np.abs(b))


def tolerance_of(element: ElementType) -> float:
    """Of the relative error of an output of this type."""
    if not element.is_float or element.bits >= 32:
        return TOLERANCE
    narrow = np.array([1.0]).astype(numpy_dtype(element.name))
    step = float(np.nextafter(narrow, narrow + narrow)[0]) - 1.0
    return max(TOLERANCE, UNITS_IN_LAST_PLACE * step)
