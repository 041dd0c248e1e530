"""What compilation leaves: an ordered list of steps, each some operators on one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vdla.compiler.graph.graph import Graph, TensorType
from vdla.compiler.quantise.affine import Levels
from vdla.compiler.targets import Step, backend_of
from vdla.compiler.targets.placement import Placement
from vdla.design import Design
from vdla.errors import RunError
from vdla.isa.program import Program


@dataclass(frozen=True)
class CompiledModel:
    """A model built for one design, or for the host alone.

    built_for: None for the host alone.
    float_graph: the model as imported and simplified, for the error against float; absent in a loaded module.
    quantised: the same with integer operators, before layout: what the integer reference executes. For the host alone it is the
    float graph itself.
    placed: the final graph, with layout operators, in execution order. tensors of `quantised` keep their names in it.
    levels: a tensor of `quantised` → the float tensor whose levels it holds, and their meaning; absent in a loaded module.
    """

    built_for: Design | None
    quantised: Graph
    placed: Graph
    placement: Placement
    steps: tuple[Step, ...]
    float_graph: Graph | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    levels: Levels = field(default_factory=dict)

    @property
    def design(self) -> Design:
        """Raises `RunError` when the model was built for none."""
        if self.built_for is None:
            raise RunError("the model was compiled for the host alone, without a design", hint="compile it for a design")
        return self.built_for

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {name: self.quantised.type_of(name) for name in self.quantised.inputs}

    @property
    def outputs(self) -> dict[str, TensorType]:
        return {name: self.quantised.type_of(name) for name in self.quantised.outputs}

    @property
    def programs(self) -> list[Program]:
        """The accelerator's, in order."""
        return [step.program for step in self.steps if step.program is not None]

    @property
    def run_constants(self) -> list[str]:
        """The constants of `placed` that a run needs: those that steps read at run time. Weights are in the programs."""
        read = {name for step in self.steps for name in backend_of(step.target).constants(step)}
        return [name for name in self.placed.constants if name in read]
