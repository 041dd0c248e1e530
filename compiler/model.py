"""What compilation leaves: an ordered list of steps, each one group of host operators or one VDLA program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.placement import Placement
from vdla.design import Design
from vdla.isa.program import Program


@dataclass(frozen=True)
class HostStep:
    """Operators on the host's CPU, fused: one tensor expression, compiled by the LLVM backend when first run."""

    group: FusionGroup


@dataclass(frozen=True)
class VdlaStep:
    """One program; its slots are named after the graph's packed tensors it reads and writes."""

    name: str
    program: Program
    nodes: tuple[Node, ...]


Step = HostStep | VdlaStep


@dataclass(frozen=True)
class CompiledModel:
    """A model built for one design.

    float_graph: the model as imported and simplified, for the error against float; absent in a loaded module.
    quantised: the same with integer operators, before layout: what the integer reference executes.
    placed: the final graph, with layout operators, in execution order. tensors of `quantised` keep their names in it.
    """

    design: Design
    quantised: Graph
    placed: Graph
    placement: Placement
    steps: tuple[Step, ...]
    float_graph: Graph | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {name: self.quantised.type_of(name) for name in self.quantised.inputs}

    @property
    def outputs(self) -> dict[str, TensorType]:
        return {name: self.quantised.type_of(name) for name in self.quantised.outputs}

    @property
    def programs(self) -> list[Program]:
        return [step.program for step in self.steps if isinstance(step, VdlaStep)]
