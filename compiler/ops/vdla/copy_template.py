"""Copies on VDLA: tiles in another order, from DRAM to DRAM."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import prod

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, load, tensorized, widen
from vdla.compiler.ops.vdla.template import Footprint, VdlaTemplate, balanced_tiles
from vdla.compiler.ops.vdla.workload import CopyWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.isa import timing
from vdla.isa.definition import Opcode

MOST_RANKED = 4096
"""Tiles that the heuristic ranks; of longer axes it then looks at a few extents."""
FEW = 5


def space(w: CopyWorkload, design: Design) -> Space:
    """For each axis every extent that cuts it evenly, one or two buffers of either scratchpad. A single tile always fits."""
    knobs = (
        *(Knob(f"axis{r}", balanced_tiles(axis.extent)) for r, axis in enumerate(w.axes)),
        Knob("inp_buffers", (1, 2)),
        Knob("acc_buffers", (1, 2)),
    )
    return Space(knobs, lambda config: footprint(w, config).problem(design))


def extents_of(w: CopyWorkload, config: Config) -> tuple[int, ...]:
    return tuple(config[f"axis{r}"] for r in range(len(w.axes)))


def footprint(w: CopyWorkload, config: Config) -> Footprint:
    """What is loaded, once for all places that have the same, and what is stored."""
    tile = extents_of(w, config)
    loaded = prod(extent for extent, axis in zip(tile, w.axes, strict=True) if axis.source is not None)
    return Footprint(config["inp_buffers"] * loaded, 1, config["acc_buffers"] * prod(tile))


def estimate(w: CopyWorkload, tile: tuple[int, ...], design: Design, overlap: bool) -> float:
    """Cycles of the copy in tiles of these extents, nearly: of whatever runs longest, and of the first and the last tile."""
    read = {axis.source: (extent, axis.step) for extent, axis in zip(tile, w.axes, strict=True) if axis.source is not None}
    source = [(*read.get(m, (1, 1)), size) for m, size in enumerate(w.source)]
    target = [(extent, 1, axis.whole) for extent, axis in zip(tile, w.axes, strict=True)]
    load_beats, load_cycles = transfer(source, design, Opcode.LOAD)
    store_beats, store_cycles = transfer(target, design, Opcode.STORE)
    gemm = timing.gemm_cycles(prod(tile))
    tiles = prod(ceil_div(axis.extent, extent) for extent, axis in zip(tile, w.axes, strict=True))
    alone = load_cycles + gemm + store_cycles
    bus = load_beats + store_beats + design.memory.read_latency  # while a load waits for the memory, little else is ready
    return alone + (tiles - 1) * (max(load_cycles, gemm, store_cycles, bus) if overlap else alone)


def transfer(box: list[tuple[int, int, int]], design: Design, opcode: Opcode) -> tuple[float, float]:
    """Beats and cycles of moving a box of tiles. box: (extent, step, extent of the memory) for each axis of that memory.

    One instruction moves rows of consecutive tiles at one distance; each waits for the memory's latency.
    """
    run, rest = 1, list(box)
    while rest:
        extent, step, whole = rest[-1]
        if step != 1 and extent > 1:
            break
        run *= extent
        rest.pop()
        if extent < whole:
            break
    rows = 1
    while rest and rows == 1:
        rows *= rest.pop()[0]
    instructions = prod(extent for extent, _, _ in rest)
    memory, count = design.memory, instructions * rows
    row_beats = ceil_div(run * design.inp_tile_bytes, memory.bus_bits // 8)
    beats = float(count * row_beats)
    reading = opcode is Opcode.LOAD
    latency = memory.read_latency if reading else memory.write_latency
    bursts = count * ceil_div(row_beats, memory.max_burst)
    moving = max(beats, bursts * latency / memory.outstanding) if reading else beats
    return beats, instructions * (timing.instruction_overhead(opcode) + latency) + moving


def choose(w: CopyWorkload, design: Design, latency_hiding: bool) -> Config:
    """The tile of the least estimate, with two buffers where they fit and anything overlaps."""
    choices = [balanced_tiles(axis.extent) for axis in w.axes]
    if prod(map(len, choices)) > MOST_RANKED:
        choices = [
            extents if len(extents) <= FEW else (1, *extents[-1 : 0 : -ceil_div(len(extents), FEW - 1)]) for extents in choices
        ]
    buffers = 2 if latency_hiding else 1

    def config_of(tile: tuple[int, ...]) -> Config:
        axes = {f"axis{r}": extent for r, extent in enumerate(tile)}
        return Config.of(**axes, inp_buffers=buffers, acc_buffers=buffers)

    fitting = [tile for tile in product(*choices) if footprint(w, config_of(tile)).fits(design)]
    if not fitting:
        return next(iter(space(w, design)))
    return config_of(min(fitting, key=lambda tile: estimate(w, tile, design, latency_hiding)))


@lru_cache(maxsize=4096)
def default(w: CopyWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=True)


@lru_cache(maxsize=4096)
def serial(w: CopyWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=False)


def build(w: CopyWorkload, config: Config, design: Design) -> Function:
    return schedule_copy(expressions.copy(w, design), w, config, vdla_intrinsics(design))


def schedule_copy(func: Function, w: CopyWorkload, config: Config, intrinsics: Intrinsics) -> Function:
    """`expressions.copy`: tile after tile in the order of y."""
    s = Schedule(func)
    halves = [s.split(loop, [None, extent]) for loop, extent in zip(s.loops("y"), extents_of(w, config), strict=False)]
    s.reorder(*(outer for outer, _ in halves), *(inner for _, inner in halves))
    first, last = halves[0][0], halves[-1][0]
    for stage, scope in (("wide", "vdla.acc"), ("narrow", "vdla.inp")):
        s.compute_at(stage, last)
        s.set_scope(stage, scope)
    operations = {"narrow": load("inp", is_padded(w)), "y": "store"} | widen(s, "wide", first)
    for stage, buffers in (("narrow", config["inp_buffers"]), ("wide", config["acc_buffers"])):
        if buffers == 2:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


def is_padded(w: CopyWorkload) -> bool:
    """Whether places beside the tensor are read."""
    reading = [axis for axis in w.axes if axis.source is not None]
    ends = [(axis.start, axis.start + (axis.extent - 1) * axis.step, w.source[axis.source or 0]) for axis in reading]
    return any(min(first, last) < 0 or max(first, last) >= size for first, last, size in ends)


TEMPLATE = VdlaTemplate("copy", space, default, build, serial)
