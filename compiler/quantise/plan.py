"""Deciding what is fused into what, and in which integer form; `islands` decides what of it is quantised, `quantise` does it.

A group is one quantised node to be: an anchor, and what it takes over.

    conv2d → add(residual) → relu       a layer whose epilogue they are
    x ─┬─ sigmoid ─ mul ─               a table: any function of one number
       └─────────────┘
    mul(constant) → add(constant)       a scale and a shift of each channel
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from math import prod
from typing import Any

import numpy as np

from vdla.compiler.graph.fold_affine import channel_vector
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.unary_regions import UnaryRegion, unary_regions
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import UNCLIPPED

Array = np.ndarray
MAX_POOL_WINDOW = 1 << 23
"""An average over more elements could overflow int32."""


class Form(Enum):
    """What kind of integer arithmetic a group becomes."""

    CONVOLUTION = "convolution"
    DENSE = "dense"
    MATMUL = "matmul"  # of two activations
    BATCH_NORM = "batch norm"
    CHANNELS = "channels"  # a constant factor, or term, for each channel of images
    PAIR = "pair"  # `rescaled_form`: each operand rescaled from a scale of its own
    PRODUCT = "product"
    POOL = "pool"
    CONCAT = "concat"
    PAD = "pad"
    TABLE = "table"
    CLIP = "clip"
    MOVE = "move"  # what commutes with dequantisation


REQUANTISED = frozenset(Form) - {Form.CONCAT, Form.PAD, Form.TABLE, Form.MOVE}
"""Those that end in a requantisation, to which a clip behind them can be left."""
WEIGHTED = frozenset({Form.CONVOLUTION, Form.DENSE})
LAYERS = WEIGHTED | {Form.MATMUL}


def inherits(node: Node) -> bool:
    """Whether the node's int8 output means what its one input means."""
    operator = OPERATORS[node.op]
    return operator.commutes and not operator.variadic and len(node.outputs) == 1


def keeps_levels(node: Node) -> bool:
    """Whether every output of the node means what its first input does."""
    operator = OPERATORS[node.op]
    return operator.commutes and not operator.variadic


def activations(node: Node) -> tuple[str, ...]:
    """The inputs that are int8 where the node is quantised; the others are parameters."""
    operator = OPERATORS[node.op]
    joins = operator.rescaled_form or operator.product_form or (operator.commutes and operator.variadic)
    return node.inputs if joins else node.inputs[:1]


def is_pair(node: Node, graph: Graph) -> bool:
    """Whether the node has a `rescaled_form` and what it joins are two tensors of one shape, with channels."""
    if not OPERATORS[node.op].rescaled_form or len(node.inputs) != 2:
        return False
    a, b = (graph.tensors[name].shape for name in node.inputs)
    return a == b and len(a) >= 2


@dataclass(frozen=True, slots=True)
class Group:
    """`members` in topological order, the anchor first; `residual` is the float tensor a fused add adds, or "".

    inputs: the tensors it reads as levels; constants among them are operands quantised once. region: of a table. form: None
    where there is none in integers.
    """

    members: tuple[Node, ...]
    inputs: tuple[str, ...]
    form: Form | None = None
    clip: tuple[float, float] = UNCLIPPED
    residual: str = ""
    region: UnaryRegion | None = None
    quantised: bool = False

    @property
    def anchor(self) -> Node:
        return self.members[0]

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.members[-1].outputs

    @property
    def output(self) -> str:
        return self.outputs[0]

    @property
    def data(self) -> tuple[str, ...]:
        """The activations it reads, the residual among them."""
        return (*self.inputs, self.residual) if self.residual else self.inputs

    @property
    def keeps_levels(self) -> bool:
        """Whether its output's levels mean what its input's do."""
        return self.form is Form.MOVE or (self.form is Form.PAD)

    @property
    def source(self) -> str:
        return "+".join(dict.fromkeys(member.source or member.name for member in self.members))


def fused(graph: Graph, fuse_residual: bool = True) -> list[Group]:
    """The graph as groups, in an order in which each can be computed. None is `quantised` yet.

    Convolutions come from last to first, so that of two that meet in an add the later one takes it: its other operand has long
    been computed. Then what ends in a requantisation takes the clips behind it, and functions of one number that are left
    become tables.
    """
    grower = Grower(graph, fuse_residual)
    regions = unary_regions(graph)
    inside = {node.name for region in regions for node in region.nodes}
    grower.grow(node for node in reversed(graph.nodes) if node.op == "conv2d")
    grower.grow(node for node in graph.nodes if node.name not in inside and not clip_interval(node))
    grower.add_tables(regions)
    grower.grow(graph.nodes)
    position = {node.name: i for i, node in enumerate(graph.nodes)}
    return sorted(grower.groups, key=lambda group: position[group.members[-1].name])


