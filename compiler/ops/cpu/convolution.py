"""Convolutions, float and integer: the form of their sums, a block of accumulators in registers, unrolled reductions.

form: "direct", "columns" and "depthwise" (see `operators.products`), "bytes" (see `byte_products`). rows × columns: the block,
of output channels by positions; "depthwise" has rows of the image for output channels, "bytes" vectors for positions.
unroll: how many of the innermost reduction loops (kh, kw) are unrolled.
"""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.operators.products import Geometry, geometry
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.cpu import byte_products
from vdla.compiler.ops.cpu.register_block import accumulators, best_block, block_refusal, divisors
from vdla.compiler.ops.cpu.schedules import axis_loops, fill, register_tiles, schedule_accumulators
from vdla.compiler.ops.cpu.template import template
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

NARROW = 24
"""Output widths below this go through columns by default: they would not fill vectors."""
DEPTHWISE_REGISTERS = 8
"""Default of a depthwise block, whose taps are all unrolled: more would only make more code."""
UNROLLED = {"direct": 1, "columns": 0, "depthwise": 2, "bytes": 0}
"""Default of `unroll` by form."""


def geometry_of(w: Workload) -> Geometry:
    return geometry(w.anchor.types, w.anchor.attributes)


def forms(w: Workload, target: Target) -> tuple[str, ...]:
    """The forms that this convolution can have on `target`."""
    by_bytes = w.anchor.node.op == "qconv2d" and target.multiplies_bytes
    return ("direct", "columns", *(["depthwise"] if geometry_of(w).is_depthwise else []), *(["bytes"] if by_bytes else []))


def default_form(w: Workload, target: Target) -> str:
    """Depthwise sums are too short for words of bytes."""
    g = geometry_of(w)
    if g.is_depthwise:
        return "depthwise"
    if "bytes" in forms(w, target):
        return "bytes"
    return "columns" if g.kernel == (1, 1) or g.output[1] < NARROW else "direct"


def extents(w: Workload, form: str) -> tuple[int, int]:
    """What rows and columns are cut from."""
    g = geometry_of(w)
    if form == "bytes":
        return g.o, byte_products.vector_count(g)
    height, width = w.output.shape[2:]
    return {"direct": (g.o, width), "columns": (g.o, height * width), "depthwise": (height, width)}[form]


def space(w: Workload, target: Target) -> Space:
    every, registers = [extents(w, form) for form in forms(w, target)], target.vector_registers
    rows = {d for extent, _ in every for d in divisors(extent, registers)}
    columns = {d for _, extent in every for d in divisors(extent, registers * target.lanes)}
    knobs = (
        Knob("form", forms(w, target)),
        Knob("rows", tuple(sorted(rows))),
        Knob("columns", tuple(sorted(columns))),
        Knob("unroll", (0, 1, 2)),
    )
    return Space(knobs, lambda config: refusal(w, config, target))


def refusal(w: Workload, config: Config, target: Target) -> str:
    form, rows, columns = config["form"], config["rows"], config["columns"]
    if form == "bytes":
        return byte_products.refusal(geometry_of(w), rows, columns, config["unroll"], target)
    return block_refusal(rows, columns, extents(w, form), target)


def default(w: Workload, target: Target) -> Config:
    form = default_form(w, target)
    if form == "bytes":
        rows, columns = byte_products.best_block(geometry_of(w), target)
    else:
        registers = min(accumulators(target), DEPTHWISE_REGISTERS) if form == "depthwise" else accumulators(target)
        rows, columns = best_block(*extents(w, form), registers, target)
    return Config.of(form=form, rows=rows, columns=columns, unroll=UNROLLED[form])


def arrange(s: Schedule, w: Workload, config: Config, target: Target) -> None:
    form, block, unroll = config["form"], (config["rows"], config["columns"]), config["unroll"]
    fill(s, "columns", 3 if form == "bytes" else 2)
    if form == "bytes":
        byte_products.arrange(s, block)
    elif form == "depthwise":
        arrange_depthwise(s, block, unroll)
    else:
        arrange_channels(s, block, unroll, flat=form == "columns")


def arrange_channels(s: Schedule, block: tuple[int, int], unroll: int, flat: bool) -> None:
    """Output channels by positions: of one row of the image, or (flat) of all rows as one."""
    n, o, h, w = axis_loops(s, "y")[0]
    fill(s, "padded", 2)
    outer, column = ([n], s.fuse(h, w)) if flat else ([n, h], w)
    task = s.fuse(*register_tiles(s, outer, o, column, block))
    s.parallel(task)
    schedule_accumulators(s, "acc", task, unroll)


def arrange_depthwise(s: Schedule, block: tuple[int, int], unroll: int) -> None:
    """One channel after another, its padded image in the cache while its windows are summed."""
    n, o, h, w = axis_loops(s, "y")[0]
    channel = s.fuse(n, o)
    s.parallel(channel)
    *_, tile = register_tiles(s, [channel], h, w, block)
    schedule_accumulators(s, "acc", tile, unroll)
    if "padded" in s.blocks():
        s.compute_at("padded", channel)
        s.vectorize(s.loops("padded")[-1])


TEMPLATE = template("convolution", space, default, arrange, choices=lambda config: {"form": config["form"]})
