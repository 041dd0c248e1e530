"""IR dtypes as LLVM types. A value is scalar or, inside a vectorised loop, a vector of one element per lane."""

from __future__ import annotations

import math
from functools import cache

from llvmlite import ir as llvm_ir

I1, I8, I32, I64 = llvm_ir.IntType(1), llvm_ir.IntType(8), llvm_ir.IntType(32), llvm_ir.IntType(64)
POINTER = llvm_ir.PointerType()
VOID = llvm_ir.VoidType()

SCALARS: dict[str, llvm_ir.Type] = {
    "bool": I1,
    "int8": I8,
    "uint8": I8,
    "int16": llvm_ir.IntType(16),
    "int32": I32,
    "int64": I64,
    "float32": llvm_ir.FloatType(),
    "float64": llvm_ir.DoubleType(),
}
KINDS = {name: {"b": "bool", "i": "int", "u": "unsigned", "f": "float"}[name[0]] for name in SCALARS}
"""dtype → "bool", "int", "unsigned" or "float": the key of the emission tables."""

ITEM_BYTES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


def lanes_of(type_: llvm_ir.Type) -> int | None:
    """Lanes of a vector type, None for a scalar."""
    return type_.count if isinstance(type_, llvm_ir.VectorType) else None


def with_lanes(scalar: llvm_ir.Type, lanes: int | None) -> llvm_ir.Type:
    return scalar if lanes is None else llvm_ir.VectorType(scalar, lanes)


def storage_type(dtype: str) -> llvm_ir.Type:
    """The type of one element in memory: a bool takes a byte."""
    return I8 if dtype == "bool" else SCALARS[dtype]


@cache
def constant(scalar: llvm_ir.Type, value: int | float, lanes: int | None = None) -> llvm_ir.Constant:
    """A scalar constant, or the same in every lane."""
    if isinstance(scalar, llvm_ir.IntType):
        value = int(value)
        if scalar.width > 1:  # C-like wrapping, as Const("int8", 200) means
            value = ((value + (1 << (scalar.width - 1))) & ((1 << scalar.width) - 1)) - (1 << (scalar.width - 1))
        else:
            value = int(value != 0)
    else:
        value = float(value)
    if lanes is None:
        return llvm_ir.Constant(scalar, value)
    vector = llvm_ir.VectorType(scalar, lanes)
    return llvm_ir.Constant(vector, [value] * lanes if value or math.copysign(1, value) < 0 else None)  # None: zeroinitializer


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
