"""`TensorIntrinsic`: what a tensorised operation replaces, as data.

The pattern is an ordinary `Function`: its parameters are tiles (the written one is the operand that comes first), its body
is loops around one store. Names listed in `holes` are constants the pattern leaves open: a variable in place of a constant
operand, the *name* in place of a call's attribute. The bool variable `predicate` stands for any condition that is the same
for the whole tile; a select on it also matches its first branch alone, the condition having been found to hold always.
For VDLA's matrix unit, a padded load and max with an immediate:

    vdla.gemm:   function gemm(inp: int8[1, 16] in vdla.inp, wgt: int8[16, 16] in vdla.wgt) -> (acc: int32[1, 16] in vdla.acc):
                     for b in range(1): for o in range(16): for i in range(16):
                         acc[b, o] = acc[b, o] + cast(int32, inp[b, i]) * cast(int32, wgt[o, i])

    vdla.load:   function load(src: int8[1, 16]) -> (dst: int8[1, 16] in vdla.inp):     holes: predicate, pad_value
                     for b in range(1): for c in range(16):
                         dst[b, c] = select(predicate, src[b, c], pad_value)

    vdla.alu.max: function max(x: int32[1, 16] in vdla.acc) -> (dst: int32[1, 16] in vdla.acc):     holes: imm
                     for b in range(1): for o in range(16):
                         dst[b, o] = max(x[b, o], imm)

which in Python, with `tile_function`, reads

    acc, inp, wgt = Buffer("acc", (1, 16), "int32", "vdla.acc"), Buffer("inp", (1, 16), "int8", "vdla.inp"), …
    gemm = TensorIntrinsic("vdla.gemm", tile_function("gemm", (1, 16, 16), lambda b, o, i: Store(acc, (b, o),
        acc[b, o] + inp[b, i].astype("int32") * wgt[o, i].astype("int32")), [inp, wgt], acc), (acc, inp, wgt))

    dst, src = Buffer("dst", (1, 16), "int8", "vdla.inp"), Buffer("src", (1, 16), "int8")
    predicate, pad_value = Var("predicate", "bool"), Var("pad_value", "int8")
    load = TensorIntrinsic("vdla.load", tile_function("load", (1, 16), lambda b, c: Store(dst, (b, c),
        Select(predicate, src[b, c], pad_value)), [src], dst), (dst, src), (predicate, pad_value))

An index of the pattern that is no loop, but a value or made of several loops, leaves open which element of the dimension is
meant: what matches it has the same one, and the operand is the whole dimension.

    vdla.alu.lookup: … dst[b, o] = cast(int32, table[cast(int32, cast(int8, x[b, o])) + 128])    takes all of `table`

A block matches where its body is the pattern's with leading indices added to every tile (any expressions that do not use
the tile's loops), whichever loops of the right extents play the tile loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature

from vdla.compiler import ir
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes.affine import Linear, Ranges, from_linear, to_linear
from vdla.compiler.passes.simplify import is_index

COMMUTATIVE = ("add", "mul", "min", "max", "and", "or", "eq", "ne")


@dataclass(frozen=True)
class TensorIntrinsic:
    """name: the Intrinsic's. operands: the pattern's tiles in its order, the written one first. holes: open constants."""

    name: str
    pattern: ir.Function
    operands: tuple[ir.Buffer, ...]
    holes: tuple[ir.Var, ...] = ()

    @property
    def store(self) -> ir.Store:
        """The one store of the pattern."""
        return next(s for s in ir.walk_stmt(self.pattern.body) if isinstance(s, ir.Store))

    @property
    def loops(self) -> dict[ir.Var, int]:
        """Extent of each tile loop, outermost first. A block's iters stand for the loops they are bound to."""
        loops = {s.var: s.extent for s in ir.walk_stmt(self.pattern.body) if isinstance(s, ir.For)}
        for block in (s for s in ir.walk_stmt(self.pattern.body) if isinstance(s, ir.Block)):
            return {i.var: i.extent for i in block.iters}
        return loops


def tile_function(
    name: str, extents: Sequence[int], body: Callable[..., ir.Store], inputs: Sequence[ir.Buffer], output: ir.Buffer
) -> ir.Function:
    """A pattern: loops of `extents`, named as the first parameters of `body`, around the store it returns."""
    variables = [ir.Var(n) for n in list(signature(body).parameters)[: len(extents)]]
    stmt: ir.Stmt = body(*variables)
    for var, extent in zip(reversed(variables), reversed(extents), strict=True):
        stmt = ir.For(var, extent, stmt)
    return ir.Function(name, (*inputs, output), stmt)


