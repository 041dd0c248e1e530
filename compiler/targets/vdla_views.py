"""Nodes that cost the accelerator nothing: views, which name memory that others fill.

A reshape between (N, C, 1, 1) and (N, C) is its input's tiles; a concat of whole blocks of channels is its inputs' tiles one
after another, when each was put there to begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.targets.backend import Judge, Verdict
from vdla.compiler.targets.placement import IDLE

VIEW = "a view of packed tiles"


def is_packed_view(node: Node, graph: Graph) -> bool:
    """Whether the node is a reshape that only drops or adds dimensions of extent 1 behind (N, C)."""
    if node.op != "reshape":
        return False
    before, after = graph.type_of(node.inputs[0]).shape, graph.type_of(node.outputs[0]).shape
    return {len(before), len(after)} <= {2, 4} and (*before, 1, 1)[:4] == (*after, 1, 1)[:4]


def is_view(node: Node, graph: Graph) -> bool:
    """Whether a node placed on the accelerator runs no instructions."""
    return node.op == "concat" or is_packed_view(node, graph)


def only_views(nodes: Sequence[Node], graph: Graph) -> bool:
    return all(is_view(node, graph) for node in nodes)


def judge_with_views(graph: Graph, refusal: Callable[[Node], str]) -> Judge:
    """Everything with a kernel goes to the accelerator; `refusal` says why a node has none (empty when it has).

    A reshape that is a view stays where its producer is; a concat goes where some of its inputs are.
    """
    memory: dict[str, str] = {}  # a tensor → the one it is a reshape of
    pieces: dict[str, str] = {}  # a tensor that lies inside another → the concat that put it there

    def judge(node: Node, beside: Sequence[str]) -> Verdict:
        if is_packed_view(node, graph) and beside:
            memory[node.outputs[0]] = memory.get(node.inputs[0], node.inputs[0])
            return Verdict(True, VIEW)
        if why := refusal(node):
            return Verdict(False, why)
        if node.op != "concat":
            return Verdict(True, "a VDLA kernel")
        roots = [memory.get(name, name) for name in node.inputs]
        if why := _misplaced(roots, pieces, bool(beside)):
            return Verdict(False, why)
        pieces.update(dict.fromkeys(roots, node.name))
        return Verdict(True, VIEW)

    return judge


def _misplaced(roots: list[str], pieces: Mapping[str, str], beside: bool) -> str:
    """Why the tensors `roots` cannot lie one after another in memory; empty when they can."""
    if not beside:
        return IDLE
    if len(set(roots)) < len(roots):
        return "concatenates a tensor with itself: a tensor has one place in memory"
    taken = next((name for name in roots if name in pieces), None)
    return f"{taken} has its place in memory within {pieces[taken]} already" if taken is not None else ""
