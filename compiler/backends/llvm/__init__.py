"""Lowered loop IR → machine code through LLVM: JIT-compiled for this machine, objects for others."""

from vdla.compiler.backends.llvm.kernel import CpuKernel, compile_function, emit_module, emit_object
from vdla.compiler.backends.llvm.target import Target, host_target

__all__ = ["CpuKernel", "Target", "compile_function", "emit_module", "emit_object", "host_target"]
