"""Steps on reductions: decompose_reduction and rfactor."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.passes.region import outer_ranges, touched_buffers
from vdla.compiler.passes.simplify import conjuncts
from vdla.compiler.passes.visits import visits_once
from vdla.compiler.schedule.locate import (
    FunctionNames,
    LoopRef,
    Path,
    block_of,
    blocks_in,
    driving_loops,
    is_step,
    loop_of,
    path_to_block,
    path_to_loop,
    refuse,
    replace_in,
    with_body,
)

FOLDS = ("add", "mul", "min", "max")


def variables(expr: ir.Expr) -> set[ir.Var]:
    return {e for e in ir.walk_expr(expr) if isinstance(e, ir.Var)}


def decompose_reduction(func: ir.Function, block: str, loop: LoopRef) -> tuple[ir.Function, str]:
    """Make the initialisation a block of its own, in front of `loop`; returns its name, `<block>_init`.

        for k in range(8):                           for i in range(4): block A_init: A[i] = 0
            for i in range(4):                       for k in range(8):
                block A:                    →            for i in range(4):
                    init: A[i] = 0                           block A: A[i] = A[i] + …
                    A[i] = A[i] + …

    Raises `CompileError` when the block has no initialisation, a reduction loop is outside `loop`, a scan is not, or a loop
    inside mixes spatial and reduction iters.
    """
    path = path_to_block(func, block)
    old = block_of(path)
    step = f"decompose the reduction of {block}"
    target = loop_of(path_to_loop(func, loop))
    if old.init is None:
        refuse(step, "it has no initialisation", path)
    position = next((k for k, s in enumerate(path) if s is target), None)
    if position is None:
        refuse(step, f"loop {target.var.name} is not around it", path)
    inside = [s for s in path[position:] if isinstance(s, ir.For)]
    outside = {s.var for s in path[:position] if isinstance(s, ir.For)}
    scans = sorted(s.var.name for s in inside if s.var in driving_loops(old, "scan"))
    if scans:
        why = f"{scans[-1]} runs over the steps of a scan, each of which needs its own initialisation"
        refuse(step, why, path, hint=f"choose a loop inside {scans[-1]}")
    early = sorted(v.name for v in driving_loops(old, "reduce") & outside)
    if early:
        refuse(
            step, f"{', '.join(early)} reduces outside {target.var.name}", path, hint=f"choose {early[0]} or a loop around it"
        )
    refuse_mixed_loops(step, path)
    around = outer_ranges(path[:position])
    if not visits_once(old, outer_ranges(tuple(inside)), around):
        why = f"the loops from {target.var.name} inwards compute some element more than once"
        refuse(step, why, path, hint="choose a loop further inside")
    names = FunctionNames(func)
    copied = {s.var: names.var(f"{s.var.name}_init") for s in inside if s.var in driving_loops(old, "spatial")}
    init = init_block(names, old, copied, set(copied) | outside)
    nest: ir.Stmt = init
    for stmt in reversed(inside):
        if stmt.var in copied:
            nest = ir.For(copied[stmt.var], stmt.extent, nest, stmt.kind if stmt.kind != "vthread" else "serial")
    update = replace_in(replace(func, body=target), (old, replace(old, init=None))).body
    return replace_in(func, (target, ir.seq(nest, update))), init.name


def refuse_mixed_loops(step: str, path: Path) -> None:
    """Refuse a loop that chooses a reduction point and the element it goes to."""
    block = block_of(path)
    mixed = sorted(v.name for v in driving_loops(block, "reduce") & driving_loops(block, "spatial"))
    if mixed:
        refuse(step, f"{', '.join(mixed)} mixes spatial and reduction iters", path, hint="do not fuse across them")


def init_block(names: FunctionNames, block: ir.Block, copied: dict[ir.Var, ir.Var], known: set[ir.Var]) -> ir.Block:
    """The initialisation of a block over all iters but its reduce ones, with the terms of the predicate that concern these."""
    name = names.block(f"{block.name}_init")
    kept = [(i, b) for i, b in zip(block.iters, block.bindings, strict=True) if i.kind != "reduce"]
    fresh = {i.var: names.var(f"{name}.{i.var.name.rpartition('.')[2]}", i.var.dtype) for i, _ in kept}
    loops: dict[ir.Var, ir.Expr] = dict(copied)
    terms = [t for t in conjuncts(block.predicate or ir.TRUE) if variables(t) <= known]
    predicate = ir.substitute(ir.all_of(terms), loops) if terms else None
    assert block.init is not None
    renamed: dict[ir.Var, ir.Expr] = dict(fresh)
    body = ir.map_stmt(block.init, lambda s: ir.map_stmt_exprs(s, lambda e: ir.substitute(e, renamed)))
    iters = tuple(ir.Iter(fresh[i.var], i.extent, i.kind) for i, _ in kept)
    return ir.Block(name, iters, tuple(ir.substitute(b, loops) for _, b in kept), body, None, predicate)


def rfactor(func: ir.Function, block: str, loop: LoopRef) -> tuple[ir.Function, str]:
    """Make a reduction loop spatial: each of its iterations reduces into its own element, and a second block reduces those.

        for i in range(4):                           allocate A_rf: int32[2, 4]
            for k_0 in range(2):                     for i: for k_0 in range(2): for k_1 in range(8):
                for k_1 in range(8):        →            block A_rf: A_rf[k_0, i] = A_rf[k_0, i] + x[i, k_0*8 + k_1]
                    block A:                         for A_i in range(4): for A_k_0 in range(2):
                        A[i] = A[i] + x[i, k]            block A: A[i] = A[i] + A_rf[k_0, i]

    Returns the name of the new block, `<block>_rf`; its `loop` can be run in parallel. Raises `CompileError` when the block
    is no reduction in one store, a step of a scan, or the loop does not reduce.
    """
    path = path_to_block(func, block)
    old = block_of(path)
    step = f"rfactor {block}"
    target = loop_of(path_to_loop(func, loop))
    if is_step(old):
        refuse(step, "it is a step of a scan: its partial results would have to be reduced in the same step", path)
    op, value = reduction_body(step, path)
    assert isinstance(old.body, ir.Store)
    assert isinstance(old.init, ir.Store)
    if target.var not in driving_loops(old, "reduce"):
        refuse(step, f"loop {target.var.name} does not reduce", path)
    refuse_mixed_loops(step, path)
    source = old.body.buffer
    outermost = next((x for x in path if isinstance(x, ir.For)), old)
    for other in blocks_in(outermost):
        if other is not old and source in touched_buffers(other)[0]:
            refuse(step, f"{other.name} reads {source.name} inside the same loops", path, hint="rfactor before compute_at")
    names = FunctionNames(func)
    buffer = ir.Buffer(names.fresh(f"{source.name}_rf"), (target.extent, *source.shape), source.dtype)
    partial = partial_block(names, path, target, buffer, op, value)
    final = final_nest(names, old, target, buffer, op)
    kept = replace_in(replace(func, body=outermost), (old, partial)).body
    func = replace_in(func, (outermost, ir.seq(kept, final)))
    return with_body(func, ir.Allocate(buffer, func.body)), partial.name


def reduction_body(step: str, path: Path) -> tuple[str, ir.Expr]:
    """(op, value) of a block whose body is out[…] = out[…] op value. Raises `CompileError` for any other."""
    block = block_of(path)
    if isinstance(block.body, ir.Store) and isinstance(block.init, ir.Store) and isinstance(block.init.value, ir.Const):
        store, value = block.body, block.body.value
        if isinstance(value, ir.Binary) and value.op in FOLDS and value.a == ir.Load(store.buffer, store.indices):
            return value.op, value.b
    return refuse(step, "it is not out = out op value with a constant initialisation", path)


def partial_block(names: FunctionNames, path: Path, target: ir.For, buffer: ir.Buffer, op: str, value: ir.Expr) -> ir.Block:
    """The block that reduces over every reduction loop but `target`: one reduce iter for each of these loops.

    Points the old predicate left out add the identity, so that every element of `buffer` is written.
    """
    old = block_of(path)
    assert isinstance(old.body, ir.Store)
    assert isinstance(old.init, ir.Store)
    extents = {s.var: s.extent for s in path if isinstance(s, ir.For)}
    name = names.block(f"{old.name}_rf")
    fresh = {i.var: names.var(f"{name}.{i.var.name.rpartition('.')[2]}", i.var.dtype) for i in old.iters if i.kind == "spatial"}
    factor = ir.Iter(names.var(f"{name}.{target.var.name}", target.var.dtype), target.extent)
    others = sorted(driving_loops(old, "reduce") - {target.var}, key=lambda v: v.name)
    around = {v: ir.Iter(names.var(f"{name}.{v.name}", v.dtype), extents[v], "reduce") for v in others}
    by_loop: dict[ir.Var, ir.Expr] = {target.var: factor.var, **{v: i.var for v, i in around.items()}}
    values: dict[ir.Var, ir.Expr] = dict(fresh)
    for it, binding in zip(old.iters, old.bindings, strict=True):
        if it.kind == "reduce":
            values[it.var] = ir.substitute(binding, by_loop)
    terms = conjuncts(old.predicate or ir.TRUE)
    spatial_terms = [t for t in terms if not variables(t) & set(by_loop)]
    reduce_terms = [ir.substitute(t, by_loop) for t in terms if variables(t) & set(by_loop)]
    element = (factor.var, *(ir.substitute(i, values) for i in old.body.indices))
    value = ir.substitute(value, values)
    if reduce_terms:
        value = ir.Select(ir.all_of(reduce_terms), value, old.init.value)
    spatial = [
        (ir.Iter(fresh[i.var], i.extent), b) for i, b in zip(old.iters, old.bindings, strict=True) if i.kind == "spatial"
    ]
    iters = (factor, *(i for i, _ in spatial), *around.values())
    bindings = (target.var, *(b for _, b in spatial), *around)
    body = ir.Store(buffer, element, ir.Binary(op, ir.Load(buffer, element), value))
    return ir.Block(
        name,
        iters,
        bindings,
        body,
        ir.Store(buffer, element, old.init.value),
        ir.all_of(spatial_terms) if spatial_terms else None,
    )


def final_nest(names: FunctionNames, old: ir.Block, target: ir.For, buffer: ir.Buffer, op: str) -> ir.Stmt:
    """Loops and block that reduce the elements of `buffer` into the old destination; the block keeps its name."""
    assert isinstance(old.body, ir.Store)
    assert isinstance(old.init, ir.Store)
    spatial = [i for i in old.iters if i.kind == "spatial"]
    factor = ir.Iter(names.var(f"{old.name}.{target.var.name}", target.var.dtype), target.extent, "reduce")
    iters = (*spatial, factor)
    loops = [names.var(f"{old.name}_{i.var.name.rpartition('.')[2]}", i.var.dtype) for i in iters]
    store = old.body
    value = ir.Binary(op, ir.Load(store.buffer, store.indices), ir.Load(buffer, (factor.var, *store.indices)))
    nest: ir.Stmt = ir.Block(old.name, iters, tuple(loops), ir.Store(store.buffer, store.indices, value), old.init)
    for loop, it in zip(reversed(loops), reversed(iters), strict=True):
        nest = ir.For(loop, it.extent, nest)
    return nest
