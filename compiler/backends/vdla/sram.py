"""Where each on-chip buffer of a kernel lies: storage shared by coalescing, then by lifetime, only as far as needed.

The ALU has two operands: acc[dst] = acc[dst] OP y. An intrinsic (dst, x, y) costs a MOV unless dst and x are the same
tile, so the buffers of x and dst are given one storage wherever that is provably harmless on the executed trace: every
value is still there when it is read. Buffers that are not coalesced get storage of their own while there is room, so
that tokens have less to order; when there is none, buffers with disjoint lifetimes share it, first fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod

import numpy as np

from vdla.compiler import ir
from vdla.compiler.backends.vdla.trace import Item, Trace, trace
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.definition import Scratchpad, depth

MEMORY_OF_SCOPE = {"vdla.inp": Scratchpad.INP, "vdla.wgt": Scratchpad.WGT, "vdla.acc": Scratchpad.ACC}
TABLE_SCOPE = "vdla.table"
"""Of the one table that LOOKUP reads."""
COMMUTATIVE = ("vdla.alu.min", "vdla.alu.max", "vdla.alu.add", "vdla.alu.mul")
Interval = tuple[int, int]
"""First and last position, inclusive, in the order of the function's intrinsics."""


@dataclass(frozen=True, slots=True)
class SramPlan:
    """base: first SRAM entry of each buffer. storage: number of the storage it shares with others coalesced with it.

    used: entries occupied in each memory. scratch: an acc entry free for constants, when one was asked for.
    """

    base: Mapping[ir.Buffer, int]
    storage: Mapping[ir.Buffer, int]
    used: Mapping[Scratchpad, int]
    scratch: int | None = None


@dataclass(frozen=True, slots=True)
class Storage:
    """Buffers in one place. size: entries. live: when."""

    buffers: tuple[ir.Buffer, ...]
    memory: Scratchpad
    size: int
    live: Interval


def sram_usage(func: ir.Function, design: Design) -> dict[str, int]:
    """Entries a lowered function needs of each memory ("inp", "wgt", "acc"), without emitting it.

    Raises `CompileError` naming the buffers when they do not fit.
    """
    used = plan_sram(trace(func), design).used
    return {memory.name.lower(): used[memory] for memory in MEMORY_OF_SCOPE.values()}


def plan_sram(traced: Trace, design: Design, scratch: int = 0) -> SramPlan:
    """Place every allocated vdla.* buffer; `scratch` acc entries more are left free.

    Raises `CompileError` when a memory overflows, naming buffers, sizes and capacity, and for a buffer in DRAM.
    """
    lifetimes = buffer_lifetimes(traced.function)
    tables = [buffer for buffer in lifetimes if buffer.scope == TABLE_SCOPE]
    _refuse_second_table(tables, lifetimes, traced.function.name)
    groups = coalesce(traced.items, [buffer for buffer in lifetimes if buffer not in tables], design)
    base: dict[ir.Buffer, int] = dict.fromkeys(tables, 0)
    number: dict[ir.Buffer, int] = dict.fromkeys(tables, 0)
    used: dict[Scratchpad, int] = {}
    for memory in MEMORY_OF_SCOPE.values():
        storages = [_storage(g, lifetimes, design) for g in groups if MEMORY_OF_SCOPE[g[0].scope] is memory]
        capacity = depth(design, memory) - (scratch if memory is Scratchpad.ACC else 0)
        starts, used[memory] = _place(storages, memory, capacity, traced.function.name)
        for storage, start in zip(storages, starts, strict=True):
            base |= dict.fromkeys(storage.buffers, start)
            number |= dict.fromkeys(storage.buffers, len(set(number.values())))
    used[Scratchpad.ACC] += scratch
    return SramPlan(base, number, used, depth(design, Scratchpad.ACC) - scratch if scratch else None)


