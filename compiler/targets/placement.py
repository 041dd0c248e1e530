"""Which target runs each node, and why; and the order that makes runs of consecutive nodes on one target as long as can be."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.targets.backend import Backend, Run
from vdla.design import Design

IDLE = "a copy on the host: no accelerator layer runs beside it"


@dataclass(frozen=True)
class Placement:
    """Node name → the name of its target, and the reason in words: the target's for taking it, or that of the target preferred
    most for not taking it."""

    targets: Mapping[str, str]
    reasons: Mapping[str, str]


def place_and_partition(graph: Graph, backends: Sequence[Backend], design: Design | None) -> tuple[Placement, list[Run]]:
    """Placement and runs. backends: the preferred first, the host last, which is given what the others refuse.

    A run that would leave its target nothing to do goes to the host.
    """
    homeless: set[str] = set()
    *preferred, host = backends
    by_name = {backend.name: backend for backend in backends}
    while True:
        placement = place(graph, preferred, host, design, homeless)
        runs = partition(graph, placement, [host.name, *(backend.name for backend in preferred)])
        idle = {node.name for run in runs if by_name[run.target].idle(run.nodes, graph) for node in run.nodes}
        if not idle:
            return placement, runs
        homeless |= idle


def place(
    graph: Graph, preferred: Sequence[Backend], host: Backend, design: Design | None, idle: Collection[str] = ()
) -> Placement:
    """Each node on the first target that takes it, else on the host; those named in `idle` on the host whoever takes them."""
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    producers = graph.producer()
    judges = {backend.name: backend.judge_for(graph, design) for backend in preferred}
    for node in graph.nodes:
        refusals = []
        for name, judge in judges.items():
            beside = [x for x in node.inputs if x in producers and targets[producers[x].name] == name]
            verdict = judge(node, beside)
            if verdict.accepted:
                targets[node.name], reasons[node.name] = name, verdict.reason
                break
            refusals.append(verdict.reason)
        else:
            targets[node.name], reasons[node.name] = host.name, refusals[0] if refusals else "nothing else was asked"
    moved = dict.fromkeys(idle, host.name)
    return Placement({**targets, **moved}, {**reasons, **dict.fromkeys(moved, IDLE)})


def partition(graph: Graph, placement: Placement, names: Sequence[str]) -> list[Run]:
    """Runs in an executable order: target after target in turn, every node of it that is ready, so that runs are maximal."""
    pending = {node.name: node for node in graph.nodes}
    ready = set(graph.inputs) | set(graph.constants) | {""}
    runs: list[Run] = []
    turn = 0
    while pending:
        target = names[turn % len(names)]
        taken: list[Node] = []
        for node in list(pending.values()):
            if placement.targets[node.name] == target and all(name in ready for name in node.inputs):
                taken.append(pending.pop(node.name))
                ready.update(node.outputs)
        if taken:
            runs.append(Run(target, tuple(taken)))
        turn += 1
    return runs


def joined(runs: Sequence[Run]) -> list[Run]:
    """Neighbouring runs on one target as one; empty ones gone."""
    result: list[Run] = []
    for run in runs:
        if not run.nodes:
            continue
        if result and result[-1].target == run.target:
            result[-1] = Run(run.target, result[-1].nodes + run.nodes)
        else:
            result.append(run)
    return result
