"""Every graph operator on the CPU: its definition and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vdla.compiler.backends.llvm import host_target
from vdla.compiler.ops.cpu import byte_products, products, schedules
from vdla.compiler.ops.cpu.definition import Attributes, Definition, Types
from vdla.compiler.ops.cpu.elementwise import ELEMENTWISE
from vdla.compiler.ops.cpu.movement import MOVEMENT
from vdla.compiler.ops.cpu.pooling import REDUCTIONS, WINDOWS
from vdla.compiler.schedule import Schedule


@dataclass(frozen=True)
class CpuOperator:
    """define: types and attributes → tensor expressions. schedule: arranges the loops of what `define` made."""

    define: Callable[[Types, Attributes], Definition]
    schedule: Callable[[Schedule, Definition, Types, Attributes], None]


def shared_axes(definition: Definition) -> int:
    """Leading axes after which every input either has all the output's axes or none: those can be fused."""
    shape = definition.output.shape
    for outer in range(len(shape)):
        tails = [t.shape[max(0, outer - (len(shape) - len(t.shape))) :] for t in definition.inputs]
        if all(tail == shape[outer:] or all(n == 1 for n in tail) for tail in tails):
            return outer
    return max(len(shape) - 1, 0)


def elementwise(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    """Flat where no operand is broadcast, rows of channels otherwise."""
    rank = len(d.output.shape)
    by_channel = any(t.shape != d.output.shape for t in d.inputs) and len(d.inputs[0].shape) == rank and "b" not in names(d)
    outer = (min(2, rank - 1) if rank > 2 else rank - 1) if by_channel else shared_axes(d)
    schedules.schedule_flat(s, "y", outer)


def names(d: Definition) -> set[str]:
    return {t.name for t in d.inputs}


def movement(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    """Along the last axis, whatever that reads."""
    schedules.fill(s, "padded", 2)
    schedules.schedule_flat(s, "y", max(len(d.output.shape) - 1, 0))


def window(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    """The padded map of one channel stays in the cache while its windows are reduced."""
    schedules.fill(s, "padded", 2)
    block = "total" if "total" in s.blocks() else "y"
    schedules.schedule_window(s, block)
    if block != "y":
        schedules.schedule_flat(s, "y", 2)


def reduction(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    for block in s.blocks():
        if any(i.kind == "reduce" for i in s.get(block).iters):
            schedules.schedule_rows(s, block)
        else:
            schedules.schedule_flat(s, block, max(len(d.output.shape) - 1, 0))


def uses_bytes(types: Types, a: Attributes) -> bool:
    """Whether this machine multiplies bytes by fours and the layer has sums long enough for it."""
    return byte_products.FEATURE in host_target().features and products.geometry(types, a).form != "depthwise"


def qconv2d(types: Types, a: Attributes) -> Definition:
    return (byte_products if uses_bytes(types, a) else products).qconv2d(types, a)


def quantised_convolution(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    if uses_bytes(types, a):
        byte_products.schedule(s, types, a)
    else:
        convolution(s, d, types, a)


def convolution(s: Schedule, d: Definition, types: Types, a: Attributes) -> None:
    g = products.geometry(types, a)
    schedules.schedule_convolution(s, g.form, g.o)


OPERATORS: dict[str, CpuOperator] = {
    **{name: CpuOperator(define, elementwise) for name, define in ELEMENTWISE.items()},
    **{name: CpuOperator(define, movement) for name, define in MOVEMENT.items()},
    **{name: CpuOperator(define, window) for name, define in WINDOWS.items()},
    **{name: CpuOperator(define, reduction) for name, define in REDUCTIONS.items()},
    "conv2d": CpuOperator(products.conv2d, convolution),
    "qconv2d": CpuOperator(qconv2d, quantised_convolution),
    "dense": CpuOperator(products.dense, lambda s, d, t, a: schedules.schedule_dense(s)),
    "qdense": CpuOperator(products.qdense, lambda s, d, t, a: schedules.schedule_dense(s)),
    "matmul": CpuOperator(products.matmul, lambda s, d, t, a: schedules.schedule_matmul(s)),
    "qadd": CpuOperator(products.qadd, elementwise),
    "requantize": CpuOperator(products.requantize, elementwise),
}
