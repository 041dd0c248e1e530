"""Steps that move a block under a loop of another: compute_at and reverse_compute_at."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes.affine import Interval, Ranges
from vdla.compiler.passes.region import Box, accesses, exact_box, outer_ranges, touched_buffers, union_box
from vdla.compiler.passes.simplify import conjuncts, simplify
from vdla.compiler.schedule.locate import (
    FunctionNames,
    LoopRef,
    Path,
    block_of,
    blocks_in,
    driving_loops,
    is_step,
    loop_of,
    nest_of,
    path_to_block,
    path_to_loop,
    refuse,
    replace_in,
    written_buffers,
)


def compute_at(func: ir.Function, block: str, loop: LoopRef) -> ir.Function:
    """Compute what one iteration of `loop` needs of `block` inside it, before its first use.

        for h in range(14): block P: P[h] = …        for o in range(4):
        for o in range(4):                               for P_h in range(6):
            for i in range(4):                               block P:
                block C: … P[o*4 + i + k] …      →               axis P.h = spatial(14, o * 4 + P_h)
                                                                 where o * 4 + P_h < 14
                                                                 P[P.h] = …
                                                         for i in range(4): block C: … P[o*4 + i + k] …

    The loops of the block are made anew, one for each iter but those of scans, which stay around it. Raises `CompileError` when
    a reader of the block is outside the loop, the block writes an output, what is needed has no bound, the loop is not inside
    the block's scan, or what the block reads changes before.
    """
    step = f"compute {block} at {loop if isinstance(loop, str) else loop.name}"
    producer_path, loop_path = path_to_block(func, block), path_to_loop(func, loop)
    producer, target = block_of(producer_path), loop_of(loop_path)
    buffers = written_buffers(producer)
    check_movable(func, step, producer_path)
    for buffer in buffers:
        if any(buffer is p for p in func.params):
            refuse(step, f"it writes the output {buffer.name}", producer_path, hint="cache_write, or reverse_compute_at")
    if any(s is target for s in producer_path):
        refuse(step, "the loop is already around it", producer_path)
    readers = [b for b in blocks_in(func.body) if b is not producer and touched_buffers(b)[0].intersection(buffers)]
    inside = {id(b) for b in blocks_in(target.body)}
    outside = [b.name for b in readers if id(b) not in inside]
    if outside or not readers:
        names = " and ".join(b.name for b in buffers)
        refuse(step, f"{', '.join(outside)} reads {names} outside the loop" if outside else f"nothing reads {names}", loop_path)
    check_scan_around(step, producer, loop_path)
    check_unchanged(func, step, producer_path, loop_path)
    ranges = outer_ranges(loop_path)
    touches = [a for a in accesses(target.body) if a.buffer in buffers]
    box = union_box(touches, buffers[0], ranges)
    nest = regenerate(func, producer, dimensions_of(step, producer_path), box, ranges, f"{written_name(producer)}_")
    body = insert_before_use(target.body, buffers, nest)
    return replace_in(func, (target, replace(target, body=body)), (nest_of(producer_path), None))


def written_name(block: ir.Block) -> str:
    """What new loops of a block are named by: its buffer, or itself where it writes several."""
    buffers = written_buffers(block)
    return buffers[0].name if len(buffers) == 1 else block.name


def check_movable(func: ir.Function, step: str, path: Path) -> None:
    """Refuse a block that shares its buffer with another writer."""
    for buffer in written_buffers(block_of(path)):
        writers = [b for b in blocks_in(func.body) if buffer in touched_buffers(b)[1]]
        if len(writers) > 1:
            hint = "" if any(map(is_step, writers)) else "decompose_reduction afterwards"
            refuse(step, f"{buffer.name} is written by {' and '.join(b.name for b in writers)}", path, hint=hint)


def check_scan_around(step: str, block: ir.Block, loop_path: Path) -> None:
    """Refuse a place outside the loops that run over the steps of the block's scan."""
    missing = driving_loops(block, "scan") - {s.var for s in loop_path if isinstance(s, ir.For)}
    if missing:
        refuse(step, f"{block.name} is a step of the scan over {', '.join(sorted(v.name for v in missing))}", loop_path)


