"""Operator fusion by the four classes of the TVM paper (arXiv 1802.04799, section 3).

    injective  one-to-one maps: several make one injective group          add, relu, reshape …
    reduction  takes the injective operators that feed it                  reduce_mean, global_avg_pool
    complex    elementwise operators on its output ride along              conv2d, dense, pooling …
    opaque     fuses with nothing                                          softmax …

A group runs where its last node stood. Every tensor inside it but the last has one reader, the next in the group, so that
nothing outside waits for the middle of a group and groups cannot wait for each other in a circle.
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
INJECTIVE = ELEMENTWISE | {"reshape", "transpose", "concat", "pad"}
REDUCTION = frozenset({"reduce_mean", "global_avg_pool"})
COMPLEX = frozenset(
    {
        "conv2d", "dense", "matmul", "max_pool2d", "avg_pool2d", "lrn",
        "qconv2d", "qdense", "qmax_pool2d", "qavg_pool2d",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FusionGroup:
    """Nodes that become one loop nest, in order; `kind` is the class of the whole."""

    nodes: tuple[Node, ...]
    kind: str

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
    readers = {name: sum(node.inputs.count(name) for node in nodes) for name, nodes in graph.consumers().items()}
    ending: dict[str, FusionGroup] = {}  # output tensor → the group that ends there
    position = {node.outputs[0]: index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        kind = kind_of(node.op)
        candidates = [
            name
            for name in node.inputs
            if name in ending and readers[name] == 1 and name not in graph.outputs and fusible(ending[name].nodes[-1])
        ]
        takers = [name for name in candidates if fusible(node) and may_join(graph, ending[name].kind, node, name)]
        if not takers:
            ending[node.outputs[0]] = FusionGroup((node,), kind)
            continue
        # Of two producers, the later one: its output is the fresher in cache.
        group = ending.pop(max(takers, key=position.__getitem__))
        whole = kind if group.kind == "injective" else group.kind
        ending[node.outputs[0]] = FusionGroup((*group.nodes, node), whole)
    return tuple(sorted(ending.values(), key=lambda group: position[group.output]))


def may_join(graph: Graph, kind: str, node: Node, tensor: str) -> bool:
    """Whether `node` fuses onto the group of class `kind` that computes `tensor`."""
    if kind == "injective":
        return kind_of(node.op) in ("injective", "reduction")
    same_shape = graph.type_of(tensor).shape == graph.type_of(node.outputs[0]).shape
    return kind == "complex" and node.op in ELEMENTWISE and same_shape
