"""Deciding what is quantised, and what is fused into what; `quantise` does it.

A group is one quantised node to be: an anchor, and the add, relu and clip that its epilogue takes over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import UNCLIPPED

MAX_POOL_WINDOW = 1 << 23
"""An average over more elements could overflow int32."""


def inherits(node: Node) -> bool:
    """Whether the node's int8 output means what its one input means."""
    operator = OPERATORS[node.op]
    return operator.commutes and not operator.variadic and len(node.outputs) == 1


def activations(node: Node) -> tuple[str, ...]:
    """The inputs that are int8 where the node is quantised; the others are parameters."""
    return node.inputs if OPERATORS[node.op].rescaled_form or node.op == "concat" else node.inputs[:1]


def is_pair(node: Node, graph: Graph) -> bool:
    """Whether the node has a `rescaled_form` and what it joins are two tensors of one shape, with channels."""
    if not OPERATORS[node.op].rescaled_form or len(node.inputs) != 2:
        return False
    a, b = (graph.tensors[name].shape for name in node.inputs)
    return a == b and len(a) >= 2


def is_layer(node: Node) -> bool:
    """Worth quantising wherever it is; all other operators only where an input is int8 already."""
    return OPERATORS[node.op].channel_axis is not None


@dataclass(frozen=True, slots=True)
class Group:
    """`members` in topological order, the anchor first; `residual` is the float tensor a fused add adds, or ""."""

    members: tuple[Node, ...]
    clip: tuple[float, float] = UNCLIPPED
    residual: str = ""
    quantised: bool = False

    @property
    def anchor(self) -> Node:
        return self.members[0]

    @property
    def output(self) -> str:
        return self.members[-1].outputs[0]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The activations it reads."""
        data = activations(self.anchor)
        return (*data, self.residual) if self.residual else data

    @property
    def source(self) -> str:
        return "+".join(member.source or member.name for member in self.members)


def plan(graph: Graph, fuse_residual: bool = True) -> list[Group]:
    """The graph as groups, in an order in which each can be computed."""
    groups: list[Group] = []
    int8: set[str] = set()
    for group in _order(graph, _grow(graph, fuse_residual)):
        quantised = can_quantise(graph, group) and (is_layer(group.anchor) or any(name in int8 for name in group.inputs))
        groups.append(replace(group, quantised=quantised))
        if quantised:
            int8.add(group.output)
    return groups


def _grow(graph: Graph, fuse_residual: bool) -> list[Group]:
    """Groups by greedy growth: convolutions from last to first, then everything else from first to last.

    So of two convolutions that meet in an add, the later one takes it: its other operand has long been computed.
    """
    convolutions = [node for node in reversed(graph.nodes) if node.op == "conv2d"]
    others = [node for node in graph.nodes if node.op != "conv2d"]
    consumers = graph.consumers()
    taken: set[str] = set()
    groups = []
    for node in (*convolutions, *others):
        if node.name in taken:
            continue
        group = Group((node,))
        if OPERATORS[node.op].takes_clip:
            group = _extend(graph, group, consumers, taken, fuse_residual)
        taken |= {member.name for member in group.members}
        groups.append(group)
    return groups


def _extend(graph: Graph, group: Group, consumers: dict[str, list[Node]], taken: set[str], fuse_residual: bool) -> Group:
    """Take over the sole consumer while it is an add (once, before any clip), relu or clip."""
    if interval := clip_interval(group.anchor):
        group = replace(group, clip=interval)
    while True:
        users = consumers.get(group.output, [])
        if len(users) != 1 or group.output in graph.outputs or users[0].name in taken:
            return group
        node = users[0]
        if interval := clip_interval(node):
            clip = (within(group.clip[0], *interval), within(group.clip[1], *interval))
            group = replace(group, members=(*group.members, node), clip=clip)
        elif (
            node.op == "add"
            and fuse_residual
            and len(group.members) == 1
            and (residual := _residual(graph, group.anchor, node))
        ):
            group = replace(group, members=(*group.members, node), residual=residual)
        else:
            return group


def within(value: float, low: float, high: float) -> float:
    """The point of [low, high] nearest to `value`."""
    return min(max(value, low), high)


def _residual(graph: Graph, anchor: Node, add: Node) -> str:
    """The other operand of `add`, when a convolution can take it as residual; else ""."""
    if anchor.op != "conv2d" or not _constant_parameters(graph, anchor):
        return ""
    others = [name for name in add.inputs if name != anchor.outputs[0]]
    if (
        len(others) != 1
        or others[0] in graph.constants
        or graph.tensors[others[0]].shape != graph.tensors[anchor.outputs[0]].shape
    ):
        return ""
    return others[0]


def _order(graph: Graph, groups: list[Group]) -> list[Group]:
    """By the position of each group's last member, where everything it reads has been computed."""
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    return sorted(groups, key=lambda group: position[group.members[-1].name])


def clip_interval(node: Node) -> tuple[float, float] | None:
    """What a node clips to that does nothing else."""
    clips = OPERATORS[node.op].clips
    if clips is None:
        return None
    low, high = clips(node.attributes)
    return float(low), float(high)


def can_quantise(graph: Graph, group: Group) -> bool:
    """Whether the anchor has an exact quantised form, its operands' representations aside."""
    node = group.anchor
    if any(name in graph.constants or graph.tensors[name].dtype != "float32" for name in group.inputs):
        return False
    a, shape = with_defaults(node.op, node.attributes), graph.tensors[node.inputs[0]].shape
    match node.op:
        case "conv2d":
            return _constant_parameters(graph, node)
        case "dense":
            return len(shape) == 2 and _constant_parameters(graph, node)
        case "batch_norm":
            return len(shape) == 4 and _constant_parameters(graph, node)
        case "avg_pool2d":
            return counts_all(a) and prod(a["kernel"]) <= MAX_POOL_WINDOW
        case "global_avg_pool":
            return prod(shape[2:]) <= MAX_POOL_WINDOW
        case "reduce_mean":
            return len(shape) == 4 and {axis % 4 for axis in a["axes"]} == {2, 3} and prod(shape[2:]) <= MAX_POOL_WINDOW
        case "pad":
            return a["value"] == 0
        case _:
            return node.op == "concat" or is_pair(node, graph) or inherits(node) or clip_interval(node) is not None


def counts_all(a: dict) -> bool:
    """Whether every window of an average pool divides by its full size."""
    return not a["ceil"] and (a["count_include_pad"] or not any(a["pads"]))


def _constant_parameters(graph: Graph, node: Node) -> bool:
    return all(name in graph.constants for name in node.inputs[1:] if name)
