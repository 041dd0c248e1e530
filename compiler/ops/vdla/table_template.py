"""Layers that are a table of levels on VDLA: tiles of blocks × positions, looked up in place.

The table is taken up once, before the first tile; the image comes through LOAD, beside the look-ups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, take_up_table, tensorized, widen
from vdla.compiler.ops.vdla.template import (
    Footprint,
    Tiling,
    VdlaTemplate,
    balanced_tiles,
)
from vdla.compiler.ops.vdla.workload import TableWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.definition import AluOp, Opcode, table_tiles
from vdla.isa.timing import instruction_overhead


@dataclass(frozen=True, slots=True)
class TableTiling(Tiling):
    """blocks × positions of one tile. A second buffer of inp lets loads run beside the look-ups, one of acc stores."""

    blocks: int
    positions: int
    inp_buffers: int = 2
    acc_buffers: int = 2


def space(w: TableWorkload, design: Design) -> Space:
    """Every tile that cuts its extent evenly, one or two buffers of either scratchpad. Raises `CompileError` when the table
    does not fit acc."""
    if problem := refusal(w, TableTiling(1, 1, 1, 1), design):
        raise CompileError(
            "a table does not fit the scratchpads", where=f"table on {design.name}", found=problem, hint="a larger acc SRAM"
        )
    one_or_two = (1, 2)
    knobs = (
        Knob("blocks", balanced_tiles(w.blocks)),
        Knob("positions", balanced_tiles(w.positions)),
        Knob("inp_buffers", one_or_two),
        Knob("acc_buffers", one_or_two),
    )
    return Space(knobs, lambda config: refusal(w, TableTiling.of(config), design))


def refusal(w: TableWorkload, t: TableTiling, design: Design) -> str:
    """Which scratchpads `t` overflows, with the numbers; empty when it fits."""
    return footprint(t, design).problem(design)


def footprint(t: TableTiling, design: Design) -> Footprint:
    """The image, narrow and wide. The table has been taken from acc before the first tile needs its place."""
    tile = t.blocks * t.positions
    return Footprint(t.inp_buffers * tile, 1, max(t.acc_buffers * tile, table_tiles(design)))


def choose(w: TableWorkload, design: Design, latency_hiding: bool) -> Config:
    """The tile that fits and has the lowest estimate, with one buffer where two do not fit."""
    for buffers in (2, 1) if latency_hiding else (1,):
        tiles = product(balanced_tiles(w.blocks), balanced_tiles(w.positions)[::-1])
        tilings = [TableTiling(*tile, buffers, buffers) for tile in tiles]
        if fitting := [t for t in tilings if footprint(t, design).fits(design)]:
            return min(fitting, key=lambda t: estimate_cycles(w, t, design)).config
    return next(iter(space(w, design)))


def estimate_cycles(w: TableWorkload, t: TableTiling, design: Design) -> float:
    """Of the tiles one after another: the slowest of LOAD, COMPUTE, STORE and a bus that they share, and what the first tile's
    load and the last one's store add; all of them where nothing overlaps."""
    size, tiles = t.blocks * t.positions, w.batch * ceil_div(w.blocks, t.blocks) * ceil_div(w.positions, t.positions)
    beats_in, beats_out = (size * tile / design.bus_bytes for tile in (design.inp_tile_bytes, design.out_tile_bytes))
    load = beats_in + design.memory.read_latency + instruction_overhead(Opcode.LOAD)
    compute = 2 * size + instruction_overhead(Opcode.GEMM) + instruction_overhead(Opcode.ALU, AluOp.LOOKUP)
    store = beats_out + design.memory.write_latency + instruction_overhead(Opcode.STORE)
    if t.inp_buffers == 1:
        return tiles * (load + compute + store)
    bus = load + beats_out if design.port_count == 1 else 0  # idle while LOAD, which is in order, waits for the next data
    return tiles * max(load, compute, store, bus) + load + store


@lru_cache(maxsize=4096)
def default(w: TableWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=True)


@lru_cache(maxsize=4096)
def serial(w: TableWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=False)


def build(w: TableWorkload, config: Config, design: Design) -> Function:
    return schedule_table(expressions.table(w, design), TableTiling.of(config), vdla_intrinsics(design))


def schedule_table(func: Function, t: TableTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.table`: a tile of blocks × positions, behind the table."""
    s = Schedule(func)
    n, c, p, *_ = s.loops("y")
    (co, ci), (po, pi) = s.split(c, [None, t.blocks]), s.split(p, [None, t.positions])
    s.reorder(n, co, po, ci, pi)
    for stage in ("looked_up", "wide"):
        s.compute_at(stage, po)
        s.set_scope(stage, "vdla.acc")
    operations = {"looked_up": "lookup", "y": "store"} | take_up_table(s) | widen(s, "wide", n)
    image = s.cache_read("wide", "x", "vdla.inp")
    s.compute_at(image, po)
    operations[image] = "load.inp"
    for stage, buffers in ((image, t.inp_buffers), ("wide", t.acc_buffers), ("looked_up", t.acc_buffers)):
        if buffers == 2:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


TEMPLATE = VdlaTemplate("table", space, default, build, serial)
