"""Instructions reached by tensorising: what each computes, as data for `tensorize`, and how LLVM says it.

x86.vpdpbusd: sixteen dot products of four unsigned with four signed bytes, packed in int32 words, the lowest byte first:

    acc[l] = acc[l] + Σ_r uint8(x[l] >> 8r) · int8(w >> 8r)        (AVX-512 VNNI; wraps, does not saturate)
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as llvm_ir

from vdla.compiler import ir
from vdla.compiler.backends.llvm.arithmetic import broadcast
from vdla.compiler.backends.llvm.emitter import Emitter
from vdla.compiler.backends.llvm.expressions import element_pointer
from vdla.compiler.backends.llvm.indexing import offset_of
from vdla.compiler.backends.llvm.types import I32, ITEM_BYTES
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic, tile_function
from vdla.errors import CompileError

LANES = 16


def bytes_dot(x: ir.Expr, w: ir.Expr) -> ir.Expr:
    """Σ_r uint8(x >> 8r) · int8(w >> 8r) of two int32 words."""

    def byte(word: ir.Expr, r: int, dtype: str) -> ir.Expr:
        shifted = ir.Binary("shr", word, ir.Const(8 * r)) if r else word
        return shifted.astype(dtype).astype("int32")

    total = byte(x, 0, "uint8") * byte(w, 0, "int8")
    for r in range(1, 4):
        total = total + byte(x, r, "uint8") * byte(w, r, "int8")
    return total


def _bytes_dot_intrinsic() -> TensorIntrinsic:
    acc = ir.Buffer("acc", (LANES,), "int32", "local")
    x, w = ir.Buffer("x", (LANES,), "int32"), ir.Buffer("w", (1,), "int32")
    pattern = tile_function(
        "vpdpbusd", (1, LANES), lambda b, l: ir.Store(acc, (l,), acc[l] + bytes_dot(x[l], w[b])), [x, w], acc
    )
    return TensorIntrinsic("x86.vpdpbusd", pattern, (acc, x, w))


BYTES_DOT = _bytes_dot_intrinsic()


def _pointer(e: Emitter, region: ir.Region) -> llvm_ir.Value:
    return element_pointer(e, region.buffer, offset_of(region.starts, region.buffer.shape, e.ranges))


def _emit_bytes_dot(e: Emitter, stmt: ir.Intrinsic) -> None:
    b, (acc, x, w) = e.builder, stmt.operands
    vector, align = llvm_ir.VectorType(I32, LANES), ITEM_BYTES["int32"]
    total = _pointer(e, acc)
    columns = b.load(_pointer(e, x), align=align, typ=vector)
    weights = broadcast(b, b.load(_pointer(e, w), align=align, typ=I32), LANES)
    name, packed = "llvm.x86.avx512.vpdpbusd.512", llvm_ir.VectorType(llvm_ir.IntType(8), 4 * LANES)
    function = e.module.globals.get(name) or llvm_ir.Function(
        e.module, llvm_ir.FunctionType(vector, [vector, packed, packed]), name
    )
    operands = [b.load(total, align=align, typ=vector), b.bitcast(columns, packed), b.bitcast(weights, packed)]
    b.store(b.call(function, operands), total, align=align)


INTRINSICS: dict[str, Callable[[Emitter, ir.Intrinsic], None]] = {"x86.vpdpbusd": _emit_bytes_dot}


def emit_intrinsic(e: Emitter, stmt: ir.Intrinsic) -> None:
    """Raises `CompileError` for another target's."""
    if stmt.name not in INTRINSICS:
        raise CompileError("the LLVM backend has no such Intrinsic", found=stmt.name, expected=", ".join(INTRINSICS))
    INTRINSICS[stmt.name](e, stmt)
