"""A third target, to prove the seam: operators by the NumPy reference. This file and a call of `register` are all it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.targets import Backend, Bound, Placed, Run, Runner, Step, StepResult
from vdla.design import Design

NAME = "numpy"


def refusal(node: Node, graph: Graph, design: Design) -> str:
    return "NumPy's turn has not come" if node.op in ("softmax", "pack_nchwc") else ""


def build(placed: Placed) -> Callable[[Run], list[Step]]:
    """One step for a run; `work` is how many operators it had when it was built."""
    return lambda run: [Step(NAME, run.nodes[-1].name, run.nodes, work=len(run.nodes))]


def runner(step: Step, bound: Bound) -> Runner:
    def run(values: Mapping[str, np.ndarray], timing: bool, observe: Any) -> StepResult:
        assert len(step.nodes) == step.work
        known = dict(values)
        made: dict[str, np.ndarray] = {}
        for node in step.nodes:
            results = run_node(node, known)
            made.update(results)
            known.update(results)
        return StepResult(made)

    return run


def check(step: Step, quantised: Graph, placed: Graph, known: set[str]) -> None:
    known.update(name for node in step.nodes for name in node.outputs)


BACKEND = Backend(
    NAME,
    refusal,
    build,
    runner,
    check=check,
    constants=lambda step: [name for node in step.nodes for name in node.inputs],
    save=lambda step: {"operators": step.work},
    load=lambda step, facts: replace(step, work=facts["operators"]),
)
