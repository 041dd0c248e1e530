"""`compact_buffers`: an allocation holds only what its body touches, counted from the first element touched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.passes.affine import Interval
from vdla.compiler.passes.region import Access, Box, accesses, union_box
from vdla.compiler.passes.simplify import simplify

TILE_SCOPES = ("vdla.inp", "vdla.wgt", "vdla.acc")


def compact_buffers(func: ir.Function) -> ir.Function:
    """Shrink buffers and rebase their indices.

        for o in range(4):                                  for o in range(4):
            allocate P: int8[56]                                allocate P: int8[6]
            for i in range(6): P[o * 4 + i] = x[o * 4 + i]  →   for i in range(6): P[i] = x[o * 4 + i]
            for j in range(4): y[o * 4 + j] = P[o * 4 + j + 2]  for j in range(4): y[o * 4 + j] = P[j + 2]

    The last two dimensions of a buffer in a vdla scope are an SRAM tile and stay whole.
    """
    touches = touches_by_allocation(func)
    return replace(func, body=compact(func.body, {}, touches, {}))


def touches_by_allocation(func: ir.Function) -> dict[ir.Buffer, list[Access]]:
    """Every reference to each allocated buffer; its inner loops are those inside the allocation. One walk."""
    result: dict[ir.Buffer, list[Access]] = {}
    depth: dict[ir.Buffer, int] = {}
    loops: list[tuple[ir.Var, Interval]] = []

    def visit(stmt: ir.Stmt) -> None:
        if isinstance(stmt, ir.Allocate):
            depth[stmt.buffer] = len(loops)
            result[stmt.buffer] = []
        if isinstance(stmt, ir.For):
            loops.append((stmt.var, (0, stmt.extent - 1)))
        for child in ir.stmt_children(stmt):
            visit(child)
        if isinstance(stmt, ir.For):
            loops.pop()
        if not isinstance(stmt, ir.For | ir.Allocate):
            shallow = (
                stmt if not ir.stmt_children(stmt) else ir.rebuild_stmt(stmt, tuple(ir.Seq(()) for _ in ir.stmt_children(stmt)))
            )
            inner: dict[int, dict[ir.Var, Interval]] = {}
            for access in accesses(shallow):
                if access.buffer in result:
                    level = depth[access.buffer]
                    ranges = inner.setdefault(level, dict(loops[level:]))
                    result[access.buffer].append(replace(access, inner=ranges))

    visit(func.body)
    return result


def compact(
    stmt: ir.Stmt,
    ranges: Mapping[ir.Var, Interval],
    touches: dict[ir.Buffer, list[Access]],
    boxes: dict[ir.Buffer, tuple[ir.Buffer, Box]],
) -> ir.Stmt:
    """ranges: of the loops around `stmt`. boxes: what each old buffer became, and where that starts."""
    match stmt:
        case ir.Allocate(buffer, body, annotations):
            box = kept_box(buffer, touches[buffer], ranges)
            new = buffer if box.extents == buffer.shape else replace(buffer, shape=box.extents)
            return ir.Allocate(new, compact(body, ranges, touches, {**boxes, buffer: (new, box)}), annotations)
        case ir.For(var, extent, body):
            return replace(stmt, body=compact(body, {**ranges, var: (0, extent - 1)}, touches, boxes))

    def rebased(buffer: ir.Buffer, indices: tuple[ir.Expr, ...]) -> tuple[ir.Buffer, tuple[ir.Expr, ...]]:
        if buffer not in boxes:
            return buffer, indices
        new, box = boxes[buffer]
        return new, tuple(rebase(i, s, ranges) for i, s in zip(indices, box.starts, strict=True))

    def expr(node: ir.Expr) -> ir.Expr:
        return ir.Load(*rebased(node.buffer, node.indices)) if isinstance(node, ir.Load) else node

    stmt = ir.map_stmt_exprs(stmt, lambda e: ir.map_expr(e, expr))
    match stmt:
        case ir.Store(buffer, indices, value):
            return ir.Store(*rebased(buffer, indices), value)
        case ir.Intrinsic():
            regions = [(*rebased(r.buffer, r.starts), r.extents) for r in stmt.operands]
            return replace(stmt, operands=tuple(ir.Region(*r) for r in regions))
    children = ir.stmt_children(stmt)
    return ir.rebuild_stmt(stmt, tuple(compact(s, ranges, touches, boxes) for s in children)) if children else stmt


def kept_box(buffer: ir.Buffer, touches: list[Access], ranges: Mapping[ir.Var, Interval]) -> Box:
    box = union_box(touches, buffer, ranges)
    if buffer.scope not in TILE_SCOPES:
        return box
    lead = len(buffer.shape) - 2
    return Box((*box.starts[:lead], ir.Const(0), ir.Const(0)), (*box.extents[:lead], *buffer.shape[lead:]))


def rebase(index: ir.Expr, start: ir.Expr, ranges: Mapping[ir.Var, Interval]) -> ir.Expr:
    if isinstance(start, ir.Const) and start.value == 0:
        return index
    return simplify(ir.Binary("sub", index, start), ranges)