def check_unchanged(func: ir.Function, step: str, producer_path: Path, loop_path: Path) -> None:
    """Refuse where what the block reads, such as the state of a scan, is overwritten before its new place."""
    producer, around = block_of(producer_path), {id(s) for s in producer_path}
    first = next(s for s in loop_path if isinstance(s, ir.For) and id(s) not in around)
    order, inside = blocks_in(func.body), blocks_in(first)
    start, end = (next(k for k, b in enumerate(order) if b is wanted) for wanted in (producer, inside[-1]))
    read = touched_buffers(producer)[0].difference(written_buffers(producer))
    for block in order[start + 1 : end + 1]:
        changed = read & touched_buffers(block)[1]
        if changed:
            names = ", ".join(sorted(b.name for b in changed))
            refuse(step, f"it reads {names}, which block {block.name} overwrites before, or in these loops", loop_path)


def dimensions_of(step: str, path: Path) -> list[ir.Iter | None]:
    """The iter that chooses the element (or tile) written, for each dimension; None where it is constant.

    Raises `CompileError` for any other index, and where the block writes elements of different places.
    """
    block = block_of(path)
    places = {
        (s.indices, (1,) * len(s.indices), s.buffer.shape)
        if isinstance(s, ir.Store)
        else (s.operands[0].starts, s.operands[0].extents, s.operands[0].buffer.shape)
        for s in ir.walk_stmt(block.body)
        if isinstance(s, ir.Store | ir.Intrinsic)
    }
    if len(places) > 1:
        refuse(step, "it writes elements at different places", path)
    ((indices, extents, _),) = places
    spatial = {i.var: i for i in block.iters if i.kind == "spatial"}
    result: list[ir.Iter | None] = []
    for index, extent in zip(indices, extents, strict=True):
        match index:
            case ir.Var() if index in spatial and extent == 1:
                result.append(spatial.pop(index))
            case ir.Const():
                result.append(None)
            case _:
                refuse(step, "it writes an element that is not chosen by one iter for each dimension", path)
    if any(i.extent > 1 for i in spatial.values()):
        refuse(step, f"{', '.join(v.name for v in spatial)} does not choose the element written", path)
    return result


def regenerate(
    func: ir.Function, block: ir.Block, dims: list[ir.Iter | None], box: Box, ranges: Ranges, prefix: str
) -> ir.Stmt:
    """A new nest for a block that has to cover `box` of its buffer; its old predicate came from its old loops and goes."""
    wanted: dict[ir.Var, tuple[ir.Expr, int]] = {}
    for it, start, extent in zip(dims, box.starts, box.extents, strict=True):
        if it is not None:
            wanted[it.var] = (start, extent)
    return nest_over(func, block, wanted, ranges, prefix)


def nest_over(
    func: ir.Function,
    block: ir.Block,
    wanted: dict[ir.Var, tuple[ir.Expr, int]],
    ranges: Ranges,
    prefix: str,
    condition: ir.Expr = ir.TRUE,
) -> ir.Stmt:
    """Loops over (start, extent) of each iter, or the whole iter where nothing is said, kept to its domain by a predicate.

    Iters of scans stay bound to the loops that they are bound to.
    """
    names = FunctionNames(func, nest_of(path_to_block(func, block.name)))
    inner: dict[ir.Var, Interval] = dict(ranges)
    loops: list[tuple[ir.Var, int]] = []
    bindings: list[ir.Expr] = []
    tests: list[ir.Expr] = conjuncts(condition)
    for it, old in zip(block.iters, block.bindings, strict=True):
        if it.kind == "scan":
            bindings.append(old)
            tests += [old >= 0, old < it.extent]
            continue
        start, extent = wanted.get(it.var, (ir.Const(0, it.var.dtype), it.extent))
        loop = names.var(prefix + it.var.name.rpartition(".")[2], it.var.dtype)
        inner[loop] = (0, extent - 1)
        value = simplify(start + loop, {**inner, loop: (0, max(1, extent - 1))})
        loops.append((loop, extent))
        bindings.append(value)
        tests += [value >= 0, value < it.extent]
    predicate = simplify(ir.all_of(tests), inner)
    nest: ir.Stmt = replace(block, bindings=tuple(bindings), predicate=None if predicate == ir.TRUE else predicate)
    for loop, extent in reversed(loops):
        nest = ir.For(loop, extent, nest)
    return nest


