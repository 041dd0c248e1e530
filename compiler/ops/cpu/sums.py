"""Sums of products "acc" over images of any rank, and deformable ones: blocks of accumulators in registers.

rows × columns: the block, of output channels (axis 1 of "acc") by positions along its last axis.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.expressions import loops
from vdla.compiler.ops.cpu.register_block import accumulators, best_block, block_refusal, divisors
from vdla.compiler.ops.cpu.schedules import outer_axes, schedule_accumulators, schedule_flat, schedule_separately
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule


def extents(w: Workload) -> tuple[int, int]:
    """What rows and columns are cut from: the channels of one group, and the last axis."""
    spatial = [i.extent for i in Schedule(loops(w)).get("acc").iters if i.kind == "spatial"]
    return spatial[1] // w.anchor.attributes["groups"], spatial[-1]


def space(w: Workload, target: Target) -> Space:
    rows, columns = extents(w)
    knobs = (
        Knob("rows", divisors(rows, target.vector_registers)),
        Knob("columns", divisors(columns, target.vector_registers * target.lanes)),
    )
    return Space(knobs, lambda config: block_refusal(config["rows"], config["columns"], (rows, columns), target))


def default(w: Workload, target: Target) -> Config:
    rows, columns = best_block(*extents(w), accumulators(target), target)
    return Config.of(rows=rows, columns=columns)


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    before = s.blocks()[: s.blocks().index("acc")]
    schedule_separately(s, before)
    copy = s.cache_write("acc", "local")
    n, o, *others, column = s.loops(copy)
    o_0, o_1 = s.split(o, [None, config["rows"]])
    column_0, column_1 = s.split(column, [None, config["columns"]])
    s.reorder(n, *others, column_0, o_0, o_1, column_1)
    task = s.fuse(n, *others, column_0, o_0)
    s.parallel(task)
    s.vectorize(column_1)
    schedule_accumulators(s, "acc", task)
    schedule_flat(s, "y", outer_axes(s, "y"))


TEMPLATE = template("sums", space, default, arrange)