@dataclass(frozen=True)
class Match:
    """What a pattern was bound to. tile: pattern loop → loop of the program."""

    tile: dict[ir.Var, ir.Var] = field(default_factory=dict)
    regions: dict[ir.Buffer, ir.Region] = field(default_factory=dict)
    holes: dict[str, ir.Expr | int | float | str] = field(default_factory=dict)

    @property
    def attributes(self) -> ir.Attributes:
        """The constants found for the holes."""
        found = {k: v.value if isinstance(v, ir.Const) else v for k, v in self.holes.items() if k != "predicate"}
        return tuple(sorted((k, v) for k, v in found.items() if not isinstance(v, ir.Expr)))

    @property
    def predicate(self) -> ir.Expr | None:
        found = self.holes.get("predicate")
        return found if isinstance(found, ir.Expr) else None


class Mismatch(Exception):
    """Why a pattern does not match."""


def match_store(intrinsic: TensorIntrinsic, store: ir.Store, loops: dict[ir.Var, int], ranges: Ranges) -> Match:
    """Match a store whose indices are over program loops.

    loops: extents of the loops that can be tile loops, innermost first. Raises `Mismatch`.
    """
    matcher = Matcher(intrinsic, loops, ranges)
    match = matcher.tile(intrinsic.store.buffer, intrinsic.store.indices, store.buffer, store.indices, Match())
    match = matcher.expr(intrinsic.store.value, store.value, match)
    missing = [v.name for v, extent in intrinsic.loops.items() if extent > 1 and v not in match.tile]
    if missing:
        raise Mismatch(f"no loop was found for {', '.join(missing)}")
    tile = set(match.tile.values())
    for what, expr in (*region_starts(match), ("the predicate", match.predicate)):
        if expr is not None and any(e in tile for e in ir.walk_expr(expr) if isinstance(e, ir.Var)):
            raise Mismatch(f"{what} depends on a loop of the tile: {to_text(expr)}")
    return match


def region_starts(match: Match) -> list[tuple[str, ir.Expr]]:
    return [(f"the place of {b.name}", s) for b, region in match.regions.items() for s in region.starts]


