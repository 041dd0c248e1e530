"""`place_allocations`: each intermediate buffer is allocated at the innermost loop that covers all its uses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from vdla.compiler import ir
from vdla.compiler.passes.region import touched_buffers

Path = tuple[ir.Stmt, ...]

THREAD_KINDS = ("thread_x", "thread_y", "thread_z")


def place_allocations(func: ir.Function) -> ir.Function:
    """Move every Allocate inwards, and drop those of buffers that nobody reads.

        allocate P                      for o in range(4):
        for o in range(4):                  allocate P
            for i: block P: P[…] = …   →    for i: block P: P[…] = …
            for i: block C: … P[…] …        for i: block C: … P[…] …

    A buffer stays outside the loops its writers reduce over, or scan where it is read before it is written (it carries a value
    from one iteration to the next), outside vectorized loops, and, in shared memory, outside the threads that share it. What
    every step of a scan fills anew is allocated once, outside its loop.
    """
    annotations: dict[ir.Buffer, ir.Attributes] = {}
    body = without_allocations(func.body, annotations)
    found = Uses()
    collect(body, (), found)
    places: dict[int, list[ir.Buffer]] = {}
    for buffer in annotations:
        if buffer in found.paths:
            place = innermost_place(buffer, found)
            places.setdefault(id(place) if place is not None else 0, []).append(buffer)
    body = insert_allocations(body, places, annotations)
    return replace(func, body=allocate_all(body, places.get(0, []), annotations))


def without_allocations(stmt: ir.Stmt, annotations: dict[ir.Buffer, ir.Attributes]) -> ir.Stmt:
    if isinstance(stmt, ir.Allocate):
        annotations[stmt.buffer] = stmt.annotations
        return without_allocations(stmt.body, annotations)
    if isinstance(stmt, ir.Block):
        return stmt
    old = ir.stmt_children(stmt)
    new = tuple(without_allocations(s, annotations) for s in old)
    return stmt if all(a is b for a, b in zip(old, new, strict=True)) else ir.rebuild_stmt(stmt, new)


@dataclass
class Uses:
    """paths: the loops and sequences around every use of each buffer, in common. carried: loops that it carries a value over.
    scans: the loops that run over the steps of scans."""

    paths: dict[ir.Buffer, Path] = field(default_factory=dict)
    carried: dict[ir.Buffer, set[ir.Var]] = field(default_factory=dict)
    scans: set[ir.Var] = field(default_factory=set)


def collect(stmt: ir.Stmt, path: Path, found: Uses) -> None:
    if isinstance(stmt, ir.Block) or not ir.stmt_children(stmt):
        read, written = touched_buffers(stmt)
        if isinstance(stmt, ir.Block):
            scans = driving(stmt, "scan")
            found.scans |= scans
            for buffer in written:
                found.carried.setdefault(buffer, set()).update(driving(stmt, "reduce"))
            for buffer in read - found.paths.keys() - (written if stmt.init is not None else set()):
                found.carried.setdefault(buffer, set()).update(scans)
        for buffer in read | written:
            found.paths[buffer] = common(found.paths[buffer], path) if buffer in found.paths else path
        return
    for child in ir.stmt_children(stmt):
        collect(child, (*path, stmt), found)


def driving(block: ir.Block, kind: str) -> set[ir.Var]:
    """The loops that choose the points of the block's iters of one kind."""
    bound = (b for i, b in zip(block.iters, block.bindings, strict=True) if i.kind == kind)
    return {v for binding in bound for v in ir.walk_expr(binding) if isinstance(v, ir.Var)}


def common(a: Path, b: Path) -> Path:
    length = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x is not y), min(len(a), len(b)))
    return a[:length]


