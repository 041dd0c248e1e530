"""Max pooling on VDLA: tiles of blocks × output rows × output columns, the window's two directions one behind the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, load, tensorized, widen
from vdla.compiler.ops.vdla.template import (
    OVERLAPPED_TILES,
    Footprint,
    Tiling,
    VdlaTemplate,
    balanced_tiles,
    fit_problem,
)
from vdla.compiler.ops.vdla.workload import PoolWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.design import Design
from vdla.errors import CompileError


@dataclass(frozen=True, slots=True)
class PoolTiling(Tiling):
    """blocks × output rows × output columns of one tile. A second buffer of inp lets loads run beside the maxima, one of acc
    stores."""

    blocks: int
    rows: int
    columns: int
    inp_buffers: int = 2
    acc_buffers: int = 2


def space(w: PoolWorkload, design: Design) -> Space:
    """Every tile that cuts its extent evenly, one or two buffers of either scratchpad. Raises `CompileError` when not even one
    window fits."""
    smallest = PoolTiling(1, 1, 1, 1, 1)
    if refusal(w, smallest, design):
        needed = footprint(w, smallest)
        raise CompileError(
            "one window's elements do not fit the scratchpads", where=f"max pool {w.kernel[0]}×{w.kernel[1]} on {design.name}",
            found=f"inp {needed.inp}, wgt 1, acc {needed.acc} tiles",
            expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}", hint="larger SRAMs",
        )  # fmt: skip
    knobs = (
        Knob("blocks", balanced_tiles(w.blocks)),
        Knob("rows", balanced_tiles(w.out_height)),
        Knob("columns", balanced_tiles(w.out_width)),
        Knob("inp_buffers", (1, 2)),
        Knob("acc_buffers", (1, 2)),
    )
    return Space(knobs, lambda config: refusal(w, PoolTiling.of(config), design))


def refusal(w: PoolWorkload, t: PoolTiling, design: Design) -> str:
    """Which scratchpads `t` overflows, with the numbers; empty when it fits."""
    window, down, across = stage_tiles(w, t)
    # maxima may take the place of what they are maxima of
    together = Footprint(t.inp_buffers * window, 1, max(window if w.kernel[0] > 1 else 0, down, across))
    return fit_problem(footprint(w, t), together, lambda: build(w, t.config, design), design)


def footprint(w: PoolWorkload, t: PoolTiling) -> Footprint:
    """Each buffer in storage of its own: the window's rows, narrow and wide; the maxima down its rows, and along these."""
    window, down, across = stage_tiles(w, t)
    return Footprint(t.inp_buffers * window, 1, window + down + across)


def stage_tiles(w: PoolWorkload, t: PoolTiling) -> tuple[int, int, int]:
    """Tiles of the window, of the maxima down its rows, and of all buffers of those along the columns."""
    rows = (t.rows - 1) * w.strides[0] + w.kernel[0]
    columns = (t.columns - 1) * w.strides[1] + w.kernel[1]
    return t.blocks * rows * columns, t.blocks * t.rows * columns, t.acc_buffers * t.blocks * t.rows * t.columns


def choose(w: PoolWorkload, design: Design, latency_hiding: bool) -> Config:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them (one, when nothing overlaps): of whole rows where
    one fits, for long bursts; with one buffer where two do not fit.

    The second buffer of acc goes first, where a larger tile then fits: a store runs beside the next tile's maxima down the
    rows, which are elsewhere in acc, and is mostly over before those along the columns need its place.
    """
    blocks, rows, columns = (balanced_tiles(extent)[::-1] for extent in (w.blocks, w.out_height, w.out_width))
    for inp_buffers, whole_rows in product((2, 1) if latency_hiding else (1,), (True, False)):
        tiles = product(blocks, rows, columns[:1] if whole_rows else columns, [inp_buffers], range(inp_buffers, 0, -1))
        tilings = [PoolTiling(*tile) for tile in tiles]
        if fitting := [t for t in tilings if footprint(w, t).fits(design)]:
            wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
            return max(fitting, key=lambda t: (min(t.blocks * t.rows * t.columns, wanted), t.rows, -t.blocks)).config
    return next(iter(space(w, design)))  # what only fits by sharing


@lru_cache(maxsize=4096)
def default(w: PoolWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=True)


@lru_cache(maxsize=4096)
def serial(w: PoolWorkload, design: Design) -> Config:
    return choose(w, design, latency_hiding=False)


def build(w: PoolWorkload, config: Config, design: Design) -> Function:
    return schedule_max_pool2d(expressions.max_pool2d(w, design), w, PoolTiling.of(config), vdla_intrinsics(design))


def schedule_max_pool2d(func: Function, w: PoolWorkload, t: PoolTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.max_pool2d`: a tile of blocks × rows × columns, the two passes of the separable window one behind the
    other."""
    s = Schedule(func)
    n, c, h, v, *_ = s.loops("y")
    (co, ci), (ho, hi), (vo, vi) = s.split(c, [None, t.blocks]), s.split(h, [None, t.rows]), s.split(v, [None, t.columns])
    s.reorder(n, co, ho, vo, ci, hi, vi)
    down, across = ([f"{name}_{k}" for k in range(count)] for name, count in zip(("down", "across"), w.kernel, strict=True))
    stages = ["padded", *(["wide"] if len(down) > 1 else []), *down, *across]
    for stage in reversed(stages):
        s.compute_at(stage, vo)
        s.set_scope(stage, "vdla.inp" if stage == "padded" else "vdla.acc")
    padding = any(pad > 0 for pad in (*w.row_pads, *w.column_pads))
    operations = {"padded": load("inp", padding), "y": "store", across[0]: "mov"}
    operations |= dict.fromkeys([*down[1:], *across[1:]], "max")
    for stage in ("wide", "down_0"):
        if stage in stages:
            operations |= widen(s, stage, n)
    for stage, buffers in (("padded", t.inp_buffers), *((stage, t.acc_buffers) for stage in across)):
        if buffers == 2:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


TEMPLATE = VdlaTemplate("max_pool2d", space, default, build, serial)
