"""Operators and conversions as tables: (operator, kind of operand) → how LLVM says it.

Integers wrap. Float operations may be contracted and reassociated (so that LLVM may fuse multiply-adds and vectorise
sums), but keep NaN and infinity: results differ from the interpreter's only by rounding, at most n·ε·Σ|terms| for a sum
of n terms.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as llvm_ir
from llvmlite.ir import IRBuilder as Builder
from llvmlite.ir import Value

from vdla.compiler.backends.llvm.types import I1, I32, KINDS, SCALARS, constant, intrinsic_suffix, lanes_of, with_lanes
from vdla.compiler.ir.element_types import NARROW_INTEGERS
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import CompileError

FAST = ("contract", "reassoc", "nsz")


def call_intrinsic(builder: Builder, name: str, type_: llvm_ir.Type, *args: Value, flags: tuple[str, ...] = ()) -> Value:
    """Call `llvm.name`, overloaded on `type_`, which is also its result's."""
    full = f"llvm.{name}.{intrinsic_suffix(type_)}"
    function = builder.module.globals.get(full)
    if function is None:
        function = llvm_ir.Function(builder.module, llvm_ir.FunctionType(type_, [a.type for a in args]), full)
    return builder.call(function, args, fastmath=flags)


def intrinsic(name: str, flags: tuple[str, ...] = ()) -> Callable[..., Value]:
    return lambda b, x, *rest: call_intrinsic(b, name, x.type, x, *rest, flags=flags)


def scalar_of(value: Value) -> llvm_ir.Type:
    return value.type.element if isinstance(value.type, llvm_ir.VectorType) else value.type


def like(value: Value, number: int | float) -> llvm_ir.Constant:
    """`number` as a constant of the type of `value`."""
    return constant(scalar_of(value), number, lanes_of(value.type))


def replaced_divisor(b: Builder, y: Value, *bad: int) -> Value:
    """`y`, with 1 in place of the divisors `bad`, at which processors stop the program: 0, and -1 of the least integer.

    What is divided by 0 has no value, but may be computed where nobody wants it, in a lane that a select leaves out.
    """
    if isinstance(y, llvm_ir.Constant) and isinstance(y.constant, int | list):
        values = y.constant if isinstance(y.constant, list) else [y.constant]
        if not any(value in bad for value in values):
            return y
    for value in bad:
        y = b.select(b.icmp_signed("==", y, like(y, value)), like(y, 1), y)
    return y


def floor_divide(b: Builder, x: Value, y: Value) -> Value:
    """Signed division rounding down: the truncated quotient, less one when signs differ and there is a remainder."""
    divisor = replaced_divisor(b, y, 0, -1)
    remainder = b.srem(x, divisor)
    wrong = b.and_(b.icmp_signed("!=", remainder, like(x, 0)), b.icmp_signed("<", b.xor(remainder, divisor), like(x, 0)))
    quotient = b.sub(b.sdiv(x, divisor), b.zext(wrong, x.type))
    return quotient if divisor is y else b.select(b.icmp_signed("==", y, like(y, -1)), b.sub(like(x, 0), x), quotient)


def floor_modulo(b: Builder, x: Value, y: Value) -> Value:
    """Signed remainder with the sign of the divisor."""
    divisor = replaced_divisor(b, y, 0, -1)
    remainder = b.srem(x, divisor)
    wrong = b.and_(b.icmp_signed("!=", remainder, like(x, 0)), b.icmp_signed("<", b.xor(remainder, divisor), like(x, 0)))
    return b.add(remainder, b.select(wrong, divisor, like(x, 0)))


def shift_amount(b: Builder, y: Value) -> Value:
    """A shift is taken modulo the width, as the interpreter does; LLVM leaves a larger one undefined."""
    return b.and_(y, like(y, scalar_of(y).width - 1))


def float_floor_divide(b: Builder, x: Value, y: Value) -> Value:
    return intrinsic("floor")(b, b.fdiv(x, y))


def float_floor_modulo(b: Builder, x: Value, y: Value) -> Value:
    return b.fsub(x, b.fmul(float_floor_divide(b, x, y), y))