def tile_count(buffer: ir.Buffer, design: Design) -> int:
    """SRAM entries of a buffer. Raises `CompileError` when its last two dimensions are not the memory's tile."""
    g = design.gemm
    tile = {"vdla.inp": (g.batch, g.block_in), "vdla.wgt": (g.block_out, g.block_in), "vdla.acc": (g.batch, g.block_out)}[
        buffer.scope
    ]
    if buffer.shape[-2:] != tile:
        raise CompileError(
            f"a buffer in {buffer.scope} does not end in the memory's tile",
            where=buffer.name,
            found=list(buffer.shape),
            expected=f"[…, {tile[0]}, {tile[1]}]",
        )
    return prod(buffer.shape[:-2])


# -- lifetimes ----------------------------------------------------------------------------------------------------------


def buffer_lifetimes(func: ir.Function) -> dict[ir.Buffer, Interval]:
    """Each allocated buffer's interval over the positions of intrinsics.

    A use within a loop that runs inside the buffer's Allocate counts for the whole loop: the value may be carried around.
    """
    counter = [0]
    lifetimes: dict[ir.Buffer, Interval] = {}

    def visit(stmt: ir.Stmt) -> dict[ir.Buffer, Interval]:
        """Intervals of the buffers used in `stmt` and not allocated there."""
        if isinstance(stmt, ir.Intrinsic):
            counter[0] += 1
            return {region.buffer: (counter[0], counter[0]) for region in stmt.operands}
        begin = counter[0] + 1
        uses: dict[ir.Buffer, Interval] = {}
        for child in ir.stmt_children(stmt):
            for buffer, (low, high) in visit(child).items():
                known = uses.get(buffer, (low, high))
                uses[buffer] = (min(low, known[0]), max(high, known[1]))
        if isinstance(stmt, ir.For):
            uses = dict.fromkeys(uses, (begin, counter[0]))
        if isinstance(stmt, ir.Allocate):
            _refuse_global(stmt.buffer, func)
            lifetimes[stmt.buffer] = uses.pop(stmt.buffer, (begin, begin))
        return uses

    visit(func.body)
    return lifetimes


def _refuse_second_table(tables: list[ir.Buffer], lifetimes: Mapping[ir.Buffer, Interval], where: str) -> None:
    for first, second in pairwise(sorted(tables, key=lambda buffer: lifetimes[buffer])):
        if lifetimes[second][0] <= lifetimes[first][1]:
            found = f"{first.name} and {second.name}"
            raise CompileError("the machine has one table, and two are in use at once", where=where, found=found)


def _refuse_global(buffer: ir.Buffer, func: ir.Function) -> None:
    if buffer.scope not in (*MEMORY_OF_SCOPE, TABLE_SCOPE):
        raise CompileError(
            "an intermediate buffer of a VDLA kernel is not in the accelerator's memories",
            where=f"{func.name}: {buffer.name}", found=buffer.scope,
            expected=", ".join((*MEMORY_OF_SCOPE, TABLE_SCOPE)), hint="set_scope",
        )  # fmt: skip


# -- coalescing ---------------------------------------------------------------------------------------------------------


def coalesce(items: Iterable[Item], buffers: list[ir.Buffer], design: Design) -> list[list[ir.Buffer]]:
    """Partition `buffers` into groups that share storage; each group's buffers start at the same entry."""
    items = list(items)
    group_of = {b: [b] for b in buffers}
    for dst, x in _candidates(items):
        first, second = group_of[dst], group_of[x]
        if first is second or not _harmless(items, first, second, design):
            continue
        merged = first + second
        for b in merged:
            group_of[b] = merged
    return list({id(g): g for g in group_of.values()}.values())


def _candidates(items: list[Item]) -> list[tuple[ir.Buffer, ir.Buffer]]:
    """(dst, operand it would like to share with), in program order, without repeats."""
    pairs: dict[tuple[ir.Buffer, ir.Buffer], None] = {}
    for nest in {id(item.nest): item.nest for item in items}.values():
        if nest.name.startswith("vdla.alu.") and len(nest.buffers) > 1:
            dst, *sources = nest.buffers
            for source in sources if nest.name in COMMUTATIVE else sources[:1]:
                if source is not dst:
                    pairs[dst, source] = None
    return list(pairs)


