"""The nodes of an ONNX graph in an order in which they can be computed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

import onnx

from vdla.errors import ModelError


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_read(node: onnx.NodeProto) -> set[str]:
    """What a node reads from around it, its subgraphs' reads included."""
    names = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside = {info.name for info in graph.input} | {tensor.name for tensor in graph.initializer}
        inside |= {name for below in graph.node for name in below.output}
        reads = {name for below in graph.node for name in names_read(below)} | {info.name for info in graph.output}
        names |= reads - inside
    return names


def sorted_nodes(nodes: Sequence[onnx.NodeProto], known: Collection[str]) -> list[onnx.NodeProto]:
    """The nodes, as they are if they are in order. known: the names that stand for something before the first.

    Raises `ModelError` on a cycle, a tensor with two sources and one with none.
    """
    producer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for output in filter(None, node.output):
            if output in producer or output in known:
                raise ModelError("a tensor is computed twice", found=output)
            producer[output] = index
    reads = [names_read(node) for node in nodes]
    for node, names in zip(nodes, reads, strict=True):
        if lost := sorted(name for name in names if name not in producer and name not in known):
            where = f"node {node.name!r} ({node.op_type})"
            raise ModelError("a node reads a tensor that nothing computes", where=where, found=lost[0])
    needs = {index: {producer[name] for name in names if name in producer} for index, names in enumerate(reads)}
    if all(max(before, default=-1) < index for index, before in needs.items()):
        return list(nodes)
    try:
        return [nodes[index] for index in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        circle = " -> ".join(nodes[i].name or nodes[i].op_type for i in error.args[1])
        raise ModelError("the graph has a cycle", found=circle) from None
