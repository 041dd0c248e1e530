"""The IR's pure functions (`nodes.CALLS`) as LLVM code, on scalars and vectors alike.

float32 exp, expm1, log, log1p, tanh, sigmoid and erf are our own branch-free code, so they stay in vector registers; their
errors (measured on a million floats of every kind, in tests/compiler_llvm/test_functions.py) are at most 1 ulp for exp and
log, 1.1 for erf, 1.5 for log1p, 2 for expm1 and sigmoid, 2.5 for tanh. sqrt, floor, ceil, round_even and abs are single
instructions and exact (rsqrt: two roundings). pow, fmod, the trigonometric and the other hyperbolic functions, and every
float64 function call the C library (at most 2.5 ulp with glibc), one lane at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llvmlite import ir as llvm_ir

from vdla.compiler.backends.llvm.arithmetic import Builder, Value, call_intrinsic, intrinsic, like, scalar_of
from vdla.compiler.backends.llvm.types import I32, I64, lanes_of, with_lanes
from vdla.compiler.ir.element_types import FLOATS, INTEGERS
from vdla.compiler.ir.nodes import Attributes
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import CompileError
from vdla.isa.definition import SCALE_FRACTION_BITS, SCALE_SHIFT_BITS

LOG2_HIGH = 0.693359375  # the leading 9 bits of ln 2, so that n · LOG2_HIGH is exact for |n| < 2¹⁴
LOG2_LOW = math.log(2.0) - LOG2_HIGH
EXP_TERMS = [1 / math.factorial(k) for k in range(7, 1, -1)]
"""Taylor coefficients of (exp(r) - 1 - r) / r²: for |r| <= ln(2)/2 the first one left out is below 2⁻²⁷ of the result."""


LOG_TERMS = [2 / k for k in range(11, 1, -2)]
"""Taylor coefficients of log(1 + f) - 2s in s = f / (2 + f), over s³: for s² <= 0.0295 the first one left out is below 2⁻²⁸."""
ROOT_HALF = 0x3F3504F3
"""The bits of √½ as a float32."""
NORMAL = 2.0**-126
ERF_SEAM = 0.85
ERF_NEAR = [2 / math.sqrt(math.pi) * (-1) ** k / (math.factorial(k) * (2 * k + 1)) - (k == 0) for k in range(9, -1, -1)]
"""Taylor coefficients of erf(x) / x - 1 in x²: for |x| < 0.85 the first one left out is below 2⁻³⁰."""
ERF_FAR = [-2.03536109e-4, 3.11679409e-3, -2.25161061e-2, 0.104522421, 0.636520071, 1.12806194, 1.03941873e-4]
"""-log(1 - erf(x)) on 0.85 … 4 as a polynomial in x: a least-squares fit in float64 whose error in erf is below 2⁻²⁹."""


def fma(b: Builder, x: Value, y: Value, z: Value) -> Value:
    return call_intrinsic(b, "fma", x.type, x, y, z)


def _power_of_two(b: Builder, n: Value, like_value: Value) -> Value:
    """2ⁿ for an integer vector n within the normal exponents, by building the float's bits."""
    return b.bitcast(b.shl(b.add(n, like(n, 127)), like(n, 23)), like_value.type)


def _reduced_exp(b: Builder, x: Value) -> tuple[Value, Value]:
    """x in [-104, 89] → (q, n) with exp(x) = (1 + q) · 2ⁿ and |q| < 0.42."""
    n = intrinsic("roundeven")(b, b.fmul(x, like(x, 1 / math.log(2.0))))
    r = fma(b, n, like(x, -LOG2_LOW), fma(b, n, like(x, -LOG2_HIGH), x))
    p = like(x, EXP_TERMS[0])
    for c in EXP_TERMS[1:]:
        p = fma(b, p, r, like(x, c))
    q = fma(b, b.fmul(p, r), r, r)
    return q, b.fptosi(n, with_lanes(I32, lanes_of(x.type)))


def _clamped(b: Builder, x: Value, low: float, high: float) -> Value:
    """x in [low, high]; a NaN becomes a bound (minnum and maxnum prefer the number)."""
    return intrinsic("minnum")(b, intrinsic("maxnum")(b, x, like(x, low)), like(x, high))


def _keep_nan(b: Builder, x: Value, result: Value) -> Value:
    return b.select(b.fcmp_unordered("uno", x, x), x, result)


def exp_float32(b: Builder, x: Value) -> Value:
    """exp, with gradual underflow and infinity: 2ⁿ is applied as two factors, each a normal number."""
    q, n = _reduced_exp(b, _clamped(b, x, -104.0, 89.0))
    half = b.ashr(n, like(n, 1))
    factor, other = _power_of_two(b, half, x), _power_of_two(b, b.sub(n, half), x)
    return _keep_nan(b, x, b.fmul(fma(b, q, factor, factor), other))


