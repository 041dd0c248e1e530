"""Steps that several kinds of CPU kernels arrange their loops by. Each works on a definition's blocks by name."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from vdla.compiler import ir
from vdla.compiler.ops.cpu.compose import operations
from vdla.compiler.ops.cpu.register_block import divisors
from vdla.compiler.schedule import Schedule
from vdla.compiler.schedule.locate import is_step

STEP_WORK = 1 << 20
"""Operations on scalars that one step of a scan must take for other threads to be woken for it: some 30 µs on one of them."""
MOST_PIECES = 64
"""Iterations of a parallel loop over a flat range, by default."""


def axis_loops(s: Schedule, block: str) -> tuple[list[ir.Var], list[ir.Var]]:
    """The innermost loops, one for each iter of the block as te made it: spatial ones, reduced ones."""
    iters = s.get(block).iters
    loops = list(zip(s.loops(block)[-len(iters) :], iters, strict=True))
    return [v for v, i in loops if i.kind == "spatial"], [v for v, i in loops if i.kind == "reduce"]


def spatial_iters(s: Schedule, block: str) -> list[ir.Iter]:
    return [i for i in s.get(block).iters if i.kind == "spatial"]


def parallel(s: Schedule, block: str, loop: ir.Var) -> None:
    """Run a loop of a block in parallel, unless it is a small part of a step of a scan: all threads meet after each."""
    extents = prod(i.extent for i in s.get(block).iters if i.kind != "scan")
    values = (stmt.value for stmt in ir.walk_stmt(s.get(block).body) if isinstance(stmt, ir.Store))
    if not is_step(s.get(block)) or extents * sum(map(operations, values)) >= STEP_WORK:
        s.parallel(loop)


def fused(s: Schedule, loops: Sequence[ir.Var]) -> ir.Var:
    return s.fuse(*loops) if len(loops) > 1 else loops[0]


def stage_value(s: Schedule, block: str) -> ir.Expr:
    """What a block without a reduction stores."""
    (value,) = (stmt.value for stmt in ir.walk_stmt(s.get(block).body) if isinstance(stmt, ir.Store))
    return value


def outer_axes(s: Schedule, block: str) -> int:
    """Leading axes of an elementwise block after which everything it reads either runs along with it or does not change."""
    iters = spatial_iters(s, block)
    value = stage_value(s, block)
    return next((n for n in range(len(iters)) if runs_along(value, iters[n:])), max(len(iters) - 1, 0))


def runs_along(value: ir.Expr, iters: Sequence[ir.Iter]) -> bool:
    """Whether every load reads neighbours along `iters` taken as one, or one element throughout, and nothing else uses them."""
    axes = [i.var for i in iters]
    if isinstance(value, ir.Load):
        split = len(value.indices) - len(axes)
        whole = list(value.indices[split:]) == axes and value.buffer.shape[split:] == tuple(i.extent for i in iters)
        others = value.indices[:split] if split >= 0 and whole else value.indices
        return not any(e in axes for index in others for e in ir.walk_expr(index))
    return value not in axes and all(runs_along(child, iters) for child in ir.children(value))


def schedule_flat(s: Schedule, block: str, outer_axes: int, most_pieces: int = MOST_PIECES) -> None:
    """The first `outer_axes` loops fused and parallel, the others fused and vectorised; with none outside, cut in pieces.

    A piece is whole but for one axis, which it cuts evenly: a cut across axes would leave indices nobody can reason about.
    """
    loops, _ = axis_loops(s, block)
    if not loops:  # a scalar
        return
    if not outer_axes:
        pieces, extents = 1, [i.extent for i in spatial_iters(s, block)]
        while outer_axes < len(loops) - 1 and pieces * extents[outer_axes] <= most_pieces:
            pieces *= extents[outer_axes]
            outer_axes += 1
        cut = max(d for d in divisors(extents[outer_axes]) if pieces * d <= most_pieces)
        loops[outer_axes : outer_axes + 1] = s.split(loops[outer_axes], [cut, None])
        outer_axes += 1
    first, last = fused(s, loops[:outer_axes]), fused(s, loops[outer_axes:])
    parallel(s, block, first)
    s.vectorize(last)


def schedule_rows(s: Schedule, block: str) -> None:
    """A long reduction: the output's loops fused and parallel, the reduced ones left to LLVM's vectoriser."""
    spatial, reduced = axis_loops(s, block)
    s.decompose_reduction(block, reduced[0])
    if spatial:
        parallel(s, block, fused(s, spatial))


def schedule_separately(s: Schedule, blocks: Sequence[str]) -> None:
    """Each stage by itself: reductions by rows, the others flat as far as everything they read runs along with them."""
    for block in blocks:
        if is_reduction(s, block):
            schedule_rows(s, block)
        else:
            schedule_flat(s, block, outer_axes(s, block))


def is_reduction(s: Schedule, block: str) -> bool:
    return any(i.kind == "reduce" for i in s.get(block).iters)


def register_tiles(s: Schedule, outer: Sequence[ir.Var], row: ir.Var, column: ir.Var, block: tuple[int, int]) -> list[ir.Var]:
    """Tile "y" by rows × columns, the loops in the order outer, column tiles, row tiles, rows, columns. Returns all but two."""
    row_0, row_1 = s.split(row, [None, block[0]])
    column_0, column_1 = s.split(column, [None, block[1]])
    s.reorder(*outer, column_0, row_0, row_1, column_1)
    s.vectorize(column_1)
    return [*outer, column_0, row_0]


def schedule_accumulators(s: Schedule, block: str, loop: ir.Var, unrolled: int = 0) -> None:
    """Compute `block` inside `loop`: reductions outermost, then its axes unrolled but the last, which is vectorised.

    unrolled: how many of the innermost reduction loops are unrolled too.
    """
    s.compute_at(block, loop)
    spatial, reduced = axis_loops(s, block)
    s.reorder(*reduced, *spatial)
    init = s.decompose_reduction(block, reduced[0])
    for v in reduced[len(reduced) - unrolled :]:
        s.unroll(v)
    for name in (block, init):
        *rows, column = s.loops(name)[-len(spatial) :]
        for row in rows:
            s.unroll(row)
        s.vectorize(column)


def fill(s: Schedule, block: str, outer_axes: int) -> None:
    """A copying stage of its own: the first axes fused and parallel, the last one vectorised. Nothing when it is not there."""
    if block not in s.blocks():
        return
    loops, _ = axis_loops(s, block)
    s.parallel(fused(s, loops[:outer_axes]))
    s.vectorize(loops[-1])
