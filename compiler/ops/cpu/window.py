"""Pooling: a short reduction, over a window, around one vectorised row of outputs.

outer: how many of the loops (n, c, h) are one parallel loop. unroll: how many of the window's loops (kh, kw) are unrolled.
"""

from __future__ import annotations

from math import prod

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.expressions import loops
from vdla.compiler.ops.cpu.schedules import axis_loops, fill, fused, schedule_flat
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

MOST_UNROLLED = 64
"""Elements of a window up to which two loops over it are unrolled by default."""


def pooling_block(s: Schedule) -> str:
    return "total" if "total" in s.blocks() else "y"


def extents(w: Workload) -> tuple[list[int], list[int]]:
    """Of the outputs, and of the window."""
    s = Schedule(loops(w))
    iters = s.get(pooling_block(s)).iters
    return [i.extent for i in iters if i.kind == "spatial"], [i.extent for i in iters if i.kind == "reduce"]


def space(w: Workload, target: Target) -> Space:
    outputs, window = extents(w)
    outer, unroll = range(1, min(len(outputs), 4)), range(min(len(window), 2) + 1)
    return Space((Knob("outer", tuple(outer)), Knob("unroll", tuple(unroll))), lambda config: "")


def default(w: Workload, target: Target) -> Config:
    _, window = extents(w)
    unroll = min(len(window), 2)
    while unroll and prod(window[len(window) - unroll :]) > MOST_UNROLLED:
        unroll -= 1
    return Config.of(outer=2, unroll=unroll)


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    """The padded map of one channel stays in the cache while its windows are reduced."""
    fill(s, "padded", 2)
    block = pooling_block(s)
    spatial, reduced = axis_loops(s, block)
    s.reorder(*spatial[:-1], *reduced, spatial[-1])
    s.parallel(fused(s, spatial[: config["outer"]]))
    for loop in reduced[len(reduced) - config["unroll"] :]:
        s.unroll(loop)
    s.vectorize(spatial[-1])
    s.decompose_reduction(block, reduced[0])
    if block != "y":
        schedule_flat(s, "y", 2)


TEMPLATE = template("window", space, default, arrange)
