"""Normalisations along `axis`: what the stages make of one row stays in the cache while the row is finished.

outer: how many of the axes before `axis` are one parallel loop, inside which all stages run. 0: each stage by itself.
lanes: how many maxima are found at once, of the operators that begin with one along the last axis.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.schedules import axis_loops, fused, is_reduction, schedule_separately
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

LANES = (1, 2, 4, 8, 16)
WITH_MAXIMUM = ("softmax", "log_softmax", "masked_softmax")


def leading_axes(w: Workload) -> int:
    return int(w.anchor.attributes["axis"] % len(w.output.shape))


def lane_choices(w: Workload) -> tuple[int, ...]:
    """Two steps at least."""
    last = leading_axes(w) == len(w.output.shape) - 1
    if w.anchor.node.op not in WITH_MAXIMUM or not last:
        return (1,)
    return tuple(n for n in LANES if n == 1 or 2 * n <= w.output.shape[-1])


def space(w: Workload, target: Target) -> Space:
    knobs = (Knob("outer", tuple(range(leading_axes(w) + 1))), Knob("lanes", lane_choices(w)))
    return Space(knobs, lambda config: "")


def default(w: Workload, target: Target) -> Config:
    return Config.of(outer=leading_axes(w), lanes=max(n for n in lane_choices(w) if n <= target.lanes))


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    *others, last = s.blocks()
    if not config["outer"]:
        schedule_separately(s, [*others, last])
        return
    axes, _ = axis_loops(s, last)
    row = fused(s, axes[: config["outer"]])
    s.parallel(row)
    s.vectorize(axes[-1])
    for block in reversed(others):
        s.compute_at(block, row)
        arrange_stage(s, block)


def arrange_stage(s: Schedule, block: str) -> None:
    """Within a row: vectors along the last axis, or along the reduction where that is the last axis."""
    spatial, reduced = axis_loops(s, block)
    extent = [i.extent for i in s.get(block).iters if i.kind == "spatial"][-1]
    if not is_reduction(s, block):
        if extent > 1:
            s.vectorize(spatial[-1])
        return
    if extent == 1:  # left to LLVM's vectoriser
        s.decompose_reduction(block, reduced[0])
        return
    s.reorder(*spatial[:-1], *reduced, spatial[-1])
    initial = s.decompose_reduction(block, reduced[0])
    s.vectorize(spatial[-1])
    s.vectorize(s.loops(initial)[-1])


TEMPLATE = template(
    "rows", space, default, arrange, choices=lambda config: {"lanes": config["lanes"]} if config["lanes"] > 1 else {}
)
