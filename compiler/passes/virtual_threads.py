"""`inject_virtual_threads` and `inject_double_buffers`: the two ways to have several copies of a buffer in flight."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.names import Names
from vdla.compiler.passes.region import is_nest, touched_buffers


def new_names(func: ir.Function) -> Names:
    """Names for copies of loops and buffers."""
    loops = (s.var.name for s in ir.walk_stmt(func.body) if isinstance(s, ir.For))
    allocated = (s.buffer.name for s in ir.walk_stmt(func.body) if isinstance(s, ir.Allocate))
    return Names((*(b.name for b in func.params), *loops, *allocated))


def copied(stmt: ir.Stmt, names: Names) -> ir.Stmt:
    """The same statement with loop variables and buffers of its own."""
    loops = {s.var: ir.Var(names.fresh(s.var.name), s.var.dtype) for s in ir.walk_stmt(stmt) if isinstance(s, ir.For)}
    buffers = {
        s.buffer: replace(s.buffer, name=names.fresh(s.buffer.name)) for s in ir.walk_stmt(stmt) if isinstance(s, ir.Allocate)
    }
    stmt = ir.substitute_stmt(stmt, dict(loops))
    stmt = ir.map_stmt(stmt, lambda s: replace(s, var=loops[s.var]) if isinstance(s, ir.For) else s)
    return with_leading_index(stmt, {b: (new, None) for b, new in buffers.items()}) if buffers else stmt


def with_leading_index(stmt: ir.Stmt, new: dict[ir.Buffer, tuple[ir.Buffer, ir.Expr | None]]) -> ir.Stmt:
    """Each key replaced by its buffer, indexed first by the expression (if there is one)."""

    def index(buffer: ir.Buffer, indices: tuple[ir.Expr, ...]) -> tuple[ir.Buffer, tuple[ir.Expr, ...]]:
        if buffer not in new:
            return buffer, indices
        target, first = new[buffer]
        return target, indices if first is None else (first, *indices)

    def expr(node: ir.Expr) -> ir.Expr:
        return ir.Load(*index(node.buffer, node.indices)) if isinstance(node, ir.Load) and node.buffer in new else node

    def change(node: ir.Stmt) -> ir.Stmt:
        node = ir.map_stmt_exprs(node, lambda e: ir.map_expr(e, expr))
        match node:
            case ir.Store(buffer, indices, value) if buffer in new:
                return ir.Store(*index(buffer, indices), value)
            case ir.Allocate(buffer, body, annotations) if buffer in new:
                return ir.Allocate(new[buffer][0], body, annotations)
            case ir.Intrinsic():
                return replace(node, operands=tuple(region_with_index(r, new) for r in node.operands))
        return node

    return ir.map_stmt(stmt, change)


def region_with_index(region: ir.Region, new: dict[ir.Buffer, tuple[ir.Buffer, ir.Expr | None]]) -> ir.Region:
    if region.buffer not in new:
        return region
    target, first = new[region.buffer]
    if first is None:
        return replace(region, buffer=target)
    return ir.Region(target, (first, *region.starts), (1, *region.extents))


def inject_virtual_threads(func: ir.Function) -> ir.Function:
    """Remove vthread loops by interleaving their iterations, nest by nest; buffers allocated inside get one copy a thread.

        for t in vthread(2):                        allocate P: int8[2, 4]
            allocate P: int8[4]                     for k in range(8):
            for k in range(8):                          for i in range(4): P[0, i] = x[0, k, i]
                for i in range(4): P[i] = x[t, k, i]  → for i_1 in range(4): P[1, i_1] = x[1, k, i_1]
                for j in range(4): … P[j] …             for j in range(4): … P[0, j] …
                                                        for j_1 in range(4): … P[1, j_1] …

    A loop nest around one statement stays together; what is outside such nests runs once, and a nest that is the same for
    every thread and only overwrites its result runs once too. Innermost vthread loops go first.
    """
    if not any(isinstance(s, ir.For) and s.kind == "vthread" for s in ir.walk_stmt(func.body)):
        return func
    names = new_names(func)

    def change(stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.For) and stmt.kind == "vthread":
            private = [s.buffer for s in ir.walk_stmt(stmt.body) if isinstance(s, ir.Allocate)]
            new: dict[ir.Buffer, tuple[ir.Buffer, ir.Expr | None]] = {
                b: (replace(b, shape=(stmt.extent, *b.shape)), stmt.var) for b in private
            }
            return interleave(with_leading_index(stmt.body, new), stmt.var, stmt.extent, names)
        return stmt

    return replace(func, body=ir.map_stmt(func.body, change))


def interleave(stmt: ir.Stmt, thread: ir.Var, count: int, names: Names) -> ir.Stmt:
    """`stmt` for every thread, statement by statement."""
    match stmt:
        case ir.Seq(body):
            return ir.seq(*(interleave(s, thread, count, names) for s in body))
        case ir.Allocate(buffer, inner, annotations):
            return ir.Allocate(buffer, interleave(inner, thread, count, names), annotations)
        case ir.For(_, _, body) if not is_nest(stmt):
            return replace(stmt, body=interleave(body, thread, count, names))
        case ir.If(condition, _, _) if not is_nest(stmt) and not uses(condition, thread):
            return ir.rebuild_stmt(stmt, tuple(interleave(s, thread, count, names) for s in ir.stmt_children(stmt)))
    if not any(uses(e, thread) for s in ir.walk_stmt(stmt) for e in ir.stmt_exprs(s)) and is_repeatable(stmt):
        return stmt
    first = [ir.substitute_stmt(stmt, {thread: ir.Const(0, thread.dtype)})]
    return ir.seq(
        *first, *(copied(ir.substitute_stmt(stmt, {thread: ir.Const(k, thread.dtype)}), names) for k in range(1, count))
    )


def uses(expr: ir.Expr, var: ir.Var) -> bool:
    return any(e is var for e in ir.walk_expr(expr))


def is_repeatable(stmt: ir.Stmt) -> bool:
    """Whether running a statement twice is like running it once: it reads nothing that it writes."""
    reads, writes = touched_buffers(stmt)
    accumulates = any(isinstance(s, ir.Intrinsic) for s in ir.walk_stmt(stmt))
    return not reads & writes and not accumulates


def inject_double_buffers(func: ir.Function) -> ir.Function:
    """Two copies of each buffer annotated double_buffer, used in turn each time its allocation is entered.

        for h in range(3):                               for h in range(3):
            for o in range(5):                               allocate P: int8[2, 6]
                allocate P: int8[6] {double_buffer=1}        for o in range(5):
                … P[i] …                            →            … P[(h * 5 + o) % 2, i] …

    The copy is the number of the iteration modulo 2, counted over all serial loops around, so that it alternates from the
    last iteration of an inner loop to the first of the next too. An annotation outside any loop has no effect.
    """
    return replace(func, body=lift_double_buffers(func.body, ir.Const(0)))


def lift_double_buffers(stmt: ir.Stmt, count: ir.Expr) -> ir.Stmt:
    """count: the number of the iteration of the serial loops around."""
    children = ir.stmt_children(stmt)
    if not children:
        return stmt
    if not isinstance(stmt, ir.For):
        return ir.rebuild_stmt(stmt, tuple(lift_double_buffers(s, count) for s in children))
    counted = stmt.kind in ("serial", "unrolled") and stmt.var.dtype == "int32"
    first = not counted or count == ir.Const(0)
    count = stmt.var if first else count * stmt.extent + stmt.var
    kept, lifted, body = outer_allocations(lift_double_buffers(stmt.body, count))
    copy = ir.Binary("floormod", count, ir.Const(2, count.dtype))
    new: dict[ir.Buffer, tuple[ir.Buffer, ir.Expr | None]] = {}
    for allocation in lifted:
        new[allocation.buffer] = replace(allocation.buffer, shape=(2, *allocation.buffer.shape)), copy
    body = with_leading_index(body, new) if new else body
    for allocation in reversed(kept):
        body = ir.Allocate(allocation.buffer, body, allocation.annotations)
    result: ir.Stmt = replace(stmt, body=body)
    for allocation in reversed(lifted):
        result = ir.Allocate(new[allocation.buffer][0], result, without_double_buffer(allocation))
    return result


def outer_allocations(stmt: ir.Stmt) -> tuple[list[ir.Allocate], list[ir.Allocate], ir.Stmt]:
    """(allocations that stay, allocations annotated double_buffer, what they are around) of a loop's body."""
    kept: list[ir.Allocate] = []
    lifted: list[ir.Allocate] = []
    while isinstance(stmt, ir.Allocate):
        (lifted if ir.attribute(stmt.annotations, "double_buffer") else kept).append(stmt)
        stmt = stmt.body
    return kept, lifted, stmt


def without_double_buffer(allocation: ir.Allocate) -> tuple[tuple[str, int | float | str], ...]:
    return tuple((k, v) for k, v in allocation.annotations if k != "double_buffer")


def clear_double_buffer(func: ir.Function) -> ir.Function:
    """Drop annotations that had no loop around them."""

    def change(stmt: ir.Stmt) -> ir.Stmt:
        return replace(stmt, annotations=without_double_buffer(stmt)) if isinstance(stmt, ir.Allocate) else stmt

    return replace(func, body=ir.map_stmt(func.body, change))
