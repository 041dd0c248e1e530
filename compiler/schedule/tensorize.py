"""The step that replaces a loop nest by an intrinsic."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes.affine import Linear, Ranges, from_linear, to_linear
from vdla.compiler.passes.region import outer_ranges
from vdla.compiler.passes.simplify import EMPTY, simplify_stmt
from vdla.compiler.schedule.locate import (
    LoopRef,
    Path,
    block_of,
    driving_loops,
    loop_of,
    nest_of,
    nest_text,
    path_to,
    path_to_block,
    path_to_loop,
    refuse,
    replace_in,
)
from vdla.compiler.schedule.tensor_intrinsic import Match, Mismatch, TensorIntrinsic, match_store
from vdla.errors import CompileError

WHOLE_TILES = "pad the tensor to whole tiles, and split so that a loop has exactly a tile's iterations"


def tensorize(func: ir.Function, target: LoopRef, intrinsic: TensorIntrinsic) -> ir.Function:
    """Replace the loops of one tile by an intrinsic. `target` is a block, or the loop the tile loops are at or inside.

        for h in range(4): for c in range(16):            for h in range(4):
            block P:                                          block P:
                axis P.h = spatial(56, o*4 + h)      →            axis P.h = spatial(56, o*4 + h)
                axis P.c = spatial(16, c)                         vdla.load(P[P.h +: 1, 0 +: 16], x[P.h +: 1, 0 +: 16])
                P[P.h, P.c] = x[P.h, P.c]

    Raises `CompileError` where the body is not the pattern, the tile loops do not stand alone around the block, the block
    has an initialisation (decompose_reduction first), or its predicate cuts through a tile.
    """
    path, first = find_target(func, target, intrinsic)
    block = block_of(path)
    step = f"tensorize {block.name} with {intrinsic.name}"
    if block.init is not None:
        refuse(step, "the block initialises a reduction", path, hint=f"decompose_reduction({block.name}, …) first")
    if not isinstance(block.body, ir.Store):
        refuse(step, "the body is not one store", path)
    scans = driving_loops(block, "scan")
    loops = {s.var: s.extent for s in free_nest(path, first) if s.var not in scans}
    match, block = match_block(step, path, block, loops, intrinsic)
    return replace_in(func, (nest_of(path), tensorized(step, path, block, match, intrinsic)))


def match_block(
    step: str, path: Path, block: ir.Block, loops: dict[ir.Var, int], intrinsic: TensorIntrinsic
) -> tuple[Match, ir.Block]:
    """Match a block as it stands, or else with the tile loops of split iters as iters of their own."""
    problem: Mismatch | None = None
    for candidate in (block, with_split_iters(block, loops, outer_ranges(path))):
        bound = list(zip(candidate.iters, candidate.bindings, strict=True))
        ranges = {i.var: (0, i.extent - 1) for i in candidate.iters}
        tiles = {i.var: loops[b] for i, b in reversed(bound) if isinstance(b, ir.Var) and b in loops}
        try:
            body = simplify_stmt(candidate.body, ranges, EMPTY)
            assert isinstance(body, ir.Store)
            return match_store(intrinsic, body, tiles, ranges), candidate
        except Mismatch as reason:
            problem = problem or reason
    where = f"{nest_text(path)}: {to_text(block.body)}"
    raise CompileError(f"cannot {step}: {problem}", where=where, expected=to_text(intrinsic.store), hint=WHOLE_TILES) from None


def with_split_iters(block: ir.Block, loops: dict[ir.Var, int], ranges: Ranges) -> ir.Block:
    """An iter bound to outer·T + loop, the loop having T iterations, made two: one bound to outer, one to the loop."""
    iters: list[ir.Iter] = []
    bindings: list[ir.Expr] = []
    values: dict[ir.Var, ir.Expr] = {}
    for it, binding in zip(block.iters, block.bindings, strict=True):
        form = to_linear(binding, ranges)
        inner = next((v for v, extent in loops.items() if form.terms.get(v) == 1 and it.extent % extent == 0), None)
        outer = Linear({a: c for a, c in form.terms.items() if a is not inner}, form.constant)
        if inner is None or outer.is_constant or any(c % loops[inner] for c in (*outer.terms.values(), outer.constant)):
            iters.append(it)
            bindings.append(binding)
            continue
        size = loops[inner]
        whole = ir.Iter(ir.Var(f"{it.var.name}.outer", it.var.dtype), it.extent // size, it.kind)
        part = ir.Iter(ir.Var(f"{it.var.name}.inner", it.var.dtype), size, it.kind)
        iters += [whole, part]
        bindings += [from_linear(outer.divided(size)), inner]
        values[it.var] = whole.var * size + part.var
    body = ir.substitute_stmt(block.body, values)
    return replace(block, iters=tuple(iters), bindings=tuple(bindings), body=body)


def find_target(func: ir.Function, target: LoopRef, intrinsic: TensorIntrinsic) -> tuple[Path, ir.For | None]:
    """The path to the block, and the loop the tile loops have to be at or inside (None: anywhere around the block)."""
    if isinstance(target, str) and path_to(func.body, lambda s: isinstance(s, ir.Block) and s.name == target):
        return path_to_block(func, target), None
    loop_path = path_to_loop(func, target)
    loop = loop_of(loop_path)
    blocks = [s for s in ir.walk_stmt(loop) if isinstance(s, ir.Block)]
    if len(blocks) != 1:
        found = ", ".join(b.name for b in blocks)
        refuse(f"tensorize {loop.var.name} with {intrinsic.name}", f"it holds {len(blocks)} blocks: {found}", loop_path)
    return path_to_block(func, blocks[0].name), loop


def free_nest(path: Path, first: ir.For | None) -> list[ir.For]:
    """The loops that hold nothing but the block, from `first` inwards; a tile loop has to be one of them."""
    nest: list[ir.For] = []
    for stmt in reversed(path[:-1]):
        if not isinstance(stmt, ir.For):
            break
        nest.insert(0, stmt)
        if stmt is first:
            break
    return nest


def tensorized(step: str, path: Path, block: ir.Block, match: Match, intrinsic: TensorIntrinsic) -> ir.Stmt:
    """The nest of a path without its tile loops, around `block` with the intrinsic for its body."""
    tile = set(match.tile.values())
    kept = [(i, b) for i, b in zip(block.iters, block.bindings, strict=True) if i.var not in tile]
    removed = {b for i, b in zip(block.iters, block.bindings, strict=True) if i.var in tile and isinstance(b, ir.Var)}
    for what, expr in (*((f"the binding of {i.var.name}", b) for i, b in kept), ("the predicate", block.predicate or ir.TRUE)):
        if any(e in removed for e in ir.walk_expr(expr)):
            refuse(step, f"{what}, {to_text(expr)}, cuts through a tile", path, hint=WHOLE_TILES)
    regions = tuple(match.regions[buffer] for buffer in intrinsic.operands)
    body = ir.Intrinsic(intrinsic.name, regions, match.attributes, match.predicate)
    iters, bindings = tuple(i for i, _ in kept), tuple(b for _, b in kept)
    stmt: ir.Stmt = replace(block, iters=iters, bindings=bindings, body=body)
    for loop in reversed(path[:-1]):
        if not isinstance(loop, ir.For):
            break
        stmt = stmt if loop.var in removed else replace(loop, body=stmt)
    return stmt
