"""CPU schedules: loops tiled, vectorised and made parallel. Each works on a definition's blocks by name.

Products keep a block of accumulators in registers: rows (output channels, unrolled) by columns (positions, vectorised),
summed over the reduction loops inside, with one broadcast load for each row and one vector load for each vector of
columns. `register_block` chooses its size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from vdla.compiler.ir.nodes import Expr, Iter, Load, Store, Var, children, walk_expr, walk_stmt
from vdla.compiler.schedule import Schedule

LANES = 16
REGISTERS = 28
"""Vector registers for accumulators, of 32; the others hold loaded columns and temporaries."""
DEPTHWISE_REGISTERS = 8
"""For a depthwise block, whose taps are all unrolled: more would only make more code."""
CACHE_BYTES_PER_CYCLE = 20
MOST_PIECES = 64
"""Iterations of a parallel loop over a flat range."""


COLUMN = 3
"""Axis of an image's columns in N, C, H, W."""
INTERLEAVED = 4
"""Most elements of a tile to unroll: LLVM interleaves up to 8, but takes longer to compile that than it saves in 1000 runs."""


def divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


def vectors(columns: int) -> int:
    """Registers for one row of `columns` lanes: full vectors, then halves down to single elements."""
    return columns // LANES + (columns % LANES).bit_count()


