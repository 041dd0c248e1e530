"""A group of graph nodes → a kernel: define, compose, schedule, lower, compile. Kernels are remembered.

nodes ─ definitions ─ wired ─ inlined ─ constant parts out ─ anchor's schedule ─ lower ─ LLVM ─▶ HostKernel
                                             └ computed when the kernel meets its constants ────────┘
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.backends.llvm import CpuKernel, Target, compile_function, host_target
from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Node, TensorType
from vdla.compiler.ir.nodes import Function
from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.compiler.operators.registry import OPERATORS as GRAPH_OPERATORS
from vdla.compiler.operators.registry import infer_types, with_defaults
from vdla.compiler.ops.cpu.compose import as_words, inlined, placeholders_below, wired, without_constant_parts
from vdla.compiler.ops.cpu.operators import CpuOperator, operator_for, schedule_separately
from vdla.compiler.passes.lower import lower
from vdla.compiler.schedule import Schedule
from vdla.errors import RunError

TypeOf = Callable[[str], TensorType]
NAME_LENGTH = 60
SHORT_ROW = 4
"""Columns of an image below which packing it goes along the channels."""


@dataclass(frozen=True)
class Composition:
    """A group's tensor expressions, `outputs` last.

    inputs: what changes from call to call, by tensor. constants: what does not, with its value where the definition gives it.
    parts: placeholders, each with the stage over constants alone that it holds the value of.
    """

    inputs: tuple[tuple[str, te.Tensor], ...]
    constants: tuple[tuple[str, te.Tensor, np.ndarray | None], ...]
    parts: tuple[tuple[te.Tensor, te.Tensor], ...]
    outputs: tuple[te.Tensor, ...]

    @property
    def parameters(self) -> list[te.Tensor]:
        """The kernel's inputs: what changes, the constants it reads itself, the parts."""
        return [*(p for _, p in self.inputs), *(p for _, p, _ in self.read_by(self.outputs)), *(p for p, _ in self.parts)]

    def read_by(self, stages: Sequence[te.Tensor]) -> list[tuple[str, te.Tensor, np.ndarray | None]]:
        """The constants that `stages` read."""
        read = {tensor for stage in stages for tensor in placeholders_below(stage)}
        return [constant for constant in self.constants if constant[1] in read]


@dataclass(frozen=True)
class Member:
    """One node with what its operator on the target makes of it."""

    node: Node
    operator: CpuOperator
    types: Types
    attributes: Attributes
    definition: Definition


def member_of(node: Node, type_of: TypeOf, target: Target) -> Member:
    """Raises `CompileError` for an operator the CPU does not have, `ModelError` for attributes it does not have."""
    attributes = with_defaults(node.op, node.attributes) if node.op in GRAPH_OPERATORS else dict(node.attributes)
    types = tuple(type_of(name) if name else None for name in node.inputs)
    operator = operator_for(node.op, types, attributes, target)
    return Member(node, operator, types, attributes, operator.define(types, attributes))


def compose(group: FusionGroup, members: Sequence[Member], fixed: frozenset[str]) -> Composition:
    """One expression of the whole group; `fixed` are tensors whose values will not change between calls."""
    known: dict[str, te.Tensor] = {}
    inputs: list[tuple[str, te.Tensor]] = []
    constants: list[tuple[str, te.Tensor, np.ndarray | None]] = []
    for member in members:
        names = [name for name in member.node.inputs if name]
        definition = member.definition
        feeds: dict[te.Tensor, te.Tensor] = {}
        for name, placeholder in zip(names, definition.inputs, strict=False):
            if name in known:  # perhaps since the operand before: add(x, x)
                feeds[placeholder] = known[name]
            elif name in fixed:
                constants.append((name, placeholder, None))
            else:
                inputs.append((name, placeholder))
                known[name] = placeholder
        own = definition.inputs[len(names) :]
        constants += [("", p, value) for p, value in zip(own, definition.constants, strict=True)]
        for name, output in zip(member.node.outputs, definition.outputs, strict=True):
            known[name] = named(wired(output, feeds), member.node, group)
    if len(group.outputs) > 1:  # such a node is alone: nothing is to be inlined
        return Composition(tuple(inputs), tuple(constants), (), tuple(known[name] for name in group.outputs))
    boundaries = [known[node.outputs[0]] for node in group.nodes[:-1]]
    candidates = [stage for stage in boundaries if not stage.reduction]
    output = known[group.output]
    in_words = group.nodes[-1].op == "pack_nchwc" and fills_words(output.shape)
    copies = output.shape[-1] if in_words else 1
    output = inlined(output, candidates, always=group.kind == "complex", copies=copies)
    if in_words:
        output = as_words(output)
    output, parts = without_constant_parts(output, [p for _, p, _ in constants])
    return Composition(tuple(inputs), tuple(constants), tuple(parts), (output,))


def fills_words(packed: Sequence[int]) -> bool:
    """Whether a packed tensor's tiles are words, and its rows long enough for vectors of them."""
    return packed[-1] % 4 == 0 and packed[3] >= SHORT_ROW


def named(output: te.Tensor, node: Node, group: FusionGroup) -> te.Tensor:
    """A node's output under the name by which the anchor's schedule knows it, were it a stage of its own."""
    if node is group.nodes[-1]:
        return output
    return replace(output, name="total" if output.reduction else node.op)


