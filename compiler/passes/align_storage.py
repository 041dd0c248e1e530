"""`align_storage`: rows of an allocation annotated storage_align begin at multiples of that many elements.

    allocate P: float32[4, 33] {storage_align=8}     →     allocate P: float32[4, 40]

Indices stay; the elements between the rows are never touched. A row is the last dimension. It pays where rows are read a
vector at a time, or where rows of a power of two would all meet in one bank or one set of a cache.
"""

from __future__ import annotations

from dataclasses import replace

from vdla.arithmetic import round_up
from vdla.compiler.ir.nodes import Allocate, Buffer, Expr, Function, Intrinsic, Load, Stmt, Store, attribute
from vdla.compiler.ir.traverse import map_expr, map_stmt, map_stmt_exprs, walk_stmt

KEY = "storage_align"


def align_storage(func: Function) -> Function:
    """Only of buffers outside the accelerator's SRAMs, whose tiles lie one after another (`verify` holds it)."""
    new: dict[Buffer, Buffer] = {}
    for stmt in walk_stmt(func.body):
        if isinstance(stmt, Allocate) and (elements := attribute(stmt.annotations, KEY)) is not None:
            new[stmt.buffer] = padded(stmt.buffer, int(elements))
    if not new:
        return func

    def expr(node: Expr) -> Expr:
        return Load(new[node.buffer], node.indices) if isinstance(node, Load) and node.buffer in new else node

    def change(stmt: Stmt) -> Stmt:
        stmt = map_stmt_exprs(stmt, lambda e: map_expr(e, expr))
        match stmt:
            case Allocate(buffer, body, annotations) if buffer in new:
                return Allocate(new[buffer], body, tuple((k, v) for k, v in annotations if k != KEY))
            case Store(buffer, indices, value) if buffer in new:
                return Store(new[buffer], indices, value)
            case Intrinsic():
                return replace(stmt, operands=tuple(replace(r, buffer=new.get(r.buffer, r.buffer)) for r in stmt.operands))
        return stmt

    return replace(func, body=map_stmt(func.body, change))


def padded(buffer: Buffer, elements: int) -> Buffer:
    *outer, row = buffer.shape or (1,)
    return replace(buffer, shape=(*outer, round_up(row, elements))) if outer else buffer
