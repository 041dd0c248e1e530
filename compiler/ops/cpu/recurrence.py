"""Recurrent layers: each step's product with the weights in blocks of accumulators, then the gates, vectorised along the units.

units: neighbouring units of a block, for which the weights are laid out. rows: sequences in a block. parallel: whether the
blocks of a step are shared between threads, which meet twice in every step.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu.register_block import accumulators, best_block, block_refusal, divisors
from vdla.compiler.ops.cpu.schedules import axis_loops, is_reduction, schedule_accumulators, schedule_separately
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule
from vdla.element_types import ELEMENT_TYPES

WORTH_SHARING = 1 << 23
"""Bytes of weights in a step from which on two threads are faster than one: handing work over takes some 50 µs."""


def extents(w: Workload) -> tuple[int, int]:
    """Sequences and units."""
    batch, hidden = w.output.shape
    return batch, hidden


def space(w: Workload, target: Target) -> Space:
    (batch, hidden), registers = extents(w), target.vector_registers
    knobs = (
        Knob("units", divisors(hidden, registers * target.lanes)),
        Knob("rows", divisors(batch, registers)),
        Knob("parallel", (0, 1)),
    )
    return Space(knobs, lambda config: block_refusal(config["rows"], config["units"], (batch, hidden), target))


def default(w: Workload, target: Target) -> Config:
    rows, units = best_block(*extents(w), accumulators(target), target)
    weights = w.anchor.types[1]
    assert weights is not None
    size = weights.elements * ELEMENT_TYPES[weights.dtype].item_bytes
    return Config.of(units=units, rows=rows, parallel=int(size >= WORTH_SHARING))


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    steps = [block for block in s.blocks() if any(i.kind == "scan" for i in s.get(block).iters)]
    products = {block for block in steps if is_reduction(s, block)}
    schedule_separately(s, [block for block in s.blocks() if block not in steps])
    for block in steps:
        if block.removesuffix("_sum") in products and block not in products:
            arrange_product(s, block.removesuffix("_sum"), block, config)
        elif block not in products:
            vectorize_units(s, block, target)


def arrange_product(s: Schedule, product: str, total: str, config: Config) -> None:
    """Blocks of rows × units, their sums in registers."""
    (n, gate, unit), _ = axis_loops(s, total)
    row_0, row_1 = s.split(n, [None, config["rows"]])
    unit_0, unit_1 = s.split(unit, [None, config["units"]])
    s.reorder(gate, unit_0, row_0, row_1, unit_1)
    s.vectorize(unit_1)
    if config["parallel"]:
        task = s.fuse(gate, unit_0, row_0)
        s.parallel(task)
    else:
        task = row_0
    schedule_accumulators(s, product, task)


def vectorize_units(s: Schedule, block: str, target: Target) -> None:
    """Vectors of units, one after another: functions of many at once would not stay in registers."""
    *_, unit = axis_loops(s, block)[0]
    width = divisors(s.get(block).iters[-1].extent, target.lanes)[-1]
    s.vectorize(s.split(unit, [None, width])[1])


TEMPLATE = template("recurrence", space, default, arrange, choices=lambda config: {"units": config["units"]})
