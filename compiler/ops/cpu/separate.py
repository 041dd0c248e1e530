"""Elementwise operators, movements and long reductions: each stage by itself, the last one as the configuration says.

outer: leading axes of the last stage that are one parallel loop, the others being one vectorised loop. With none, `pieces`: the
most iterations of a parallel loop over all elements in a row.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.expressions import loops
from vdla.compiler.ops.cpu.schedules import (
    MOST_PIECES,
    is_reduction,
    outer_axes,
    schedule_flat,
    schedule_separately,
    spatial_iters,
)
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

PIECES = (1, 4, 16, 64, 256)


def last_stage(w: Workload) -> tuple[Schedule, str]:
    s = Schedule(loops(w))
    return s, s.blocks()[-1]


def space(w: Workload, target: Target) -> Space:
    s, last = last_stage(w)
    outer = 1 if is_reduction(s, last) else max(len(spatial_iters(s, last)), 1)
    return Space((Knob("outer", tuple(range(outer))), Knob("pieces", PIECES)), refusal)


def refusal(config: Config) -> str:
    return f"pieces: {config['pieces']} of 1, outer axes being parallel" if config["outer"] and config["pieces"] > 1 else ""


def default(w: Workload, target: Target) -> Config:
    s, last = last_stage(w)
    outer = 0 if is_reduction(s, last) else outer_axes(s, last)
    return Config.of(outer=outer, pieces=1 if outer else MOST_PIECES)


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    *others, last = s.blocks()
    schedule_separately(s, others)
    if is_reduction(s, last):
        schedule_separately(s, [last])
    else:
        schedule_flat(s, last, config["outer"], config["pieces"])


TEMPLATE = template("separate", space, default, arrange)
