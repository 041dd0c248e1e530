"""`compact_buffers`: an allocation holds only what its body touches, counted from the first element touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vdla.compiler.ir.nodes import (
    Allocate,
    Binary,
    Buffer,
    Const,
    Expr,
    For,
    Function,
    Intrinsic,
    Load,
    Region,
    Seq,
    Stmt,
    Store,
    Var,
)
from vdla.compiler.ir.traverse import map_expr, map_stmt_exprs, rebuild_stmt, stmt_children
from vdla.compiler.passes.affine import Interval
from vdla.compiler.passes.region import Access, Box, accesses, union_box
from vdla.compiler.passes.simplify import simplify

TILE_SCOPES = ("vdla.inp", "vdla.wgt", "vdla.acc")


def compact_buffers(func: Function) -> Function:
    """Shrink buffers and rebase their indices.

        for o in range(4):                                  for o in range(4):
            allocate P: int8[56]                                allocate P: int8[6]
            for i in range(6): P[o * 4 + i] = x[o * 4 + i]  →   for i in range(6): P[i] = x[o * 4 + i]
            for j in range(4): y[o * 4 + j] = P[o * 4 + j + 2]  for j in range(4): y[o * 4 + j] = P[j + 2]

    The last two dimensions of a buffer in a vdla scope are an SRAM tile and stay whole.
    """
    touches = touches_by_allocation(func)
    return replace(func, body=compact(func.body, {}, touches, {}))


def touches_by_allocation(func: Function) -> dict[Buffer, list[Access]]:
    """Every reference to each allocated buffer; its inner loops are those inside the allocation. One walk."""
    result: dict[Buffer, list[Access]] = {}
    depth: dict[Buffer, int] = {}
    loops: list[tuple[Var, Interval]] = []

    def visit(stmt: Stmt) -> None:
        if isinstance(stmt, Allocate):
            depth[stmt.buffer] = len(loops)
            result[stmt.buffer] = []
        if isinstance(stmt, For):
            loops.append((stmt.var, (0, stmt.extent - 1)))
        for child in stmt_children(stmt):
            visit(child)
        if isinstance(stmt, For):
            loops.pop()
        if not isinstance(stmt, For | Allocate):
            shallow = stmt if not stmt_children(stmt) else rebuild_stmt(stmt, tuple(Seq(()) for _ in stmt_children(stmt)))
            inner: dict[int, dict[Var, Interval]] = {}
            for access in accesses(shallow):
                if access.buffer in result:
                    level = depth[access.buffer]
                    ranges = inner.setdefault(level, dict(loops[level:]))
                    result[access.buffer].append(replace(access, inner=ranges))

    visit(func.body)
    return result


def compact(
    stmt: Stmt, ranges: Mapping[Var, Interval], touches: dict[Buffer, list[Access]], boxes: dict[Buffer, tuple[Buffer, Box]]
) -> Stmt:
    """ranges: of the loops around `stmt`. boxes: what each old buffer became, and where that starts."""
    match stmt:
        case Allocate(buffer, body, annotations):
            box = kept_box(buffer, touches[buffer], ranges)
            new = buffer if box.extents == buffer.shape else replace(buffer, shape=box.extents)
            return Allocate(new, compact(body, ranges, touches, {**boxes, buffer: (new, box)}), annotations)
        case For(var, extent, body):
            return replace(stmt, body=compact(body, {**ranges, var: (0, extent - 1)}, touches, boxes))

    def rebased(buffer: Buffer, indices: tuple[Expr, ...]) -> tuple[Buffer, tuple[Expr, ...]]:
        if buffer not in boxes:
            return buffer, indices
        new, box = boxes[buffer]
        return new, tuple(rebase(i, s, ranges) for i, s in zip(indices, box.starts, strict=True))

    def expr(node: Expr) -> Expr:
        return Load(*rebased(node.buffer, node.indices)) if isinstance(node, Load) else node

    stmt = map_stmt_exprs(stmt, lambda e: map_expr(e, expr))
    match stmt:
        case Store(buffer, indices, value):
            return Store(*rebased(buffer, indices), value)
        case Intrinsic():
            regions = [(*rebased(r.buffer, r.starts), r.extents) for r in stmt.operands]
            return replace(stmt, operands=tuple(Region(*r) for r in regions))
    children = stmt_children(stmt)
    return rebuild_stmt(stmt, tuple(compact(s, ranges, touches, boxes) for s in children)) if children else stmt


def kept_box(buffer: Buffer, touches: list[Access], ranges: Mapping[Var, Interval]) -> Box:
    box = union_box(touches, buffer, ranges)
    if buffer.scope not in TILE_SCOPES:
        return box
    lead = len(buffer.shape) - 2
    return Box((*box.starts[:lead], Const(0), Const(0)), (*box.extents[:lead], *buffer.shape[lead:]))


def rebase(index: Expr, start: Expr, ranges: Mapping[Var, Interval]) -> Expr:
    if isinstance(start, Const) and start.value == 0:
        return index
    return simplify(Binary("sub", index, start), ranges)
