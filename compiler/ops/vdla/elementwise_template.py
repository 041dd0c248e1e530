"""Elementwise layers on VDLA: tiles of blocks × positions, computed in place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, cache_parameters, tensorized, widen
from vdla.compiler.ops.vdla.template import (
    OVERLAPPED_TILES,
    Footprint,
    Tiling,
    VdlaTemplate,
    balanced_tiles,
    fit_problem,
)
from vdla.compiler.ops.vdla.workload import PAIRS, RESCALED_PAIRS, ElementwiseWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.errors import CompileError


@dataclass(frozen=True, slots=True)
class ElementwiseTiling(Tiling):
    """blocks × positions of one tile. A second buffer of inp lets loads run beside the computation, one of acc stores."""

    blocks: int
    positions: int
    inp_buffers: int = 2
    acc_buffers: int = 2


def space(w: ElementwiseWorkload, design: Design) -> Space:
    """Every tile that cuts its extent evenly, one or two buffers of either scratchpad. Raises `CompileError` when not even a
    single position of a single block fits."""
    smallest = ElementwiseTiling(1, 1, 1, 1)
    if refusal(w, smallest, design):
        needed = footprint(w, smallest)
        raise CompileError(
            "one tile's operands do not fit the scratchpads", where=f"{w.op} on {design.name}",
            found=f"inp {needed.inp}, wgt {needed.wgt}, acc {needed.acc} tiles",
            expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}", hint="larger SRAMs",
        )  # fmt: skip
    knobs = (
        Knob("blocks", balanced_tiles(w.blocks)),
        Knob("positions", balanced_tiles(w.positions)),
        Knob("inp_buffers", (1, 2)),
        Knob("acc_buffers", (1, 2)),
    )
    return Space(knobs, lambda config: refusal(w, ElementwiseTiling.of(config), design))


def refusal(w: ElementwiseWorkload, t: ElementwiseTiling, design: Design) -> str:
    """Which scratchpads `t` overflows, with the numbers; empty when it fits."""
    apart = footprint(w, t)
    # parameters may all have been read when the next are loaded, and so may what is broadcast
    together = Footprint(0, 0, t.acc_buffers * t.blocks * t.positions)
    return fit_problem(apart, together, lambda: build(w, t.config, design), design)


def footprint(w: ElementwiseWorkload, t: ElementwiseTiling) -> Footprint:
    """Each operand's tile narrow and wide, a weight tile to widen it, and the parameters."""
    narrow, wide = 0, 0
    for operand in w.operands.values():
        positions = 1 if operand.positions else t.positions
        narrow += t.inp_buffers * (1 if operand.channels else t.blocks) * positions
        wide += t.acc_buffers * t.blocks * positions
    if w.a.positions and w.b.positions:  # the result has room of its own
        wide += t.acc_buffers * t.blocks * t.positions
    return Footprint(narrow, len(w.operands), wide + parameter_tiles(w, t))


def parameter_tiles(w: ElementwiseWorkload, t: ElementwiseTiling) -> int:
    """A bias and scale words for the result, and for each operand that is rescaled."""
    return 2 * t.blocks * (1 + (len(w.operands) if w.op in RESCALED_PAIRS else 0))


def choose(w: ElementwiseWorkload, design: Design, latency_hiding: bool) -> Config:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them (one, when nothing overlaps); with one buffer where
    two do not fit."""
    for buffers in (2, 1) if latency_hiding else (1,):
        tiles = product(balanced_tiles(w.blocks)[::-1], balanced_tiles(w.positions)[::-1])
        tilings = [ElementwiseTiling(*tile, buffers, buffers) for tile in tiles]
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
    """`expressions.elementwise`: all stages of a tile of blocks × positions, in place; those of an operand that is broadcast
    along the positions once for all of these."""
    s = Schedule(func)
    n, g, c, p, *_ = s.loops("y")
    (co, ci), (po, pi) = s.split(c, [None, t.blocks]), s.split(p, [None, t.positions])
    s.reorder(co, n, po, g, ci, pi)
    stages = [stage for stage in s.blocks() if stage != "y"]
    operations = {"requantised": "requantise", "joined": PAIRS.get(w.op, ""), "y": "store"}
    operations |= {"a_centred": "add_imm", "b_centred": "add_imm", "b_negated": "mul_imm"}
    operations = {stage: operation for stage, operation in operations.items() if stage in s.blocks()}
    loop_of = {name: po if not o.positions else co if o.images else n for name, o in w.operands.items()}
    for stage in reversed(stages):
        s.compute_at(stage, loop_of.get(stage.partition("_")[0], po))
        s.set_scope(stage, "vdla.acc")
    for name, loop in loop_of.items():
        operations |= widen(s, f"{name}_wide", co)
        narrow = s.cache_read(f"{name}_wide", name, "vdla.inp")
        s.compute_at(narrow, loop)
        operations[narrow] = "load.inp"
        if t.inp_buffers == 2:
            s.double_buffer(narrow)
        if w.op in RESCALED_PAIRS:
            operations[f"{name}_rescaled"] = "rescale"
            operations[cache_parameters(s, f"{name}_rescaled", f"{name}_parameters", co)] = "load.acc"
    operations[cache_parameters(s, "requantised", "parameters", co)] = "load.acc"
    if t.acc_buffers == 2:
        for stage in stages:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


TEMPLATE = VdlaTemplate("elementwise", space, default, build, serial)
