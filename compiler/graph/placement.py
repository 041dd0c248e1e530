"""Which device runs each node, and why; and the order that makes runs of consecutive VDLA nodes as long as can be.

Some nodes cost nothing: a view names memory that others fill. A reshape between (N, C, 1, 1) and (N, C) is its input's
tiles; a concat of whole blocks of channels is its inputs' tiles one after another, when each was put there to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vdla.compiler.graph.graph import Graph, Node

VIEW, NOT_BESIDE = "a view of packed tiles", "a copy on the host: no accelerator layer runs beside it"


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

    A reshape that is a view stays where its producer is; a concat goes where some of its inputs are.
    """
    targets: dict[str, str] = {}
    reasons: dict[str, str] = {}
    producers = graph.producer()
    memory: dict[str, str] = {}  # a tensor → the one it is a reshape of
    pieces: dict[str, str] = {}  # a tensor that lies inside another → the concat that put it there
    for node in graph.nodes:
        on_vdla = [name for name in node.inputs if name in producers and targets[producers[name].name] == "vdla"]
        why = ""
        if is_packed_view(node, graph) and on_vdla:
            memory[node.outputs[0]] = memory.get(node.inputs[0], node.inputs[0])
            reason = VIEW
        elif why := refusal(node, graph):
            reason = why
        elif node.op == "concat":
            roots = [memory.get(name, name) for name in node.inputs]
            reason, why = VIEW, _misplaced(roots, pieces, bool(on_vdla))
            if not why:
                pieces |= dict.fromkeys(roots, node.name)
        else:
            reason = "a VDLA kernel"
        targets[node.name], reasons[node.name] = ("cpu", why) if why else ("vdla", reason)
    return Placement(targets, reasons)


def _misplaced(roots: list[str], pieces: Mapping[str, str], on_vdla: bool) -> str:
    """Why the tensors `roots` cannot lie one after another in memory; empty when they can."""
    if not on_vdla:
        return NOT_BESIDE
    if len(set(roots)) < len(roots):
        return "concatenates a tensor with itself: a tensor has one place in memory"
    taken = next((name for name in roots if name in pieces), None)
    return f"{taken} has its place in memory within {pieces[taken]} already" if taken is not None else ""


def is_packed_view(node: Node, graph: Graph) -> bool:
    """Whether the node is a reshape that only drops or adds dimensions of extent 1 behind (N, C)."""
    if node.op != "reshape":
        return False
    before, after = graph.type_of(node.inputs[0]).shape, graph.type_of(node.outputs[0]).shape
    return {len(before), len(after)} <= {2, 4} and (*before, 1, 1)[:4] == (*after, 1, 1)[:4]


def is_view(node: Node, graph: Graph) -> bool:
    """Whether a node placed on VDLA runs no instructions."""
    return node.op == "concat" or is_packed_view(node, graph)


def place_and_partition(graph: Graph, refusal: Callable[[Node, Graph], str]) -> tuple[Placement, list[Run]]:
    """Placement and runs, in which every VDLA run has a layer: where only views would remain, the host copies."""
    placement = place(graph, refusal)
    while True:
        runs = partition(graph, placement)
        lone = [n.name for r in runs if r.target == "vdla" and all(is_view(n, graph) for n in r.nodes) for n in r.nodes]
        if not lone:
            return placement, runs
        placement = Placement(
            {**placement.targets, **dict.fromkeys(lone, "cpu")}, {**placement.reasons, **dict.fromkeys(lone, NOT_BESIDE)}
        )


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
