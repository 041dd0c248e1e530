"""Every graph operator on the CPU: its definition and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vdla.compiler.backends.llvm import Target
from vdla.compiler.operators import products
from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.compiler.operators.registry import OPERATORS as GRAPH_OPERATORS
from vdla.compiler.ops.cpu import byte_products, schedules
from vdla.compiler.schedule import Schedule
from vdla.compiler.schedule.locate import written_buffer
from vdla.errors import CompileError


@dataclass(frozen=True)
class CpuOperator:
    """define: types and attributes → tensor expressions. schedule: arranges the loops of what `define` made."""

    define: Callable[[Types, Attributes], Definition]
    schedule: Callable[[Schedule, Definition, Types, Attributes], None]


def schedule_separately(s: Schedule, except_for: str = "") -> None:
    """Each stage by itself: reductions by rows, the others flat as far as everything they read runs along with them."""
    for block in s.blocks():
        if block == except_for:
            continue
        if any(i.kind == "reduce" for i in s.get(block).iters):
            schedules.schedule_rows(s, block)
        else:
            schedules.schedule_flat(s, block, schedules.outer_axes(s, block))


def separate(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    schedule_separately(s)


def packing(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    """In words, vectors run along the image and scatter into the tiles."""
    in_words = written_buffer(s.get("y")).dtype == "int32"
    if in_words:
        schedules.schedule_interleaved(s, "y")
    schedule_separately(s, except_for="y" if in_words else "")


def window(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    """The padded map of one channel stays in the cache while its windows are reduced."""
    schedules.fill(s, "padded", 2)
    block = "total" if "total" in s.blocks() else "y"
    schedules.schedule_window(s, block)
    if block != "y":
        schedules.schedule_flat(s, "y", 2)


def convolution(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    g = products.geometry(types, a)
    schedules.schedule_convolution(s, g.form, g.o)


SCHEDULES: dict[str, Callable[[Schedule, Definition, Types, Attributes], None]] = {
    **dict.fromkeys(("max_pool2d", "qmax_pool2d", "avg_pool2d", "qavg_pool2d"), window),
    **dict.fromkeys(("conv2d", "qconv2d"), convolution),
    **dict.fromkeys(("dense", "qdense"), lambda s, d, t, a: schedules.schedule_dense(s)),
    "matmul": lambda s, d, t, a: schedules.schedule_matmul(s),
    "pack_nchwc": packing,
}
"""All others have each stage scheduled by itself."""

OPERATORS: dict[str, CpuOperator] = {
    name: CpuOperator(operator.define, SCHEDULES.get(name, separate)) for name, operator in GRAPH_OPERATORS.items()
}

BYTE_CONVOLUTION = CpuOperator(byte_products.qconv2d, lambda s, d, t, a: byte_products.schedule(s, t, a))


def multiplies_bytes(types: Types, a: Attributes, target: Target) -> bool:
    """Whether the machine multiplies four bytes at once, and the layer has sums long enough for it."""
    return byte_products.FEATURE in target.features and products.geometry(types, a).form != "depthwise"


def operator_for(op: str, types: Types, a: Attributes, target: Target) -> CpuOperator:
    """The best form of an operator on `target`. Raises `CompileError` for one the CPU does not have."""
    if op not in OPERATORS:
        raise CompileError("no CPU operator", found=op, expected=", ".join(sorted(OPERATORS)))
    return BYTE_CONVOLUTION if op == "qconv2d" and multiplies_bytes(types, a, target) else OPERATORS[op]
