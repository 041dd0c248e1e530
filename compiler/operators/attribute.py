"""What an operator's attribute may be: its kind, its limits and its default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Attribute:
    """accepts: whether a value will do; expected: in words, what would. Without a default (None) it is required."""

    accepts: Callable[[Any], bool]
    expected: str
    default: Any = None


def integer(default: int | None = None, low: int | None = None, high: int | None = None) -> Attribute:
    """One whole number from `low` to `high`."""
    return Attribute(lambda value: is_integer(value, low, high), f"a whole number{limits(low, high)}", default)


def integers(count: int | None = None, default: tuple[int, ...] | None = None, low: int | None = None) -> Attribute:
    """A list of `count` (any number of) whole numbers, none below `low`."""
    expected = f"{count if count is not None else 'a list of'} whole numbers{limits(low, None)}"
    return Attribute(lambda value: is_list(value, count) and all(is_integer(v, low) for v in value), expected, default)


def integer_or_integers(default: int, low: int, high: int) -> Attribute:
    """One whole number from `low` to `high`, or a list of them."""

    def accepts(value: Any) -> bool:
        values = value if is_list(value) else (value,)
        return len(values) > 0 and all(is_integer(v, low, high) for v in values)

    return Attribute(accepts, f"a whole number{limits(low, high)}, or one for each channel", default)


def real(default: float | None = None, low: float | None = None) -> Attribute:
    """One number, not NaN, at least `low`."""
    return Attribute(lambda value: is_real(value) and (low is None or value >= low), f"a number{limits(low, None)}", default)


def positive_real() -> Attribute:
    """One positive number. Required."""
    return Attribute(is_positive, "a positive number")


def positive_reals() -> Attribute:
    """One positive number, or a list of them. Required."""

    def accepts(value: Any) -> bool:
        return is_positive(value) or (is_list(value) and len(value) > 0 and all(map(is_positive, value)))

    return Attribute(accepts, "a positive number, or one for each channel")


def flag(default: bool = False) -> Attribute:
    return Attribute(lambda value: isinstance(value, bool | np.bool_), "true or false", default)


def choice(*options: str, default: str | None = None) -> Attribute:
    return Attribute(lambda value: isinstance(value, str) and value in options, " or ".join(options), default)


def is_integer(value: Any, low: int | None = None, high: int | None = None) -> bool:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and (low is None or value >= low) and (high is None or value <= high)


def is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and value == value


def is_positive(value: Any) -> bool:
    return is_real(value) and 0 < value < inf


def is_list(value: Any, count: int | None = None) -> bool:
    return isinstance(value, tuple | list) and (count is None or len(value) == count)


def limits(low: float | None, high: float | None) -> str:
    return {
        (False, False): "",
        (True, False): f", at least {low}",
        (False, True): f", at most {high}",
        (True, True): f", {low} to {high}",
    }[low is not None, high is not None]
