"""A dense layer behind a flatten is a convolution whose window is the whole map, and needs no copy.

before: x[N, C, H, W] ─ reshape [N, C·H·W] ─ qdense w[O, C·H·W] ─▶ y[N, O]
after:  x[N, C, H, W] ─ qconv2d w[O, C, H, W] ─▶ [N, O, 1, 1] ─ reshape (a view of the same packed tiles) ─▶ y[N, O]
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType

MAP = ".map"
"""Suffix of the (N, O, 1, 1) tensor in front of the view."""


def flatten_to_convolution(graph: Graph, accepts: Callable[[Node, Graph], bool]) -> Graph:
    """Rewrite every qdense with constant weights whose input is only a flattened 4-D tensor, where the device `accepts` the
    convolution; else the flatten stays a copy on the host."""
    producers = graph.producer()
    nodes: list[Node] = []
    tensors: dict[str, TensorType] = {}
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        flatten = producers.get(node.inputs[0]) if node.op == "qdense" and node.inputs[1] in graph.constants else None
        if flatten is None or flatten.op != "reshape" or not _flattens_map(flatten, graph):
            nodes.append(node)
            continue
        image, (n, o) = flatten.inputs[0], graph.type_of(node.outputs[0]).shape
        weight, mapped = node.inputs[1] + MAP, node.outputs[0] + MAP
        window = graph.constants[node.inputs[1]].reshape(o, *graph.type_of(image).shape[1:])
        map_type = TensorType((n, o, 1, 1), "int8")
        conv = Node(node.name, "qconv2d", (image, weight, *node.inputs[2:]), (mapped,), node.attributes, node.source)
        if not accepts(conv, graph.with_nodes([conv], {mapped: map_type}, {weight: window})):
            nodes.append(node)
            continue
        constants[weight], tensors[mapped] = window, map_type
        nodes.append(conv)
        nodes.append(Node(f"{node.name}.view", "reshape", (mapped,), node.outputs, {"shape": (n, o)}, node.source))
    return _without_unread(graph.with_nodes(nodes, tensors, constants))


def _flattens_map(node: Node, graph: Graph) -> bool:
    before, after = graph.type_of(node.inputs[0]).shape, graph.type_of(node.outputs[0]).shape
    return len(before) == 4 and len(after) == 2 and before[0] == after[0] and before[2] * before[3] > 1


def _without_unread(graph: Graph) -> Graph:
    """Drop reshapes whose result nobody reads any more."""
    consumers = graph.consumers()
    kept = [n for n in graph.nodes if n.op != "reshape" or n.outputs[0] in graph.outputs or n.outputs[0] in consumers]
    return graph.with_nodes(kept)
