"""The host's CPU as a target: groups of fused operators, each a kernel of the LLVM backend, compiled when first run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vdla.compiler.graph.fuse import FusionGroup, fuse
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.verify import verify_node
from vdla.compiler.ops.configuration import Config
from vdla.compiler.targets.backend import Backend, Bound, Observe, Placed, Run, Runner, Step, StepResult
from vdla.design import Design
from vdla.errors import RunError

NAME = "cpu"


def refusal(node: Node, graph: Graph, design: Design | None) -> str:
    """The host takes every operator there is."""
    return ""


def build(placed: Placed) -> Callable[[Run], list[Step]]:
    """All of the host's operators fused, if they are to be, each group where its last node runs."""
    if not placed.options.fuse:
        return lambda run: [step_of(FusionGroup((node,)), placed) for node in run.nodes]
    on_host = {node.name for run in placed.runs if run.target == NAME for node in run.nodes}
    groups = {group.nodes[-1].name: group for group in fuse(placed.laid_out, lambda node: node.name in on_host)}
    return lambda run: [step_of(groups[node.name], placed) for node in run.nodes if node.name in groups]


def step_of(group: FusionGroup, placed: Placed) -> Step:
    """`work`: the kernel's configuration, where one was asked for."""
    config = None
    if placed.options.configs:
        from vdla.compiler.ops.cpu import workload_of  # LLVM

        graph = placed.laid_out
        config = placed.options.configs.get(workload_of(group, graph.type_of, graph.constants))
    return Step(NAME, group.nodes[-1].name, group.nodes, work=config)


def save(step: Step) -> dict[str, str]:
    return {} if step.work is None else {"config": str(step.work)}


def load(step: Step, facts: Mapping[str, str]) -> Step:
    """Raises `CompileError` when the configuration is not one."""
    return replace(step, work=Config.parse(str(facts["config"]))) if "config" in facts else step


def template_of(workload: Any) -> Any:
    from vdla.compiler.ops import cpu  # LLVM

    return cpu.template_of(workload)


def check(step: Step, quantised: Graph, placed: Graph, known: set[str]) -> None:
    """A group's operators against the graph, and that they may be one group; adds its outputs to `known`."""
    inside = set(known)
    for node in step.nodes:
        verify_node(placed, node, inside, f"operator {node.name}")
        inside.update(node.outputs)
    names = {node.name for node in step.nodes}
    group = FusionGroup(step.nodes)
    if group not in fuse(placed, lambda node: node.name in names):
        raise RunError("operators that do not fuse share a step", found=", ".join(sorted(names)) or "none")
    known.update(group.outputs)


def constants(step: Step) -> tuple[str, ...]:
    return FusionGroup(step.nodes).inputs


def runner(step: Step, bound: Bound) -> Runner:
    from vdla.compiler.ops.cpu import build_group_kernel, varying_inputs  # LLVM

    group, graph = FusionGroup(step.nodes), bound.placed
    kernel = build_group_kernel(group, graph.type_of, graph.constants, step.work)
    names = varying_inputs(group, graph.constants)

    def run(values: Mapping[str, np.ndarray], timing: bool, observe: Observe | None) -> StepResult:
        outputs = kernel.run(*(np.asarray(values[name], order="C") for name in names))
        return StepResult(dict(zip(group.outputs, outputs, strict=True)))

    return run


BACKEND = Backend(
    name=NAME,
    refusal=refusal,
    build=build,
    runner=runner,
    check=check,
    constants=constants,
    save=save,
    load=load,
    template_of=template_of,
    is_host=True,
)
