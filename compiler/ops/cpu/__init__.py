"""The graph's operators on the CPU: tensor expressions, schedules for LLVM, and kernels built from both."""

from vdla.compiler.ops.cpu.build import NodeKernel, build_cpu_kernel, scheduled_function
from vdla.compiler.ops.cpu.definition import Definition
from vdla.compiler.ops.cpu.operators import OPERATORS, CpuOperator

__all__ = ["OPERATORS", "CpuOperator", "Definition", "NodeKernel", "build_cpu_kernel", "scheduled_function"]