BINARY: dict[tuple[str, str], Callable[[Builder, Value, Value], Value]] = {
    ("add", "int"): lambda b, x, y: b.add(x, y),
    ("sub", "int"): lambda b, x, y: b.sub(x, y),
    ("mul", "int"): lambda b, x, y: b.mul(x, y),
    ("floordiv", "int"): floor_divide,
    ("floormod", "int"): floor_modulo,
    ("min", "int"): intrinsic("smin"),
    ("max", "int"): intrinsic("smax"),
    ("shl", "int"): lambda b, x, y: b.shl(x, shift_amount(b, y)),
    ("shr", "int"): lambda b, x, y: b.ashr(x, shift_amount(b, y)),
    ("add", "unsigned"): lambda b, x, y: b.add(x, y),
    ("sub", "unsigned"): lambda b, x, y: b.sub(x, y),
    ("mul", "unsigned"): lambda b, x, y: b.mul(x, y),
    ("floordiv", "unsigned"): lambda b, x, y: b.udiv(x, replaced_divisor(b, y, 0)),
    ("floormod", "unsigned"): lambda b, x, y: b.urem(x, replaced_divisor(b, y, 0)),
    ("min", "unsigned"): intrinsic("umin"),
    ("max", "unsigned"): intrinsic("umax"),
    ("shl", "unsigned"): lambda b, x, y: b.shl(x, shift_amount(b, y)),
    ("shr", "unsigned"): lambda b, x, y: b.lshr(x, shift_amount(b, y)),
    ("add", "float"): lambda b, x, y: b.fadd(x, y, flags=FAST),
    ("sub", "float"): lambda b, x, y: b.fsub(x, y, flags=FAST),
    ("mul", "float"): lambda b, x, y: b.fmul(x, y, flags=FAST),
    ("div", "float"): lambda b, x, y: b.fdiv(x, y),
    ("floordiv", "float"): float_floor_divide,
    ("floormod", "float"): float_floor_modulo,
    ("min", "float"): lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y),  # the second operand when one is NaN
    ("max", "float"): lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y),
    ("and", "bool"): lambda b, x, y: b.and_(x, y),
    ("or", "bool"): lambda b, x, y: b.or_(x, y),
    **{
        (op, kind): combine
        for kind in ("int", "unsigned")
        for op, combine in (
            ("bit_and", lambda b, x, y: b.and_(x, y)),
            ("bit_or", lambda b, x, y: b.or_(x, y)),
            ("bit_xor", lambda b, x, y: b.xor(x, y)),
        )
    },
    ("min", "bool"): lambda b, x, y: b.and_(x, y),
    ("max", "bool"): lambda b, x, y: b.or_(x, y),
}

COMPARE = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def compare(b: Builder, op: str, dtype: str, x: Value, y: Value) -> Value:
    """A comparison; with NaN every float one but "ne" is false."""
    kind, symbol = KINDS[dtype], COMPARE[op]
    if kind == "float":
        return b.fcmp_unordered(symbol, x, y) if op == "ne" else b.fcmp_ordered(symbol, x, y)
    return b.icmp_signed(symbol, x, y) if kind == "int" else b.icmp_unsigned(symbol, x, y)


def binary(b: Builder, op: str, dtype: str, x: Value, y: Value) -> Value:
    """Raises `CompileError` for an operator the dtype does not have, such as div on integers."""
    if op in COMPARE:
        return compare(b, op, dtype, x, y)
    if (op, KINDS[dtype]) not in BINARY:
        expected = ", ".join(sorted(o for o, kind in BINARY if kind == KINDS[dtype]))
        raise CompileError("no such operation", found=f"{op} on {dtype}", expected=expected)
    return BINARY[op, KINDS[dtype]](b, x, y)


def _resize(signed: bool) -> Callable[[Builder, Value, llvm_ir.Type], Value]:
    def resize(b: Builder, x: Value, to: llvm_ir.Type) -> Value:
        source, target = scalar_of(x).width, (to.element if isinstance(to, llvm_ir.VectorType) else to).width
        if source >= target:
            return x if source == target else b.trunc(x, to)
        return b.sext(x, to) if signed else b.zext(x, to)

    return resize


