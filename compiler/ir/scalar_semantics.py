"""What each scalar operation of the IR means, on Python numbers.

Integers are two's complement and wrap. float32 results are those of float64 arithmetic rounded once, which for + - · / and
√ is IEEE float32 exactly. `min` and `max` give their second operand when one is NaN.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from ctypes import c_float

import numpy as np

from vdla.compiler.ir.bounds import FULL_RANGE
from vdla.compiler.ir.element_types import BOOL, NARROW_FLOATS
from vdla.compiler.ir.narrow_floats import narrow_float
from vdla.element_types import ELEMENT_TYPES
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
    """Truncates. NaN is 0, what is out of range the nearest bound: of int32 for fewer bits, which wrap from there."""
    if value != value:
        return 0
    low, high = FULL_RANGE[dtype if ELEMENT_TYPES[dtype].bits >= 32 else "int32"]
    return wrap(high if value >= high else low if value <= low else int(value), dtype)


def cast_to_float32(value: int) -> float:
    """A whole number rounded once, not by way of float64."""
    return float(np.float32(np.uint64(value) if value >= 0 else np.int64(value)))


def cast(value: float, source: str, target: str) -> float:
    """`nodes.Cast` of one value: whole numbers as int, bools as bool, floats as float."""
    if target == BOOL:
        return value != 0
    if target in FULL_RANGE:
        return wrap(int(value), target) if source in FULL_RANGE else cast_to_integer(value, target)
    if target == "float64" or source in NARROW_FLOATS and target == "float32":
        return float(value)
    if source == "float64" and target == "float16":
        return narrow_float(target).round(value)
    rounded = cast_to_float32(int(value)) if source in FULL_RANGE else round_float32(value)
    return rounded if target == "float32" else narrow_float(target).round(rounded)


def constant(value: float, dtype: str) -> float:
    """The value of `Const(value, dtype)`: whole numbers wrapped and bools as int, floats rounded as float."""
    if dtype in FULL_RANGE:
        return int(value != 0) if dtype == BOOL else wrap(int(value), dtype)
    return cast(float(value), "float64", dtype)


def code_of(value: float, dtype: str) -> int:
    """The bits of a value as an unsigned number; of 4 and 2 bits, those alone."""
    if dtype in FULL_RANGE:
        return int(value) & (1 << ELEMENT_TYPES[dtype].bits) - 1
    if dtype in NARROW_FLOATS:
        return narrow_float(dtype).encode(value)
    return int.from_bytes(struct.pack("<f" if dtype == "float32" else "<d", value), "little")


def value_of(code: int, dtype: str) -> float:
    """The inverse of `code_of`."""
    if dtype in FULL_RANGE:
        return wrap(code, dtype)
    if dtype in NARROW_FLOATS:
        return narrow_float(dtype).values[code]
    return struct.unpack(*(("<f", code.to_bytes(4, "little")) if dtype == "float32" else ("<d", code.to_bytes(8, "little"))))[0]


def reinterpret(value: float, source: str, target: str) -> float:
    """The bits of `value` as `target`. Which NaN a float holds is not defined, so neither are its bits."""
    return value_of(code_of(value, source), target)


def shift_left(a: int, b: int, bits: int) -> int:
    """Shift counts are taken modulo the width."""
    return a << (b & bits - 1)


def shift_right(a: int, b: int, bits: int) -> int:
    """Towards minus infinity: arithmetic of signed, logical of unsigned numbers; shift counts are taken modulo the width."""
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
