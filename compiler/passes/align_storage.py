"""`align_storage`: rows of an allocation annotated storage_align begin at multiples of that many elements.

    allocate P: float32[4, 33] {storage_align=8}     →     allocate P: float32[4, 40]

Indices stay; the elements between the rows are never touched. A row is the last dimension. It pays where rows are read a
vector at a time, or where rows of a power of two would all meet in one bank or one set of a cache.
"""

from __future__ import annotations

from dataclasses import replace

from vdla.arithmetic import round_up
from vdla.compiler import ir

KEY = "storage_align"


def align_storage(func: ir.Function) -> ir.Function:
    """Only of buffers outside the accelerator's SRAMs, whose tiles lie one after another (`verify` holds it)."""
    new: dict[ir.Buffer, ir.Buffer] = {}
    for stmt in ir.walk_stmt(func.body):
        if isinstance(stmt, ir.Allocate) and (elements := ir.attribute(stmt.annotations, KEY)) is not None:
            new[stmt.buffer] = padded(stmt.buffer, int(elements))
    if not new:
        return func

    def expr(node: ir.Expr) -> ir.Expr:
        return ir.Load(new[node.buffer], node.indices) if isinstance(node, ir.Load) and node.buffer in new else node

    def change(stmt: ir.Stmt) -> ir.Stmt:
        stmt = ir.map_stmt_exprs(stmt, lambda e: ir.map_expr(e, expr))
        match stmt:
            case ir.Allocate(buffer, body, annotations) if buffer in new:
                return ir.Allocate(new[buffer], body, tuple((k, v) for k, v in annotations if k != KEY))
            case ir.Store(buffer, indices, value) if buffer in new:
                return ir.Store(new[buffer], indices, value)
            case ir.Intrinsic():
                return replace(stmt, operands=tuple(replace(r, buffer=new.get(r.buffer, r.buffer)) for r in stmt.operands))
        return stmt

    return replace(func, body=ir.map_stmt(func.body, change))


def padded(buffer: ir.Buffer, elements: int) -> ir.Buffer:
    *outer, row = buffer.shape or (1,)
    return replace(buffer, shape=(*outer, round_up(row, elements))) if outer else buffer
