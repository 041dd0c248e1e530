"""Expressions → LLVM values: scalars, or vectors where they depend on the vectorised loop's variable.

Indices are summed in 64 bits from their linear form, so neighbouring accesses share a base; element values have exactly
the type of their dtype. A `Select` whose branches might read outside a buffer becomes a branch, or masked loads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from llvmlite import ir as llvm_ir

from vdla.compiler import ir
from vdla.compiler.backends.llvm import arithmetic, functions, narrow_floats
from vdla.compiler.backends.llvm.arithmetic import Value, broadcast, is_false, is_true, like, unify
from vdla.compiler.backends.llvm.emitter import Emitter
from vdla.compiler.backends.llvm.indexing import coefficient, decide, depends, in_bounds, is_index, is_non_negative, offset_of
from vdla.compiler.backends.llvm.types import (
    I1,
    I32,
    I64,
    ITEM_BYTES,
    KINDS,
    POINTER,
    SCALARS,
    VOID,
    constant,
    intrinsic_suffix,
    iota,
    lanes_of,
    storage_type,
    with_lanes,
)
from vdla.compiler.ir.bounds import FULL_RANGE
from vdla.compiler.ir.element_types import NARROW_INTEGERS
from vdla.compiler.passes.affine import Linear, has_load, to_linear
from vdla.element_types import ELEMENT_TYPES, numpy_dtype

STRIDED_LIMIT = 4
"""Up to this stride a strided vector load reads everything between its lanes and shuffles; beyond, it gathers."""


def emit_index(e: Emitter, expr: ir.Expr) -> Value:
    """An integer expression as int64 (at the first lane, in a vectorised loop)."""
    return emit_sum(e, to_linear(expr, e.ranges))


def emit_sum(e: Emitter, total: Linear) -> Value:
    """Σ coefficient · atom + constant, reusing sums already computed; loop-invariant parts are added first."""
    terms = tuple(sorted(total.terms.items(), key=lambda term: _depth(e, term[0])))
    if not terms:
        return llvm_ir.Constant(I64, total.constant)
    value = _emit_terms(e, terms)
    return e.builder.add(value, llvm_ir.Constant(I64, total.constant), flags=("nsw",)) if total.constant else value


def _depth(e: Emitter, atom: ir.Expr) -> int:
    """How deep in the loop nest `atom` changes: the depth of the innermost loop whose variable it uses."""
    return max((e.depths.get(v, 0) for v in ir.walk_expr(atom) if isinstance(v, ir.Var)), default=0)


def _emit_terms(e: Emitter, terms: tuple[tuple[ir.Expr, int], ...]) -> Value:
    if terms in e.sums:
        return e.sums[terms]
    atom, factor = terms[-1]
    value = _emit_atom(e, atom)
    if factor != 1:
        value = e.builder.mul(value, llvm_ir.Constant(I64, factor), flags=("nsw",))
    if len(terms) > 1:
        value = e.builder.add(_emit_terms(e, terms[:-1]), value, flags=("nsw",))
    if not any(has_load(term) for term, _ in terms):  # what was loaded may be overwritten before the sum is used again
        e.sums[terms] = value
    return value


def _emit_atom(e: Emitter, atom: ir.Expr) -> Value:
    b = e.builder
    match atom:
        case ir.Var():
            return e.variables[atom]
        case ir.Binary("floordiv" | "floormod" as op, x, y) if is_index(atom):
            a, divisor = emit_index(e, x), emit_index(e, y)
            positive = isinstance(divisor, llvm_ir.Constant) and divisor.constant > 0
            if positive and is_non_negative(x, e.ranges):
                return b.udiv(a, divisor) if op == "floordiv" else b.urem(a, divisor)
            return arithmetic.BINARY[op, "int"](b, a, divisor)
        case ir.Binary("min" | "max" | "mul" as op, x, y) if is_index(atom):
            return arithmetic.BINARY[op, "int"](b, emit_index(e, x), emit_index(e, y))
    value = emit_expr(e, atom)
    return arithmetic.cast(b, value, atom.dtype, "int64")


def emit_expr(e: Emitter, expr: ir.Expr) -> Value:
    """The value of `expr`: of the type of its dtype, a vector where lanes differ."""
    return EXPRESSIONS[type(expr)](e, expr)


def _emit_const(e: Emitter, expr: ir.Const) -> Value:
    if KINDS[expr.dtype] != "narrow":
        return constant(SCALARS[expr.dtype], expr.value)
    element = np.array([expr.value], np.float64).astype(numpy_dtype(expr.dtype))
    return constant(SCALARS[expr.dtype], int.from_bytes(element.tobytes(), sys.byteorder))


def _emit_var(e: Emitter, expr: ir.Var) -> Value:
    low, high = e.ranges[expr]
    if low == high:
        return constant(SCALARS[expr.dtype], low)
    value = arithmetic.cast(e.builder, e.variables[expr], "int64", expr.dtype)
    if e.lanes is None or expr is not e.lanes.var:
        return value
    return e.builder.add(broadcast(e.builder, value, e.lanes.count), iota(SCALARS[expr.dtype], e.lanes.count))


def _uniform(e: Emitter, expr: ir.Expr) -> bool:
    """Whether `expr` is the same in every lane."""
    return e.lanes is None or not depends(expr, e.lanes.var)


def _emit_binary(e: Emitter, expr: ir.Binary) -> Value:
    if expr.op in ir.LOGICAL:
        return _emit_logical(e, expr)
    if expr.op in ir.COMPARISONS:
        return _emit_comparison(e, expr)
    if is_index(expr) and _uniform(e, expr):
        return arithmetic.cast(e.builder, emit_index(e, expr), "int64", expr.dtype)
    x, y = unify(e.builder, emit_expr(e, expr.a), emit_expr(e, expr.b))
    if expr.op in ("floordiv", "floormod") and is_index(expr) and all(is_non_negative(x, e.ranges) for x in (expr.a, expr.b)):
        return arithmetic.BINARY[expr.op, "unsigned"](e.builder, x, y)
    return arithmetic.binary(e.builder, expr.op, expr.dtype, x, y)


def _emit_comparison(e: Emitter, expr: ir.Binary) -> Value:
    if is_index(expr.a) and is_index(expr.b):
        known = decide(expr.op, expr.a, expr.b, e.ranges)
        if known is not None:
            return llvm_ir.Constant(I1, int(known))
        if _uniform(e, expr):
            return arithmetic.compare(e.builder, expr.op, "int64", emit_index(e, expr.a), emit_index(e, expr.b))
    x, y = unify(e.builder, emit_expr(e, expr.a), emit_expr(e, expr.b))
    if KINDS[expr.a.dtype] == "narrow":
        x, y = (narrow_floats.to_float32(e.builder, v, expr.a.dtype, e.native_half) for v in (x, y))
        return arithmetic.compare(e.builder, expr.op, "float32", x, y)
    return arithmetic.compare(e.builder, expr.op, expr.a.dtype, x, y)


def _emit_logical(e: Emitter, expr: ir.Binary) -> Value:
    """Both sides are evaluated unless one decides: a right side that may read out of bounds belongs in a Select."""
    x = emit_expr(e, expr.a)
    decided, neutral = (is_false, is_true) if expr.op == "and" else (is_true, is_false)
    if decided(x):
        return x
    if not is_speculable(e, expr.b):
        never = llvm_ir.Constant(I1, int(expr.op == "or"))
        return _choose(e, x, expr.b, never) if expr.op == "and" else _choose(e, arithmetic_not(e, x), expr.b, never)
    y = emit_expr(e, expr.b)
    if decided(y) or neutral(x):
        return y
    if neutral(y):
        return x
    return arithmetic.binary(e.builder, expr.op, "bool", *unify(e.builder, x, y))


def arithmetic_not(e: Emitter, condition: Value) -> Value:
    return e.builder.xor(condition, like(condition, 1))


def _choose(e: Emitter, condition: Value, then: ir.Expr, otherwise: Value) -> Value:
    """`then` where `condition`, evaluated only there; elsewhere the ready value `otherwise`."""
    return _select(e, condition, lambda: emit_expr(e, then), lambda: otherwise, safe=(False, True))


def is_speculable(e: Emitter, expr: ir.Expr) -> bool:
    """Whether `expr` may be evaluated where its value is not wanted: all that it reads is in bounds. Divisions never trap."""
    return all(in_bounds(x.indices, x.buffer.shape, e.ranges) for x in ir.walk_expr(expr) if isinstance(x, ir.Load))


def _emit_select(e: Emitter, expr: ir.Select) -> Value:
    condition = emit_expr(e, expr.condition)
    if is_true(condition) or is_false(condition):
        return emit_expr(e, expr.a if is_true(condition) else expr.b)
    safe = is_speculable(e, expr.a), is_speculable(e, expr.b)
    return _select(e, condition, lambda: emit_expr(e, expr.a), lambda: emit_expr(e, expr.b), safe)


def _select(
    e: Emitter, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value], safe: tuple[bool, bool]
) -> Value:
    b = e.builder
    if isinstance(condition.type, llvm_ir.VectorType):
        with e.masked(e.mask if safe[0] else conjoin(e, e.mask, condition)):
            x = then()
        with e.masked(e.mask if safe[1] else conjoin(e, e.mask, arithmetic_not(e, condition))):
            y = otherwise()
        x, y, condition = unify(b, x, y, condition)
        return b.select(condition, x, y)
    if all(safe):
        x, y = unify(b, then(), otherwise())
        return b.select(condition, x, y)
    return _branch(e, condition, then, otherwise)


def _branch(e: Emitter, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value]) -> Value:
    """A diamond: each side runs only when chosen, and a phi joins them."""
    b = e.builder
    blocks, values = [], []
    ends = [b.append_basic_block("then"), b.append_basic_block("else"), b.append_basic_block("join")]
    b.cbranch(condition, ends[0], ends[1])
    for block, side in zip(ends[:2], (then, otherwise), strict=True):
        b.position_at_end(block)
        with e.scope():
            value = side()
            if e.lanes is not None:
                value = broadcast(b, value, e.lanes.count)  # so that both sides have one type
        blocks.append(b.block)
        values.append(value)
        b.branch(ends[2])
    b.position_at_end(ends[2])
    phi = b.phi(values[0].type)
    for value, block in zip(values, blocks, strict=True):
        phi.add_incoming(value, block)
    return phi


def conjoin(e: Emitter, mask: Value | None, condition: Value) -> Value:
    return condition if mask is None else e.builder.and_(*unify(e.builder, mask, condition))


def _emit_cast(e: Emitter, expr: ir.Cast) -> Value:
    if is_index(expr.value) and _uniform(e, expr.value):
        return _cast(e, emit_index(e, expr.value), "int64", expr.dtype)
    value = emit_expr(e, expr.value)
    if KINDS[expr.dtype] in ("int", "unsigned") and is_clipped(expr.value, expr.dtype):
        target = with_lanes(SCALARS[expr.dtype], lanes_of(value.type))
        return e.builder.fptosi(value, target) if KINDS[expr.dtype] == "int" else e.builder.fptoui(value, target)
    return _cast(e, value, expr.value.dtype, expr.dtype)


def is_clipped(value: ir.Expr, dtype: str) -> bool:
    """Whether a float is clipped to what an integer dtype holds, so that it is never out of range: clipping leaves no NaN."""
    match value:
        case ir.Binary("min", ir.Binary("max", _, ir.Const(low)), ir.Const(high)) if KINDS[value.dtype] == "float":
            least, greatest = FULL_RANGE[dtype]
            return least <= low <= high <= greatest and high <= 2**24
        case _:
            return False


def _cast(e: Emitter, value: Value, source: str, target: str) -> Value:
    """A conversion between any two dtypes: to and from narrow floats by way of float32, float64 → float16 rounded once."""
    if source == target:
        return value
    if KINDS[source] == "narrow":
        value, source = narrow_floats.to_float32(e.builder, value, source, e.native_half), "float32"
    if KINDS[target] != "narrow":
        return arithmetic.cast(e.builder, value, source, target)
    if (source, target) == ("float64", "float16"):
        value = narrow_floats.odd_float32(e.builder, value)
    else:
        value = arithmetic.cast(e.builder, value, source, "float32")
    return narrow_floats.from_float32(e.builder, value, target, e.native_half)


def _reinterpret(e: Emitter, expr: ir.Call) -> Value:
    """The same bits; those of a narrow integer lie in a byte of their own, whose upper bits continue its sign."""
    value, source = emit_expr(e, expr.args[0]), expr.args[0].dtype
    if expr.dtype in NARROW_INTEGERS:
        return arithmetic.within_bits(e.builder, value, expr.dtype)
    if source in NARROW_INTEGERS:
        return unsigned_code(e, value, source)
    return e.builder.bitcast(value, with_lanes(SCALARS[expr.dtype], lanes_of(value.type)))


def unsigned_code(e: Emitter, value: Value, dtype: str) -> Value:
    """The bits of a narrow integer with zeros above them, which is how it lies in memory."""
    return e.builder.and_(value, like(value, (1 << ELEMENT_TYPES[dtype].bits) - 1))


def _emit_call(e: Emitter, expr: ir.Call) -> Value:
    if expr.op == "reinterpret":
        return _reinterpret(e, expr)
    args = unify(e.builder, *(emit_expr(e, a) for a in expr.args))
    return functions.call(e.builder, expr.op, expr.dtype, args, expr.attributes)


def element_pointer(e: Emitter, buffer: ir.Buffer, offset: Linear) -> Value:
    """The address of an element: the sum of the offset's variable part, then a constant displacement."""
    b, element, pointer = e.builder, storage_type(buffer.dtype), e.pointers[buffer]
    if offset.terms:
        pointer = b.gep(pointer, [emit_sum(e, Linear(offset.terms, 0))], inbounds=True, source_etype=element)
    if offset.constant:
        pointer = b.gep(pointer, [llvm_ir.Constant(I64, offset.constant)], inbounds=True, source_etype=element)
    return pointer


