"""Narrow floats as LLVM code: their bits ↔ float32, lane by lane and without branches.

A value of a narrow float is its bits in an integer (`types.SCALARS`). float16 is converted by the processor's own instructions
where it has them, since LLVM would call a function of its runtime library elsewhere, which is not there to be linked; every
other conversion is integer arithmetic. No intermediate is a subnormal float32 whose value matters, because the vector units of
Armv7 take those for 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from vdla.compiler.backends.llvm.arithmetic import Builder, Value, intrinsic, like
from vdla.compiler.backends.llvm.types import HALF, I16, I32, SCALARS, lanes_of, with_lanes

FLOAT32 = SCALARS["float32"]
SIGN, INFINITY, NAN = 0x80000000, 0x7F800000, 0x7FC00000
MANTISSA_BITS, BIAS = 23, 127
BFLOAT16, FLOAT16, SCALE = "bfloat16", "float16", "float8_e8m0fnu"


@dataclass(frozen=True)
class Layout:
    """mantissa: its bits. largest: the bits of the largest finite value; beyond: those of what lies above it; nan: of NaN.

    signed_zero: -0 is another element than 0 (where it is not, its bits are NaN).
    """

    bits: int
    mantissa: int
    bias: int
    largest: int
    beyond: int
    nan: int
    signed_zero: bool = True

    @property
    def sign(self) -> int:
        return 1 << self.bits - 1

    @property
    def spare(self) -> int:
        """Bits of a float32's mantissa that this one lacks."""
        return MANTISSA_BITS - self.mantissa


LAYOUTS: dict[str, Layout] = {
    FLOAT16: Layout(16, 10, 15, 0x7BFF, 0x7C00, 0x7E00),
    "float8_e4m3fn": Layout(8, 3, 7, 0x7E, 0x7F, 0x7F),
    "float8_e4m3fnuz": Layout(8, 3, 8, 0x7F, 0x80, 0x80, signed_zero=False),
    "float8_e5m2": Layout(8, 2, 15, 0x7B, 0x7C, 0x7E),
    "float8_e5m2fnuz": Layout(8, 2, 16, 0x7F, 0x80, 0x80, signed_zero=False),
    "float4_e2m1fn": Layout(4, 1, 1, 0x7, 0x7, 0x0),
}


def to_float32(b: Builder, code: Value, dtype: str, native_half: bool) -> Value:
    """The value of a narrow float, which float32 holds exactly."""
    lanes = lanes_of(code.type)
    float32, wide = with_lanes(FLOAT32, lanes), with_lanes(I32, lanes)
    if dtype == FLOAT16 and native_half:
        return b.fpext(b.bitcast(code, with_lanes(HALF, lanes)), float32)
    bits = b.zext(code, wide)
    if dtype == BFLOAT16:
        return b.bitcast(b.shl(bits, like(bits, 16)), float32)
    if dtype == SCALE:
        return b.bitcast(_scale_bits(b, bits), float32)
    return b.bitcast(_float32_bits(b, bits, LAYOUTS[dtype]), float32)


def _scale_bits(b: Builder, code: Value) -> Value:
    """2^(code - 127): the code is the exponent, but 0 is a subnormal number and 255 NaN."""
    power = b.select(b.icmp_unsigned("==", code, like(code, 0)), like(code, 1 << 22), b.shl(code, like(code, MANTISSA_BITS)))
    return b.select(b.icmp_unsigned("==", code, like(code, 255)), like(code, NAN), power)


def _float32_bits(b: Builder, code: Value, layout: Layout) -> Value:
    """Exponent and mantissa moved into place; subnormal numbers by counting their units."""
    magnitude = b.and_(code, like(code, layout.sign - 1))
    moved = b.add(b.shl(magnitude, like(code, layout.spare)), like(code, (BIAS - layout.bias) << MANTISSA_BITS))
    unit = 2.0 ** (1 - layout.bias - layout.mantissa)
    counted = b.sitofp(magnitude, with_lanes(FLOAT32, lanes_of(code.type)))
    units = b.bitcast(b.fmul(counted, like(counted, unit)), code.type)
    bits = b.select(b.icmp_unsigned("<", magnitude, like(code, 1 << layout.mantissa)), units, moved)
    if layout.beyond != layout.nan:  # infinity, and NaN with its payload
        special = b.or_(b.shl(magnitude, like(code, layout.spare)), like(code, INFINITY))
        bits = b.select(b.icmp_unsigned(">", magnitude, like(code, layout.largest)), special, bits)
    elif layout.signed_zero and layout.nan:
        bits = b.select(b.icmp_unsigned("==", magnitude, like(code, layout.nan)), like(code, NAN), bits)
    signed = b.or_(bits, b.shl(b.and_(code, like(code, layout.sign)), like(code, 32 - layout.bits)))
    if layout.signed_zero:
        return signed
    return b.select(b.icmp_unsigned("==", code, like(code, layout.nan)), like(code, NAN), signed)


