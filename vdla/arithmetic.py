"""Integer arithmetic that every part uses."""

from __future__ import annotations

from typing import Any


def ceil_div(a: Any, b: Any) -> Any:
    """How many `b` hold `a`: a / b rounded up, of integers or integer arrays."""
    return -(-a // b)
