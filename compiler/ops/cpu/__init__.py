"""The graph's operators on the CPU: tensor expressions, schedules for LLVM, and kernels built from both."""

from vdla.compiler.operators.definition import Definition
from vdla.compiler.ops.cpu.build import (
    HostKernel,
    build_cpu_kernel,
    build_group_kernel,
    scheduled_function,
    scheduled_group,
    varying_inputs,
)
from vdla.compiler.ops.cpu.operators import OPERATORS, CpuOperator

__all__ = [
    "OPERATORS", "CpuOperator", "Definition", "HostKernel", "build_cpu_kernel", "build_group_kernel", "scheduled_function",
    "scheduled_group", "varying_inputs",
]  # fmt: skip
