"""The graph that `from_qdq` writes, and what its matchers ask about the graph that they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS, infer_type
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.emit import Emitted, Operand, renamed_apart, uniquely_named, unused_name
from vdla.compiler.quantise.plan import clip_interval
from vdla.compiler.quantise.qdq_weights import ConstantReader, LayerWeights, NoIntegerForm

Array = np.ndarray


@dataclass
class Writer:
    """`levels`: float tensor → the int8 operand of which it is exactly the dequantised value."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    levels: dict[str, Operand] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    known_weights: dict[str, LayerWeights] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.producer, self.consumers = self.graph.producer(), self.graph.consumers()
        self.names = set(self.graph.tensors)
        self.reader = ConstantReader(self.graph, self.producer)

    vector_type = TensorType((1,), "int32")
    """Of parameters, one for all channels."""

    def type_of(self, name: str) -> TensorType:
        return self.tensors.get(name) or self.graph.tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.type_of(name).shape

    def operand(self, name: str) -> Operand | None:
        """What a float tensor dequantises that is computed; None for any other."""
        operand = self.levels.get(name)
        return operand if operand is not None and not self.is_constant(operand) else None

    def activation(self, name: str) -> Operand:
        """What a node reads. Raises `NoIntegerForm` where that is no tensor of levels."""
        operand, node = self.operand(name), self.producer.get(name)
        if operand is not None:
            return operand
        if node is not None and node.op == "dequantize" and np.size(node.attributes["scale"]) > 1:
            raise NoIntegerForm(f"its input {name} has a scale for each channel")
        raise NoIntegerForm(f"its input {name} is not quantised")

    def is_clip_of_levels(self, name: str) -> bool:
        """Whether a tensor is only what a clip leaves of levels, which whatever reads it may do in its place."""
        node = self.producer.get(name)
        return node is not None and clip_interval(node) is not None and self.operand(node.inputs[0]) is not None

    def pair_of_levels(self, node: Node) -> bool:
        """Whether an elementwise node joins two tensors of levels."""
        return OPERATORS[node.op].is_elementwise and len(node.inputs) == 2 and all(name in self.levels for name in node.inputs)

    def comes_in(self, x: Operand) -> bool:
        """Whether levels are an input of the graph, or what one is quantised to: on the host, in front of everything."""
        node, inputs = self.producer.get(x.name), self.graph.inputs
        return x.name in inputs or (node is not None and node.op == "quantize" and node.inputs[0] in inputs)

    def is_constant(self, operand: Operand) -> bool:
        return operand.name in self.graph.constants or operand.name in self.constants

    def levels_of(self, operand: Operand) -> Array:
        """A constant operand's int8 levels."""
        return self.constants[operand.name] if operand.name in self.constants else self.graph.constants[operand.name]

    def sole_producer(self, name: str) -> Node | None:
        """The node that computes a tensor which one node alone reads, or quantize nodes alone."""
        readers = self.consumers.get(name, [])
        alone = len(readers) == 1 or all(reader.op == "quantize" for reader in readers)
        return self.producer.get(name) if alone and name not in self.graph.outputs else None

    def weights(self, layer: Node) -> LayerWeights:
        """Raises `NoIntegerForm`."""
        if layer.name not in self.known_weights:
            self.known_weights[layer.name] = self.reader.weights(layer)
        return self.known_weights[layer.name]

    def append(self, emitted: Emitted) -> None:
        node, constants = renamed_apart(emitted, self.names)
        self.nodes.append(node)
        self.constants.update(constants)
        self.names |= set(constants)

    def new_levels(self, name: str, shape: Sequence[int], affine: Affine) -> Operand:
        """A new int8 tensor."""
        name = unused_name(name, self.names)
        self.names.add(name)
        self.tensors[name] = TensorType(tuple(shape), "int8")
        return Operand(name, affine)

    def new_constant(self, name: str, levels: Array, affine: Affine) -> Operand:
        operand = self.new_levels(name, levels.shape, affine)
        self.constants[operand.name] = levels
        return operand

    def move(
        self, op: str, inputs: Sequence[Operand], name: str, source: str, output: Operand | None = None, **attributes: Any
    ) -> Operand:
        """An operator that only moves levels about: into `output`, or a new tensor of the first input's meaning."""
        if output is None:
            shape = infer_type(op, tuple(self.type_of(x.name) for x in inputs), attributes).shape
            output = self.new_levels(name, shape, inputs[0].affine)
        node = Node(name, op, tuple(x.name for x in inputs), (output.name,), MappingProxyType(attributes), source)
        self.nodes.append(node)
        return output

    def reshaped(self, x: Operand, shape: tuple[int, ...], source: str) -> Operand:
        """The same levels in another shape; of a constant a constant."""
        if self.shape(x.name) == shape:
            return x
        if self.is_constant(x):
            return self.new_constant(f"{x.name}.reshaped", self.levels_of(x).reshape(shape), x.affine)
        return self.move("reshape", [x], f"{x.name}.reshaped", source, shape=shape)

    def finish(self) -> Graph:
        """The new graph without nodes nobody uses."""
        needed, kept = set(self.graph.outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= set(node.inputs)
        return self.graph.with_nodes(uniquely_named(reversed(kept)), self.tensors, self.constants)
