"""What each scalar operation of the IR means, on Python numbers.

Integers are two's complement and wrap. float32 results are those of float64 arithmetic rounded once, which for + - · / and
√ is IEEE float32 exactly. `min` and `max` give their second operand when one is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import c_float

import numpy as np

from vdla.compiler.ir.bounds import FULL_RANGE
from vdla.isa.semantics import requantise as requantise_arrays
from vdla.isa.semantics import rescale as rescale_arrays


def wrap(value: int, dtype: str) -> int:
    """`value` modulo 2^width, in the range of `dtype`."""
    low, high = FULL_RANGE[dtype]
    return (value - low) % (high - low + 1) + low


def round_float32(value: float) -> float:
    """To the nearest float32, beyond its range to infinity."""
    return c_float(value).value


def cast_to_integer(value: float, dtype: str) -> int:
    """Truncates. What `dtype` cannot hold is undefined in the IR; here it wraps, and NaN and infinities give 0."""
    return wrap(int(value), dtype) if math.isfinite(value) else 0


def cast_int64_to_float32(value: int) -> float:
    """Rounded once, not by way of float64."""
    return float(np.int64(value).astype(np.float32))


def shift_left(a: int, b: int, bits: int) -> int:
    """Shift counts are taken modulo the width."""
    return a << (b & bits - 1)


def shift_right(a: int, b: int, bits: int) -> int:
    """Arithmetic, towards minus infinity; shift counts are taken modulo the width."""
    return a >> (b & bits - 1)


def divide(a: float, b: float) -> float:
    """IEEE division."""
    if b:
        return a / b
    return math.nan if a == 0 or math.isnan(a) else math.copysign(math.inf, a) * math.copysign(1.0, b)


def minimum(a: float, b: float) -> float:
    return a if a < b else b


def maximum(a: float, b: float) -> float:
    return a if a > b else b


def ieee(f: Callable[[np.float64], np.float64]) -> Callable[[float], float]:
    """`f` in float64 with IEEE's infinities and NaNs where Python would raise."""

    def quiet(x: float) -> float:
        with np.errstate(all="ignore"):
            return float(f(np.float64(x)))

    return quiet


def sigmoid(x: float) -> float:
    """1 / (1 + e⁻ˣ), without overflow."""
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x)) if x == x else x


def power(x: float, y: float) -> float:
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(x), np.float64(y)))


def remainder(x: float, y: float) -> float:
    """C's fmod: the sign of the dividend; NaN where there is none."""
    with np.errstate(all="ignore"):
        return float(np.fmod(np.float64(x), np.float64(y)))


FLOAT_CALLS: dict[str, Callable[..., float]] = {
    "exp": ieee(np.exp),
    "log": ieee(np.log),
    "sqrt": ieee(np.sqrt),
    "rsqrt": ieee(lambda x: 1 / np.sqrt(x)),
    "tanh": math.tanh,
    "sigmoid": sigmoid,
    "erf": math.erf,
    "pow": power,
    "fmod": remainder,
    "expm1": ieee(np.expm1),
    "log1p": ieee(np.log1p),
    "sin": ieee(np.sin),
    "cos": ieee(np.cos),
    "tan": ieee(np.tan),
    "asin": ieee(np.arcsin),
    "acos": ieee(np.arccos),
    "atan": ieee(np.arctan),
    "sinh": ieee(np.sinh),
    "cosh": ieee(np.cosh),
    "asinh": ieee(np.arcsinh),
    "acosh": ieee(np.arccosh),
    "atanh": ieee(np.arctanh),
    "floor": ieee(np.floor),
    "ceil": ieee(np.ceil),
    "round_even": ieee(np.rint),
    "abs": abs,
}


def requantise(acc: int, bias: int, scale: int, low: int, high: int) -> int:
    return int(requantise_arrays(np.array([acc]), np.array([bias]), np.array([scale]), low, high)[0])


def rescale(acc: int, bias: int, scale: int) -> int:
    return int(rescale_arrays(np.array([acc]), np.array([bias]), np.array([scale]))[0])
