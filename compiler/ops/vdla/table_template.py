"""Layers that are a table of levels on VDLA: tiles of blocks × positions, looked up in place.

The table is taken up once, before the first tile; the image comes through LOAD, beside the look-ups.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, take_up_table, tensorized, widen
from vdla.compiler.ops.vdla.template import (
    OVERLAPPED_TILES,
    Footprint,
    Tiling,
    VdlaTemplate,
    balanced_tiles,
    fit_problem,
)
from vdla.compiler.ops.vdla.workload import TableWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.definition import table_tiles


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
    tile = t.blocks * t.positions
    together = Footprint(t.inp_buffers * tile, 1, max(t.acc_buffers * tile, table_tiles(design)))
    return fit_problem(footprint(t, design), together, lambda: build(w, t.config, design), design)


def footprint(t: TableTiling, design: Design) -> Footprint:
    """Each buffer in storage of its own: the image, narrow and wide; the table."""
    tile = t.blocks * t.positions
    return Footprint(t.inp_buffers * tile, 1, t.acc_buffers * tile + table_tiles(design))


def choose(w: TableWorkload, design: Design, latency_hiding: bool) -> Config:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them (one, when nothing overlaps); with one buffer where
    two do not fit."""
    for buffers in (2, 1) if latency_hiding else (1,):
        tiles = product(balanced_tiles(w.blocks)[::-1], balanced_tiles(w.positions)[::-1])
        tilings = [TableTiling(*tile, buffers, buffers) for tile in tiles]
        if fitting := [t for t in tilings if footprint(t, design).fits(design)]:
            wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
            tiling = max(fitting, key=lambda t: (min(t.blocks * t.positions, wanted), -t.blocks * t.positions, t.positions))
            return tiling.config
    return next(iter(space(w, design)))  # what only fits by sharing


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
