"""Lowered functions → callable kernels, LLVM assembly or object files."""

from __future__ import annotations

import ctypes
import re

import numpy as np
from llvmlite import ir as llvm_ir

from vdla.compiler.backends.llvm import jit
from vdla.compiler.backends.llvm.emitter import Emitter
from vdla.compiler.backends.llvm.statements import emit_stmt
from vdla.compiler.backends.llvm.target import Target, data_layout, host_target, object_code
from vdla.compiler.backends.llvm.types import POINTER, VOID
from vdla.compiler.ir.nodes import Buffer, Function
from vdla.element_types import numpy_dtype
from vdla.errors import RunError


def symbol_name(func: Function) -> str:
    """The exported symbol: the function's name as a C identifier."""
    return "vdla_" + re.sub(r"\W", "_", func.name)


def emit_module(func: Function, target: Target) -> llvm_ir.Module:
    """A lowered function as `void name(noalias pointer…)`, one dense row-major array for each parameter.

    Raises `CompileError` for what lowering should have removed or LLVM cannot express.
    """
    module = llvm_ir.Module(symbol_name(func))
    module.triple, layout = target.triple, data_layout(target)
    module.data_layout = str(layout)
    function = llvm_ir.Function(module, llvm_ir.FunctionType(VOID, [POINTER] * len(func.params)), symbol_name(func))
    for argument in function.args:
        argument.add_attribute("noalias")
    size = llvm_ir.IntType(8 * POINTER.get_abi_size(layout))
    emitter = Emitter(
        module, llvm_ir.IRBuilder(function.append_basic_block("entry")), target.vector_bytes, size, target.converts_half
    )
    emitter.pointers = dict(zip(func.params, function.args, strict=True))
    emit_stmt(emitter, func.body)
    emitter.builder.ret_void()
    return module


def emit_object(func: Function, target: Target) -> bytes:
    """A relocatable object for another machine. It needs libc, libm and, if it has parallel loops, `vdla_parallel_for`."""
    return object_code(str(emit_module(func, target)), target)


class CpuKernel:
    """Machine code of one function. Call it with an array for each parameter, inputs then outputs.

    Arrays must be C-contiguous and of the parameter's exact shape and dtype; outputs are overwritten and must not overlap
    anything else. Raises `RunError` otherwise.
    """

    def __init__(self, func: Function, target: Target) -> None:
        self.name, self.params, self.output_count = func.name, func.params, func.output_count
        self.assembly = str(emit_module(func, target))
        self._tracker, address = jit.load_function(self.assembly, symbol_name(func), target)
        self._call = ctypes.CFUNCTYPE(None, *([ctypes.c_void_p] * len(func.params)))(address)
        self._expected = [(tuple(p.shape), numpy_dtype(p.dtype)) for p in func.params]

    def __call__(self, *arrays: np.ndarray) -> None:
        if len(arrays) != len(self._expected):
            expected = ", ".join(p.name for p in self.params)
            raise RunError("wrong number of arrays", where=self.name, found=len(arrays), expected=expected)
        for array, (shape, dtype), param in zip(arrays, self._expected, self.params, strict=True):
            if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
                raise self._unfit(array, param)
        self._call(*[a.__array_interface__["data"][0] for a in arrays])

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Call with new arrays for the outputs, and return them."""
        outputs = [np.empty(shape, dtype) for shape, dtype in self._expected[len(self.params) - self.output_count :]]
        self(*inputs, *outputs)
        return outputs

    def _unfit(self, array: np.ndarray, param: Buffer) -> RunError:
        order = "" if array.flags.c_contiguous else ", not contiguous"
        found, expected = f"{array.dtype}{list(array.shape)}{order}", f"{param.dtype}{list(param.shape)}, contiguous"
        return RunError("array does not fit its parameter", where=f"{self.name}, {param.name}", found=found, expected=expected)


def compile_function(func: Function, target: Target | None = None) -> CpuKernel:
    """Machine code to run here, for this machine or (target) for this one with fewer features; equal functions share it."""
    return CpuKernel(func, target or host_target())
