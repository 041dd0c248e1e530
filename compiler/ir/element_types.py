"""The dtypes of the IR, by what it can do with them."""

from __future__ import annotations

from vdla.element_types import ELEMENT_TYPES

BOOL = "bool"
FLOATS = ("float32", "float64")
"""Floats that have arithmetic."""
INTEGERS = tuple(name for name, t in ELEMENT_TYPES.items() if t.is_integer and t.bits >= 8)
"""Integers that have arithmetic."""
NARROW_FLOATS = tuple(name for name, t in ELEMENT_TYPES.items() if t.is_float and name not in FLOATS)
NARROW_INTEGERS = tuple(name for name, t in ELEMENT_TYPES.items() if t.is_integer and t.bits < 8)
NARROW = (*NARROW_FLOATS, *NARROW_INTEGERS)
"""Types that are only loaded, stored, chosen, cast and compared for equality. One element takes whole bytes in a buffer."""
DTYPES = (BOOL, *INTEGERS, *FLOATS, *NARROW)