def lane_pointers(e: Emitter, buffer: ir.Buffer, indices: tuple[ir.Expr, ...]) -> Value:
    """A vector of addresses, for gathers and scatters."""
    assert e.lanes is not None
    offset: Value = llvm_ir.Constant(I64, 0)
    stride = 1
    for index, size in zip(reversed(indices), reversed(buffer.shape), strict=True):
        value = arithmetic.cast(e.builder, emit_expr(e, index), index.dtype, "int64")
        offset, value = unify(e.builder, offset, e.builder.mul(value, like(value, stride)))
        offset = e.builder.add(offset, value)
        stride *= size
    offset = broadcast(e.builder, offset, e.lanes.count)
    pointers = e.builder.gep(e.pointers[buffer], [offset], inbounds=True, source_etype=storage_type(buffer.dtype))
    pointers.type = llvm_ir.VectorType(POINTER, e.lanes.count)  # llvmlite types every gep as a scalar pointer
    return pointers


def lane_stride(e: Emitter, offset: Linear) -> int | None:
    """Elements between neighbouring lanes; None when irregular."""
    assert e.lanes is not None
    return coefficient(offset, e.lanes.var)


def full_mask(e: Emitter) -> Value:
    assert e.lanes is not None
    return broadcast(e.builder, e.mask, e.lanes.count) if e.mask is not None else constant(I1, 1, e.lanes.count)