def _to_integer(name: str) -> Callable[[Builder, Value, llvm_ir.Type], Value]:
    """Truncation by the LLVM intrinsic `name`, which brings what is out of range to the nearest bound and NaN to 0.

    Less than 32 bits are cut off from int32, as NumPy has it where the processor converts to 32 bits.
    """

    def convert(b: Builder, x: Value, to: llvm_ir.Type) -> Value:
        lanes, bits = lanes_of(to), (to.element if isinstance(to, llvm_ir.VectorType) else to).width
        if bits < 32:
            return b.trunc(_saturated(b, "fptosi", x, with_lanes(I32, lanes)), to)
        return _saturated(b, name, x, to)

    return convert


def _saturated(b: Builder, name: str, x: Value, to: llvm_ir.Type) -> Value:
    full = f"llvm.{name}.sat.{intrinsic_suffix(to)}.{intrinsic_suffix(x.type)}"
    function = b.module.globals.get(full) or llvm_ir.Function(b.module, llvm_ir.FunctionType(to, [x.type]), full)
    return b.call(function, [x])


def _resize_float(b: Builder, x: Value, to: llvm_ir.Type) -> Value:
    return b.fpext(x, to) if isinstance(scalar_of(x), llvm_ir.FloatType) else b.fptrunc(x, to)


CAST: dict[tuple[str, str], Callable[[Builder, Value, llvm_ir.Type], Value]] = {
    ("int", "int"): _resize(signed=True),
    ("int", "unsigned"): _resize(signed=True),
    ("unsigned", "int"): _resize(signed=False),
    ("unsigned", "unsigned"): _resize(signed=False),
    ("bool", "int"): _resize(signed=False),
    ("bool", "unsigned"): _resize(signed=False),
    ("int", "float"): lambda b, x, to: b.sitofp(x, to),
    ("unsigned", "float"): lambda b, x, to: b.uitofp(x, to),
    ("bool", "float"): lambda b, x, to: b.uitofp(x, to),
    ("float", "int"): _to_integer("fptosi"),
    ("float", "unsigned"): _to_integer("fptoui"),
    ("float", "float"): _resize_float,
    ("int", "bool"): lambda b, x, to: b.icmp_unsigned("!=", x, like(x, 0)),
    ("unsigned", "bool"): lambda b, x, to: b.icmp_unsigned("!=", x, like(x, 0)),
    ("float", "bool"): lambda b, x, to: b.fcmp_unordered("!=", x, like(x, 0)),
}


def cast(b: Builder, x: Value, source: str, target: str) -> Value:
    """Conversion between dtypes that are no narrow floats, lane by lane."""
    if source == target:
        return x
    value = CAST[KINDS[source], KINDS[target]](b, x, with_lanes(SCALARS[target], lanes_of(x.type)))
    return within_bits(b, value, target) if target in NARROW_INTEGERS else value


def within_bits(b: Builder, value: Value, dtype: str) -> Value:
    """The low bits of a byte as a narrow integer, its sign or zeros above them."""
    spare = like(value, 8 - ELEMENT_TYPES[dtype].bits)
    shifted = b.shl(value, spare)
    return b.ashr(shifted, spare) if ELEMENT_TYPES[dtype].signed else b.lshr(shifted, spare)


def broadcast(b: Builder, x: Value, lanes: int | None) -> Value:
    """A scalar in every lane; vectors and scalar requests pass through."""
    if lanes is None or isinstance(x.type, llvm_ir.VectorType):
        return x
    if isinstance(x, llvm_ir.Constant):
        return constant(x.type, x.constant, lanes)
    vector = llvm_ir.VectorType(x.type, lanes)
    undefined = llvm_ir.Constant(vector, llvm_ir.Undefined)
    return b.shuffle_vector(b.insert_element(undefined, x, constant(I32, 0)), undefined, constant(I32, 0, lanes))


def unify(b: Builder, *values: Value) -> tuple[Value, ...]:
    """All scalars, or all vectors when any is one."""
    lanes = next((n for v in values if (n := lanes_of(v.type))), None)
    return tuple(broadcast(b, v, lanes) for v in values)


def is_true(value: Value) -> bool:
    return isinstance(value, llvm_ir.Constant) and value.type == I1 and value.constant == 1


def is_false(value: Value) -> bool:
    return isinstance(value, llvm_ir.Constant) and value.type == I1 and value.constant == 0
