"""A workload's kernel: its expression, scheduled under the tiling chosen for it and tensorised."""

from __future__ import annotations

from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.vdla import expressions, schedules
from vdla.compiler.ops.vdla.schedules import Intrinsics
from vdla.compiler.ops.vdla.tiling import (
    ConvTiling,
    choose_elementwise_tiling,
    choose_pool_tiling,
    choose_tiling,
    covered_input,
    serial_tiling,
)
from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload
from vdla.design import Design

Workload = ConvWorkload | ElementwiseWorkload | PoolWorkload


def scheduled_kernel(workload: Workload, design: Design, intrinsics: Intrinsics, latency_hiding: bool) -> Function:
    """Raises `CompileError` when no tiling of the workload fits the design."""
    match workload:
        case ConvWorkload():
            tiling = choose_tiling(workload, design) if latency_hiding else serial_tiling(workload, design)
            return conv2d_kernel(workload, tiling, design, intrinsics)
        case PoolWorkload():
            pool_tiling = choose_pool_tiling(workload, design, latency_hiding)
            return schedules.schedule_max_pool2d(expressions.max_pool2d(workload, design), workload, pool_tiling, intrinsics)
        case ElementwiseWorkload():
            elementwise_tiling = choose_elementwise_tiling(workload, design, latency_hiding)
            return schedules.schedule_elementwise(expressions.elementwise(workload, design), elementwise_tiling, intrinsics)


def conv2d_kernel(workload: ConvWorkload, tiling: ConvTiling, design: Design, intrinsics: Intrinsics) -> Function:
    """A convolution under any tiling that fits."""
    expression = expressions.conv2d(workload, design, covered_input(workload, tiling))
    return schedules.schedule_conv2d(expression, workload, tiling, intrinsics)
