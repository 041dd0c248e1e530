"""Region inference: the box of a buffer that a statement touches, in terms of the variables outside it.

for i in 4: Y[o*4 + i] = X[(o*4 + i)*2 + 1]     touches X from o*8 + 1, 7 elements, and Y from o*4, 4 elements.

Exact for affine indices; a bound otherwise, at worst the whole dimension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vdla.compiler import ir
from vdla.compiler.passes.affine import (
    Interval,
    Linear,
    Ranges,
    atom_interval,
    from_linear,
    has_load,
    linear_floordiv,
    linear_interval,
    recombine,
    to_linear,
)


@dataclass(frozen=True, slots=True)
class Access:
    """One reference: element (or box) from `indices` of `extents`, while the loops inside run over `inner`."""

    buffer: ir.Buffer
    indices: tuple[ir.Expr, ...]
    extents: tuple[int, ...]
    is_write: bool
    inner: Mapping[ir.Var, Interval]


@dataclass(frozen=True, slots=True)
class Box:
    """First index, over the variables outside, and extent of each dimension."""

    starts: tuple[ir.Expr, ...]
    extents: tuple[int, ...]


def accesses(
    stmt: ir.Stmt, inner: Mapping[ir.Var, Interval] | None = None, values: Mapping[ir.Var, ir.Expr] | None = None
) -> Iterator[Access]:
    """Every reference in `stmt`, block iters replaced by their bindings; loops of `stmt` count as inner."""
    inner, values = inner or {}, values or {}
    match stmt:
        case ir.For(var, extent, body):
            yield from accesses(body, {**inner, var: (0, extent - 1)}, values)
            return
        case ir.Block():
            yield from loads(ir.stmt_exprs(stmt), inner, values)
            bound = {i.var: ir.substitute(b, values) for i, b in zip(stmt.iters, stmt.bindings, strict=True)}
            values = {**values, **bound}
        case ir.Store(buffer, indices, _):
            yield Access(buffer, tuple(ir.substitute(i, values) for i in indices), (1,) * len(indices), True, inner)
        case ir.Intrinsic(_, operands, _, _):
            for k, region in enumerate(operands):
                starts = tuple(ir.substitute(s, values) for s in region.starts)
                yield Access(region.buffer, starts, region.extents, k == 0, inner)
    if not isinstance(stmt, ir.Block):
        yield from loads(ir.stmt_exprs(stmt), inner, values)
    for child in ir.stmt_children(stmt):
        yield from accesses(child, inner, values)


def loads(exprs: tuple[ir.Expr, ...], inner: Mapping[ir.Var, Interval], values: Mapping[ir.Var, ir.Expr]) -> Iterator[Access]:
    for expr in exprs:
        for node in ir.walk_expr(expr):
            if isinstance(node, ir.Load):
                indices = tuple(ir.substitute(i, values) for i in node.indices)
                yield Access(node.buffer, indices, (1,) * len(indices), False, inner)


def touched_buffers(stmt: ir.Stmt) -> tuple[set[ir.Buffer], set[ir.Buffer]]:
    """(read, written) buffers. The destination of an intrinsic counts as written only."""
    reads: set[ir.Buffer] = set()
    writes: set[ir.Buffer] = set()
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Store):
            writes.add(node.buffer)
        elif isinstance(node, ir.Intrinsic):
            writes.add(node.operands[0].buffer)
            reads.update(r.buffer for r in node.operands[1:])
        for expr in ir.stmt_exprs(node):
            add_loaded(expr, reads)
        stack.extend(ir.stmt_children(node))
    return reads, writes


def add_loaded(expr: ir.Expr, found: set[ir.Buffer]) -> None:
    """Add the buffers that `expr` loads to `found`."""
    if isinstance(expr, ir.Var | ir.Const):
        return
    if isinstance(expr, ir.Load):
        found.add(expr.buffer)
    for child in ir.children(expr):
        add_loaded(child, found)


def bound(form: Linear, inner: Ranges, ranges: Ranges) -> tuple[Linear, int] | None:
    """(start, extent) of an index while the `inner` variables run; None where no bound is known.

    ranges: the inner and the outer variables together.
    """
    outer, low, high = Linear({}, form.constant), 0, 0
    for atom, coefficient in form.terms.items():
        if not any(e in inner for e in ir.walk_expr(atom) if isinstance(e, ir.Var)) and not has_load(atom):
            outer = outer.plus(Linear({atom: coefficient}, 0))
            continue
        box = bound_atom(atom, inner, ranges)
        if box is None:
            return None
        start, extent = box
        outer = outer.plus(start, coefficient)
        low, high = low + min(0, (extent - 1) * coefficient), high + max(0, (extent - 1) * coefficient)
    return recombine(outer.plus(Linear({}, low)), ranges), high - low + 1


def bound_atom(atom: ir.Expr, inner: Ranges, ranges: Ranges) -> tuple[Linear, int] | None:
    """(start, extent) of an atom that depends on inner variables."""
    match atom:
        case ir.Binary("floordiv", x, ir.Const(divisor, dtype)) if divisor > 0:
            box = bound(to_linear(x, ranges), inner, ranges)
            if box is not None and not box[0].is_constant:
                # The numerator starts anywhere within a multiple of the divisor, hence the extra element.
                start = linear_floordiv(box[0], int(divisor), ranges, dtype)
                exact = start_is_multiple(box[0], int(divisor))
                last = box[1] - 1 if exact else box[1] - 1 + int(divisor) - 1
                return start, last // int(divisor) + 1
    known = atom_interval(atom, ranges)
    if known is None or has_load(atom):
        return None
    return Linear({}, known[0]), known[1] - known[0] + 1


def start_is_multiple(form: Linear, divisor: int) -> bool:
    return all(c % divisor == 0 for c in (*form.terms.values(), form.constant))


def union_box(touches: list[Access], buffer: ir.Buffer, outer: Ranges) -> Box:
    """The smallest known box that holds every one of `touches`, clipped to the buffer where that is certain."""
    starts, extents = [], []
    for dim, size in enumerate(buffer.shape):
        start, extent = union_dimension(touches, dim, size, outer)
        starts.append(start)
        extents.append(extent)
    return Box(tuple(starts), tuple(extents))


def union_dimension(touches: list[Access], dim: int, size: int, outer: Ranges) -> tuple[ir.Expr, int]:
    whole: tuple[ir.Expr, int] = (ir.Const(0), size)
    if size == 1:
        return whole
    first: Linear | None = None
    low = high = 0
    seen: set[tuple[int, ir.Expr, int]] = set()
    for access in touches:
        key = (id(access.inner), access.indices[dim], access.extents[dim])
        if key in seen:
            continue
        seen.add(key)
        ranges = {**outer, **access.inner}
        box = bound(to_linear(access.indices[dim], ranges), access.inner, ranges)
        if box is None:
            return whole
        start, extent = box[0], box[1] + access.extents[dim] - 1
        first = start if first is None else first
        offset = start.plus(first, -1)
        if not offset.is_constant:
            return whole
        low, high = min(low, offset.constant), max(high, offset.constant + extent)
    if first is None:
        return whole
    start, extent = first.plus(Linear({}, low)), high - low
    known = linear_interval(start, outer)
    if extent >= size and (known is None or known[0] >= 0):
        return whole
    if known is not None and known[0] >= 0:
        extent = min(extent, size - known[0])
    return from_linear(start), extent


def exact_box(access: Access, outer: Ranges) -> Box | None:
    """The box whose every element the access touches, not clipped; None where what it touches is no box."""
    starts: list[ir.Expr] = []
    extents: list[int] = []
    ranges = {**outer, **access.inner}
    used: set[ir.Expr] = set()
    for index, size in zip(access.indices, access.extents, strict=True):
        form = to_linear(index, ranges)
        inner = sorted((c, a.name, a) for a, c in form.terms.items() if isinstance(a, ir.Var) and a in access.inner)
        rest = Linear({a: c for a, c in form.terms.items() if a not in access.inner}, form.constant)
        varies = any(v in access.inner for a in rest.terms for v in ir.walk_expr(a)) or any(map(has_load, rest.terms))
        if varies or used & {a for _, _, a in inner}:
            return None
        used.update(a for _, _, a in inner)
        extent = size
        for coefficient, _, var in inner:
            if not 0 < coefficient <= extent:
                return None
            extent += coefficient * access.inner[var][1]
        starts.append(from_linear(rest))
        extents.append(extent)
    return Box(tuple(starts), tuple(extents))


def outer_ranges(path: tuple[ir.Stmt, ...]) -> dict[ir.Var, Interval]:
    """Ranges of the loops on a path."""
    return {s.var: (0, s.extent - 1) for s in path if isinstance(s, ir.For)}


def is_nest(stmt: ir.Stmt) -> bool:
    """Whether a statement is loops, tests and allocations around one leaf, or around the init and update of a reduction."""
    while not isinstance(stmt, ir.Store | ir.Intrinsic | ir.Block):
        match stmt:
            case ir.For(_, _, body) | ir.Allocate(_, body) | ir.If(_, body, None) | ir.Seq((body,)):
                stmt = body
            case ir.Seq((ir.If(_, ir.Store(first), None), ir.Store(second))) if first is second:
                return True
            case ir.Seq((ir.If(_, ir.Seq(inits), None), *stores)) if all(isinstance(s, ir.Store) for s in (*inits, *stores)):
                return True
            case _:
                return False
    return True
