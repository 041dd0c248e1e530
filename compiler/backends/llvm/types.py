"""IR dtypes as LLVM types. A value is scalar or, inside a vectorised loop, a vector of one element per lane."""

from __future__ import annotations

import math
from functools import cache

from llvmlite import ir as llvm_ir

from vdla.compiler.ir.element_types import BOOL, INTEGERS, NARROW, NARROW_FLOATS
from vdla.element_types import ELEMENT_TYPES, SIGNED, UNSIGNED

I1, I8, I16, I32, I64 = (llvm_ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
HALF = llvm_ir.HalfType()
POINTER = llvm_ir.PointerType()
VOID = llvm_ir.VoidType()

SCALARS: dict[str, llvm_ir.Type] = {
    BOOL: I1,
    **{name: llvm_ir.IntType(8 * ELEMENT_TYPES[name].item_bytes) for name in (*INTEGERS, *NARROW)},
    "float32": llvm_ir.FloatType(),
    "float64": llvm_ir.DoubleType(),
}
"""A narrow integer is its value in a byte, a narrow float its bits: nothing computes with them. In memory a narrow integer has
zeros above its bits, as ml_dtypes writes it, and whatever is found there means nothing."""
KINDS = {
    name: "narrow" if name in NARROW_FLOATS else {SIGNED: "int", UNSIGNED: "unsigned"}.get(kind, kind)
    for name in SCALARS
    for kind in [ELEMENT_TYPES[name].kind]
}
"""dtype → "bool", "int", "unsigned", "float" or "narrow" (float): the key of the emission tables."""

ITEM_BYTES = {name: ELEMENT_TYPES[name].item_bytes for name in SCALARS}


def lanes_of(type_: llvm_ir.Type) -> int | None:
    """Lanes of a vector type, None for a scalar."""
    return type_.count if isinstance(type_, llvm_ir.VectorType) else None


def with_lanes(scalar: llvm_ir.Type, lanes: int | None) -> llvm_ir.Type:
    return scalar if lanes is None else llvm_ir.VectorType(scalar, lanes)


def storage_type(dtype: str) -> llvm_ir.Type:
    """The type of one element in memory: a bool takes a byte."""
    return I8 if dtype == BOOL else SCALARS[dtype]


def constant(scalar: llvm_ir.Type, value: int | float, lanes: int | None = None) -> llvm_ir.Constant:
    """A scalar constant, or the same in every lane. Of a narrow float, `value` is the bits."""
    if isinstance(scalar, llvm_ir.IntType):
        return _constant(scalar, int(value), False, lanes)
    return _constant(scalar, float(value), math.copysign(1, value) < 0, lanes)


@cache
def _constant(scalar: llvm_ir.Type, value: int | float, negative: bool, lanes: int | None) -> llvm_ir.Constant:
    """negative: of a float, its sign, since 0.0 and -0.0 are one key otherwise."""
    if isinstance(scalar, llvm_ir.IntType):
        if scalar.width > 1:  # C-like wrapping, as Const(200, "int8") means
            value = ((value + (1 << (scalar.width - 1))) & ((1 << scalar.width) - 1)) - (1 << (scalar.width - 1))
        else:
            value = int(value != 0)
    if lanes is None:
        return llvm_ir.Constant(scalar, value)
    vector = llvm_ir.VectorType(scalar, lanes)
    return llvm_ir.Constant(vector, [value] * lanes if value or negative else None)  # None: zeroinitializer


def intrinsic_suffix(type_: llvm_ir.Type) -> str:
    """The overload suffix of an LLVM intrinsic: "f32", "v16i32", "v8p0"."""
    lanes = lanes_of(type_)
    scalar = type_ if lanes is None else type_.element
    text = {llvm_ir.FloatType(): "f32", llvm_ir.DoubleType(): "f64", POINTER: "p0"}.get(scalar) or f"i{scalar.width}"
    return text if lanes is None else f"v{lanes}{text}"


@cache
def iota(scalar: llvm_ir.Type, count: int, step: int = 1) -> llvm_ir.Constant:
    """The vector 0, step, 2·step, …"""
    return llvm_ir.Constant(llvm_ir.VectorType(scalar, count), [i * step for i in range(count)])