def block_cycles(rows: int, columns: int) -> float:
    """Cycles for one step of a block's reduction: multiply-adds on two pipes of half a vector, as many loads, and the columns
    streaming from the second-level cache."""
    halves = 2 * (columns // LANES) + (columns % LANES).bit_count()
    return max(rows * halves / 2, (rows + halves) / 2, columns * 4 / CACHE_BYTES_PER_CYCLE)


@cache
def register_block(rows: int, columns: int, registers: int = REGISTERS) -> tuple[int, int]:
    """The rows × columns block, dividing both and fitting `registers`, that computes most in a cycle; of equals the largest."""
    fitting = [(r, c) for c in divisors(columns) for r in divisors(rows) if r * vectors(c) <= registers]
    return max(
        fitting or [(1, 1)], key=lambda block: (round(block[0] * block[1] / block_cycles(*block), 2), block[0] * block[1])
    )


def axis_loops(s: Schedule, block: str) -> tuple[list[Var], list[Var]]:
    """The innermost loops, one for each iter of the block as te made it: spatial ones, reduced ones."""
    iters = s.get(block).iters
    loops = list(zip(s.loops(block)[-len(iters) :], iters, strict=True))
    return [v for v, i in loops if i.kind == "spatial"], [v for v, i in loops if i.kind == "reduce"]


def fused(s: Schedule, loops: Sequence[Var]) -> Var:
    return s.fuse(*loops) if len(loops) > 1 else loops[0]


def outer_axes(s: Schedule, block: str) -> int:
    """Leading axes of an elementwise block after which everything it reads either runs along with it or does not change."""
    iters = s.get(block).iters
    (value,) = (stmt.value for stmt in walk_stmt(s.get(block).body) if isinstance(stmt, Store))
    return next((n for n in range(len(iters)) if runs_along(value, iters[n:])), max(len(iters) - 1, 0))


def runs_along(value: Expr, iters: Sequence[Iter]) -> bool:
    """Whether every load reads neighbours along `iters` taken as one, or one element throughout, and nothing else uses them."""
    axes = [i.var for i in iters]
    if isinstance(value, Load):
        split = len(value.indices) - len(axes)
        whole = list(value.indices[split:]) == axes and value.buffer.shape[split:] == tuple(i.extent for i in iters)
        others = value.indices[:split] if split >= 0 and whole else value.indices
        return not any(e in axes for index in others for e in walk_expr(index))
    return value not in axes and all(runs_along(child, iters) for child in children(value))


def schedule_flat(s: Schedule, block: str, outer_axes: int) -> None:
    """The first `outer_axes` loops fused and parallel, the others fused and vectorised; with none outside, cut in pieces.

    A piece is whole but for one axis, which it cuts evenly: a cut across axes would leave indices nobody can reason about.
    """
    loops, _ = axis_loops(s, block)
    if not loops:  # a scalar
        return
    if not outer_axes:
        pieces, extents = 1, [i.extent for i in s.get(block).iters]
        while outer_axes < len(loops) - 1 and pieces * extents[outer_axes] <= MOST_PIECES:
            pieces *= extents[outer_axes]
            outer_axes += 1
        cut = max(d for d in divisors(extents[outer_axes]) if pieces * d <= MOST_PIECES)
        loops[outer_axes : outer_axes + 1] = s.split(loops[outer_axes], [cut, None])
        outer_axes += 1
    first, last = fused(s, loops[:outer_axes]), fused(s, loops[outer_axes:])
    s.parallel(first)
    s.vectorize(last)


def schedule_interleaved(s: Schedule, block: str) -> None:
    """The last axis unrolled inside the two before the tile's: LLVM's vectoriser takes the stores of all its elements for one
    interleaved vector. Beyond `INTERLEAVED`, the vectors are ours and scatter."""
    loops, iters = s.loops(block), s.get(block).iters
    (value,) = (stmt.value for stmt in walk_stmt(s.get(block).body) if isinstance(stmt, Store))
    first = COLUMN - 1 if runs_along(value, iters[COLUMN - 1 : COLUMN + 1]) else COLUMN
    image, tile = loops[first : COLUMN + 1], loops[COLUMN + 1 : -1]
    interleaved = iters[-1].extent <= INTERLEAVED
    s.reorder(*loops[:first], *tile, *((*image, loops[-1]) if interleaved else (loops[-1], *image)))
    inner = fused(s, image)
    s.parallel(fused(s, loops[:first]))
    if interleaved:
        s.unroll(loops[-1])
    else:
        s.vectorize(inner)


def schedule_rows(s: Schedule, block: str) -> None:
    """A long reduction: the output's loops fused and parallel, the reduced ones left to LLVM's vectoriser."""
    spatial, reduced = axis_loops(s, block)
    s.decompose_reduction(block, reduced[0])
    s.parallel(fused(s, spatial))


def schedule_window(s: Schedule, block: str) -> None:
    """A short reduction, over a window: its loops unrolled around one vectorised row of outputs."""
    spatial, reduced = axis_loops(s, block)
    s.reorder(*spatial[:-1], *reduced, spatial[-1])
    s.parallel(fused(s, spatial[:2]))
    for loop in reduced:
        s.unroll(loop)
    s.vectorize(spatial[-1])
    s.decompose_reduction(block, reduced[0])


def register_tiles(s: Schedule, outer: Sequence[Var], row: Var, column: Var, block: tuple[int, int]) -> list[Var]:
    """Tile "y" by rows × columns, the loops in the order outer, column tiles, row tiles, rows, columns. Returns all but two."""
    row_0, row_1 = s.split(row, [None, block[0]])
    column_0, column_1 = s.split(column, [None, block[1]])
    s.reorder(*outer, column_0, row_0, row_1, column_1)
    s.vectorize(column_1)
    return [*outer, column_0, row_0]


def schedule_accumulators(s: Schedule, block: str, loop: Var, unrolled: int = 0) -> None:
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


def schedule_convolution(s: Schedule, form: str, rows: int) -> None:
    """acc and y of a convolution in one of its forms; `rows` output channels share their input channels."""
    n, o, h, w = axis_loops(s, "y")[0]
    extents = {i.var.name: i.extent for i in s.get("y").iters}
    *_, height, width = extents.values()
    fill(s, "columns", 2)
    if form == "depthwise":
        channel = s.fuse(n, o)
        s.parallel(channel)
        *_, tile = register_tiles(s, [channel], h, w, register_block(height, width, DEPTHWISE_REGISTERS))
        schedule_accumulators(s, "acc", tile, 2)
        if "padded" in s.blocks():
            s.compute_at("padded", channel)
            s.vectorize(s.loops("padded")[-1])
        return
    fill(s, "padded", 2)
    if form == "columns":
        outer, column, columns = [n], s.fuse(h, w), height * width
    else:
        outer, column, columns = [n, h], w, width
    task = s.fuse(*register_tiles(s, outer, o, column, register_block(rows, columns)))
    s.parallel(task)
    schedule_accumulators(s, "acc", task, 0 if form == "columns" else 1)


def schedule_matmul(s: Schedule) -> None:
    """acc and y of a matrix product."""
    *batch, row, column = axis_loops(s, "y")[0]
    rows, columns = (i.extent for i in s.get("y").iters[-2:])
    task = s.fuse(*register_tiles(s, batch, row, column, register_block(rows, columns)))
    s.parallel(task)
    schedule_accumulators(s, "acc", task)


def schedule_dense(s: Schedule) -> None:
    """Dot products, a block of rows × outputs at once: their lanes in "partial", added up in "acc"."""
    *batch, o = axis_loops(s, "acc")[0]
    lane = s.loops("acc")[-1]
    rows, outputs = ([1, *(i.extent for i in s.get("acc").iters)])[-3:-1]
    row_block = max(d for d in divisors(rows) if d <= 4)
    output_block = max(d for d in divisors(outputs) if d * row_block <= 24 and d <= 8)
    o_0, o_1 = s.split(o, [None, output_block])
    if batch:
        row_0, row_1 = s.split(batch[-1], [None, row_block])
        s.reorder(o_0, *batch[:-1], row_0, row_1, o_1)
        task = s.fuse(o_0, *batch[:-1], row_0)
    else:
        task = o_0
    s.parallel(task)
    s.decompose_reduction("acc", lane)
    schedule_accumulators(s, "partial", task)
    schedule_flat(s, "y", max(len(s.get("y").iters) - 1, 0))
