"""A workload as one tensor expression: its operators' definitions wired together, inlined, constant parts taken out.

nodes ─ definitions ─ wired ─ inlined ─ constant parts out ─▶ Composition ─▶ loops, to be scheduled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Node
from vdla.compiler.ir.nodes import Function
from vdla.compiler.operators.wiring import placeholders_below, wired
from vdla.compiler.ops.configuration import Value
from vdla.compiler.ops.cpu.compose import as_words, inlined, without_constant_parts
from vdla.compiler.ops.cpu.operators import definition_of
from vdla.compiler.ops.cpu.workload import Workload


@dataclass(frozen=True)
class Composition:
    """A workload's tensor expressions, `outputs` last.

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


@lru_cache(maxsize=32)
def composition(workload: Workload, *, words: bool = False, **choices: Value) -> Composition:
    """One expression of the whole workload.

    choices: arguments of the anchor's definition. words: the output's bytes, a tensor of tiles, as words of four.
    Raises `CompileError` for an operator the CPU does not have, `ModelError` for attributes it does not have.
    """
    group = workload.group
    known: dict[str, te.Tensor] = {}
    inputs: list[tuple[str, te.Tensor]] = []
    constants: list[tuple[str, te.Tensor, np.ndarray | None]] = []
    for member in workload.members:
        define = definition_of(member.node.op)
        definition = define(member.types, member.attributes, **(choices if member.node is group.anchor else {}))
        names = [name for name in member.node.inputs if name]
        feeds: dict[te.Tensor, te.Tensor] = {}
        for name, placeholder in zip(names, definition.inputs, strict=False):
            if name in known:  # perhaps since the operand before: add(x, x)
                feeds[placeholder] = known[name]
            elif name in workload.fixed:
                constants.append((name, placeholder, None))
            else:
                inputs.append((name, placeholder))
                known[name] = placeholder
        own = definition.inputs[len(names) :]
        constants += [("", p, value) for p, value in zip(own, definition.constants, strict=True)]
        for name, output in zip(member.node.outputs, wired(definition.outputs, feeds), strict=True):
            known[name] = named(output, member.node, group)
    if len(group.outputs) > 1:  # such a node is alone: nothing is to be inlined
        outputs, parts = without_constant_parts([known[name] for name in group.outputs], [p for _, p, _ in constants])
        return Composition(tuple(inputs), tuple(constants), tuple(parts), outputs)
    boundaries = [known[node.outputs[0]] for node in group.nodes[:-1]]
    candidates = [stage for stage in boundaries if stage.is_plain]
    output = known[group.output]
    output = inlined(output, candidates, always=group.kind == "complex", copies=output.shape[-1] if words else 1)
    if words:
        output = as_words(output)
    outputs, parts = without_constant_parts([output], [p for _, p, _ in constants])
    return Composition(tuple(inputs), tuple(constants), tuple(parts), outputs)


def named(output: te.Tensor, node: Node, group: FusionGroup) -> te.Tensor:
    """A node's output under the name by which the anchor's schedule knows it, were it a stage of its own."""
    if node is group.nodes[-1]:
        return output
    return replace(output, name="total" if output.reduction else node.op)


@lru_cache(maxsize=32)
def loops(workload: Workload, **choices: Value) -> Function:
    """`composition` as perfectly nested loops, one block for each stage, in no particular order yet."""
    found = composition(workload, **choices)
    return te.create_function(workload.name, found.parameters, found.outputs)
