"""Staged execution of a lowered function: which tiles does every intrinsic touch, in program order?

Shapes are static, so the loops run now. A *nest* is a maximal perfect loop nest around one intrinsic (through `If`s): its
loops are not run one by one but become a `Pattern`, the tile offsets of all its steps at once, relative to a base for
each operand. A tile loop around the nest only moves the bases, so patterns are few and everything derived from one (its
micro-ops, its DMA rows) is computed once.

    for t in 0..4:                                   item (nest, pattern, bases = (t mod 2) · 16, t · 64)  for t = 0..3
      for h in 0..4:                        →        pattern: extents (4, 4), strides ((4, 1), (8, 1))
        for w in 0..4:
          vdla.load(inp[t % 2, h, w], x[t, h, w])    (x is 8 wide)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NoReturn

import numpy as np

from vdla.compiler import ir
from vdla.compiler.backends.vdla.evaluate import evaluate, variables
from vdla.compiler.passes.affine import Linear, to_linear
from vdla.errors import CompileError

Ranges = dict[ir.Var, tuple[int, int]]
Environment = dict[ir.Var, int]
DMA_NAMES = ("vdla.load", "vdla.store")


@dataclass(frozen=True, eq=False)
class Pattern:
    """Tile offsets of a nest's steps, relative to a base for each operand.

    Step (i0, i1, …, point) touches, of operand o, tile strides[o] · i + points[o, point].

    extents: of the regular axes, outermost loop first. strides: int64[operands, axes].
    points: int64[operands, k], all else enumerated; k = 1 for a purely affine nest.
    inside: bool[steps] in loop order, where a padded load reads its source; None when everywhere. Only of DMA, which has
    no regular axes. irregular_steps: the steps in loop order when axes × points would not give that order.
    """

    extents: tuple[int, ...]
    strides: np.ndarray
    points: np.ndarray
    inside: np.ndarray | None = None
    irregular_steps: np.ndarray | None = None

    @property
    def count(self) -> int:
        return prod(self.extents) * self.points.shape[1]

    @cached_property
    def steps(self) -> np.ndarray:
        """int64[operands, count]: every offset in loop order."""
        if self.irregular_steps is not None:
            return self.irregular_steps
        result = np.zeros((len(self.points), 1), np.int64)
        for axis, extent in enumerate(self.extents):
            step = self.strides[:, axis, None] * np.arange(extent)
            result = (result[:, :, None] + step[:, None, :]).reshape(len(result), -1)
        return (result[:, :, None] + self.points[:, None, :]).reshape(len(result), -1)

    @cached_property
    def footprints(self) -> tuple[np.ndarray, ...]:
        """For each operand its distinct offsets, sorted."""
        return tuple(np.unique(row) for row in self.steps)

    @cached_property
    def key(self) -> tuple[object, ...]:
        parts = (self.strides, self.points, self.inside, self.irregular_steps)
        return (self.extents, len(self.points), *(None if p is None else p.tobytes() for p in parts))


@dataclass(frozen=True, slots=True)
class Address:
    """Tile index of one operand: constant + Σ outer + Σ inner; `terms` are the parts that are not affine."""

    buffer: ir.Buffer
    constant: int
    outer: tuple[tuple[int, ir.Var], ...]
    outer_terms: tuple[tuple[int, ir.Expr], ...]
    inner: tuple[int, ...]
    inner_terms: tuple[tuple[int, ir.Expr], ...]

    def base(self, env: Environment) -> int:
        """What does not change within the nest."""
        total = self.constant
        for coefficient, var in self.outer:
            total += coefficient * env[var]
        for coefficient, term in self.outer_terms:
            total += coefficient * int(evaluate(term, env))
        return total


@dataclass(eq=False)
class Nest:
    """One intrinsic with the perfect loops around it. mask: where it is executed at all (the `If`s)."""

    intrinsic: ir.Intrinsic
    loops: tuple[ir.For, ...]
    addresses: tuple[Address, ...]
    mask: ir.Expr | None
    key_vars: tuple[ir.Var, ...]  # outer variables that change the pattern
    patterns: dict[tuple[int, ...], Pattern | None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.intrinsic.name

    @cached_property
    def buffers(self) -> tuple[ir.Buffer, ...]:
        return tuple(a.buffer for a in self.addresses)


@dataclass(frozen=True, slots=True)
class Item:
    """One execution of a nest. bases: first tile of each operand within its buffer."""

    nest: Nest
    pattern: Pattern
    bases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """function: as lowered. items: what it does, in order."""

    function: ir.Function
    items: tuple[Item, ...]


def trace(func: ir.Function) -> Trace:
    """Execute the outer loops of a lowered function.

    Raises `CompileError` for a statement or an intrinsic the backend does not know, an operand that is not one packed
    tile, and an index that depends on data.
    """
    items: list[Item] = []
    _execute(_prepare(func.body, {}), {}, _Recorder(items))
    return Trace(func, tuple(items))


@dataclass(frozen=True, slots=True)
class _Recorder:
    items: list[Item]
    interned: dict[tuple[object, ...], Pattern] = field(default_factory=dict)

    def record(self, nest: Nest, env: Environment) -> None:
        key = tuple(env[v] for v in nest.key_vars)
        if key not in nest.patterns:
            pattern = _pattern(nest, env)
            nest.patterns[key] = None if pattern is None else self.interned.setdefault((nest.name, *pattern.key), pattern)
        pattern = nest.patterns[key]
        if pattern is not None:
            self.items.append(Item(nest, pattern, tuple(a.base(env) for a in nest.addresses)))


# -- the statement tree, with nests recognised --------------------------------------------------------------------------

_Node = Nest | tuple[ir.For, "_Node"] | tuple[ir.If, "_Node", "_Node | None"] | list["_Node"]  # type: ignore[misc]


def _prepare(stmt: ir.Stmt, ranges: Ranges) -> _Node:
    if is_perfect(stmt):
        return _nest_of(stmt, ranges)
    match stmt:
        case ir.For(var, extent, body):
            return (stmt, _prepare(body, {**ranges, var: (0, extent - 1)}))
        case ir.Seq(body):
            return [_prepare(s, ranges) for s in body]
        case ir.If(_, then, otherwise):
            return (stmt, _prepare(then, ranges), None if otherwise is None else _prepare(otherwise, ranges))
        case ir.Allocate(_, body):
            return _prepare(body, ranges)
    raise CompileError(
        "the VDLA backend has no instruction for this statement",
        found=type(stmt).__name__,
        expected="loops around VDLA intrinsics",
        hint="tensorise every block of the kernel",
    )


def _execute(node: _Node, env: Environment, recorder: _Recorder) -> None:
    match node:
        case Nest():
            recorder.record(node, env)
        case list():
            for child in node:
                _execute(child, env, recorder)
        case (ir.For(var, extent), body):
            for value in range(extent):
                env[var] = value
                _execute(body, env, recorder)
        case (ir.If(condition), then, otherwise):
            branch = then if evaluate(condition, env) else otherwise
            if branch is not None:
                _execute(branch, env, recorder)


def is_perfect(stmt: ir.Stmt) -> bool:
    """Loops and guards around exactly one intrinsic?"""
    while not isinstance(stmt, ir.Intrinsic):
        match stmt:
            case ir.For(_, _, body) | ir.Allocate(_, body):
                stmt = body
            case ir.If(_, then, None):
                stmt = then
            case ir.Seq((only,)):
                stmt = only
            case _:
                return False
    return True


def _nest_of(stmt: ir.Stmt, ranges: Ranges) -> Nest:
    loops: list[ir.For] = []
    conditions: list[ir.Expr] = []
    inner = dict(ranges)
    while not isinstance(stmt, ir.Intrinsic):
        match stmt:
            case ir.For(var, extent, body):
                loops.append(stmt)
                inner[var] = (0, extent - 1)
                stmt = body
            case ir.If(condition, then):
                conditions.append(condition)
                stmt = then
            case ir.Seq((stmt,)):
                pass
            case ir.Allocate(_, stmt):
                pass
    own = [loop.var for loop in loops]
    addresses = tuple(_address(region, own, inner, stmt.name) for region in stmt.operands)
    pattern_exprs = [*conditions, *(term for a in addresses for _, term in a.inner_terms)]
    if stmt.predicate is not None:
        pattern_exprs.append(stmt.predicate)
    used = set().union(*map(variables, pattern_exprs)) - set(own)
    key_vars = tuple(v for v in ranges if v in used)
    return Nest(stmt, tuple(loops), addresses, ir.all_of(conditions) if conditions else None, key_vars)


def _address(region: ir.Region, own: list[ir.Var], ranges: Ranges, name: str) -> Address:
    """The tile index of a region of exactly one tile that lies contiguously in its buffer."""
    shape, extents = region.buffer.shape, region.extents
    partial = next((d for d, extent in enumerate(extents) if extent > 1), len(extents))
    if any(extents[d] != shape[d] for d in range(partial + 1, len(shape))):
        _refuse_region(region, name)
    form, stride = Linear({}, 0), 1
    for start, size in zip(reversed(region.starts), reversed(shape), strict=True):
        form = form.plus(to_linear(start, ranges), stride)
        stride *= size
    tile = prod(extents)
    if form.constant % tile or any(c % tile for c in form.terms.values()):
        _refuse_region(region, name)
    form = form.divided(tile)
    linear = [(c, atom) for atom, c in form.terms.items() if isinstance(atom, ir.Var)]
    other = [(c, atom) for atom, c in form.terms.items() if not isinstance(atom, ir.Var)]
    return Address(
        region.buffer,
        form.constant,
        outer=tuple((c, v) for c, v in linear if v not in own),
        outer_terms=tuple((c, e) for c, e in other if not variables(e) & set(own)),
        inner=tuple(next((c for c, v in linear if v is mine), 0) for mine in own),
        inner_terms=tuple((c, e) for c, e in other if variables(e) & set(own)),
    )


def _refuse_region(region: ir.Region, name: str) -> NoReturn:
    raise CompileError(
        f"{name}: an operand is not one tile lying contiguously in memory",
        where=region.buffer.name,
        found=f"a {'×'.join(map(str, region.extents))} region of {list(region.buffer.shape)}",
        expected="the last two dimensions of the buffer to be one tile",
        hint="pack the tensor first",
    )


# -- patterns -----------------------------------------------------------------------------------------------------------


def _pattern(nest: Nest, env: Environment) -> Pattern | None:
    """The steps of `nest` when the outer variables have the values of `env`; None when it executes nothing."""
    extents = tuple(loop.extent for loop in nest.loops)
    strides = np.array([a.inner for a in nest.addresses], np.int64).reshape(len(nest.addresses), len(extents))
    simple = nest.mask is None and not any(a.inner_terms for a in nest.addresses)
    if simple and nest.name not in DMA_NAMES:
        return Pattern(extents, strides, np.zeros((len(nest.addresses), 1), np.int64))
    values = _grid(nest, env)
    offsets = _offsets(nest, extents, strides, values)
    mask = None if nest.mask is None else _on_grid(evaluate(nest.mask, values), extents)
    if nest.name in DMA_NAMES:
        return _dma_pattern(nest, offsets, mask, extents, values)
    return _compute_pattern(offsets, mask)


def _grid(nest: Nest, env: Environment) -> Mapping[ir.Var, object]:
    """Outer variables as they are; each own loop variable an arange along its own axis."""
    values: dict[ir.Var, object] = dict(env)
    rank = len(nest.loops)
    for axis, loop in enumerate(nest.loops):
        values[loop.var] = np.arange(loop.extent).reshape([-1 if d == axis else 1 for d in range(rank)])
    return values


def _on_grid(value: object, extents: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.asarray(value), extents)


def _offsets(nest: Nest, extents: tuple[int, ...], strides: np.ndarray, values: Mapping[ir.Var, object]) -> np.ndarray:
    """int64[operands, *extents]."""
    result = np.zeros((len(nest.addresses), *extents), np.int64)
    for o, address in enumerate(nest.addresses):
        for axis, extent in enumerate(extents):
            shape = [-1 if d == axis else 1 for d in range(len(extents))]
            result[o] += (strides[o, axis] * np.arange(extent)).reshape(shape)
        for coefficient, term in address.inner_terms:
            result[o] += coefficient * np.asarray(evaluate(term, values), np.int64)
    return result


def _dma_pattern(
    nest: Nest, offsets: np.ndarray, mask: np.ndarray | None, extents: tuple[int, ...], values: Mapping[ir.Var, object]
) -> Pattern | None:
    flat = offsets.reshape(len(offsets), -1)
    predicate = nest.intrinsic.predicate
    inside = None if predicate is None else _on_grid(evaluate(predicate, values), extents).ravel().astype(bool)
    if mask is not None:
        keep = mask.ravel().astype(bool)
        flat = flat[:, keep]
        inside = None if inside is None else inside[keep]
    if inside is not None and inside.all():
        inside = None
    return Pattern((), np.zeros((len(flat), 0), np.int64), flat, inside) if flat.shape[1] else None


def _compute_pattern(offsets: np.ndarray, mask: np.ndarray | None) -> Pattern | None:
    """Find the axes along which every operand moves by a constant step and the mask does not change; enumerate the rest."""
    if mask is not None:
        if not mask.any():
            return None
        offsets, mask = _crop(offsets, mask)
    rank = offsets.ndim - 1
    regular = [axis for axis in range(rank) if _is_regular(offsets, mask, axis)]
    extents = tuple(offsets.shape[axis + 1] for axis in regular)
    strides = np.array([_stride(offsets, axis) for axis in regular], np.int64).reshape(len(regular), len(offsets)).T
    corner = tuple(0 if axis in regular else slice(None) for axis in range(rank))
    points = offsets[(slice(None), *corner)].reshape(len(offsets), -1)
    if mask is not None:
        points = points[:, mask[corner].ravel().astype(bool)]
    in_order = points.shape[1] == 1 or regular == list(range(len(regular)))
    steps = None
    if not in_order:
        steps = offsets.reshape(len(offsets), -1)
        steps = steps if mask is None else steps[:, mask.ravel().astype(bool)]
    return Pattern(extents, np.ascontiguousarray(strides), np.ascontiguousarray(points), None, steps)


def _crop(offsets: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The mask's bounding box, and the mask within it unless it is full."""
    box = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        box.append(slice(int(along[0]), int(along[-1]) + 1))
    mask = mask[tuple(box)]
    return offsets[(slice(None), *box)], None if mask.all() else mask


def _is_regular(offsets: np.ndarray, mask: np.ndarray | None, axis: int) -> bool:
    first = np.take(offsets, [0], axis + 1)
    if offsets.shape[axis + 1] > 1:
        step = np.take(offsets, [1], axis + 1) - first
        if step.min(axis=tuple(range(1, offsets.ndim))).tolist() != step.max(axis=tuple(range(1, offsets.ndim))).tolist():
            return False
        if (np.diff(offsets, axis=axis + 1) != step).any():
            return False
    return mask is None or bool((mask == np.take(mask, [0], axis)).all())


def _stride(offsets: np.ndarray, axis: int) -> np.ndarray:
    """int64[operands]: the step along a regular axis."""
    if offsets.shape[axis + 1] == 1:
        return np.zeros(len(offsets), np.int64)
    first, second = (np.take(offsets, k, axis + 1).reshape(len(offsets), -1)[:, 0] for k in (0, 1))
    return second - first
