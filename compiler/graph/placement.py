"""Which device runs each node, and why; and the order that makes runs of consecutive VDLA nodes as long as can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from vdla.compiler.graph.graph import Graph, Node

VIEWS = ("reshape",)
"""Operators that move no data when both sides have the same packed layout."""


@dataclass(frozen=True)
class Placement:
    """Node name → "vdla" or "cpu", and the reason in words."""

    targets: Mapping[str, str]
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Run:
    """Consecutive nodes on one target: one program on VDLA, node after node on the CPU."""

    target: str
    nodes: tuple[Node, ...]


def place(graph: Graph, refusal: Callable[[Node, Graph], str]) -> Placement:
    """Everything the accelerator can run goes there; `refusal` says why it cannot (empty when it can).

    A reshape between (N, C, 1, 1) and (N, C) is a view of the same packed tiles and stays where its producer is.
    """
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    producers = graph.producer()
    for node in graph.nodes:
        source = producers.get(node.inputs[0]) if node.inputs else None
        if is_packed_view(node, graph) and source is not None and targets[source.name] == "vdla":
            targets[node.name], reasons[node.name] = "vdla", "a view of packed tiles"
        elif why := refusal(node, graph):
            targets[node.name], reasons[node.name] = "cpu", why
        else:
            targets[node.name], reasons[node.name] = "vdla", "a VDLA kernel"
    return Placement(targets, reasons)


def is_packed_view(node: Node, graph: Graph) -> bool:
    """Whether the node only drops or adds dimensions of extent 1 behind (N, C)."""
    if node.op not in VIEWS:
        return False
    before, after = graph.type_of(node.inputs[0]).shape, graph.type_of(node.outputs[0]).shape
    return {len(before), len(after)} <= {2, 4} and (*before, 1, 1)[:4] == (*after, 1, 1)[:4]


def partition(graph: Graph, placement: Placement) -> list[Run]:
    """Runs in an executable order: alternately every node of one target that is ready, so that runs are maximal."""
    pending = {node.name: node for node in graph.nodes}
    ready = set(graph.inputs) | set(graph.constants) | {""}
    runs: list[Run] = []
    target = "cpu"
    while pending:
        taken = []
        for node in list(pending.values()):
            if placement.targets[node.name] == target and all(name in ready for name in node.inputs):
                taken.append(pending.pop(node.name))
                ready.update(node.outputs)
        if taken:
            runs.append(Run(target, tuple(taken)))
        target = "vdla" if target == "cpu" else "cpu"
    return runs


def in_order(graph: Graph, runs: list[Run]) -> Graph:
    """The graph with its nodes in the order of `runs`."""
    return replace(graph, nodes=tuple(node for run in runs for node in run.nodes))