def scheduled_group(
    group: FusionGroup, type_of: TypeOf, fixed: frozenset[str] = frozenset(), target: Target | None = None
) -> tuple[Function, Composition]:
    """A group's loops in the order of its anchor's schedule for `target` (this machine), not yet lowered."""
    members = [member_of(node, type_of, target or host_target()) for node in group.nodes]
    composition = compose(group, members, fixed)
    name = "_".join(node.op for node in group.nodes)[:NAME_LENGTH]
    schedule = Schedule(te.create_function(name, composition.parameters, composition.outputs))
    anchor = next(m for m in members if m.node is group.anchor)
    anchor.operator.schedule(schedule, anchor.definition, anchor.types, anchor.attributes)
    return schedule.func, composition


class CompiledGroup:
    """Machine code of a group, and of what its constants are prepared by."""

    def __init__(self, group: FusionGroup, type_of: TypeOf, fixed: frozenset[str]) -> None:
        func, self.composition = scheduled_group(group, type_of, fixed)
        self.kernel = compile_function(lower(func))
        self.types = [*(type_of(name) for name, _ in self.composition.inputs), *map(type_of, group.outputs)]
        self.prepare = _prepare_kernel(self.composition)

    def bound(self, constants: Mapping[str, np.ndarray]) -> HostKernel:
        """The kernel with its constants, by tensor; what depends on them alone is computed here."""

        def values(stages: Sequence[te.Tensor]) -> list[np.ndarray]:
            found = ((constants[name] if own is None else own, p) for name, p, own in self.composition.read_by(stages))
            return [np.ascontiguousarray(value).reshape(p.shape) for value, p in found]

        stages = [stage for _, stage in self.composition.parts]
        parts = self.prepare.run(*values(stages)) if self.prepare else []
        return HostKernel(self.kernel, self.types, (*values(self.composition.outputs), *parts))


def _prepare_kernel(composition: Composition) -> CpuKernel | None:
    stages = [stage for _, stage in composition.parts]
    if not stages:
        return None
    inputs = [p for _, p, _ in composition.read_by(stages)]
    schedule = Schedule(te.create_function("constants", inputs, stages))
    schedule_separately(schedule)
    return compile_function(lower(schedule.func))


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
        results = [a.view(p.dtype).reshape(p.shape) for a, p in zip(outputs, written, strict=True)]
        self.kernel(*views, *self.constants, *results)

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Call with new outputs, and return them."""
        outputs = [np.empty(t.shape, t.dtype) for t in self.types[self.count :]]
        self(*inputs, *outputs)
        return outputs


def build_group_kernel(group: FusionGroup, type_of: TypeOf, constants: Mapping[str, np.ndarray]) -> HostKernel:
    """The kernel of a group, its constants in it; groups equal but for these share machine code.

    Its arrays are those of `varying_inputs`, then the outputs. Raises `CompileError` for operators the CPU does not have.
    """
    numbers: dict[str, str] = {"": ""}
    nodes = tuple(_renamed(node, numbers) for node in group.nodes)
    types = {number: type_of(name) for name, number in numbers.items() if name}
    fixed = frozenset(numbers[name] for name in group.inputs if name in constants)
    key = (tuple((n.op, frozen(n.attributes), n.inputs, n.outputs) for n in nodes), tuple(types.values()), fixed)
    if key not in _kernels:
        _kernels[key] = CompiledGroup(FusionGroup(nodes), types.__getitem__, fixed)
    return _kernels[key].bound({numbers[name]: constants[name] for name in group.inputs if name in constants})


def varying_inputs(group: FusionGroup, constants: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """The tensors a group's kernel is called with."""
    return tuple(name for name in group.inputs if name not in constants)


def _renamed(node: Node, numbers: dict[str, str]) -> Node:
    """The node over tensors t0, t1, … in order of appearance, which `numbers` collects."""
    for name in (*node.inputs, *node.outputs):
        numbers.setdefault(name, f"t{len(numbers)}")
    inputs, outputs = (tuple(numbers[name] for name in names) for names in (node.inputs, node.outputs))
    return replace(node, inputs=inputs, outputs=outputs)


def build_cpu_kernel(
    op: str,
    input_types: tuple[TensorType | None, ...],
    output_types: tuple[TensorType, ...],
    attributes: Mapping[str, Any],
) -> HostKernel:
    """The kernel of one node, none of its inputs constant. An absent optional input has type None and is left out of calls."""
    group, types = _single(op, input_types, attributes, len(output_types))
    types |= zip(group.outputs, output_types, strict=True)
    return build_group_kernel(group, types.__getitem__, {})


def scheduled_function(
    op: str, types: Types, attributes: Mapping[str, Any], target: Target | None = None
) -> tuple[Function, Composition]:
    """One operator's loops, tiled, vectorised and parallel for `target` (this machine), not yet lowered.

    Raises `CompileError` for an operator the CPU does not have, `ModelError` for attributes it does not have.
    """
    count = len(infer_types(op, types, attributes)) if op in GRAPH_OPERATORS else 1
    group, types_by_name = _single(op, types, attributes, count)
    return scheduled_group(group, types_by_name.__getitem__, target=target)


def _single(op: str, types: Types, attributes: Mapping[str, Any], count: int) -> tuple[FusionGroup, dict[str, TensorType]]:
    """One node of `count` outputs, alone, and its inputs' types by name."""
    named_types = {f"x{k}": t for k, t in enumerate(types) if t is not None}
    inputs = tuple("" if t is None else f"x{k}" for k, t in enumerate(types))
    outputs = ("y",) if count == 1 else tuple(f"y{k}" for k in range(count))
    return FusionGroup((Node("y", op, inputs, outputs, attributes),)), named_types


_kernels: dict[tuple[Any, ...], CompiledGroup] = {}


def frozen(value: Any) -> Any:
    """A hashable stand-in for attribute values."""
    if isinstance(value, Mapping):
        return tuple(sorted((k, frozen(v)) for k, v in value.items()))
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