@dataclass(frozen=True)
class Matcher:
    intrinsic: TensorIntrinsic
    loops: dict[ir.Var, int]
    ranges: Ranges

    def expr(self, pattern: ir.Expr, found: ir.Expr, match: Match) -> Match:
        """`match` extended so that the pattern equals `found`. Raises `Mismatch`."""
        if isinstance(pattern, ir.Var) and pattern in self.intrinsic.holes:
            return self.hole(pattern, found, match)
        match pattern, found:
            case ir.Const(), ir.Const() if pattern == found:
                return match
            case ir.Load(), ir.Load():
                return self.tile(pattern.buffer, pattern.indices, found.buffer, found.indices, match)
            case ir.Cast(), ir.Cast() if pattern.dtype == found.dtype:
                return self.expr(pattern.value, found.value, match)
            case ir.Cast(dtype, value), _ if found.dtype == dtype == value.dtype:
                return self.expr(value, found, match)
            case ir.Select(), ir.Select():
                return self.all((pattern.condition, pattern.a, pattern.b), (found.condition, found.a, found.b), match)
            case ir.Select(ir.Var("predicate"), a, _), _:  # the condition was found to hold always
                return self.expr(a, found, match)
            case ir.Call(), ir.Call() if pattern.op == found.op and len(pattern.args) == len(found.args):
                return self.all(pattern.args, found.args, self.call_attributes(pattern, found, match))
            case ir.Binary(), ir.Binary() if pattern.op == found.op:
                return self.binary(pattern, found, match)
        raise Mismatch(f"{to_text(found)} is not {to_text(pattern)}")

    def binary(self, pattern: ir.Binary, found: ir.Binary, match: Match) -> Match:
        """The operands in order, or swapped where the operation allows; the reason given is that of the order as written."""
        try:
            return self.all((pattern.a, pattern.b), (found.a, found.b), match)
        except Mismatch as straight:
            if pattern.op not in COMMUTATIVE:
                raise
            try:
                return self.all((pattern.a, pattern.b), (found.b, found.a), match)
            except Mismatch:
                raise straight from None

    def all(self, patterns: Sequence[ir.Expr], found: Sequence[ir.Expr], match: Match) -> Match:
        for p, f in zip(patterns, found, strict=True):
            match = self.expr(p, f, match)
        return match

    def hole(self, hole: ir.Var, found: ir.Expr, match: Match) -> Match:
        if found.dtype != hole.dtype:
            raise Mismatch(f"{hole.name} is {hole.dtype}, found {to_text(found)} of {found.dtype}")
        if hole.name != "predicate" and not isinstance(found, ir.Const):
            raise Mismatch(f"{hole.name} must be a constant, found {to_text(found)}")
        return self.named(hole.name, found, match)

    def named(self, name: str, found: ir.Expr | int | float | str, match: Match) -> Match:
        if name in match.holes and match.holes[name] != found:
            raise Mismatch(f"{name} would have two values")
        return replace(match, holes={**match.holes, name: found})

    def call_attributes(self, pattern: ir.Call, found: ir.Call, match: Match) -> Match:
        wanted, given = dict(pattern.attributes), dict(found.attributes)
        if wanted.keys() != given.keys():
            raise Mismatch(f"{found.op} has attributes {sorted(given)}, the pattern {sorted(wanted)}")
        holes = {h.name for h in self.intrinsic.holes}
        for key, value in wanted.items():
            if value in holes:
                match = self.named(str(value), given[key], match)
            elif value != given[key]:
                raise Mismatch(f"{found.op} has {key} {given[key]}, the pattern {value}")
        return match

    def tile(
        self, pattern: ir.Buffer, wanted: Sequence[ir.Expr], found: ir.Buffer, indices: Sequence[ir.Expr], match: Match
    ) -> Match:
        """Bind the pattern's buffer to the tile of `found` at `indices`."""
        if found.scope != pattern.scope:
            raise Mismatch(f"{found.name} is in scope {found.scope}, {pattern.name} in {pattern.scope}")
        if found.dtype != pattern.dtype:
            raise Mismatch(f"{found.name} is {found.dtype}, {pattern.name} {pattern.dtype}")
        lead = len(indices) - len(wanted)
        if lead < 0:
            raise Mismatch(f"{found.name} has fewer dimensions than {pattern.name}")
        starts: list[ir.Expr] = list(indices[:lead])
        for p, index, extent, size in zip(wanted, indices[lead:], pattern.shape, found.shape[lead:], strict=True):
            if isinstance(p, ir.Var):
                start, match = self.tile_index(p, index, extent, match)
            else:
                start, match = self.whole_index(p, index, extent, size, match)
            starts.append(start)
        region = ir.Region(found, tuple(starts), (1,) * lead + pattern.shape)
        if pattern in match.regions and match.regions[pattern] != region:
            raise Mismatch(f"{pattern.name} would be two places: {to_text(found[tuple(indices)])} is one")
        return replace(match, regions={**match.regions, pattern: region})

    def whole_index(self, pattern: ir.Expr, index: ir.Expr, extent: int, size: int, match: Match) -> tuple[ir.Expr, Match]:
        """0, where the index is the pattern's own and the dimension has the pattern's extent."""
        if size != extent:
            raise Mismatch(f"a dimension of {size} elements is not one of {extent}, taken whole")
        if not is_index(pattern):
            return ir.Const(0), self.expr(pattern, index, match)
        wanted = to_linear(ir.substitute(pattern, match.tile), self.ranges)
        if not is_index(index) or wanted != to_linear(index, self.ranges):
            raise Mismatch(f"index {to_text(index)} is not {to_text(pattern)}")
        return ir.Const(0), match

    def tile_index(self, pattern: ir.Var, index: ir.Expr, extent: int, match: Match) -> tuple[ir.Expr, Match]:
        """The start of the tile along one dimension, with the pattern's loop bound to the loop that runs along it."""
        if not is_index(index):
            raise Mismatch(f"index {to_text(index)} is not a loop of the tile")
        if extent == 1:
            return index, match
        form = to_linear(index, self.ranges)
        taken = match.tile.get(pattern)
        candidates = [taken] if taken is not None else [v for v in self.loops if v not in match.tile.values()]
        for var in candidates:
            if form.terms.get(var) == 1 and self.loops[var] == self.intrinsic.loops[pattern]:
                rest = Linear({a: c for a, c in form.terms.items() if a is not var}, form.constant)
                return from_linear(rest), replace(match, tile={**match.tile, pattern: var})
        raise Mismatch(
            f"no loop of {self.intrinsic.loops[pattern]} iterations runs along index {to_text(index)} for {pattern.name}"
        )