def insert_before_use(body: ir.Stmt, buffers: tuple[ir.Buffer, ...], nest: ir.Stmt) -> ir.Stmt:
    """`nest` before the first statement of `body` that reads one of `buffers`."""
    if isinstance(body, ir.Allocate):
        return ir.rebuild_stmt(body, (insert_before_use(body.body, buffers, nest),))
    stmts = body.body if isinstance(body, ir.Seq) else (body,)
    first = next(k for k, s in enumerate(stmts) if touched_buffers(s)[0].intersection(buffers))
    return ir.seq(*stmts[:first], nest, *stmts[first:])


def reverse_compute_at(func: ir.Function, block: str, loop: LoopRef) -> ir.Function:
    """Compute `block`, a reader, inside a loop of its producer, as soon as what it reads is there.

        for i in range(16):                          for i_0 in range(4):
            … block P: P[i] = …                          for i_1 in range(4): block P: P[i_0*4 + i_1] = …
        for j in range(16): block C: C[j] = f(P[j])  →   for C_j in range(4):
                                                             block C: axis C.j = spatial(16, i_0 * 4 + C_j) …

    Raises `CompileError` when the block reads the producer otherwise than element by element, the loop reduces, another thing
    it reads is not ready there, or the loop is not inside the block's scan.
    """
    step = f"reverse compute {block} at {loop if isinstance(loop, str) else loop.name}"
    reader_path, loop_path = path_to_block(func, block), path_to_loop(func, loop)
    reader, target = block_of(reader_path), loop_of(loop_path)
    check_movable(func, step, reader_path)
    if any(s is target for s in reader_path):
        refuse(step, "the loop is already around it", reader_path)
    check_scan_around(step, reader, loop_path)
    written = touched_buffers(target.body)[1]
    read = touched_buffers(reader)[0].difference(written_buffers(reader))
    sources = [b for b in read if b in written]
    if len(sources) != 1:
        found = ", ".join(b.name for b in sources) or "none"
        refuse(step, f"it has to read exactly one buffer written in the loop; found {found}", loop_path)
    check_ready(func, step, reader, reader_path, loop_path, sources[0])
    ranges = outer_ranges(loop_path)
    box, condition = written_box(step, func, loop_path, sources[0])
    wanted = wanted_iters(step, reader_path, sources[0], box)
    nest = nest_over(func, reader, wanted, ranges, f"{written_name(reader)}_", condition)
    moved = replace(target, body=insert_after_write(target.body, sources[0], nest))
    return replace_in(func, (target, moved), (nest_of(reader_path), None))


def written_box(step: str, func: ir.Function, loop_path: Path, source: ir.Buffer) -> tuple[Box, ir.Expr]:
    """What one iteration of the loop writes of `source`, and when it does."""
    target = loop_of(loop_path)
    writers = [b for b in blocks_in(func.body) if source in touched_buffers(b)[1]]
    if len(writers) != 1:
        why = f"{source.name} is written by {' and '.join(b.name for b in writers)}"
        refuse(step, why, loop_path, hint="reverse_compute_at before decompose_reduction")
    outer = outer_ranges(loop_path)
    written = next(a for a in accesses(target.body) if a.buffer is source and a.is_write)
    box = exact_box(written, outer)
    if box is None:
        refuse(step, f"what {writers[0].name} writes in one iteration is no box", (*loop_path, writers[0]))
    tests = [t for i, n in zip(written.indices, source.shape, strict=True) for t in (i >= 0, i < n)]
    domain = conjuncts(simplify(ir.all_of(tests), {**outer, **written.inner}))
    condition: list[ir.Expr] = []
    for term in conjuncts(writers[0].predicate or ir.TRUE):
        if not any(v in written.inner for v in ir.walk_expr(term)):
            condition.append(term)
        elif term not in domain:
            refuse(step, f"{writers[0].name} writes only where {to_text(term)}", (*loop_path, writers[0]))
    return box, ir.all_of(condition)