class Grower:
    """Groups as they are found. `taken` names the nodes that are in one."""

    def __init__(self, graph: Graph, fuse_residual: bool) -> None:
        self.graph, self.fuse_residual = graph, fuse_residual
        self.consumers = graph.consumers()
        self.taken: set[str] = set()
        self.groups: list[Group] = []

    def grow(self, anchors: Iterable[Node]) -> None:
        for node in anchors:
            if node.name in self.taken:
                continue
            self.taken.add(node.name)
            group = group_of(self.graph, node)
            if group.form is Form.CHANNELS:
                group = self._with_shift(group)
            if group.form in REQUANTISED:
                group = self._extended(group)
            self.groups.append(group)

    def add_tables(self, regions: tuple[UnaryRegion, ...]) -> None:
        """What convolutions and others left of each region."""
        for region in regions:
            nodes = tuple(node for node in region.nodes if node.name not in self.taken)
            lost = [node for node in region.nodes if node.name in self.taken]
            if not nodes or len(nodes) == 1 and clip_interval(nodes[0]):
                continue
            start = lost[-1].outputs[0] if lost else region.input  # what was taken leads in, one after another
            self.taken.update(node.name for node in nodes)
            known = {name: value for name, value in region.constants.items() if any(name in node.inputs for node in nodes)}
            form = Form.TABLE if len(self.graph.tensors[start].shape) >= 2 else None
            self.groups.append(Group(nodes, (start,), form, region=UnaryRegion(nodes, start, region.output, known)))

    def _sole_user(self, group: Group) -> Node | None:
        users = self.consumers.get(group.output, [])
        alone = len(users) == 1 and len(group.outputs) == 1 and group.output not in self.graph.outputs
        return users[0] if alone and users[0].name not in self.taken else None

    def _extended(self, group: Group) -> Group:
        """Take over the sole consumer while it is an add (once, before any clip), relu or clip."""
        if interval := clip_interval(group.anchor):
            group = replace(group, clip=interval)
        while (node := self._sole_user(group)) is not None:
            if interval := clip_interval(node):
                clip = (within(group.clip[0], *interval), within(group.clip[1], *interval))
                group = replace(group, members=(*group.members, node), clip=clip)
            elif node.op == "add" and self.fuse_residual and (residual := self._residual(group, node)):
                group = replace(group, members=(*group.members, node), residual=residual)
            else:
                break
            self.taken.add(node.name)
        return group

    def _residual(self, group: Group, add: Node) -> str:
        """The other operand of `add`, when a convolution can take it as residual; else ""."""
        if group.form is not Form.CONVOLUTION or len(group.members) > 1:
            return ""
        others = [name for name in add.inputs if name != group.output]
        if len(others) != 1 or others[0] in self.graph.constants:
            return ""
        same = self.graph.tensors[others[0]].shape == self.graph.tensors[group.output].shape
        return others[0] if same else ""

    def _with_shift(self, group: Group) -> Group:
        """A factor of each channel, and the term of each channel behind it."""
        node = self._sole_user(group)
        if group.anchor.op != "mul" or node is None or node.op != "add":
            return group
        if channel_constant(self.graph, node) is None:
            return group
        self.taken.add(node.name)
        return replace(group, members=(*group.members, node))


@dataclass(frozen=True, slots=True)
class ChannelConstant:
    """x · factor + shift, each a number or float64[C] along axis 1 of images."""

    x: str
    factor: Array | float
    shift: Array | float


def channel_constant(graph: Graph, node: Node) -> ChannelConstant | None:
    """What a node does to each channel of images that joins them and a constant vector by a sum, difference or product."""
    if node.op not in ("add", "sub", "mul") or len(graph.tensors[node.outputs[0]].shape) != 4:
        return None
    a, b = node.inputs
    x, constant = (b, a) if a in graph.constants else (a, b)
    shape = graph.tensors[x].shape
    if constant not in graph.constants or x in graph.constants or shape != graph.tensors[node.outputs[0]].shape:
        return None
    vector = channel_vector(graph.constants[constant], shape, 1)
    if vector is None:
        return None
    if node.op == "mul":
        return ChannelConstant(x, vector, 0.0)
    if node.op == "add":
        return ChannelConstant(x, 1.0, vector)
    return ChannelConstant(x, 1.0, -vector) if x == a else ChannelConstant(x, -1.0, vector)