def _emit_load(e: Emitter, expr: ir.Load) -> Value:
    buffer = expr.buffer
    offset = offset_of(expr.indices, buffer.shape, e.ranges)
    stride = 0 if e.lanes is None else lane_stride(e, offset)
    if e.mask is not None and not all(is_speculable(e, index) for index in expr.indices):
        stride = None  # what an index loads differs from lane to lane too, if only in being read at all
    if stride == 0 and (e.mask is None or in_bounds(expr.indices, buffer.shape, e.ranges)):
        pointer = element_pointer(e, buffer, offset)
        value = e.builder.load(pointer, align=ITEM_BYTES[buffer.dtype], typ=storage_type(buffer.dtype))
    elif stride is not None and 1 <= stride <= STRIDED_LIMIT:
        value = _strided_load(e, buffer, offset, stride)
    else:
        assert e.lanes is not None
        vector = llvm_ir.VectorType(storage_type(buffer.dtype), e.lanes.count)
        value = _masked_load(e, buffer, vector, lane_pointers(e, buffer, expr.indices), full_mask(e))
    if buffer.dtype == "bool":
        return arithmetic.cast(e.builder, value, "uint8", "bool")
    return arithmetic.within_bits(e.builder, value, buffer.dtype) if buffer.dtype in NARROW_INTEGERS else value