def check_ready(func: ir.Function, step: str, reader: ir.Block, reader_path: Path, loop_path: Path, source: ir.Buffer) -> None:
    """Refuse where an iteration of the loop does not finish what the reader needs, or a later statement makes it."""
    target = loop_of(loop_path)
    around, beside = ({s.var for s in path if isinstance(s, ir.For)} for path in (loop_path, reader_path))
    order = blocks_in(func.body)
    first_inside = next(k for k, b in enumerate(order) if any(b is s for s in blocks_in(target.body)))
    for producer in order:
        if source not in touched_buffers(producer)[1]:
            continue
        for it, binding in zip(producer.iters, producer.bindings, strict=True):
            unfinished = around.intersection(ir.walk_expr(binding))
            if it.kind == "reduce" and unfinished:
                why = f"{source.name} is not complete there: {producer.name} reduces over {it.var.name} around it"
                refuse(step, why, loop_path)
            if it.kind == "scan" and unfinished - beside and not is_kept(producer, it.var):
                refuse(step, f"only the last step of {producer.name} over {it.var.name} makes what it reads", loop_path)
    needed = touched_buffers(reader)[0].difference({source}, written_buffers(reader))
    for k, producer in enumerate(order):
        if producer is not reader and k >= first_inside and touched_buffers(producer)[1] & needed:
            refuse(step, f"block {producer.name}, which it reads, is not ready there", reader_path)
    for written in written_buffers(reader):
        if any(written in touched_buffers(b)[0] for b in order[: order.index(reader)]):
            refuse(step, f"{written.name} is read before it", reader_path)


def is_kept(block: ir.Block, step: ir.Var) -> bool:
    """Whether each step of a scan writes its own elements, by the step as one of the indices."""
    return all(step in s.indices for s in ir.walk_stmt(block.body) if isinstance(s, ir.Store))


def wanted_iters(step: str, path: Path, source: ir.Buffer, box: Box) -> dict[ir.Var, tuple[ir.Expr, int]]:
    """The part of each iter of the reader that reads `box` of `source`."""
    reader = block_of(path)
    found = [
        e
        for s in ir.walk_stmt(reader.body)
        for x in ir.stmt_exprs(s)
        for e in ir.walk_expr(x)
        if isinstance(e, ir.Load) and e.buffer is source
    ]
    spatial = {i.var for i in reader.iters if i.kind == "spatial"}
    if not found:
        refuse(step, "it is an intrinsic", path, hint="reverse_compute_at before tensorize")
    if len({load.indices for load in found}) != 1:
        refuse(step, f"it reads {source.name} at several places", path)
    wanted: dict[ir.Var, tuple[ir.Expr, int]] = {}
    for index, start, extent in zip(found[0].indices, box.starts, box.extents, strict=True):
        if isinstance(index, ir.Var) and index in spatial and index not in wanted:
            wanted[index] = (start, extent)
        elif not (isinstance(index, ir.Const) and isinstance(start, ir.Const) and 0 <= index.value - start.value < extent):
            refuse(step, f"it reads {source.name} otherwise than element by element", path)
    return wanted


def insert_after_write(body: ir.Stmt, buffer: ir.Buffer, nest: ir.Stmt) -> ir.Stmt:
    """`nest` after the last statement of `body` that writes `buffer`."""
    if isinstance(body, ir.Allocate):
        return ir.rebuild_stmt(body, (insert_after_write(body.body, buffer, nest),))
    stmts = body.body if isinstance(body, ir.Seq) else (body,)
    last = max(k for k, s in enumerate(stmts) if buffer in touched_buffers(s)[1])
    return ir.seq(*stmts[: last + 1], nest, *stmts[last + 1 :])