def tanh_float32(b: Builder, x: Value) -> Value:
    """tanh(x) = -e / (2 + e) for e = exp(-2|x|) - 1, found without cancellation; the sign of x."""
    magnitude = intrinsic("fabs")(b, x)
    e = _small_expm1(b, _clamped(b, b.fmul(magnitude, like(x, -2.0)), -40.0, 0.0))
    result = b.fdiv(b.fneg(e), b.fadd(e, like(x, 2.0)))
    return _keep_nan(b, x, intrinsic("copysign")(b, result, x))


def polynomial(b: Builder, x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, the highest power's coefficient first."""
    total = like(x, coefficients[0])
    for c in coefficients[1:]:
        total = fma(b, total, x, like(x, c))
    return total


def _small_expm1(b: Builder, x: Value) -> Value:
    """exp(x) - 1 without cancellation, for x in [-40, 30]."""
    q, n = _reduced_exp(b, x)
    power = _power_of_two(b, n, x)
    return fma(b, q, power, b.fsub(power, like(x, 1.0)))


def expm1_float32(b: Builder, x: Value) -> Value:
    """Above 30, where the 1 is lost anyway, exp."""
    small = _small_expm1(b, _clamped(b, x, -40.0, 30.0))
    return _keep_nan(b, x, b.select(b.fcmp_ordered(">", x, like(x, 30.0)), exp_float32(b, x), small))


def log_float32(b: Builder, x: Value) -> Value:
    """x = (1 + f) · 2ᵏ with 1 + f in √½ … √2; log(1 + f) = f - (f²/2 - s·(f²/2 + R)), s = f / (2 + f), R a series in s².

    k · LOG2_HIGH is exact and added last. Subnormal numbers are scaled up first.
    """
    integers = with_lanes(I32, lanes_of(x.type))
    subnormal = b.fcmp_ordered("<", x, like(x, NORMAL))
    bits = b.bitcast(b.select(subnormal, b.fmul(x, like(x, 2.0**23)), x), integers)
    exponent = b.ashr(b.sub(bits, like(bits, ROOT_HALF)), like(bits, 23))
    f = b.fsub(b.bitcast(b.sub(bits, b.shl(exponent, like(bits, 23))), x.type), like(x, 1.0))
    k = b.fadd(b.sitofp(exponent, x.type), b.select(subnormal, like(x, -23.0), like(x, 0.0)))
    s = b.fdiv(f, b.fadd(like(x, 2.0), f))
    z = b.fmul(s, s)
    half = b.fmul(like(x, 0.5), b.fmul(f, f))
    series = b.fmul(z, polynomial(b, z, LOG_TERMS))
    tail = fma(b, s, b.fadd(half, series), b.fmul(k, like(x, LOG2_LOW)))
    finite = b.fsub(b.fmul(k, like(x, LOG2_HIGH)), b.fsub(b.fsub(half, tail), f))
    result = b.select(b.fcmp_ordered("==", x, like(x, math.inf)), x, finite)
    result = b.select(b.fcmp_ordered("==", x, like(x, 0.0)), like(x, -math.inf), result)
    return b.select(b.fcmp_unordered("<", x, like(x, 0.0)), like(x, math.nan), result)


def log1p_float32(b: Builder, x: Value) -> Value:
    """log(u) for u = 1 + x as rounded, plus what was rounded off over u."""
    u = b.fadd(x, like(x, 1.0))
    lost = b.fsub(x, b.fsub(u, like(x, 1.0)))
    extreme = b.or_(b.fcmp_ordered("==", u, like(x, 0.0)), b.fcmp_ordered("==", u, like(x, math.inf)))
    return b.fadd(log_float32(b, u), b.select(extreme, like(x, 0.0), b.fdiv(lost, u)))


def erf_float32(b: Builder, x: Value) -> Value:
    """A series near 0; from ERF_SEAM on, 1 - exp(-p(|x|))."""
    magnitude = intrinsic("fabs")(b, x)
    near = fma(b, x, polynomial(b, b.fmul(x, x), ERF_NEAR), x)
    exponent = polynomial(b, _clamped(b, magnitude, 0.0, 4.0), ERF_FAR)
    far = b.fneg(_small_expm1(b, b.fneg(exponent)))
    return b.select(b.fcmp_unordered("<", magnitude, like(x, ERF_SEAM)), near, intrinsic("copysign")(b, far, x))


def sigmoid_float32(b: Builder, x: Value) -> Value:
    return b.fdiv(like(x, 1.0), b.fadd(like(x, 1.0), exp_float32(b, b.fneg(x))))


def sigmoid_float64(b: Builder, x: Value) -> Value:
    return b.fdiv(like(x, 1.0), b.fadd(like(x, 1.0), intrinsic("exp")(b, b.fneg(x))))


def library(name: str) -> Callable[..., Value]:
    """A C library function (`namef` for float32), called for one lane after another."""

    def call(b: Builder, *args: Value) -> Value:
        scalar = scalar_of(args[0])
        symbol = f"{name}f" if isinstance(scalar, llvm_ir.FloatType) else name
        function = b.module.globals.get(symbol) or llvm_ir.Function(
            b.module, llvm_ir.FunctionType(scalar, [scalar] * len(args)), symbol
        )
        lanes = lanes_of(args[0].type)
        if lanes is None:
            return b.call(function, args)
        result: Value = llvm_ir.Constant(args[0].type, llvm_ir.Undefined)
        for lane in range(lanes):
            at = llvm_ir.Constant(I32, lane)
            result = b.insert_element(result, b.call(function, [b.extract_element(a, at) for a in args]), at)
        return result

    return call


def _rsqrt(b: Builder, x: Value) -> Value:
    return b.fdiv(like(x, 1.0), intrinsic("sqrt")(b, x))


def _abs(b: Builder, x: Value) -> Value:
    if isinstance(scalar_of(x), llvm_ir.IntType):
        return call_intrinsic(b, "abs", x.type, x, llvm_ir.Constant(llvm_ir.IntType(1), 0))
    return intrinsic("fabs")(b, x)


LIBRARY = (
    "exp", "expm1", "log", "log1p", "erf", "pow", "fmod", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "asinh", "acosh", "atanh",
)  # fmt: skip
"""Functions the C library has for both dtypes."""

FUNCTIONS: dict[tuple[str, str], Callable[..., Value]] = {
    **{(name, dtype): library(name) for name in LIBRARY for dtype in ("float32", "float64")},
    ("exp", "float32"): exp_float32,
    ("expm1", "float32"): expm1_float32,
    ("log", "float32"): log_float32,
    ("log1p", "float32"): log1p_float32,
    ("tanh", "float32"): tanh_float32,
    ("erf", "float32"): erf_float32,
    ("sigmoid", "float32"): sigmoid_float32,
    ("sigmoid", "float64"): sigmoid_float64,
    **{(name, dtype): intrinsic(name) for name in ("sqrt", "floor", "ceil") for dtype in ("float32", "float64")},
    **{("round_even", dtype): intrinsic("roundeven") for dtype in ("float32", "float64")},
    **{("rsqrt", dtype): _rsqrt for dtype in ("float32", "float64")},
    **{("abs", dtype): _abs for dtype in (*INTEGERS, *FLOATS) if ELEMENT_TYPES[dtype].signed},
    **{("abs", dtype): lambda b, x: x for dtype in INTEGERS if not ELEMENT_TYPES[dtype].signed},
}


def rescale(b: Builder, acc: Value, bias: Value, scale: Value) -> Value:
    """`vdla.isa.semantics.rescale` on int32: multiplier, shift and zero point unpacked from the scale word."""
    wide = with_lanes(I64, lanes_of(acc.type))
    leading_one = 1 << SCALE_FRACTION_BITS
    multiplier = b.or_(b.and_(scale, like(scale, leading_one - 1)), like(scale, leading_one))
    shift = b.and_(b.lshr(scale, like(scale, SCALE_FRACTION_BITS)), like(scale, (1 << SCALE_SHIFT_BITS) - 1))
    zero_point = b.ashr(scale, like(scale, SCALE_FRACTION_BITS + SCALE_SHIFT_BITS))
    product = b.mul(b.sext(b.add(acc, bias), wide), b.sext(multiplier, wide))
    amount, one = b.zext(shift, wide), like(product, 1)
    below = b.sub(b.shl(one, amount), one)  # the bits that are shifted out: none for no shift
    odd = b.and_(b.and_(b.ashr(product, amount), below), one)
    nearest = b.ashr(b.add(b.add(product, b.lshr(below, one)), odd), amount)  # half to even
    rounded = b.add(nearest, b.sext(zero_point, wide))
    low = intrinsic("smax")(b, rounded, like(product, -(1 << 31)))
    return b.trunc(intrinsic("smin")(b, low, like(product, (1 << 31) - 1)), acc.type)


def requantise(b: Builder, args: tuple[Value, ...], low: int, high: int) -> Value:
    """`rescale` of acc, bias and scale, clipped."""
    value = rescale(b, *args)
    return intrinsic("smin")(b, intrinsic("smax")(b, value, like(value, low)), like(value, high))


def call(b: Builder, op: str, dtype: str, args: tuple[Value, ...], attributes: Attributes) -> Value:
    """Raises `CompileError` for a function this dtype does not have."""
    if op == "rescale":
        return rescale(b, *args)
    if op == "requantise":
        limits = dict(attributes)
        return requantise(b, args, int(limits["low"]), int(limits["high"]))
    if (op, dtype) not in FUNCTIONS:
        expected = ", ".join(sorted(o for o, d in FUNCTIONS if d == dtype))
        raise CompileError("no such function", found=f"{op} on {dtype}", expected=expected)
    return FUNCTIONS[op, dtype](b, *args)
