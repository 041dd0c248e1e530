"""Rounding to whole parts, of numbers and of NumPy arrays."""

from __future__ import annotations

from typing import Any


def ceil_div(total: Any, part: Any) -> Any:
    """How many parts of `part` > 0 hold `total`: the quotient rounded up."""
    return -(-total // part)


def round_up(total: Any, multiple: Any) -> Any:
    """The least multiple of `multiple` > 0 that is not below `total`."""
    return ceil_div(total, multiple) * multiple
