"""Pieces of a graph that are functions of one number: activation functions as models spell them out.

    x ─┬─ sigmoid ─┐
       └────────── mul → y                          y = x · sigmoid(x)
    x ─┬─ add 3 ─ clip 0 … 6 ─┐
       └───────────────────── mul ─ mul 1/6 → y     hard swish

A region is elementwise nodes between one tensor and one other of its shape, whose further inputs are constants of one value;
nothing outside reads the middle of it. Each is as large as it can be, and no two share a node. On 256 levels such a function
is a table, whatever it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.operators.registry import OPERATORS

LEVELS = {"quantize", "dequantize"}


@dataclass(frozen=True)
class UnaryRegion:
    """`nodes` in order; `input` and `output` are the tensors they lie between; `constants` by name, each a single value."""

    nodes: tuple[Node, ...]
    input: str
    output: str
    constants: dict[str, np.ndarray]

    def evaluate(self, values: np.ndarray) -> np.ndarray:
        """The function of each element, by the reference kernels. values: of the input's dtype, in any shape."""
        known = {**self.constants, self.input: values}
        for node in self.nodes:
            known |= run_node(node, known)
        return known[self.output]


def unary_regions(graph: Graph, dtype: str = "float32") -> tuple[UnaryRegion, ...]:
    """The maximal regions between two tensors of `dtype`, in the graph's order.

    With dtype int8 they go from levels to levels, by way of dequantize and quantize of one scale, which float ones don't hold.
    """
    unary = {node.outputs[0]: node for node in graph.nodes if is_unary(graph, node, dtype)}
    narrowest = bottlenecks(graph, unary)
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    readers = graph.consumers()
    taken: set[str] = set()
    regions = []
    for end in (node.outputs[0] for node in reversed(graph.nodes)):
        if end not in unary or graph.tensors[end].dtype != dtype or unary[end].name in taken:
            continue
        start, nodes = widest(graph, end, unary, narrowest, readers, dtype)
        if nodes:
            taken.update(nodes)
            ordered = tuple(sorted(nodes.values(), key=lambda node: position[node.name]))
            regions.append(UnaryRegion(ordered, start, end, scalars(graph, ordered)))
    return tuple(sorted(regions, key=lambda region: position[region.nodes[-1].name]))


def is_unary(graph: Graph, node: Node, dtype: str) -> bool:
    """Whether the node is elementwise and all that it reads are tensors of its output's shape and constants of one value."""
    operator = OPERATORS[node.op]
    if not operator.is_elementwise or any(declared.channels for declared in operator.inputs):
        return False
    if node.op in LEVELS and (dtype != "int8" or of_channels(node)):
        return False
    shape = graph.tensors[node.outputs[0]].shape
    return all(
        graph.tensors[name].elements == 1 if name in graph.constants else graph.tensors[name].shape == shape
        for name in node.inputs
        if name
    ) and any(name not in graph.constants for name in node.inputs)


def of_channels(node: Node) -> bool:
    """Whether a level means different numbers in different channels."""
    return any(np.ndim(node.attributes.get(name, 0)) for name in ("scale", "zero_point"))


def varying(graph: Graph, node: Node) -> list[str]:
    return list(dict.fromkeys(name for name in node.inputs if name and name not in graph.constants))


def bottlenecks(graph: Graph, unary: dict[str, Node]) -> dict[str, str]:
    """Tensor → the nearest one before it through which all it is computed from passes ("" where there is none): the
    dominator tree of the unary nodes.
    """
    above: dict[str, str] = {}
    depth: dict[str, int] = {"": -1}

    def common(a: str, b: str) -> str:
        while a != b:
            a, b = (above[a], b) if depth[a] >= depth[b] else (a, above[b])
        return a

    for tensor in dict.fromkeys((*graph.inputs, *(name for node in graph.nodes for name in node.outputs))):
        sources = varying(graph, unary[tensor]) if tensor in unary else [""]
        nearest = sources[0]
        for source in sources[1:]:
            nearest = common(nearest, source)
        above[tensor], depth[tensor] = nearest, depth[nearest] + 1
    return above


def widest(
    graph: Graph, end: str, unary: dict[str, Node], above: dict[str, str], readers: dict[str, list[Node]], dtype: str
) -> tuple[str, dict[str, Node]]:
    """The highest start from which nodes that nothing outside reads lead to `end`, and those nodes by name. If one start will
    not do, none above it will.
    """
    start = end
    nodes: dict[str, Node] = {}
    best = start, nodes
    while above[start]:
        reached = between(graph, start, above[start], unary)
        inner = {name for node in reached.values() for name in node.outputs} - {end}
        nodes = {**nodes, **reached}
        if any(name in graph.outputs or any(reader.name not in nodes for reader in readers[name]) for name in inner):
            break
        start = above[start]
        if graph.tensors[start].dtype == dtype:
            best = start, nodes
    return best


def between(graph: Graph, end: str, start: str, unary: dict[str, Node]) -> dict[str, Node]:
    """The nodes on the ways from `start` to `end`, by name."""
    found: dict[str, Node] = {}
    pending = [end]
    while pending:
        name = pending.pop()
        if name != start and unary[name].name not in found:
            found[unary[name].name] = unary[name]
            pending += varying(graph, unary[name])
    return found


def scalars(graph: Graph, nodes: tuple[Node, ...]) -> dict[str, np.ndarray]:
    names = {name for node in nodes for name in node.inputs if name in graph.constants}
    return {name: graph.constants[name].reshape(()) for name in names}
