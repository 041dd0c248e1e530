"""Writing the quantised graph: each group becomes its integer operator, with conversions only where one is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.bias_correction import Layer
from vdla.compiler.quantise.emit import (
    Emitted,
    NodeSpec,
    Operand,
    emit_avg_pool2d,
    emit_conv2d,
    emit_dense,
    emit_dequantize,
    emit_matmul,
    emit_product,
    emit_quantize,
    emit_requantize,
    emit_rescaled,
    emit_scaled_channels,
    emit_table,
    renamed_apart,
    uniquely_named,
    unused_name,
)
from vdla.compiler.quantise.plan import Form, Group, channel_constant
from vdla.compiler.quantise.scales import QuantisedWeights, affine_from_range, quantise_weights
from vdla.compiler.quantise.tables import table_of

Array = np.ndarray


@dataclass
class Rewriter:
    """The graph being written. `int8` maps a float tensor to its int8 form; `floats` has those that exist as float."""

    graph: Graph
    affines: Mapping[str, Affine]
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    int8: dict[str, Operand] = field(default_factory=dict)
    floats: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    layers: list[Layer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.floats |= set(self.graph.inputs) | set(self.graph.constants)
        self.names |= set(self.graph.tensors)

    def add(self, group: Group) -> None:
        """Append a group, in its quantised form or as it is."""
        if not group.quantised:
            for node in group.members:
                self._add_float(node)
            return
        operands = [self._int8(name, group) for name in group.data]
        outputs = {name: self._int8_operand(name) for name in group.outputs}
        spec = NodeSpec(group.anchor.name, group.source, outputs[group.output], group.clip)
        if group.form is Form.MOVE or group.form is Form.PAD:
            self._move(group, operands[0], tuple(outputs.values()))
        else:
            self._append(self._computed(group, spec, operands))
        self.int8.update(outputs)

    def _append(self, emitted: Emitted) -> None:
        node, constants = renamed_apart(emitted, self.names)
        self.nodes.append(node)
        self.constants.update(constants)
        self.names |= set(constants)

    def finish(self) -> Graph:
        """The rewritten graph, whose outputs are float as they were."""
        for name in self.graph.outputs:
            self._float(name)
        return self.graph.with_nodes(uniquely_named(self.nodes), self.tensors, self.constants)

    def _add_float(self, node: Node) -> None:
        for name in node.inputs:
            if name:
                self._float(name)
        self.nodes.append(node)
        self.floats |= set(node.outputs)

    def _float(self, name: str) -> None:
        """Make the float form of a tensor exist."""
        if name not in self.floats:
            self.nodes.append(emit_dequantize(f"{name}.dequantize", name, self.int8[name], name))
            self.floats.add(name)

    def _int8(self, name: str, reader: Group) -> Operand:
        """The int8 form of a tensor, made now if need be; of a constant, as its reader takes it."""
        if name in self.graph.constants:
            return self._constant(name, reader)
        if name not in self.int8:
            operand = self._int8_operand(name)
            self.nodes.append(emit_quantize(f"{name}.quantize", name, name, operand))
            self.int8[name] = operand
        return self.int8[name]

    def _constant(self, name: str, reader: Group) -> Operand:
        """A constant operand's levels, over its own range, or a concat's."""
        value = self.graph.constants[name]
        joined = reader.form is Form.CONCAT
        affine = self.affines[reader.output] if joined else affine_from_range(float(value.min()), float(value.max()))
        rank = len(self.graph.tensors[reader.output].shape)
        operand = Operand(unused_name(f"{name}_q", self.names), affine)
        self.names.add(operand.name)
        self.constants[operand.name] = affine.to_levels(value).reshape((1,) * (rank - value.ndim) + value.shape)
        return operand

    def _int8_operand(self, name: str, affine: Affine | None = None, suffix: str = "") -> Operand:
        """A new int8 tensor of `name`'s shape."""
        operand = Operand(unused_name(f"{name}_q{suffix}", self.names), affine or self.affines[name])
        self.names.add(operand.name)
        self.tensors[operand.name] = TensorType(self.graph.tensors[name].shape, "int8")
        return operand

    def _move(self, group: Group, x: Operand, outputs: Sequence[Operand]) -> None:
        """What moves or compares levels and does no arithmetic on them; what says how (indices) stays as it is."""
        node = group.anchor
        attributes = with_defaults(node.op, node.attributes)
        if group.form is Form.PAD:
            attributes["value"] = x.affine.zero_point
        for name in node.inputs[1:]:
            if name:
                self._float(name)
        op = OPERATORS[node.op].integer_form or node.op
        names = (x.name, *node.inputs[1:])
        outputs_ = tuple(output.name for output in outputs)
        self.nodes.append(Node(node.name, op, names, outputs_, MappingProxyType(attributes), group.source))

    def _computed(self, group: Group, spec: NodeSpec, operands: list[Operand]) -> Emitted:
        anchor, x = group.anchor, operands[0]
        attributes = with_defaults(anchor.op, anchor.attributes)
        match group.form:
            case Form.CONVOLUTION:
                return self._conv2d(anchor, spec, attributes, operands)
            case Form.DENSE:
                return emit_dense(spec, x, self._layer(anchor, spec, x))
            case Form.MATMUL:
                return emit_matmul(spec, *operands)
            case Form.BATCH_NORM:
                return self._batch_norm(anchor, spec, attributes["epsilon"], x)
            case Form.CHANNELS:
                return self._channels(group, spec, x)
            case Form.POOL:
                return self._pool(anchor, spec, attributes, x)
            case Form.CONCAT:
                inputs = [
                    self._at_affine(name, operand, spec.output.affine)
                    for name, operand in zip(group.inputs, operands, strict=True)
                ]
                return _same_op(spec, "concat", inputs, attributes)
            case Form.PAIR:
                return emit_rescaled(spec, OPERATORS[anchor.op].rescaled_form, *operands)
            case Form.PRODUCT:
                return emit_product(spec, *operands)
            case Form.TABLE if group.region is not None:
                return emit_table(spec, x, table_of(group.region, x.affine, spec.output.affine))
            case _:
                return emit_requantize(spec, x)

    def _weights(self, anchor: Node) -> tuple[Array, Array]:
        """The weights [O, …] of a conv2d or dense and its bias [O], zero when absent."""
        w = self.graph.constants[anchor.inputs[1]]
        name = anchor.inputs[2] if len(anchor.inputs) > 2 else ""
        return w, self.graph.constants[name].reshape(-1) if name else np.zeros(w.shape[0], np.float32)

    def _conv2d(self, anchor: Node, spec: NodeSpec, attributes: Mapping[str, Any], operands: list[Operand]) -> Emitted:
        x, residual = operands[0], operands[1] if len(operands) > 1 else None
        weights = self._layer(anchor, spec, x, residual.affine.scale if residual else 0.0)
        return emit_conv2d(spec, x, weights, attributes, residual)

    def _layer(self, anchor: Node, spec: NodeSpec, x: Operand, residual_scale: float = 0.0) -> QuantisedWeights:
        """The layer's weights, noted."""
        w, bias = self._weights(anchor)
        found = quantise_weights(w, bias, x.affine, spec.output.affine.scale, residual_scale)
        residual_reach = 255 * residual_scale / (x.affine.scale * found.scale) + 1
        self.layers.append(Layer(spec.name, anchor.outputs[0], x.affine, found, residual_reach))
        return found

    def _batch_norm(self, anchor: Node, spec: NodeSpec, epsilon: float, x: Operand) -> Emitted:
        gamma, beta, mean, variance = (self.graph.constants[name].astype(np.float64) for name in anchor.inputs[1:])
        factor = gamma / np.sqrt(variance + epsilon)
        return emit_scaled_channels(spec, x, factor, beta - mean * factor)

    def _channels(self, group: Group, spec: NodeSpec, x: Operand) -> Emitted:
        """A factor and a term of each channel, of the anchor and of a member behind it."""
        channels = self.graph.tensors[group.output].shape[1]
        factor, shift = np.ones(channels), np.zeros(channels)
        for node in group.members:
            if (found := channel_constant(self.graph, node)) is not None:
                factor, shift = factor * found.factor, shift * found.factor + found.shift
        return emit_scaled_channels(spec, x, factor, shift)

    def _pool(self, anchor: Node, spec: NodeSpec, attributes: Mapping[str, Any], x: Operand) -> Emitted:
        """A mean over height and width is a global average pool, reshaped where the axes are dropped."""
        if anchor.op == "avg_pool2d":
            return emit_avg_pool2d(spec, x, attributes)
        shape = self.graph.tensors[anchor.inputs[0]].shape
        kernel = {"kernel": shape[2:]}
        if attributes.get("keepdims", True):
            return emit_avg_pool2d(spec, x, kernel)
        pooled = self._int8_operand(anchor.outputs[0], spec.output.affine, ".pooled")
        self.tensors[pooled.name] = TensorType((*shape[:2], 1, 1), "int8")
        self._append(emit_avg_pool2d(replace(spec, name=f"{spec.name}.pool", output=pooled), x, kernel))
        return _same_op(spec, "reshape", [pooled], {"shape": shape[:2]})

    def _at_affine(self, name: str, operand: Operand, affine: Affine) -> Operand:
        """`operand` at another scale, through a requantize where it differs."""
        if operand.affine == affine:
            return operand
        output = self._int8_operand(name, affine, ".rescaled")
        self._append(emit_requantize(NodeSpec(output.name, name, output), operand))
        return output


def _same_op(spec: NodeSpec, op: str, inputs: Sequence[Operand], attributes: Mapping[str, Any]) -> Emitted:
    """An operator that moves int8 levels and does no arithmetic on them."""
    names = tuple(operand.name for operand in inputs)
    return Node(spec.name, op, names, (spec.output.name,), MappingProxyType(dict(attributes)), spec.source), {}