def innermost_place(buffer: ir.Buffer, found: Uses) -> ir.For | None:
    """The loop to allocate in; None for the whole function."""
    place: ir.For | None = None
    for stmt in found.paths[buffer]:
        if not isinstance(stmt, ir.For):
            continue
        if stmt.var in found.carried.get(buffer, ()) or stmt.kind == "vectorized":
            break
        if stmt.var in found.scans or buffer.scope == "shared" and stmt.kind in THREAD_KINDS:
            continue
        place = stmt
    return place


def insert_allocations(
    stmt: ir.Stmt, places: dict[int, list[ir.Buffer]], annotations: dict[ir.Buffer, ir.Attributes]
) -> ir.Stmt:
    if isinstance(stmt, ir.Block):
        return stmt
    old = ir.stmt_children(stmt)
    new = tuple(insert_allocations(s, places, annotations) for s in old)
    changed = stmt if all(a is b for a, b in zip(old, new, strict=True)) else ir.rebuild_stmt(stmt, new)
    if id(stmt) in places and isinstance(changed, ir.For):
        return replace(changed, body=allocate_all(changed.body, places[id(stmt)], annotations))
    return changed


def allocate_all(body: ir.Stmt, buffers: list[ir.Buffer], annotations: dict[ir.Buffer, ir.Attributes]) -> ir.Stmt:
    for buffer in reversed(buffers):
        body = ir.Allocate(buffer, body, annotations[buffer])
    return body


def drop_dead_stores(func: ir.Function) -> ir.Function:
    """Remove what only writes buffers that nobody reads, and allocations that nothing uses, until nothing changes."""
    outputs = set(func.params)
    body: ir.Stmt | None = func.body
    while body is not None:
        read, _ = live_reads(body)
        kept = drop(body, with_joint(body, read | outputs))
        if kept is body:
            break
        body = kept
    return replace(func, body=ir.Seq(()) if body is None else body)


def with_joint(body: ir.Stmt, live: set[ir.Buffer]) -> set[ir.Buffer]:
    """`live`, and what a block that writes one of these writes besides: its values are computed from one another."""
    joint = [written for s in ir.walk_stmt(body) if isinstance(s, ir.Block) and len(written := touched_buffers(s)[1]) > 1]
    while more := [written for written in joint if written & live and written - live]:
        live = live.union(*more)
    return live


def live_reads(stmt: ir.Stmt) -> tuple[set[ir.Buffer], set[ir.Buffer]]:
    """(buffers some statement reads other than to update them, buffers written)."""
    if ir.stmt_children(stmt) and not isinstance(stmt, ir.Block):
        read, written = set(touched_buffers(strip(stmt))[0]), set[ir.Buffer]()
        for child in ir.stmt_children(stmt):
            r, w = live_reads(child)
            read |= r
            written |= w
        return read, written
    read, written = touched_buffers(stmt)
    return read - written, written


def strip(stmt: ir.Stmt) -> ir.Stmt:
    """The statement without its children, for the buffers in its own expressions."""
    return ir.rebuild_stmt(stmt, tuple(ir.Seq(()) for _ in ir.stmt_children(stmt)))


def drop(stmt: ir.Stmt, live: set[ir.Buffer]) -> ir.Stmt | None:
    match stmt:
        case ir.Allocate(buffer, inner):
            body = drop(inner, live)
            return body if body is None or buffer not in live else stmt if body is inner else replace(stmt, body=body)
        case ir.Seq(body_list) if not body_list:
            return None
    old = ir.stmt_children(stmt)
    if not old or isinstance(stmt, ir.Block):
        return stmt if touched_buffers(stmt)[1] & live else None
    new = tuple(drop(s, live) for s in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return stmt
    kept = tuple(s for s in new if s is not None)
    if isinstance(stmt, ir.Seq):
        return ir.seq(*kept) if kept else None
    if isinstance(stmt, ir.If) and stmt.otherwise is not None and kept:
        return ir.If(stmt.condition, new[0] or ir.Seq(()), new[1])
    return ir.rebuild_stmt(stmt, kept) if kept else None
