"""How passes change a graph: rules, tried node by node in order, each saying what its node becomes.

A rule looks at one node whose inputs are already rewritten and returns
    None            nothing to do
    a tensor name   the node computes the same as that tensor: its users read that instead
    nodes           what replaces it, the last one computing the node's output; rules are tried on these in turn
Nodes left without a user are dropped at the end, so a rule that merges a node into its user need not remove it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.names import Names, unused
from vdla.compiler.operators.registry import infer_type, with_defaults

Change = None | str | Sequence[Node]


@dataclass
class Context:
    """What a rule may ask: the graph as rewritten so far."""

    outputs: frozenset[str]
    tensors: dict[str, TensorType]
    constants: dict[str, np.ndarray]
    uses: Counter[str]
    readers: Mapping[str, set[str]]
    """The operators that read each tensor, in the graph as it was."""
    producer: dict[str, Node] = field(default_factory=dict)

    def type_of(self, tensor: str) -> TensorType:
        return self.tensors[tensor]

    def shape(self, tensor: str) -> tuple[int, ...]:
        return self.tensors[tensor].shape

    def constant(self, tensor: str) -> np.ndarray | None:
        return self.constants.get(tensor)

    def source_of(self, tensor: str, *ops: str) -> Node | None:
        """The node computing `tensor`, when it is one of `ops`."""
        node = self.producer.get(tensor)
        return node if node is not None and node.op in ops else None

    def only_use(self, tensor: str) -> bool:
        """Whether one node reads the tensor, once, and it is no output of the graph."""
        return self.uses[tensor] == 1 and tensor not in self.outputs

    def attributes(self, node: Node) -> dict[str, Any]:
        return with_defaults(node.op, node.attributes)

    def add_constant(self, base: str, array: np.ndarray) -> str:
        name = self.fresh(base)
        self.constants[name] = np.ascontiguousarray(array).reshape(array.shape)
        self.tensors[name] = TensorType(array.shape, str(array.dtype))
        return name

    def fresh(self, base: str) -> str:
        return unused(base, self.tensors, ".")

    def make(
        self, op: str, inputs: Sequence[str], output: str, attributes: Mapping[str, Any], *, name: str, source: str
    ) -> Node:
        """A node computing `output`, whose type is noted here."""
        merged = with_defaults(op, attributes)
        self.tensors[output] = infer_type(op, tuple(self.tensors.get(i) for i in inputs), merged)
        return Node(name, op, tuple(inputs), (output,), MappingProxyType(merged), source)


Rule = Callable[[Context, Node], Change]
Rules = Mapping[str, Sequence[Rule]]
PATIENCE = 100  # changes per node of the graph; more is two rules undoing each other


def rewrite(graph: Graph, rules: Rules) -> Graph:
    """The graph with the rules (by operator) applied until none changes a node."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    readers: dict[str, set[str]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, set()).add(node.op)
    context = Context(frozenset(graph.outputs), dict(graph.tensors), dict(graph.constants), uses, readers)
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    pending = list(reversed(graph.nodes))
    changes = 0
    while pending:
        node = pending.pop()
        node = replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs))
        change = first_change(context, node, rules.get(node.op, ()))
        if change is None:
            nodes.append(node)
            context.producer |= dict.fromkeys(node.outputs, node)
            continue
        changes += 1
        assert changes <= PATIENCE * len(graph.nodes), f"rules for {node.op} do not settle at {node.name}"
        uses.subtract(node.inputs)
        if isinstance(change, str):
            alias[node.outputs[0]] = change
            uses[change] += uses[node.outputs[0]]
        else:
            uses.update(name for new in change for name in new.inputs)
            pending.extend(reversed(change))
    return eliminate_dead(replace(graph, nodes=tuple(nodes), tensors=context.tensors, constants=context.constants))


def first_change(context: Context, node: Node, rules: Sequence[Rule]) -> Change:
    """What the first rule that applies makes of the node. An output of the graph keeps a node of its own.

    Rules are for operators of one output.
    """
    for rule in rules:
        change = rule(context, node)
        if change is not None and not (isinstance(change, str) and node.outputs[0] in context.outputs):
            return change
    return None


def eliminate_dead(graph: Graph) -> Graph:
    """Drop nodes no output depends on, and the tensors and constants they alone used."""
    live, kept = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if live.intersection(node.outputs):
            live.update(node.inputs)
            kept.append(node)
    return graph.with_nodes(reversed(kept))


def named_apart(graph: Graph) -> Graph:
    """Nodes renamed whose name an earlier one has: rules name what they make after what they replace."""
    names = Names()
    return replace(graph, nodes=tuple(replace(node, name=names.fresh(node.name)) for node in graph.nodes))


def joined(*sources: str) -> str:
    """The names of several of the model's nodes as one source: conv1+bn1."""
    return "+".join(dict.fromkeys(part for source in sources for part in source.split("+") if part))
