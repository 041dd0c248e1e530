"""Matrix products: by constant weights (dense: dot products along both operands' last axis) and of two tensors (matmul)."""

from __future__ import annotations

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.register_block import accumulators, best_block, block_refusal, divisors
from vdla.compiler.ops.cpu.schedules import axis_loops, register_tiles, schedule_accumulators, schedule_flat
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

LANES = (1, 2, 4, 8, 16)
MOST_ROWS, MOST_OUTPUTS, TEMPORARIES = 4, 8, 8
"""Of a dense block by default: rows, outputs, registers left over for operands."""


def dense_extents(w: Workload) -> tuple[int, int, int]:
    """Rows, outputs and the length of the dot products."""
    x, weight = w.anchor.types[:2]
    assert x is not None
    assert weight is not None
    outputs, depth = weight.shape
    return x.shape[-2] if len(x.shape) > 1 else 1, outputs, depth


def dense_space(w: Workload, target: Target) -> Space:
    """lanes: partial sums of each dot product. rows × outputs: dot products at once."""
    (rows, outputs, depth), registers = dense_extents(w), target.vector_registers
    knobs = (
        Knob("lanes", tuple(n for n in LANES if depth % n == 0)),
        Knob("rows", divisors(rows, registers)),
        Knob("outputs", divisors(outputs, registers)),
    )

    def refusal(config: Config) -> str:
        needed = config["rows"] * config["outputs"] * ceil_div(config["lanes"], target.lanes)
        return f"registers: {needed} of {registers}" if needed > registers else ""

    return Space(knobs, refusal)


def dense_default(w: Workload, target: Target) -> Config:
    rows, outputs, depth = dense_extents(w)
    row_block = divisors(rows, MOST_ROWS)[-1]
    output_block = divisors(outputs, min((target.vector_registers - TEMPORARIES) // row_block, MOST_OUTPUTS))[-1]
    return Config.of(lanes=max(n for n in LANES if depth % n == 0 and n <= target.lanes), rows=row_block, outputs=output_block)


def arrange_dense(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    """A block of rows × outputs at once: their lanes in "partial", added up in "acc"."""
    *batch, o = axis_loops(s, "acc")[0]
    lane = s.loops("acc")[-1]
    o_0, o_1 = s.split(o, [None, config["outputs"]])
    if batch:
        row_0, row_1 = s.split(batch[-1], [None, config["rows"]])
        s.reorder(o_0, *batch[:-1], row_0, row_1, o_1)
        task = s.fuse(o_0, *batch[:-1], row_0)
    else:
        task = o_0
    s.parallel(task)
    s.decompose_reduction("acc", lane)
    schedule_accumulators(s, "partial", task)
    schedule_flat(s, "y", max(len(s.get("y").iters) - 1, 0))


def matmul_space(w: Workload, target: Target) -> Space:
    """rows × columns: the block of accumulators."""
    rows, columns = w.output.shape[-2:]
    knobs = (
        Knob("rows", divisors(rows, target.vector_registers)),
        Knob("columns", divisors(columns, target.vector_registers * target.lanes)),
    )
    return Space(knobs, lambda config: block_refusal(config["rows"], config["columns"], (rows, columns), target))


def matmul_default(w: Workload, target: Target) -> Config:
    rows, columns = best_block(*w.output.shape[-2:], accumulators(target), target)
    return Config.of(rows=rows, columns=columns)


def arrange_matmul(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    *batch, row, column = axis_loops(s, "y")[0]
    task = s.fuse(*register_tiles(s, batch, row, column, (config["rows"], config["columns"])))
    s.parallel(task)
    schedule_accumulators(s, "acc", task)


DENSE = template("dense", dense_space, dense_default, arrange_dense, choices=lambda config: {"lanes": config["lanes"]})
MATMUL = template("matmul", matmul_space, matmul_default, arrange_matmul)
