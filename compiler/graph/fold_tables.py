"""A table of levels behind a convolution is the convolution's own end, and its levels are never written to memory.

before: x ─ qconv2d ─▶ [N, O, H, W] ─ qtable table[256] ─▶ y
after:  x ─ qconv2d with the table ─▶ y
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vdla.compiler.graph.graph import Graph, Node

TABLE_PLACE = 7
"""Of a table among a convolution's inputs, behind the residual and its parameters."""


def tables_into_convolutions(graph: Graph, accepts: Callable[[Node, Graph], bool]) -> Graph:
    """Rewrite every qtable with a constant table that alone reads what a qconv2d computes, where the device `accepts` the two
    as one."""
    producers, consumers = graph.producer(), graph.consumers()
    computed = set(graph.inputs) | set(producers)
    joined: dict[str, Node] = {}  # name of the qtable → both as one
    for node in graph.nodes:
        conv = producers.get(node.inputs[0]) if node.op == "qtable" and node.inputs[1] not in computed else None
        if conv is None or conv.op != "qconv2d" or len(conv.inputs) > TABLE_PLACE:
            continue
        level = conv.outputs[0]
        if level in graph.outputs or len(consumers[level]) > 1:
            continue
        absent = ("",) * (TABLE_PLACE - len(conv.inputs))
        both = replace(conv, inputs=(*conv.inputs, *absent, node.inputs[1]), outputs=node.outputs)
        if accepts(both, graph):
            joined[node.name] = both
    gone = {both.name for both in joined.values()}
    return graph.with_nodes([joined.get(node.name, node) for node in graph.nodes if node.name not in gone])
