"""Post-training quantisation: a float graph and calibration inputs → a graph of int8 operators.

    before   conv1 → relu1 → pool1 → conv2 ─┐
                               └────────────add → relu2 → sigmoid
    after    quantize → qconv2d(conv1+relu1) → qmax_pool2d → qconv2d(conv2+add+relu2, residual) → dequantize → sigmoid

Batch norms are expected to be folded; one that is not becomes a 1×1 depthwise convolution. An operator with no quantised
form computes in float between a dequantize and a quantize, each made once for a tensor, and only where one is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.affine import Affine, Levels
from vdla.compiler.quantise.calibrate import Inputs, Method, Range, calibrate
from vdla.compiler.quantise.emit import (
    UNCLIPPED,
    Emitted,
    NodeSpec,
    Operand,
    emit_avg_pool2d,
    emit_conv2d,
    emit_dense,
    emit_dequantize,
    emit_quantize,
    emit_requantize,
    emit_rescaled,
    renamed_apart,
    uniquely_named,
    unused_name,
)
from vdla.compiler.quantise.plan import Group, clip_interval, inherits, plan, within
from vdla.compiler.quantise.scales import affine_from_range, quantise_weights

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """`percentile` is for Method.PERCENTILE alone."""

    method: Method = Method.MSE
    percentile: float = 99.99
    fuse_residual: bool = True


@dataclass(frozen=True)
class Quantised:
    """A quantised graph and how it came about.

    ranges: float tensor → calibrated range.
    """

    graph: Graph
    ranges: Mapping[str, Range]
    int8: Levels


def quantise(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Graph:
    """The quantised graph: same inputs and outputs, float32. See `quantise_with_report` for the ranges.

    calibration: one dict of input name → array for each sample. Raises `RunError` when it is empty, `ModelError` when an
    activation is not finite.
    """
    return quantise_with_report(graph, calibration, options).graph


def quantise_with_report(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Quantised:
    options = options or QuantiseOptions()
    groups = plan(graph, options.fuse_residual)
    ranges = calibrate(graph, calibration, tensors_to_observe(groups), options.method, options.percentile)
    rewriter = Rewriter(graph, assign_affines(graph, groups, ranges))
    for group in groups:
        rewriter.add(group)
    rewritten = rewriter.finish()
    return Quantised(rewritten, ranges, {operand.name: (tensor, operand.affine) for tensor, operand in rewriter.int8.items()})


def tensors_to_observe(groups: Sequence[Group]) -> tuple[str, ...]:
    """Every float tensor that will exist as int8 under a scale of its own."""
    chosen = [group for group in groups if group.quantised]
    inherited = {group.output for group in chosen if inherits(group.anchor)}
    names = dict.fromkeys(name for group in chosen for name in (*group.inputs, group.output))
    return tuple(name for name in names if name not in inherited)


def assign_affines(graph: Graph, groups: Sequence[Group], ranges: Mapping[str, Range]) -> dict[str, Affine]:
    """Tensor → what its int8 levels mean.

    Its own range; but a tensor that only a concat reads takes the concat's, so that concat needs no arithmetic, and
    what inherits its meaning keeps its input's.
    """
    clips = {group.output: group.clip for group in groups}
    affines = {}
    for name, chosen in ranges.items():
        clip = clips.get(name, UNCLIPPED)
        affines[name] = affine_from_range(within(chosen.low, *clip), within(chosen.high, *clip))
    consumers = graph.consumers()
    chosen_groups = [group for group in groups if group.quantised]
    for group in reversed(chosen_groups):  # backwards, so that concats of concats agree
        if group.anchor.op == "concat":
            alone = [name for name in group.inputs if len(consumers[name]) == 1 and name not in graph.outputs]
            affines.update(dict.fromkeys(alone, affines[group.output]))
    for group in chosen_groups:
        if inherits(group.anchor):
            affines[group.output] = affines[group.inputs[0]]
    return affines


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

    def __post_init__(self) -> None:
        self.floats |= set(self.graph.inputs) | set(self.graph.constants)
        self.names |= set(self.graph.tensors)

    def add(self, group: Group) -> None:
        """Append a group, in its quantised form or as it is."""
        if not group.quantised:
            for node in group.members:
                self._add_float(node)
            return
        output = self._int8_operand(group.output)
        spec = NodeSpec(group.anchor.name, group.source, output, group.clip)
        self._append(self._quantised_node(group, spec))
        self.int8[group.output] = output

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

    def _int8(self, name: str) -> Operand:
        """The int8 form of a tensor, made now if need be."""
        if name not in self.int8:
            operand = self._int8_operand(name)
            self.nodes.append(emit_quantize(f"{name}.quantize", name, name, operand))
            self.int8[name] = operand
        return self.int8[name]

    def _int8_operand(self, name: str, affine: Affine | None = None, suffix: str = "") -> Operand:
        """A new int8 tensor of `name`'s shape."""
        operand = Operand(unused_name(f"{name}_q{suffix}", self.names), affine or self.affines[name])
        self.names.add(operand.name)
        self.tensors[operand.name] = TensorType(self.graph.tensors[name].shape, "int8")
        return operand

    def _quantised_node(self, group: Group, spec: NodeSpec) -> Emitted:
        anchor = group.anchor
        attributes = with_defaults(anchor.op, anchor.attributes)
        operands = [self._int8(name) for name in group.inputs]
        x = operands[0]
        match anchor.op:
            case "conv2d":
                return self._conv2d(anchor, spec, attributes, operands)
            case "dense":
                w, bias = self._weights(anchor)
                return emit_dense(spec, x, quantise_weights(w, bias, x.affine.scale, spec.output.affine.scale))
            case "batch_norm":
                return self._batch_norm(anchor, spec, attributes["epsilon"], x)
            case "avg_pool2d":
                return emit_avg_pool2d(spec, x, attributes)
            case "global_avg_pool":
                return emit_avg_pool2d(spec, x, {"kernel": self.graph.tensors[anchor.inputs[0]].shape[2:]})
            case "reduce_mean":
                return self._reduce_mean(anchor, spec, x)
            case "concat":
                inputs = [
                    self._at_affine(name, operand, spec.output.affine)
                    for name, operand in zip(group.inputs, operands, strict=True)
                ]
                return _same_op(spec, "concat", inputs, attributes)
            case "pad":
                return _same_op(spec, "pad", [x], {**attributes, "value": x.affine.zero_point})
            case _ if form := OPERATORS[anchor.op].rescaled_form:
                return emit_rescaled(spec, form, *operands)
            case _ if clip_interval(anchor):
                return emit_requantize(spec, x)
            case _:
                return _same_op(spec, OPERATORS[anchor.op].integer_form or anchor.op, [x], attributes)

    def _weights(self, anchor: Node) -> tuple[Array, Array]:
        """The weights [O, …] of a conv2d or dense and its bias [O], zero when absent."""
        w = self.graph.constants[anchor.inputs[1]]
        name = anchor.inputs[2] if len(anchor.inputs) > 2 else ""
        return w, self.graph.constants[name].reshape(-1) if name else np.zeros(w.shape[0], np.float32)

    def _conv2d(self, anchor: Node, spec: NodeSpec, attributes: Mapping[str, Any], operands: list[Operand]) -> Emitted:
        w, bias = self._weights(anchor)
        x, residual = operands[0], operands[1] if len(operands) > 1 else None
        residual_scale = residual.affine.scale if residual else 0.0
        weights = quantise_weights(w, bias, x.affine.scale, spec.output.affine.scale, residual_scale)
        return emit_conv2d(spec, x, weights, attributes, residual)

    def _batch_norm(self, anchor: Node, spec: NodeSpec, epsilon: float, x: Operand) -> Emitted:
        """A 1×1 depthwise convolution by gamma / √variance."""
        gamma, beta, mean, variance = (self.graph.constants[name].astype(np.float64) for name in anchor.inputs[1:])
        factor = gamma / np.sqrt(variance + epsilon)
        weights = quantise_weights(factor.reshape(-1, 1, 1, 1), beta - mean * factor, x.affine.scale, spec.output.affine.scale)
        return emit_conv2d(spec, x, weights, with_defaults("conv2d", {"groups": len(factor)}))

    def _reduce_mean(self, anchor: Node, spec: NodeSpec, x: Operand) -> Emitted:
        """A mean over height and width is a global average pool, reshaped where the axes are dropped."""
        shape = self.graph.tensors[anchor.inputs[0]].shape
        kernel = {"kernel": shape[2:]}
        if anchor.attributes.get("keepdims", True):
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
    """An operator that moves or compares int8 levels and does no arithmetic on them."""
    names = tuple(operand.name for operand in inputs)
    return Node(spec.name, op, names, (spec.output.name,), MappingProxyType(dict(attributes)), spec.source), {}
