"""The graph's operators on the CPU: workloads, a template for each kind of kernel, and kernels built from both."""

from vdla.compiler.operators.definition import Definition
from vdla.compiler.ops.cpu.build import (
    HostKernel,
    build_cpu_kernel,
    build_group_kernel,
    kernel,
    scheduled_function,
    scheduled_group,
    varying_inputs,
)
from vdla.compiler.ops.cpu.templates import template_of
from vdla.compiler.ops.cpu.workload import Workload, workload_of

__all__ = [
    "Definition", "HostKernel", "Workload", "build_cpu_kernel", "build_group_kernel", "kernel",
    "scheduled_function", "scheduled_group", "template_of", "varying_inputs", "workload_of",
]  # fmt: skip
