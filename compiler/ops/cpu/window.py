"""Pooling: a short reduction, over a window, around one vectorised row of outputs.

outer: how many of the loops (n, c, h) are one parallel loop. unroll: how many of the window's loops (kh, kw) are unrolled.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.schedules import axis_loops, fill, fused, schedule_flat
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule


def space(w: Workload, target: Target) -> Space:
    return Space((Knob("outer", (1, 2, 3)), Knob("unroll", (0, 1, 2))), lambda config: "")


def default(w: Workload, target: Target) -> Config:
    return Config.of(outer=2, unroll=2)


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    """The padded map of one channel stays in the cache while its windows are reduced."""
    fill(s, "padded", 2)
    block = "total" if "total" in s.blocks() else "y"
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
