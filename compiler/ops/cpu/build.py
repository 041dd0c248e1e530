"""One graph node → a kernel: define, schedule, lower, compile. Kernels are remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.backends.llvm import CpuKernel, Target, compile_function, host_target
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.graph.opset import OPERATORS as GRAPH_OPERATORS
from vdla.compiler.graph.opset import with_defaults
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.cpu.definition import Definition, Types
from vdla.compiler.ops.cpu.operators import operator_for
from vdla.compiler.passes.lower import lower
from vdla.compiler.schedule import Schedule
from vdla.errors import RunError


class NodeKernel:
    """Call it with the node's present inputs, in order, then its output."""

    def __init__(self, kernel: CpuKernel, constants: tuple[np.ndarray, ...], inputs: Types, output: TensorType) -> None:
        self.kernel, self.constants, self.output = kernel, constants, output
        self.types = [*(t for t in inputs if t is not None), output]
        self.shapes = [p.shape for p in kernel.params]

    def __call__(self, *arrays: np.ndarray) -> None:
        """Raises `RunError` when an array's shape, dtype or layout is not the kernel's."""
        if [a.shape for a in arrays] != [t.shape for t in self.types] or not all(a.flags.c_contiguous for a in arrays):
            found = [f"{a.dtype}{list(a.shape)}{'' if a.flags.c_contiguous else ', not contiguous'}" for a in arrays]
            expected = ", ".join(f"{t.dtype}{list(t.shape)}" for t in self.types)
            raise RunError("arrays do not fit the operator", where=self.kernel.name, found=found, expected=expected)
        *inputs, output = arrays
        views = [a.reshape(shape) for a, shape in zip(inputs, self.shapes, strict=False)]
        self.kernel(*views, *self.constants, output.reshape(self.shapes[-1]))

    def run(self, *inputs: np.ndarray) -> np.ndarray:
        """Call with a new output, and return it."""
        output = np.empty(self.output.shape, self.output.dtype)
        self(*inputs, output)
        return output


def scheduled_function(
    op: str, types: Types, attributes: Mapping[str, Any], target: Target | None = None
) -> tuple[Function, Definition]:
    """An operator's loops, tiled, vectorised and parallel for `target` (this machine), not yet lowered; and its definition.

    Raises `CompileError` for an operator the CPU does not have, `ModelError` for attributes it does not have.
    """
    merged = with_defaults(op, attributes) if op in GRAPH_OPERATORS else dict(attributes)
    operator = operator_for(op, types, merged, target or host_target())
    definition = operator.define(types, merged)
    schedule = Schedule(te.create_function(op, definition.inputs, [definition.output]))
    operator.schedule(schedule, definition, types, merged)
    return schedule.func, definition


def build_cpu_kernel(
    op: str,
    input_types: tuple[TensorType | None, ...],
    output_types: tuple[TensorType, ...],
    attributes: Mapping[str, Any],
) -> NodeKernel:
    """The kernel of one node; equal nodes share one. An absent optional input has type None and is left out of calls."""
    key = (op, input_types, output_types, frozen(attributes))
    if key not in _kernels:
        func, definition = scheduled_function(op, input_types, attributes)
        kernel = compile_function(lower(func, check=False))
        _kernels[key] = NodeKernel(kernel, definition.constants, input_types, output_types[0])
    return _kernels[key]


_kernels: dict[tuple[Any, ...], NodeKernel] = {}


def frozen(value: Any) -> Any:
    """A hashable stand-in for attribute values."""
    if isinstance(value, Mapping):
        return tuple(sorted((k, frozen(v)) for k, v in value.items()))
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
