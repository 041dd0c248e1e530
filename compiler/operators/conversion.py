"""Values in another dtype: cast, and the bits of one as another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, flag
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.elementwise import unary
from vdla.compiler.operators.operator import ANY, FLOAT, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.element_types import ELEMENT_TYPES, numpy_dtype
from vdla.errors import ModelError

LARGEST = {"float8_e4m3fn": 448.0, "float8_e4m3fnuz": 240.0, "float8_e5m2": 57344.0, "float8_e5m2fnuz": 57344.0}
"""The largest value of each type that `saturate` is about."""
SCALE = "float8_e8m0fnu"


def infer_cast(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if a["to"] == SCALE != x.dtype:
        raise ModelError(f"a cast to {SCALE}", expected="another type", hint="power_above rounds to it as ONNX does")
    return (TensorType(x.shape, a["to"]),)


def define_cast(types: Types, a: Attributes) -> Definition:
    """As te.cast; ONNX's Cast says what becomes of values beyond the range of an 8-bit float.

    saturate: they become the largest, infinity too; else infinity, or NaN where there is none. NaN is NaN either way.
    """
    (x,) = required(*placeholders(types, "x"))
    limit = LARGEST.get(a["to"]) if a["saturate"] and x.dtype != "bool" else None

    def element(*at: Expr) -> Expr:
        value: Expr = x[at]
        if limit is not None:
            wide = value if value.dtype in FLOAT else te.cast(value, "float32")
            value = te.minimum(te.const(limit, wide.dtype), te.maximum(te.const(-limit, wide.dtype), wide))  # NaN passes
        return te.cast(value, a["to"])

    return Definition((x,), (te.compute(x.shape, element, "y"),))


def cast(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    (x,) = inputs
    source, target = ELEMENT_TYPES[str(x.dtype)], ELEMENT_TYPES[a["to"]]
    if source == target and not (a["saturate"] and a["to"] in LARGEST):
        return x.copy()
    if a["to"] == "bool":
        return np.not_equal(x, np.zeros((), x.dtype))
    if target.is_float:
        return to_float(x, a)
    return wrapped(to_integer(x, a["to"]) if source.is_float else x, a["to"])


def to_float(x: np.ndarray, a: Attributes) -> np.ndarray:
    """To a narrow float by way of float32, as everywhere, unless NumPy has the conversion itself."""
    if a["to"] not in ("float64", "float32") and (str(x.dtype), a["to"]) != ("float64", "float16"):
        saturates = a["saturate"] and a["to"] in LARGEST
        x = (np.clip(x, -LARGEST[a["to"]], LARGEST[a["to"]]) if saturates and x.dtype == np.float64 else x).astype(np.float32)
        x = np.clip(x, np.float32(-LARGEST[a["to"]]), np.float32(LARGEST[a["to"]])) if saturates else x
        x = np.nan_to_num(x, nan=0, posinf=math.inf, neginf=-math.inf) if a["to"] == "float4_e2m1fn" else x  # it has no NaN
    return x.astype(numpy_dtype(a["to"]))


def to_integer(x: np.ndarray, dtype: str) -> np.ndarray:
    """Truncated; NaN is 0 and what is out of range the nearest bound, of int32 for types of less than 32 bits."""
    wide = x.astype(np.float64)
    low, high = ELEMENT_TYPES[dtype if ELEMENT_TYPES[dtype].bits >= 32 else "int32"].range
    below, above = wide <= low, wide >= high
    inside = np.where(below | above | np.isnan(wide), 0, wide).astype(np.uint64 if low == 0 else np.int64)
    return np.where(below, inside.dtype.type(low), np.where(above, inside.dtype.type(high), inside))


def wrapped(x: np.ndarray, dtype: str) -> np.ndarray:
    """Whole numbers modulo 2^bits."""
    if ELEMENT_TYPES[str(x.dtype)].bits < 8:  # ml_dtypes has these to and from some types alone
        x = x.astype(np.int8)
    if ELEMENT_TYPES[dtype].bits >= 8:
        return x.astype(dtype)
    return x.astype(np.int64).astype(np.int8).astype(numpy_dtype(dtype))


def power_above(x: Expr) -> Expr:
    """By the bits of |x| in float64, where no float32 is subnormal: the exponent, one more where there is a fraction."""
    bits = te.bit_and(te.reinterpret(te.cast(x, "float64"), "int64"), (1 << 63) - 1)
    exponent = te.shift_right(bits + ((1 << 52) - 1), 52) - (1023 - 127)
    return te.reinterpret(te.cast(te.select(te.equal(x, x), te.clip(exponent, 0, 254), 255), "uint8"), SCALE)


def numpy_power_above(x: np.ndarray) -> np.ndarray:
    """By frexp: x = m · 2^e with m in ½ … 1, so that it is a power itself where m = ½."""
    size = np.abs(x.astype(np.float64))
    mantissa, exponent = np.frexp(size)
    code = np.clip(np.where(mantissa == 0.5, exponent - 1, exponent) + 127, 0, 254)
    code = np.where(np.isnan(size), 255, np.where(size == 0, 0, np.where(np.isinf(size), 254, code)))
    return code.astype(np.uint8).view(numpy_dtype(SCALE))


def infer_bit_cast(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if ELEMENT_TYPES[x.dtype].bits != ELEMENT_TYPES[a["to"]].bits:
        raise ModelError("a cast of bits between widths", found=f"{x.dtype} to {a['to']}", expected="types of one width")
    return (TensorType(x.shape, a["to"]),)


def define_bit_cast(types: Types, a: Attributes) -> Definition:
    """The same bits as another type; of a bool they are those of 0 or 1, and every bit but those of 0 is true."""
    (x,) = required(*placeholders(types, "x"))
    through = "uint8" if "bool" in (x.dtype, a["to"]) else a["to"]

    def element(*at: Expr) -> Expr:
        bits = te.cast(x[at], "uint8") if x.dtype == "bool" else te.reinterpret(x[at], through)
        return te.cast(bits, "bool") if a["to"] == "bool" else te.reinterpret(bits, a["to"])

    return Definition((x,), (te.compute(x.shape, element, "y"),))


def bit_cast(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    (x,) = inputs
    bits = np.asarray(x, order="C").view(f"uint{8 * x.dtype.itemsize}")
    return bits != 0 if a["to"] == "bool" else bits.view(numpy_dtype(a["to"]))


FAMILY = (
    # the power of two next above |x|: 2^-127 of 0, 2^127 of infinity and of what lies beyond it, NaN of NaN
    unary("power_above", power_above, numpy_power_above, output=SCALE, reads=3),
    Operator(
        name="cast",
        inputs=(Input("x", ANY),),
        attributes={"to": choice(*ANY), "saturate": flag(True)},
        infer=infer_cast,
        define=define_cast,
        kernel=cast,
        fusion=Fusion.ELEMENTWISE,
    ),
    Operator(
        name="bit_cast",
        inputs=(Input("x", ANY),),
        attributes={"to": choice(*ANY)},
        infer=infer_bit_cast,
        define=define_bit_cast,
        kernel=bit_cast,
        fusion=Fusion.ELEMENTWISE,
    ),
)
