"""Steps on loops: split, fuse, reorder, and how a loop is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from vdla.arithmetic import ceil_div
from vdla.compiler import ir
from vdla.compiler.passes.region import outer_ranges, touched_buffers
from vdla.compiler.passes.visits import visits_once
from vdla.compiler.schedule.locate import (
    FunctionNames,
    LoopRef,
    blocks_in,
    driving_loops,
    loop_of,
    path_to_loop,
    paths_to_blocks,
    rebind,
    refuse,
    replace_in,
    written_buffers,
)


def split(func: ir.Function, loop: LoopRef, factors: Sequence[int | None]) -> tuple[ir.Function, list[ir.Var]]:
    """Split one loop into a nest; one factor may be None, to be whatever is left.

        for i in range(10):              for i_0 in range(3):
            block A:                         for i_1 in range(4):
                axis A.i = spatial(10, i)        block A:
                …                                    axis A.i = spatial(10, i_0 * 4 + i_1)
                                                     where i_0 * 4 + i_1 < 10
                                                     …

    Factors that multiply to more than the extent give the blocks below a predicate. Returns the new variables, outermost
    first. Raises `CompileError` when the factors cover less than the extent.
    """
    path = path_to_loop(func, loop)
    old = loop_of(path)
    sizes = complete_factors(path, factors)
    require_serial("split", path)
    names = FunctionNames(func)
    variables = [names.var(f"{old.var.name}_{k}") for k in range(len(sizes))]
    value: ir.Expr = variables[0]
    for var, size in zip(variables[1:], sizes[1:], strict=True):
        value = value * size + var
    ranges = outer_ranges(path[:-1]) | {v: (0, size - 1) for v, size in zip(variables, sizes, strict=True)}
    body = rebind(old.body, {old.var: value}, ranges, value < old.extent)
    return replace_in(func, (old, nest(variables, sizes, body))), variables


def complete_factors(path: tuple[ir.Stmt, ...], factors: Sequence[int | None]) -> list[int]:
    extent = loop_of(path).extent
    known = [f for f in factors if f is not None]
    if len(known) < len(factors) - 1 or any(f < 1 for f in known) or not factors:
        refuse(f"split by {list(factors)}", "factors must be positive, and only one can be None", path)
    sizes = [f if f is not None else max(1, ceil_div(extent, prod(known))) for f in factors]
    if prod(sizes) < extent:
        refuse(
            f"split by {list(factors)}", f"{prod(sizes)} iterations do not cover {extent}", path, hint="use None for one factor"
        )
    return sizes


def nest(variables: Sequence[ir.Var], extents: Sequence[int], body: ir.Stmt) -> ir.Stmt:
    """Serial loops around `body`, outermost first."""
    for var, extent in zip(reversed(variables), reversed(extents), strict=True):
        body = ir.For(var, extent, body)
    return body


def fuse(func: ir.Function, loops: Sequence[LoopRef]) -> tuple[ir.Function, ir.Var]:
    """Make one loop of perfectly nested loops, given outermost first.

        for i in range(3):               for i_j in range(12):
            for j in range(4):               block A:
                block A:                         axis A.i = spatial(3, i_j // 4)
                    axis A.i = spatial(3, i)     axis A.j = spatial(4, i_j % 4)
                    axis A.j = spatial(4, j)

    Raises `CompileError` when they are not directly inside one another.
    """
    if not loops:
        refuse("fuse", "no loops given", ())
    paths = [path_to_loop(func, loop) for loop in loops]
    old = [loop_of(p) for p in paths]
    for path, outer, inner in zip(paths[1:], old, old[1:], strict=False):
        if outer.body is not inner:
            refuse("fuse", f"{inner.var.name} is not directly inside {outer.var.name}", path, hint="reorder first")
    for path in paths:
        require_serial("fuse", path)
    fused = FunctionNames(func).var("_".join(o.var.name for o in old))
    total = prod(o.extent for o in old)
    values: dict[ir.Var, ir.Expr] = {}
    stride = total
    for o in old:
        stride //= o.extent
        quotient = fused // stride if stride > 1 else fused
        values[o.var] = quotient % o.extent if o is not old[0] else quotient
    ranges = outer_ranges(paths[0][:-1]) | {fused: (0, total - 1)}
    body = rebind(old[-1].body, values, ranges)
    return replace_in(func, (old[0], ir.For(fused, total, body))), fused


def reorder(func: ir.Function, loops: Sequence[LoopRef]) -> ir.Function:
    """Put loops of one perfect nest into the given order; loops not named keep their places.

        for i in range(3):               for j in range(4):
            for j in range(4):    →          for i in range(3):
                …                                …

    Raises `CompileError` when something besides the loops stands between them, or when it would change the order of the steps
    of a scan or of the points of a tuple reduction.
    """
    paths = [path_to_loop(func, loop) for loop in loops]
    wanted = [loop_of(p) for p in paths]
    deepest = max(paths, key=len, default=())
    if len({id(w) for w in wanted}) != len(wanted):
        refuse("reorder", "a loop is named twice", deepest)
    for loop in wanted:
        if not any(s is loop for s in deepest):
            refuse("reorder", f"{loop.var.name} is not in the same nest as the others", deepest)
    if len(wanted) < 2:
        return func
    first = min(len(p) for p in paths) - 1
    chain = deepest[first:]
    for stmt in chain[:-1]:
        if not isinstance(stmt, ir.For) or not any(stmt.body is s for s in chain):
            refuse("reorder", "other statements stand between the loops", deepest, hint="reorder before compute_at")
    new = iter(wanted)
    order = [next(new) if any(s is w for w in wanted) else s for s in chain]
    body: ir.Stmt = loop_of(deepest).body
    for stmt in reversed(order):
        assert isinstance(stmt, ir.For)
        body = replace(stmt, body=body)
    assert isinstance(body, ir.For)
    require_reductions_whole(deepest[:first], body)
    require_order_kept(chain, order, deepest)
    return replace_in(func, (chain[0], body))


def require_reductions_whole(around: tuple[ir.Stmt, ...], nest: ir.For) -> None:
    """Refuse an order in which a block meets an element again before its reduction is complete."""
    for path in paths_to_blocks(nest):
        block = path[-1]
        assert isinstance(block, ir.Block)
        loops = [s for s in path if isinstance(s, ir.For)]
        reducing = {v for i, b in zip(block.iters, block.bindings, strict=True) if i.kind == "reduce" for v in ir.walk_expr(b)}
        first = next((k for k, s in enumerate(loops) if s.var in reducing), len(loops))
        inside, outside = outer_ranges(tuple(loops[first:])), outer_ranges((*around, *loops[:first]))
        if first < len(loops) and not visits_once(block, inside, outside):
            why = f"{block.name} would compute some element again before its reduction over {loops[first].var.name} is complete"
            refuse("reorder", why, path)


def require_order_kept(before: Sequence[ir.Stmt], after: Sequence[ir.Stmt], path: tuple[ir.Stmt, ...]) -> None:
    """Refuse to move loops across those of a scan, and to exchange those that reduce a tuple."""
    old, new = ([s.var for s in loops if isinstance(s, ir.For)] for loops in (before, after))
    for block in blocks_in(after[-1]):
        for var in driving_loops(block, "scan") & set(old):
            if set(old[: old.index(var)]) != set(new[: new.index(var)]):
                why = f"{var.name} runs over the steps of a scan, which block {block.name} needs whole, one after another"
                refuse("reorder", why, path, hint=f"reorder loops inside {var.name}")
        ordered = driving_loops(block, "reduce") if len(written_buffers(block)) > 1 else set()
        if [v for v in old if v in ordered] != [v for v in new if v in ordered]:
            why = f"block {block.name} reduces several values together, whose result depends on the order of the points"
            refuse("reorder", why, path)


def set_kind(func: ir.Function, loop: LoopRef, kind: str) -> ir.Function:
    """Say how a loop is run: parallel, vectorized, unrolled, vthread, block_x …, thread_x …

        for i in range(4):     →     for i in parallel(4):

    Any kind but serial and unrolled wants independent iterations. Raises `CompileError` when the loop carries a reduction or
    a scan.
    """
    path = path_to_loop(func, loop)
    old = loop_of(path)
    if kind not in ir.LOOP_KINDS:
        refuse(f"make it {kind}", "the kind is one of " + ", ".join(ir.LOOP_KINDS), path)
    if kind not in ("serial", "unrolled"):
        require_independent(func, f"make {old.var.name} {kind}", path)
    return replace_in(func, (old, replace(old, kind=kind)))


def require_independent(func: ir.Function, step: str, path: tuple[ir.Stmt, ...]) -> None:
    """Refuse a loop whose iterations share a reduction point or, in a buffer that is used outside, an element."""
    loop = loop_of(path)
    for below in paths_to_blocks(loop):
        block = below[-1]
        assert isinstance(block, ir.Block)
        for it, binding in zip(block.iters, block.bindings, strict=True):
            if it.kind == "spatial" or not any(e is loop.var for e in ir.walk_expr(binding)):
                continue
            if it.kind == "scan":
                why = f"it runs over the steps of a scan by {it.var.name} of block {block.name}, one after another"
                refuse(step, why, (*path, block), hint="choose a loop inside it")
            why = f"block {block.name} reduces over it by {it.var.name}, so its iterations depend on one another"
            refuse(step, why, (*path, block), hint="rfactor the loop first")
        shared = [buffer for buffer in written_buffers(block) if used_outside(func, loop, buffer)]
        if shared and not visits_once(block, outer_ranges(below), outer_ranges(path[:-1])):
            why = f"several iterations may write the same element of {shared[0].name} in block {block.name}"
            refuse(step, why, (*path, block))


def used_outside(func: ir.Function, loop: ir.For, buffer: ir.Buffer) -> bool:
    """Whether a buffer is an output or used by a block outside the loop."""
    if any(buffer is p for p in func.params):
        return True
    inside = {id(b) for b in blocks_in(loop)}
    touched = (touched_buffers(b) for b in blocks_in(func.body) if id(b) not in inside)
    return any(buffer in reads or buffer in writes for reads, writes in touched)


def require_serial(step: str, path: tuple[ir.Stmt, ...]) -> None:
    loop = loop_of(path)
    if loop.kind != "serial":
        refuse(step, f"{loop.var.name} is {loop.kind}", path, hint=f"{step.split()[0]} before binding the loop")


def unroll(func: ir.Function, loop: LoopRef) -> ir.Function:
    """for i in range(4): …  →  for i in unrolled(4): …  (expanded by lowering when the body is small)."""
    return set_kind(func, loop, "unrolled")


def vectorize(func: ir.Function, loop: LoopRef) -> ir.Function:
    """for i in range(8): …  →  for i in vectorized(8): …  Raises `CompileError` for a loop that carries a reduction."""
    return set_kind(func, loop, "vectorized")


def parallel(func: ir.Function, loop: LoopRef) -> ir.Function:
    """for i in range(8): …  →  for i in parallel(8): …  Raises `CompileError` for a loop that carries a reduction."""
    return set_kind(func, loop, "parallel")


def vthread(func: ir.Function, loop: LoopRef) -> ir.Function:
    """for i in range(2): …  →  for i in vthread(2): …  Lowering interleaves the iterations as virtual threads."""
    return set_kind(func, loop, "vthread")


def bind(func: ir.Function, loop: LoopRef, thread: str) -> ir.Function:
    """for i in range(64): …  →  for i in thread_x(64): …  for a GPU's grid: block_x … thread_z."""
    if not thread.startswith(("block_", "thread_")):
        refuse(
            f"bind to {thread}", "expected block_x, block_y, block_z, thread_x, thread_y or thread_z", path_to_loop(func, loop)
        )
    return set_kind(func, loop, thread)
