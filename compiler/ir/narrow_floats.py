"""What the narrow floats are, in Python numbers: the value of each code, and rounding to one of them.

A code is the bits of an element as a whole number. Sources: IEEE 754 for float16; bfloat16 is float32 without its lower half;
the float8 types are those of "FP8 Formats for Deep Learning" (arXiv 2209.05433) and, with the suffix fnuz, of arXiv 2206.02915;
float4_e2m1fn and float8_e8m0fnu are those of the Open Compute Project's microscaling formats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property

SCALE = "float8_e8m0fnu"


@dataclass(frozen=True)
class NarrowFloat:
    """1 sign bit, `exponent_bits`, `mantissa_bits`; exponents are stored plus `bias`.

    specials: "ieee" (the largest exponent is infinity and NaN), "fn" (all ones below the sign are NaN), "fnuz" (the sign alone
    is NaN: there is no -0) or "none".
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int
    specials: str

    @property
    def bits(self) -> int:
        return 1 + self.exponent_bits + self.mantissa_bits

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The value of each code."""
        return tuple(self.value_of(code) for code in range(1 << self.bits))

    def value_of(self, code: int) -> float:
        sign = -1.0 if code >> (self.bits - 1) else 1.0
        magnitude = code & (1 << self.bits - 1) - 1
        exponent, mantissa = magnitude >> self.mantissa_bits, magnitude & (1 << self.mantissa_bits) - 1
        if self.specials == "ieee" and exponent == (1 << self.exponent_bits) - 1:
            return math.nan if mantissa else sign * math.inf
        if self.specials == "fn" and magnitude == (1 << self.bits - 1) - 1 or self.specials == "fnuz" and magnitude == 0 > sign:
            return math.nan
        whole = mantissa + (1 << self.mantissa_bits if exponent else 0)
        return sign * math.ldexp(whole, max(exponent, 1) - self.bias - self.mantissa_bits)

    @cached_property
    def codes(self) -> dict[float, int]:
        """The code of each value that is not negative; NaN is not in it."""
        return {value: code for code, value in enumerate(self.values[: 1 << self.bits - 1]) if value == value}

    @cached_property
    def largest(self) -> float:
        return max(value for value in self.codes if math.isfinite(value))

    @cached_property
    def nan(self) -> int:
        """The code that stands for NaN; 0 where there is none."""
        return next((code for code, value in enumerate(self.values) if value != value), 0)

    def round(self, x: float) -> float:
        """The nearest value, ties to the even code; see `nodes.Cast` for what lies outside."""
        if x != x:
            return x if self.specials != "none" else 0.0
        if math.isinf(x):
            return self.beyond(x)
        exponent = max(math.frexp(x)[1] - 1, 1 - self.bias)
        quantum = exponent - self.mantissa_bits
        rounded = math.ldexp(round(math.ldexp(abs(x), -quantum)), quantum)
        if rounded > self.largest:
            return self.beyond(x)
        return abs(rounded) if self.specials == "fnuz" and not rounded else math.copysign(rounded, x)

    def beyond(self, x: float) -> float:
        """What a value above the largest becomes."""
        return math.copysign({"ieee": math.inf, "fn": math.nan, "fnuz": math.nan, "none": self.largest}[self.specials], x)

    def encode(self, value: float) -> int:
        """The code of one of its values."""
        if value != value:
            return self.nan
        return self.codes[abs(value)] | (int(math.copysign(1.0, value) < 0) << self.bits - 1)


class ScaleFloat(NarrowFloat):
    """float8_e8m0fnu: 2^(code - 127), and NaN for 255."""

    @property
    def bits(self) -> int:
        return 8

    def value_of(self, code: int) -> float:
        return math.nan if code == 255 else math.ldexp(1.0, code - self.bias)

    @cached_property
    def codes(self) -> dict[float, int]:
        return {value: code for code, value in enumerate(self.values[:255])}

    def round(self, x: float) -> float:
        """Ties go up; what is not positive or too large is NaN, what is too small the smallest."""
        if not 0 < x < math.inf:
            return math.nan
        half, exponent = math.frexp(x)
        exponent += -1 if half < 0.75 else 0
        return math.nan if exponent > self.bias else math.ldexp(1.0, max(exponent, -self.bias))

    def encode(self, value: float) -> int:
        return 255 if value != value else self.codes[value]


PARAMETERS: dict[str, tuple[int, int, int, str]] = {
    "float16": (5, 10, 15, "ieee"),
    "bfloat16": (8, 7, 127, "ieee"),
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
    "float4_e2m1fn": (2, 1, 1, "none"),
}


@cache
def narrow_float(dtype: str) -> NarrowFloat:
    return ScaleFloat(8, 0, 127, "fn") if dtype == SCALE else NarrowFloat(*PARAMETERS[dtype])
