"""Operator fusion by the four classes of the TVM paper (arXiv 1802.04799, section 3).

    injective  one-to-one maps: several make one injective group          add, relu, reshape, pack_nchwc …
    reduction  takes the injective operators that feed it                  reduce_mean, global_avg_pool
    complex    elementwise operators on its output ride along              conv2d, dense, pooling …
    opaque     fuses with nothing                                          softmax …

A group is a tree of operators, or nearly: it runs where its last node stood, and every tensor inside it but the last is read
inside it only. Nothing outside waits for the middle of a group, and groups cannot wait for each other in a circle. A tensor
with several readers is inside once all of them are, so that x · sigmoid(x) is one group together with what computes x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vdla.compiler.graph.graph import Graph, Node

ELEMENTWISE = frozenset(
    {
        "relu", "clip", "sigmoid", "tanh", "hard_sigmoid", "hard_swish", "add", "sub", "mul", "div", "batch_norm",
        "quantize", "dequantize", "requantize", "qadd",
    }
)  # fmt: skip
INJECTIVE = ELEMENTWISE | {"reshape", "transpose", "concat", "pad", "pack_nchwc", "unpack_nchwc", "im2col"}
REDUCTION = frozenset({"reduce_mean", "global_avg_pool"})
COMPLEX = frozenset(
    {
        "conv2d", "dense", "matmul", "max_pool2d", "avg_pool2d", "lrn",
        "qconv2d", "qdense", "qmax_pool2d", "qavg_pool2d",
    }
)  # fmt: skip
READS = {"hard_swish": 2, "lrn": 2}
"""How often an operator's expression has its input in it, where more than once."""
TREE_LIMIT = 32
"""Operators in a group's expression, written out as a tree: what is read twice counts twice. Bounds the code of a kernel."""


@dataclass(frozen=True, slots=True)
class FusionGroup:
    """Nodes that become one kernel, in order."""

    nodes: tuple[Node, ...]

    @property
    def anchor(self) -> Node:
        """The node whose class is the whole's: the one that is not injective, or the last."""
        return next((node for node in self.nodes if kind_of(node.op) != "injective"), self.nodes[-1])

    @property
    def kind(self) -> str:
        return kind_of(self.anchor.op)

    @property
    def output(self) -> str:
        return self.nodes[-1].outputs[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read from outside the group, constants included."""
        inside = {name for node in self.nodes for name in node.outputs}
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.inputs if name and name not in inside))


def kind_of(op: str) -> str:
    """The fusion class of an operator."""
    for kind, members in (("injective", INJECTIVE), ("reduction", REDUCTION), ("complex", COMPLEX)):
        if op in members:
            return kind
    return "opaque"


def fuse(graph: Graph, fusible: Callable[[Node], bool] = lambda node: True) -> tuple[FusionGroup, ...]:
    """The graph's nodes as groups, in an order in which they can run. Nodes that are not `fusible` stay alone."""
    readers = {name: {node.name for node in nodes} for name, nodes in graph.consumers().items()}
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    ending: dict[str, FusionGroup] = {}  # output tensor → the group that ends there
    for node in graph.nodes:
        group = FusionGroup((node,))
        while fusible(node):
            names = {member.name for member in group.nodes}
            takers = [
                whole
                for name in group.inputs
                if name in ending and readers[name] <= names and name not in graph.outputs and fusible(ending[name].nodes[-1])
                if (whole := joined(ending[name], group, graph, position)) is not None
            ]
            if not takers:
                break
            # Of two layers, the later one: its output is the fresher in cache.
            group = max(takers, key=lambda whole: (whole.kind == "complex", position[whole.anchor.name]))
            for member in group.nodes:
                ending.pop(member.outputs[0], None)
        ending[node.outputs[0]] = group
    return tuple(sorted(ending.values(), key=lambda group: position[group.nodes[-1].name]))


def joined(producer: FusionGroup, group: FusionGroup, graph: Graph, position: dict[str, int]) -> FusionGroup | None:
    """`group` with the `producer` of one of its inputs, or None when their classes forbid it or it would grow too large."""
    if not may_join(producer, group, graph):
        return None
    whole = FusionGroup(tuple(sorted((*producer.nodes, *group.nodes), key=lambda node: position[node.name])))
    return whole if tree_size(whole) <= TREE_LIMIT else None


def may_join(producer: FusionGroup, group: FusionGroup, graph: Graph) -> bool:
    """Whether the four classes let `group` take the `producer` of one of its inputs."""
    shape = graph.type_of(group.output).shape
    match producer.kind, group.kind:
        case "injective", "injective" | "reduction":
            return True
        case "complex", "injective":
            return _is_elementwise(producer.nodes[-1:], shape, graph) and _is_elementwise(group.nodes, shape, graph)
        case "injective", "complex":  # another operand of what rides on the layer, never what feeds the layer itself
            return _is_elementwise(producer.nodes, shape, graph) and producer.output not in group.anchor.inputs
        case _:
            return False


def _is_elementwise(nodes: tuple[Node, ...], shape: tuple[int, ...], graph: Graph) -> bool:
    """Whether each node computes one element of `shape` from the same one of its operands."""
    return all(
        (node.op in ELEMENTWISE or kind_of(node.op) == "complex") and graph.type_of(node.outputs[0]).shape == shape
        for node in nodes
    )


def tree_size(group: FusionGroup) -> int:
    """Operators in the group's expression, written out as a tree."""
    copies: dict[str, int] = {group.output: 1}
    for node in reversed(group.nodes):
        for name in node.inputs:
            copies[name] = copies.get(name, 0) + copies[node.outputs[0]] * READS.get(node.op, 1)
    return sum(copies[node.outputs[0]] for node in group.nodes)