def from_float32(b: Builder, x: Value, dtype: str, native_half: bool) -> Value:
    """The bits of the nearest value of a narrow float, ties to even; `nodes.Cast` says what lies outside."""
    lanes, code = lanes_of(x.type), with_lanes(SCALARS[dtype], lanes_of(x.type))
    if dtype == FLOAT16 and native_half:
        return b.bitcast(b.fptrunc(x, with_lanes(HALF, lanes)), with_lanes(I16, lanes))
    bits = b.bitcast(x, with_lanes(I32, lanes))
    if dtype == BFLOAT16:
        return b.trunc(_upper_half(b, bits), code)
    if dtype == SCALE:
        return b.trunc(_scale_code(b, bits), code)
    return b.trunc(_code(b, bits, LAYOUTS[dtype]), code)


def _upper_half(b: Builder, bits: Value) -> Value:
    """A float32's upper half, rounded; NaN quiet, so that what is cut off cannot make it infinity."""
    upper = b.lshr(bits, like(bits, 16))
    rounded = b.lshr(b.add(bits, b.add(b.and_(upper, like(bits, 1)), like(bits, 0x7FFF))), like(bits, 16))
    nan = b.icmp_unsigned(">", b.and_(bits, like(bits, SIGN - 1)), like(bits, INFINITY))
    return b.select(nan, b.or_(upper, like(bits, 0x40)), rounded)


def _scale_code(b: Builder, bits: Value) -> Value:
    """The exponent, one more from half way up; what is not positive, or rounds to 2^128 or more, is 255."""
    half = 1 << MANTISSA_BITS - 1
    rounded = b.lshr(b.add(bits, like(bits, half)), like(bits, MANTISSA_BITS))
    smallest = b.icmp_unsigned("<", bits, like(bits, 3 * half // 2))  # half way from 2^-127 to 2^-126
    rounded = b.select(smallest, like(bits, 0), rounded)
    no_scale = b.or_(b.icmp_signed("<=", bits, like(bits, 0)), b.icmp_unsigned(">", rounded, like(bits, 255)))
    return b.select(no_scale, like(bits, 255), rounded)


def _code(b: Builder, bits: Value, layout: Layout) -> Value:
    """Rounded on the bits where the result is normal; where it is subnormal by adding a float whose last bit is its unit."""
    magnitude = b.and_(bits, like(bits, SIGN - 1))
    last = b.and_(b.lshr(magnitude, like(bits, layout.spare)), like(bits, 1))
    rounded = b.add(magnitude, b.add(last, like(bits, (1 << layout.spare - 1) - 1)))
    normal = b.sub(b.lshr(rounded, like(bits, layout.spare)), like(bits, (BIAS - layout.bias) << layout.mantissa))
    absolute = b.bitcast(magnitude, with_lanes(FLOAT32, lanes_of(bits.type)))
    anchor = like(absolute, 2.0 ** (1 - layout.bias + layout.spare))
    subnormal = b.sub(b.bitcast(b.fadd(absolute, anchor), bits.type), b.bitcast(anchor, bits.type))
    small = b.icmp_unsigned("<", magnitude, like(bits, (BIAS + 1 - layout.bias) << MANTISSA_BITS))
    code = b.select(small, subnormal, normal)
    code = b.select(b.icmp_signed(">", code, like(bits, layout.largest)), like(bits, layout.beyond), code)
    nan = b.icmp_unsigned(">", magnitude, like(bits, INFINITY))
    signed = b.or_(code, b.lshr(b.and_(bits, like(bits, SIGN)), like(bits, 32 - layout.bits)))
    if not layout.signed_zero:
        signed = b.select(b.icmp_unsigned("==", code, like(bits, 0)), code, signed)
    return b.select(nan, like(bits, layout.nan), signed)


def odd_float32(b: Builder, x: Value) -> Value:
    """A float64 as the float32 on whichever side has an odd last bit, unless one is exact.

    Rounding that to a type of at most 22 bits gives what rounding x would (Boldo and Melquiond, "Emulation of FMA and correctly
    rounded sums: proved algorithms using rounding to odd", 2008).
    """
    lanes = lanes_of(x.type)
    nearest = b.fptrunc(x, with_lanes(FLOAT32, lanes))
    bits, back = b.bitcast(nearest, with_lanes(I32, lanes)), b.fpext(nearest, x.type)
    even = b.icmp_unsigned("==", b.and_(bits, like(bits, 1)), like(bits, 0))
    inexact = b.and_(b.fcmp_ordered("!=", back, x), even)
    fabs = intrinsic("fabs")
    farther = b.fcmp_ordered(">", fabs(b, back), fabs(b, x))
    stepped = b.select(farther, b.sub(bits, like(bits, 1)), b.add(bits, like(bits, 1)))
    return b.bitcast(b.select(inexact, stepped, bits), nearest.type)