def pair_operands(graph: Graph, node: Node) -> tuple[str, str] | None:
    """The two operands as the quantised form takes them: the first has the output's shape, the second it or its broadcast.

    An activation comes before a constant. A difference keeps its order, whatever is broadcast; sums of tensors that are both
    broadcast do too. None where an activation has fewer dimensions than the output.
    """
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    shape = graph.tensors[node.outputs[0]].shape
    ranks = {len(graph.tensors[name].shape) for name in (a, b) if name not in graph.constants}
    if ranks != {len(shape)} or len(shape) < 2:
        return None
    whole = [name for name in (a, b) if name not in graph.constants and graph.tensors[name].shape == shape]
    swapped = node.op != "sub" and bool(whole) and a not in whole
    return (b, a) if swapped else (a, b)


def can_multiply(graph: Graph, node: Node) -> bool:
    """Whether a product of matrices is one of two activations, the same matrices on both sides."""
    a, b = (graph.tensors[name].shape for name in node.inputs)
    return len(a) >= 2 and a[:-2] == b[:-2] and not any(name in graph.constants for name in node.inputs)


def within(value: float, low: float, high: float) -> float:
    """The point of [low, high] nearest to `value`."""
    return min(max(value, low), high)


def clip_interval(node: Node) -> tuple[float, float] | None:
    """What a node clips to that does nothing else."""
    clips = OPERATORS[node.op].clips
    if clips is None:
        return None
    low, high = clips(node.attributes)
    return float(low), float(high)


def group_of(graph: Graph, node: Node) -> Group:
    """The node alone, with its integer form, operands' representations aside."""
    form, inputs = _form(graph, node)
    floats = all(graph.tensors[name].dtype == "float32" for name in (*inputs, *node.outputs) if name)
    activation = any(name not in graph.constants for name in inputs)
    constants_allowed = form in (Form.PAIR, Form.PRODUCT, Form.CONCAT)
    if not floats or not activation or not (constants_allowed or all(name not in graph.constants for name in inputs)):
        form = None
    return Group((node,), inputs, form)


def _form(graph: Graph, node: Node) -> tuple[Form | None, tuple[str, ...]]:
    """The integer form that operator, attributes, shapes and constants allow, and what it reads as levels."""
    operator = OPERATORS[node.op]
    a, data = with_defaults(node.op, node.attributes), node.inputs[:1]
    if not data or not data[0]:
        return None, ()
    shape = graph.tensors[data[0]].shape
    spatial = prod(shape[2:]) <= MAX_POOL_WINDOW
    match node.op:
        case "conv2d":
            return (Form.CONVOLUTION if _constant_parameters(graph, node) else None), data
        case "dense":
            return (Form.DENSE if len(shape) == 2 and _constant_parameters(graph, node) else None), data
        case "batch_norm":
            return (Form.BATCH_NORM if len(shape) == 4 and _constant_parameters(graph, node) else None), data
        case "avg_pool2d":
            return (Form.POOL if counts_all(a) and prod(a["kernel"]) <= MAX_POOL_WINDOW else None), data
        case "global_avg_pool":
            return (Form.POOL if len(shape) == 4 and spatial else None), data
        case "reduce_mean":
            axes = {axis % 4 for axis in a["axes"]}
            return (Form.POOL if len(shape) == 4 and axes == {2, 3} and spatial else None), data
        case "pad":
            return (Form.PAD if a["value"] == 0 else None), data
        case "matmul":
            return (Form.MATMUL if "qmatmul" in OPERATORS and can_multiply(graph, node) else None), node.inputs
        case _ if (found := channel_constant(graph, node)) is not None:
            return Form.CHANNELS, (found.x,)
        case _ if operator.rescaled_form or operator.product_form:
            form = Form.PAIR if operator.rescaled_form else Form.PRODUCT
            operands = pair_operands(graph, node)
            return (form if operands else None), operands or node.inputs
        case _ if clip_interval(node) is not None:
            return (Form.CLIP if len(shape) >= 2 else None), data
        case _ if operator.commutes and operator.variadic:
            return Form.CONCAT, node.inputs
        case _:
            return (Form.MOVE if operator.commutes else None), data


def counts_all(a: dict[str, Any]) -> bool:
    """Whether every window of an average pool divides by its full size."""
    return not a["ceil"] and (a["count_include_pad"] or not any(a["pads"]))


def _constant_parameters(graph: Graph, node: Node) -> bool:
    return all(name in graph.constants for name in node.inputs[1:] if name)
