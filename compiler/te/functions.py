"""Elementwise functions on expressions. A bare Python number takes the other operand's dtype."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from vdla.compiler import ir
from vdla.compiler.ir.element_types import DTYPES, FLOATS
from vdla.element_types import BOOL, ELEMENT_TYPES
from vdla.errors import CompileError


def const(value: int | float, dtype: str) -> ir.Const:
    return ir.Const(value, dtype)


def cast(value: ir.Scalar, dtype: str) -> ir.Expr:
    """Conversion as by NumPy's and ml_dtypes' astype; `vdla.compiler.ir.nodes.Cast` says what lies outside a range."""
    if dtype not in DTYPES:
        raise CompileError("cast to an unknown dtype", found=dtype, expected="one of " + ", ".join(DTYPES))
    return value.astype(dtype) if isinstance(value, ir.Expr) else ir.Const(value, dtype)


def select(condition: ir.Expr, a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    """`a` where `condition` else `b`; the branch not taken is not evaluated, so it may index outside a tensor."""
    if condition.dtype != "bool":
        raise CompileError("select on what is no condition", found=condition.dtype, expected="bool")
    left, right = same_dtype("select", a, b)
    return ir.Select(condition, left, right)


def maximum(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("max", a, b)


def minimum(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("min", a, b)


def clip(value: ir.Expr, low: ir.Scalar, high: ir.Scalar) -> ir.Expr:
    """min(max(value, low), high)."""
    return minimum(maximum(value, low), high)


def position(index: ir.Expr, size: int) -> ir.Expr:
    """`index`, data of any integer dtype, as an index of a dimension of `size`: negative ones count from the end, as in NumPy.

    Clamped, so that it is in bounds whatever the data are.
    """
    wide = index if index.dtype in ("int32", "int64", "uint32", "uint64") else cast(index, "int32")
    if ELEMENT_TYPES[wide.dtype].signed:
        wide = select(wide < 0, wide + size, wide)
    return clip(wide, 0, size - 1)


def shift_left(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("shl", a, b)


def shift_right(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    """Towards minus infinity: the sign is copied; zeros come into an unsigned number."""
    return ir.binary("shr", a, b)


def bit_and(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("bit_and", a, b)


def bit_or(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("bit_or", a, b)


def bit_xor(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("bit_xor", a, b)


def bit_not(a: ir.Expr) -> ir.Expr:
    """Every bit of an integer inverted."""
    low, high = ELEMENT_TYPES[a.dtype].range
    return bit_xor(a, high if low == 0 else -1)


def reinterpret(x: ir.Expr, dtype: str) -> ir.Expr:
    """The bits of x as a value of another dtype of the same width; neither may be bool."""
    known = x.dtype in ELEMENT_TYPES and dtype in DTYPES and BOOL not in (x.dtype, dtype)
    if not known or ELEMENT_TYPES[x.dtype].bits != ELEMENT_TYPES[dtype].bits:
        expected = "a dtype of the same width, not bool"
        raise CompileError(f"the bits of {x.dtype} as another dtype", found=dtype, expected=expected)
    return x if x.dtype == dtype else ir.Call("reinterpret", (x,), dtype)


def equal(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("eq", a, b)


def not_equal(a: ir.Scalar, b: ir.Scalar) -> ir.Expr:
    return ir.binary("ne", a, b)


def logical_and(*conditions: ir.Expr) -> ir.Expr:
    """Both sides are evaluated; use `select` to guard a load."""
    return reduce(lambda a, b: ir.Binary("and", a, b), conditions)


def logical_or(*conditions: ir.Expr) -> ir.Expr:
    """Both sides are evaluated."""
    return reduce(lambda a, b: ir.Binary("or", a, b), conditions)


def float_function(op: str, about: str = "") -> Callable[[ir.Expr], ir.Call]:
    """A function of one float, under its name in the IR."""

    def call(x: ir.Expr) -> ir.Call:
        return float_call(op, x)

    call.__name__, call.__doc__ = op, about or f"{op}(x), in radians where that is a question."
    return call


exp = float_function("exp", "eˣ.")
expm1 = float_function("expm1", "eˣ - 1, without cancellation near 0.")
log = float_function("log", "The natural logarithm.")
log1p = float_function("log1p", "log(1 + x), without cancellation near 0.")
sqrt = float_function("sqrt", "√x.")
rsqrt = float_function("rsqrt", "1 / √x.")
sigmoid = float_function("sigmoid", "1 / (1 + e⁻ˣ).")
erf = float_function("erf", "2/√π · ∫₀ˣ e^(-t²) dt.")
floor = float_function("floor", "The greatest whole number not above x.")
ceil = float_function("ceil", "The least whole number not below x.")
round_even = float_function("round_even", "The nearest whole number, halves to the even one.")
sin, cos, tan = (float_function(name) for name in ("sin", "cos", "tan"))
asin, acos, atan = (float_function(name) for name in ("asin", "acos", "atan"))
sinh, cosh, tanh = (float_function(name) for name in ("sinh", "cosh", "tanh"))
asinh, acosh, atanh = (float_function(name) for name in ("asinh", "acosh", "atanh"))


def fmod(x: ir.Expr, divisor: ir.Scalar) -> ir.Expr:
    """The remainder of x / divisor with the sign of x."""
    return float_call("fmod", *same_dtype("fmod", x, divisor))


def power(x: ir.Expr, exponent: ir.Scalar) -> ir.Expr:
    return float_call("pow", *same_dtype("pow", x, exponent))


def absolute(x: ir.Expr) -> ir.Expr:
    """|x|; the least integer stays what it is."""
    return ir.Call("abs", (x,), x.dtype)


def requantise(acc: ir.Expr, bias: ir.Expr, scale: ir.Expr, low: int, high: int) -> ir.Expr:
    """`rescale` clipped to [low, high]; int32, as all its operands."""
    return ir.Call("requantise", int32_operands("requantise", acc, bias, scale), "int32", (("high", high), ("low", low)))


def rescale(acc: ir.Expr, bias: ir.Expr, scale: ir.Expr) -> ir.Expr:
    """(acc + bias) · multiplier / 2^shift + zero point, all three in the scale word: `vdla.isa.semantics.rescale`."""
    return ir.Call("rescale", int32_operands("rescale", acc, bias, scale), "int32")


def float_call(op: str, *args: ir.Expr) -> ir.Call:
    for x in args:
        if not isinstance(x, ir.Expr) or x.dtype not in FLOATS:
            found = x.dtype if isinstance(x, ir.Expr) else x
            raise CompileError(
                f"{op} of what is no float", found=found, expected="float32 or float64", hint='te.cast(x, "float32")'
            )
    return ir.Call(op, args, args[0].dtype)


def int32_operands(op: str, *args: ir.Expr) -> tuple[ir.Expr, ...]:
    dtypes = [x.dtype if isinstance(x, ir.Expr) else "int32" for x in args]
    if dtypes != ["int32"] * len(args):
        raise CompileError(f"the operands of {op}", found=dtypes, expected="int32 each", hint='te.cast(x, "int32")')
    return tuple(ir.as_expr(x) for x in args)


def same_dtype(op: str, a: ir.Scalar, b: ir.Scalar) -> tuple[ir.Expr, ir.Expr]:
    """Two operands as expressions of one dtype."""
    left = a if isinstance(a, ir.Expr) else ir.Const(a, b.dtype) if isinstance(b, ir.Expr) else ir.as_expr(a)
    right = b if isinstance(b, ir.Expr) else ir.Const(b, left.dtype)
    if left.dtype != right.dtype:
        raise CompileError(
            f"{op}: operands of {left.dtype} and {right.dtype}", expected="one dtype", hint="te.cast one of them"
        )
    return left, right
