"""A group of graph nodes → a kernel: expressions, schedule, lower, compile. Kernels are remembered.

workload ─ composition ─ scheduled under a configuration ─ lower ─ LLVM ─▶ HostKernel
                └ constant parts: computed when the kernel meets its constants ─┘
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.backends.llvm import CpuKernel, Target, compile_function, host_target
from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Node, TensorType
from vdla.compiler.ir.nodes import Function
from vdla.compiler.operators.definition import Types
from vdla.compiler.operators.registry import infer_types
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.cpu.expressions import Composition
from vdla.compiler.ops.cpu.operators import definition_of
from vdla.compiler.ops.cpu.schedules import schedule_separately
from vdla.compiler.ops.cpu.templates import scheduled, template_of
from vdla.compiler.ops.cpu.workload import TypeOf, Workload, numbered, workload_of
from vdla.compiler.passes.lower import lower
from vdla.compiler.schedule import Schedule
from vdla.element_types import numpy_dtype
from vdla.errors import RunError


@cache
def kernel(workload: Workload, target: Target, config: Config | None = None) -> CompiledGroup:
    """Machine code of a workload under `config`, or the default, for `target`: this machine, or this one with fewer features.

    Raises `CompileError` for an operator the CPU does not have and for a configuration that is not the workload's.
    """
    if config is None:
        return kernel(workload, target, template_of(workload).default(workload, target))
    return CompiledGroup(workload, target, config)


class CompiledGroup:
    """Machine code of a workload, and of what its constants are prepared by."""

    def __init__(self, workload: Workload, target: Target, config: Config) -> None:
        func, self.composition = scheduled(workload, target, config)
        self.kernel = compile_function(lower(func), target)
        self.types = [*(workload.type_of(name) for name, _ in self.composition.inputs), *workload.outputs]
        self.prepare = _prepare_kernel(self.composition, target)

    def bound(self, constants: Mapping[str, np.ndarray]) -> HostKernel:
        """The kernel with its constants, by tensor; what depends on them alone is computed here."""

        def values(stages: Sequence[te.Tensor]) -> list[np.ndarray]:
            found = ((constants[name] if own is None else own, p) for name, p, own in self.composition.read_by(stages))
            return [np.ascontiguousarray(value).reshape(p.shape) for value, p in found]

        stages = [stage for _, stage in self.composition.parts]
        parts = self.prepare.run(*values(stages)) if self.prepare else []
        return HostKernel(self.kernel, self.types, (*values(self.composition.outputs), *parts))


def _prepare_kernel(composition: Composition, target: Target) -> CpuKernel | None:
    stages = [stage for _, stage in composition.parts]
    if not stages:
        return None
    inputs = [p for _, p, _ in composition.read_by(stages)]
    schedule = Schedule(te.create_function("constants", inputs, stages))
    schedule_separately(schedule, schedule.blocks())
    return compile_function(lower(schedule.func), target)


class HostKernel:
    """Call it with the arrays that change from call to call, in order, then its outputs."""

    def __init__(self, kernel: CpuKernel, types: Sequence[TensorType], constants: tuple[np.ndarray, ...]) -> None:
        self.kernel, self.types, self.constants = kernel, types, constants
        self.count = len(types) - kernel.output_count
        self.shapes = [p.shape for p in kernel.params[: self.count]]

    def __call__(self, *arrays: np.ndarray) -> None:
        """Raises `RunError` when an array's shape, dtype or layout is not the kernel's."""
        if [a.shape for a in arrays] != [t.shape for t in self.types] or not all(a.flags.c_contiguous for a in arrays):
            found = [f"{a.dtype}{list(a.shape)}{'' if a.flags.c_contiguous else ', not contiguous'}" for a in arrays]
            expected = ", ".join(f"{t.dtype}{list(t.shape)}" for t in self.types)
            raise RunError("arrays do not fit the operator", where=self.kernel.name, found=found, expected=expected)
        inputs, outputs = arrays[: self.count], arrays[self.count :]
        views = [a.reshape(shape) for a, shape in zip(inputs, self.shapes, strict=True)]
        written = self.kernel.params[-self.kernel.output_count :]
        results = [a.view(numpy_dtype(p.dtype)).reshape(p.shape) for a, p in zip(outputs, written, strict=True)]
        self.kernel(*views, *self.constants, *results)

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Call with new outputs, and return them."""
        outputs = [np.empty(t.shape, t.numpy_dtype) for t in self.types[self.count :]]
        self(*inputs, *outputs)
        return outputs


def build_group_kernel(
    group: FusionGroup, type_of: TypeOf, constants: Mapping[str, np.ndarray], config: Config | None = None
) -> HostKernel:
    """The kernel of a group, its constants in it; groups equal but for these share machine code.

    Its arrays are those of `varying_inputs`, then the outputs. config: what it is built under, in place of the default.
    Raises `CompileError` for operators the CPU does not have and for a configuration that is not the kernel's.
    """
    workload = workload_of(group, type_of, constants)
    compiled = kernel(workload, host_target(), config)
    return compiled.bound({number: constants[name] for name, number in numbered(group).items() if number in workload.fixed})


def varying_inputs(group: FusionGroup, constants: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The tensors a group's kernel is called with."""
    return tuple(name for name in group.inputs if name not in constants)


def build_cpu_kernel(
    op: str,
    input_types: tuple[TensorType | None, ...],
    output_types: tuple[TensorType, ...],
    attributes: Mapping[str, Any],
) -> HostKernel:
    """The kernel of one node, none of its inputs constant. An absent optional input has type None and is left out of calls."""
    group, types = _single(op, input_types, attributes, output_types)
    return build_group_kernel(group, types.__getitem__, {})


def scheduled_group(
    group: FusionGroup, type_of: TypeOf, fixed: Collection[str] = (), target: Target | None = None
) -> tuple[Function, Composition]:
    """A group's loops under the default configuration for `target` (this machine), not yet lowered."""
    return scheduled(workload_of(group, type_of, fixed), target or host_target())


def scheduled_function(
    op: str, types: Types, attributes: Mapping[str, Any], target: Target | None = None
) -> tuple[Function, Composition]:
    """One operator's loops, tiled, vectorised and parallel for `target` (this machine), not yet lowered.

    Raises `CompileError` for an operator the CPU does not have, `ModelError` for attributes it does not have.
    """
    group, types_by_name = _single(op, types, attributes, infer_types(op, types, attributes))
    return scheduled_group(group, types_by_name.__getitem__, target=target)


def _single(
    op: str, types: Types, attributes: Mapping[str, Any], output_types: Sequence[TensorType]
) -> tuple[FusionGroup, dict[str, TensorType]]:
    """One node alone, and its tensors' types. Raises `CompileError` for an operator the CPU does not have."""
    definition_of(op)
    inputs = tuple("" if t is None else f"x{k}" for k, t in enumerate(types))
    outputs = tuple(f"y{k}" for k in range(len(output_types)))
    named_types = {name: t for name, t in zip(inputs, types, strict=True) if t is not None}
    named_types |= zip(outputs, output_types, strict=True)
    return FusionGroup((Node("y", op, inputs, outputs, attributes),)), named_types
