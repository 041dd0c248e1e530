"""Models that come quantised: patterns dequantize → operator → quantize become integer operators.

    before   x ─ dequantize ─┐
             w ─ dequantize ─ conv2d ─ relu ─ quantize → y
             b ─ dequantize ─┘
    after    x ─ qconv2d(w, bias, scale, low = zero point) → y

The model's own scales and zero points are kept. What does not match stays float between its dequantize and quantize. The
result equals the float computation but for 2⁻¹⁹ in each ratio, nothing in powers of two: a difference of one level, rarely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.affine import Affine, Levels
from vdla.compiler.quantise.emit import (
    UNCLIPPED,
    Emitted,
    NodeSpec,
    Operand,
    emit_avg_pool2d,
    emit_conv2d,
    emit_dense,
    emit_dequantize,
    emit_requantize,
    emit_rescaled,
    renamed_apart,
    uniquely_named,
    unused_name,
)
from vdla.compiler.quantise.plan import MAX_POOL_WINDOW, activations, clip_interval, counts_all, inherits, is_pair, within
from vdla.compiler.quantise.scales import ACC_LIMIT, BIAS_LIMIT, MAX_MULTIPLIER, QuantisedWeights, accumulator_reach, magnitudes

Array = np.ndarray


def has_qdq(graph: Graph) -> bool:
    """Whether the model came quantised, so that it goes to `from_qdq` and not to `quantise`."""
    return any(node.op in ("quantize", "dequantize") for node in graph.nodes)


def from_qdq(graph: Graph) -> Graph:
    """The graph with every pattern that has an integer form replaced by it; same inputs and outputs."""
    return from_qdq_with_levels(graph)[0]


def from_qdq_with_levels(graph: Graph) -> tuple[Graph, Levels]:
    """The same, and what its int8 tensors mean: those that the model dequantises, and those made in between."""
    rewriter = QdqRewriter(graph)
    for node in graph.nodes:
        rewriter.add(node)
    return rewriter.finish(), {operand.name: (tensor, operand.affine) for tensor, operand in rewriter.levels.items()}


@dataclass(frozen=True, slots=True)
class Tail:
    """What a quantize node takes over: the clips before it, and the node before those (None: a graph input)."""

    anchor: Node | None
    tensor: str  # what the anchor computes
    clip: tuple[float, float]
    sources: tuple[str, ...]  # of the clips, in order


@dataclass
class QdqRewriter:
    """`levels`: float tensor → the int8 operand of which it is exactly the dequantised value."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    levels: dict[str, Operand] = field(default_factory=dict)
    same: dict[str, str] = field(default_factory=dict)  # int8 tensor → an earlier one that equals it

    def __post_init__(self) -> None:
        self.producer, self.consumers = self.graph.producer(), self.graph.consumers()
        self.names = set(self.graph.tensors)

    def add(self, node: Node) -> None:
        """Append a node, or what replaces it."""
        if node.op == "dequantize":
            self._add_dequantize(node)
        elif node.op == "quantize":
            self._add_quantize(node)
        elif inherits(node) and node.inputs[0] in self.levels and (node.op != "pad" or node.attributes.get("value", 0.0) == 0):
            self._add_inheriting(node)
        else:
            self.nodes.append(node)

    def finish(self) -> Graph:
        """The new graph without nodes nobody uses."""
        needed, kept = set(self.graph.outputs), []
        for node in reversed(self.nodes):
            if needed & set(node.outputs):
                kept.append(node)
                needed |= set(node.inputs)
        return self.graph.with_nodes(uniquely_named(reversed(kept)), self.tensors, self.constants)

    def _add_dequantize(self, node: Node) -> None:
        name = self.same.get(node.inputs[0], node.inputs[0])
        affine = _affine(node)
        if affine is not None and self.graph.tensors[node.inputs[0]].dtype == "int8":
            self.levels[node.outputs[0]] = Operand(name, affine)
        self.nodes.append(Node(node.name, node.op, (name,), node.outputs, node.attributes, node.source))

    def _add_inheriting(self, node: Node) -> None:
        """max_pool(dequantize(x)) = dequantize(qmax_pool(x)), and so on, exactly."""
        x = self.levels[node.inputs[0]]
        output = self._new_int8(f"{node.outputs[0]}_q", self.graph.tensors[node.outputs[0]].shape, x.affine)
        attributes = with_defaults(node.op, node.attributes)
        if node.op == "pad":
            attributes["value"] = x.affine.zero_point
        op = OPERATORS[node.op].integer_form or node.op
        self.nodes.append(Node(node.name, op, (x.name,), (output.name,), MappingProxyType(attributes), node.source))
        self.nodes.append(emit_dequantize(f"{node.name}.dequantize", node.source, output, node.outputs[0]))
        self.levels[node.outputs[0]] = output

    def _add_quantize(self, node: Node) -> None:
        affine = _affine(node)
        tail = self._tail(node.inputs[0])
        if affine is None:
            self.nodes.append(node)
            return
        output = Operand(node.outputs[0], affine)
        operand = self.levels.get(tail.tensor)
        if (
            operand is not None
            and operand.affine == affine
            and tail.clip == UNCLIPPED
            and output.name not in self.graph.outputs
        ):
            self.same[output.name] = operand.name
            return
        emitted = emit_requantize(self._spec(node, tail, output), operand) if operand else self._match(node, tail, output)
        if emitted is None:
            self.nodes.append(node)
            return
        self._append(emitted)

    def _append(self, emitted: Emitted) -> None:
        node, constants = renamed_apart(emitted, self.names)
        self.nodes.append(node)
        self.constants.update(constants)
        self.names |= set(constants)

    def _tail(self, name: str) -> Tail:
        """Walk up from a quantize's input over clips that nobody else reads."""
        clip, sources = UNCLIPPED, []
        while (node := self._sole_producer(name)) and (interval := clip_interval(node)) and name not in self.levels:
            low, high = interval
            clip = (within(low, *clip), within(high, *clip))  # the later clip has the last word
            sources.append(node.source or node.name)
            name = node.inputs[0]
        return Tail(self._sole_producer(name), name, clip, tuple(reversed(sources)))

    def _sole_producer(self, name: str) -> Node | None:
        """The node that computes a tensor which one node alone reads."""
        alone = len(self.consumers.get(name, [])) == 1 and name not in self.graph.outputs
        return self.producer.get(name) if alone else None

    def _spec(self, quantize: Node, tail: Tail, output: Operand) -> NodeSpec:
        anchor = tail.anchor or quantize
        return NodeSpec(anchor.name, "+".join((anchor.source or anchor.name, *tail.sources)), output, tail.clip)

    def _match(self, quantize: Node, tail: Tail, output: Operand) -> Emitted | None:
        """The integer form of the tail's anchor, or None when it has none."""
        anchor = tail.anchor
        if anchor is None:
            return None
        spec = self._spec(quantize, tail, output)
        if anchor.op == "add" and (fused := self._conv_with_residual(anchor, tail, output)):
            return fused
        data = activations(anchor)
        if not all(name in self.levels and self.levels[name].name not in self.graph.constants for name in data):
            return None
        operands = [self.levels[name] for name in data]
        shape, attributes = self.graph.tensors[data[0]].shape, with_defaults(anchor.op, anchor.attributes)
        match anchor.op:
            case "conv2d":
                weights = self._weights(anchor, operands[0])
                return emit_conv2d(spec, operands[0], weights, attributes) if weights else None
            case "dense" | "matmul" if len(shape) == 2:
                weights = self._weights(anchor, operands[0])
                return emit_dense(spec, operands[0], weights) if weights else None
            case "avg_pool2d" if counts_all(attributes) and prod(attributes["kernel"]) <= MAX_POOL_WINDOW:
                return emit_avg_pool2d(spec, operands[0], attributes)
            case "global_avg_pool" if prod(shape[2:]) <= MAX_POOL_WINDOW:
                return emit_avg_pool2d(spec, operands[0], {"kernel": shape[2:]})
            case op if is_pair(anchor, self.graph):
                return emit_rescaled(spec, OPERATORS[op].rescaled_form, *operands)
            case "concat" if tail.clip == UNCLIPPED:
                return self._concat(spec, operands, attributes)
        return None

    def _conv_with_residual(self, add: Node, tail: Tail, output: Operand) -> Emitted | None:
        """conv2d → add → quantize with nothing quantised between: the add is the convolution's residual."""
        for name, other in (add.inputs, add.inputs[::-1]):
            conv = self._sole_producer(name)
            if conv is None or conv.op != "conv2d" or conv.inputs[0] not in self.levels or other not in self.levels:
                continue
            residual, x = self.levels[other], self.levels[conv.inputs[0]]
            if self.graph.tensors[other].shape != self.graph.tensors[name].shape or residual.name in self.graph.constants:
                continue
            weights = self._weights(conv, x, residual.affine.scale)
            if weights is None:
                continue
            source = "+".join((conv.source or conv.name, add.source or add.name, *tail.sources))
            spec = NodeSpec(conv.name, source, output, tail.clip)
            return emit_conv2d(spec, x, weights, with_defaults("conv2d", conv.attributes), residual)
        return None

    def _concat(self, spec: NodeSpec, operands: list[Operand], attributes: Mapping[str, Any]) -> Emitted:
        inputs = []
        for operand in operands:
            if operand.affine != spec.output.affine:
                shape = self._shape(operand.name)
                rescaled = self._new_int8(f"{spec.name}.{operand.name}", shape, spec.output.affine)
                self._append(emit_requantize(NodeSpec(rescaled.name, spec.source, rescaled), operand))
                operand = rescaled
            inputs.append(operand.name)
        return Node(
            spec.name, "concat", tuple(inputs), (spec.output.name,), MappingProxyType(dict(attributes)), spec.source
        ), {}

    def _weights(self, anchor: Node, x: Operand, residual_scale: float = 0.0) -> QuantisedWeights | None:
        """The model's int8 weights [O, …] and bias, or None when they are not constant, symmetric and safe from overflow."""
        found = self._constant_levels(anchor.inputs[1], 1 if anchor.op == "matmul" else 0)
        bias = self._constant_real(anchor.inputs[2]) if len(anchor.inputs) > 2 and anchor.inputs[2] else np.zeros(1)
        if found is None or bias is None:
            return None
        w, scale = (found[0].T, found[1]) if anchor.op == "matmul" else found
        unit = x.affine.scale * scale
        levels = np.broadcast_to(np.rint(bias.reshape(-1) / unit), scale.shape)
        residual_ratio = residual_scale / unit
        reach = accumulator_reach(magnitudes(w), levels, residual_ratio)
        if (reach > ACC_LIMIT).any() or (np.abs(levels) > BIAS_LIMIT).any() or (residual_ratio > MAX_MULTIPLIER).any():
            return None
        return QuantisedWeights(np.ascontiguousarray(w), scale, levels.astype(np.int64))

    def _constant_levels(self, name: str, axis: int) -> tuple[Array, Array] | None:
        """The symmetric int8 constant behind a dequantize (and transposes), and its scale for each index of `axis`."""
        node = self.producer.get(name)
        if node is None or node.op not in ("dequantize", "transpose"):
            return None
        if node.op == "transpose":
            permutation = node.attributes["permutation"]
            found = self._constant_levels(node.inputs[0], permutation[axis])
            return (found[0].transpose(permutation), found[1]) if found else None
        values = self.graph.constants.get(node.inputs[0])
        a = with_defaults("dequantize", node.attributes)
        scale = np.asarray(a["scale"], np.float64).reshape(-1)
        if (
            values is None
            or values.dtype != np.int8
            or np.any(a["zero_point"])
            or (scale.size > 1 and a["axis"] % values.ndim != axis)
        ):
            return None
        return values, np.broadcast_to(scale, (values.shape[axis],))

    def _constant_real(self, name: str) -> Array | None:
        """A constant as float64, or a constant behind a dequantize; None when it is neither."""
        if name in self.graph.constants:
            return self.graph.constants[name].astype(np.float64)
        node = self.producer.get(name)
        if node is None or node.op != "dequantize" or node.inputs[0] not in self.graph.constants:
            return None
        a = node.attributes
        levels = self.graph.constants[node.inputs[0]].astype(np.float64) - np.asarray(a.get("zero_point", 0), np.float64)
        return levels * np.asarray(a["scale"], np.float64).reshape(-1)

    def _shape(self, name: str) -> tuple[int, ...]:
        return (self.tensors.get(name) or self.graph.tensors[name]).shape

    def _new_int8(self, name: str, shape: tuple[int, ...], affine: Affine) -> Operand:
        name = unused_name(name, self.names)
        self.names.add(name)
        self.tensors[name] = TensorType(shape, "int8")
        return Operand(name, affine)


def _affine(node: Node) -> Affine | None:
    """The parameters of a per-tensor quantize or dequantize; None for one per channel."""
    scale, zero_point = np.asarray(node.attributes["scale"]), np.asarray(node.attributes.get("zero_point", 0))
    if scale.size != 1 or zero_point.size != 1:
        return None
    return Affine(float(np.float32(scale.item())), int(zero_point.item()))
