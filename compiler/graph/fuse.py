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
from vdla.compiler.operators.operator import Fusion
from vdla.compiler.operators.registry import OPERATORS

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
    def outputs(self) -> tuple[str, ...]:
        """What the last node computes: one tensor, but for a node of several, which is alone in its group."""
        return self.nodes[-1].outputs

    @property
    def output(self) -> str:
        """The only output, or the first."""
        return self.outputs[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """Tensors read from outside the group, constants included."""
        inside = {name for node in self.nodes for name in node.outputs}
        return tuple(dict.fromkeys(name for node in self.nodes for name in node.inputs if name and name not in inside))


def kind_of(op: str) -> str:
    """The fusion class of an operator: one of the paper's four."""
    kind = OPERATORS[op].fusion
    return Fusion.INJECTIVE if kind is Fusion.ELEMENTWISE else kind


def fuse(graph: Graph, fusible: Callable[[Node], bool] = lambda node: True) -> tuple[FusionGroup, ...]:
    """The graph's nodes as groups, in an order in which they can run.

    Nodes that are not `fusible`, and those of several outputs, stay alone.
    """

    def joins(node: Node) -> bool:
        return len(node.outputs) == 1 and fusible(node)

    readers = {name: {node.name for node in nodes} for name, nodes in graph.consumers().items()}
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    ending: dict[str, FusionGroup] = {}  # output tensor → the group that ends there
    for node in graph.nodes:
        group = FusionGroup((node,))
        while joins(node):
            names = {member.name for member in group.nodes}
            takers = [
                whole
                for name in group.inputs
                if name in ending and readers[name] <= names and name not in graph.outputs and joins(ending[name].nodes[-1])
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
        (OPERATORS[node.op].is_elementwise or kind_of(node.op) == "complex") and graph.type_of(node.outputs[0]).shape == shape
        for node in nodes
    )


def tree_size(group: FusionGroup) -> int:
    """Operators in the group's expression, written out as a tree."""
    copies: dict[str, int] = {group.output: 1}
    for node in reversed(group.nodes):
        for name in node.inputs:
            copies[name] = copies.get(name, 0) + copies[node.outputs[0]] * OPERATORS[node.op].reads
    return sum(copies[node.outputs[0]] for node in group.nodes)
