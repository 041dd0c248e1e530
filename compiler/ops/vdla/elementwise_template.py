"""Elementwise layers on VDLA: tiles of blocks × positions, computed in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, cache_parameters, tensorized
from vdla.compiler.ops.vdla.template import (
    OVERLAPPED_TILES,
    Footprint,
    Tiling,
    VdlaTemplate,
    balanced_tiles,
    fit_problem,
)
from vdla.compiler.ops.vdla.workload import PAIRS, ElementwiseWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.errors import CompileError


@dataclass(frozen=True, slots=True)
class ElementwiseTiling(Tiling):
    """blocks × positions of one tile; `buffers` of 2 lets the store of one tile run beside the next."""

    blocks: int
    positions: int
    buffers: int = 2


def space(w: ElementwiseWorkload, design: Design) -> Space:
    """Every tile that cuts its extent evenly, in one buffer or two. Raises `CompileError` when not even a single position of a
    single block fits."""
    smallest = ElementwiseTiling(1, 1, 1)
    if refusal(w, smallest, design):
        raise CompileError(
            "one tile's operands do not fit acc", where=f"{w.op} on {design.name}", found=footprint(w, smallest).acc,
            expected=f"at most {design.acc_depth} tiles", hint="a larger acc SRAM",
        )  # fmt: skip
    knobs = (
        Knob("blocks", balanced_tiles(w.blocks)),
        Knob("positions", balanced_tiles(w.positions)),
        Knob("buffers", (1, 2)),
    )
    return Space(knobs, lambda config: refusal(w, ElementwiseTiling.of(config), design))


def refusal(w: ElementwiseWorkload, t: ElementwiseTiling, design: Design) -> str:
    """By how much `t` overflows acc, with the numbers; empty when it fits."""
    apart = footprint(w, t)
    together = Footprint(0, 0, apart.acc - parameter_tiles(w, t))  # which may all have been read when the next are loaded
    return fit_problem(apart, together, lambda: build(w, t.config, design), design)


def footprint(w: ElementwiseWorkload, t: ElementwiseTiling) -> Footprint:
    return Footprint(0, 0, t.buffers * w.operands * t.blocks * t.positions + parameter_tiles(w, t))


def parameter_tiles(w: ElementwiseWorkload, t: ElementwiseTiling) -> int:
    """A bias and scale words for the result, and where there are two operands for each of these."""
    return (6 if w.operands == 2 else 2) * t.blocks


def choose(w: ElementwiseWorkload, design: Design, latency_hiding: bool) -> Config:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them (one, when nothing overlaps); with one buffer where
    two do not fit."""
    for buffers in (2, 1) if latency_hiding else (1,):
        tiles = product(balanced_tiles(w.blocks)[::-1], balanced_tiles(w.positions)[::-1])
        tilings = [ElementwiseTiling(*tile, buffers) for tile in tiles]
        if fitting := [t for t in tilings if footprint(w, t).fits(design)]:
            wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
            tiling = max(fitting, key=lambda t: (min(t.blocks * t.positions, wanted), -t.blocks * t.positions, t.positions))
            return tiling.config
    return next(iter(space(w, design)))  # what only fits by sharing


@lru_cache(maxsize=4096)
def default(w: ElementwiseWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=True)


@lru_cache(maxsize=4096)
def serial(w: ElementwiseWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=False)


def build(w: ElementwiseWorkload, config: Config, design: Design) -> Function:
    return schedule_elementwise(expressions.elementwise(w, design), w, ElementwiseTiling.of(config), vdla_intrinsics(design))


def schedule_elementwise(func: Function, w: ElementwiseWorkload, t: ElementwiseTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.elementwise`: all stages of a tile of blocks × positions, in place."""
    s = Schedule(func)
    n, g, c, p, *_ = s.loops("y")
    (co, ci), (po, pi) = s.split(c, [None, t.blocks]), s.split(p, [None, t.positions])
    s.reorder(co, n, po, g, ci, pi)
    stages = [stage for stage in s.blocks() if stage != "y"]
    for stage in reversed(stages):
        s.compute_at(stage, po)
        s.set_scope(stage, "vdla.acc")
    operations = {"requantised": "requantise", "y": "store"}
    for stage in stages:
        if stage.endswith("wide"):
            operations[stage] = "load.out"
        elif stage == "joined":
            operations[stage] = PAIRS[w.op]
        elif stage.endswith("rescaled"):
            operations[stage] = "rescale"
            operations[cache_parameters(s, stage, f"{stage[0]}_parameters", co)] = "load.acc"
    operations[cache_parameters(s, "requantised", "parameters", co)] = "load.acc"
    if t.buffers == 2:
        for stage in stages:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


TEMPLATE = VdlaTemplate("elementwise", space, default, build, serial)