def _strided_load(e: Emitter, buffer: ir.Buffer, offset: Linear, stride: int) -> Value:
    """Every `stride`-th element of one wide load."""
    assert e.lanes is not None
    count, pointer = e.lanes.count, element_pointer(e, buffer, offset)
    wide = llvm_ir.VectorType(storage_type(buffer.dtype), stride * (count - 1) + 1)
    if e.mask is None:
        value = e.builder.load(pointer, align=ITEM_BYTES[buffer.dtype], typ=wide)
    else:
        value = _masked_load(e, buffer, wide, pointer, _spread(e, full_mask(e), stride))
    return (
        value
        if stride == 1
        else e.builder.shuffle_vector(value, llvm_ir.Constant(wide, llvm_ir.Undefined), iota(I32, count, stride))
    )


def _spread(e: Emitter, mask: Value, stride: int) -> Value:
    """A mask for the elements between the lanes too: those are not read."""
    if stride == 1:
        return mask
    count = lanes_of(mask.type) or 1
    picks = [i // stride if i % stride == 0 else count for i in range(stride * (count - 1) + 1)]
    none = constant(I1, 0, count)
    return e.builder.shuffle_vector(mask, none, llvm_ir.Constant(llvm_ir.VectorType(I32, len(picks)), picks))


def emit_store(e: Emitter, buffer: ir.Buffer, indices: tuple[ir.Expr, ...], value: Value) -> None:
    """Store one element, or one per active lane."""
    if buffer.dtype == "bool":
        value = arithmetic.cast(e.builder, value, "bool", "uint8")
    if buffer.dtype in NARROW_INTEGERS:
        value = unsigned_code(e, value, buffer.dtype)
    offset = offset_of(indices, buffer.shape, e.ranges)
    stride = None if e.lanes is None else lane_stride(e, offset)
    if e.mask is not None and not all(is_speculable(e, index) for index in indices):
        stride = None
    if e.lanes is not None:
        value = broadcast(e.builder, value, e.lanes.count)
    if e.lanes is None or (stride == 1 and e.mask is None):
        e.builder.store(value, element_pointer(e, buffer, offset), align=ITEM_BYTES[buffer.dtype])
    elif stride == 1:
        _masked_store(e, buffer, value, element_pointer(e, buffer, offset))
    else:
        _masked_store(e, buffer, value, lane_pointers(e, buffer, indices))


def _masked_load(e: Emitter, buffer: ir.Buffer, vector: llvm_ir.VectorType, pointers: Value, mask: Value) -> Value:
    """A masked load from one pointer, or a gather from a vector of them; 0 in lanes that are off."""
    name = "gather" if lanes_of(pointers.type) else "load"
    zero = constant(vector.element, 0, vector.count)
    return _masked(e, name, vector, vector, [pointers, llvm_ir.Constant(I32, ITEM_BYTES[buffer.dtype]), mask, zero])


def _masked_store(e: Emitter, buffer: ir.Buffer, value: Value, pointers: Value) -> None:
    """A masked store to one pointer, or a scatter to a vector of them."""
    name = "scatter" if lanes_of(pointers.type) else "store"
    _masked(e, name, value.type, VOID, [value, pointers, llvm_ir.Constant(I32, ITEM_BYTES[buffer.dtype]), full_mask(e)])


def _masked(e: Emitter, name: str, vector: llvm_ir.Type, result: llvm_ir.Type, args: list[Value]) -> Value:
    pointers = next(a.type for a in args if a.type == POINTER or (lanes_of(a.type) and a.type.element == POINTER))
    full = f"llvm.masked.{name}.{intrinsic_suffix(vector)}.{intrinsic_suffix(pointers)}"
    function = e.module.globals.get(full) or llvm_ir.Function(
        e.module, llvm_ir.FunctionType(result, [a.type for a in args]), full
    )
    return e.builder.call(function, args)


EXPRESSIONS: dict[type[ir.Expr], Callable[..., Value]] = {
    ir.Const: _emit_const,
    ir.Var: _emit_var,
    ir.Binary: _emit_binary,
    ir.Cast: _emit_cast,
    ir.Select: _emit_select,
    ir.Call: _emit_call,
    ir.Load: _emit_load,
}