def _harmless(items: list[Item], first: list[ir.Buffer], second: list[ir.Buffer], design: Design) -> bool:
    """Replay the trace with both groups in one storage: does every read still find its own buffer's value?"""
    members = {b: k for k, b in enumerate([*first, *second])}
    owner = np.full(max(tile_count(b, design) for b in members), -1, np.int64)
    for item in items:
        touched = [o for o, b in enumerate(item.nest.buffers) if b in members]
        if not touched:
            continue
        for o in touched:
            if o == 0 and not reads_dst(item.nest.intrinsic):
                continue
            values = owner[item.bases[o] + item.pattern.footprints[o]]
            if ((values != members[item.nest.buffers[o]]) & (values >= 0)).any():
                return False
        if touched[0] == 0:
            if not _in_place(item, touched):
                return False
            owner[item.bases[0] + item.pattern.footprints[0]] = members[item.nest.buffers[0]]
    return True


def reads_dst(intrinsic: ir.Intrinsic) -> bool:
    """Does the intrinsic's meaning depend on what its first operand held?"""
    return intrinsic.name == "vdla.gemm"


def _in_place(item: Item, touched: list[int]) -> bool:
    """Reads of other buffers of the storage are harmless when each step reads just the tile it writes, and writes it once.

    What the hardware takes as its first operand must be there: any operand of a commutative operation, else x.
    """
    others = [o for o in touched[1:] if item.nest.buffers[o] is not item.nest.buffers[0]]
    if not others:
        return True
    if item.nest.name not in COMMUTATIVE and others != [1]:
        return False
    steps = item.pattern.steps
    same = all((steps[o] + item.bases[o] == steps[0] + item.bases[0]).all() for o in others)
    return same and len(item.pattern.footprints[0]) == steps.shape[1]


# -- placing ------------------------------------------------------------------------------------------------------------


def _storage(group: list[ir.Buffer], lifetimes: Mapping[ir.Buffer, Interval], design: Design) -> Storage:
    low = min(lifetimes[b][0] for b in group)
    high = max(lifetimes[b][1] for b in group)
    size = max(tile_count(b, design) for b in group)
    return Storage(tuple(group), MEMORY_OF_SCOPE[group[0].scope], size, (low, high))


def _place(storages: list[Storage], memory: Scratchpad, capacity: int, where: str) -> tuple[list[int], int]:
    """First entry of each storage, and how many entries are used."""
    ends = list(accumulate((s.size for s in storages), initial=0))
    if ends[-1] <= capacity:
        return ends[:-1], ends[-1]
    starts = _first_fit(storages)
    used = max(start + s.size for start, s in zip(starts, storages, strict=True))
    if used > capacity:
        sizes = ", ".join(f"{'/'.join(b.name for b in s.buffers)} {s.size}" for s in storages)
        raise CompileError(
            f"the kernel's buffers need {used} tiles of {memory.name.lower()}",
            where=where, found=sizes, expected=f"at most {capacity}", hint="smaller tiles",
        )  # fmt: skip
    return starts, used


def _first_fit(storages: list[Storage]) -> list[int]:
    """Largest first, each at the lowest entry free throughout its lifetime."""
    placed: list[tuple[int, Storage]] = []
    starts = [0] * len(storages)
    for k in sorted(range(len(storages)), key=lambda k: (-storages[k].size, storages[k].live)):
        mine, start = storages[k], 0
        for other_start, other in sorted(placed, key=lambda p: p[0]):
            overlaps = mine.live[0] <= other.live[1] and other.live[0] <= mine.live[1]
            if overlaps and start < other_start + other.size and other_start < start + mine.size:
                start = other_start + other.size
        starts[k] = start
        placed.append((start, mine))
    return starts
