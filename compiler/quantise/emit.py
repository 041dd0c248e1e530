"""Quantised nodes from real parameters: one function for each operator, shared by calibration and QDQ models.

Every function returns the node and its constants, named after the node.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Node
from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.scales import QuantisedWeights, bias_words, quantise_weights, scale_words
from vdla.isa.definition import SCALE_MULTIPLIER_BITS

Array = np.ndarray
Emitted = tuple[Node, dict[str, Array]]

UNCLIPPED = (-np.inf, np.inf)


@dataclass(frozen=True, slots=True)
class Operand:
    """An int8 tensor and what its levels mean."""

    name: str
    affine: Affine


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """The node to be made: its name, source, output, and the real interval its result is clipped to."""

    name: str
    source: str
    output: Operand
    clip: tuple[float, float] = UNCLIPPED

    @property
    def bounds(self) -> dict[str, int]:
        affine = self.output.affine
        return {"low": affine.to_level(self.clip[0]), "high": affine.to_level(self.clip[1])}


def _node(spec: NodeSpec, op: str, inputs: list[str], constants: Mapping[str, Array], attributes: Mapping[str, Any]) -> Emitted:
    """Constants follow the inputs, in order, as `<node>.<role>`."""
    named = {f"{spec.name}.{role}": value for role, value in constants.items()}
    node = Node(spec.name, op, (*inputs, *named), (spec.output.name,), MappingProxyType(dict(attributes)), spec.source)
    return node, named


def emit_conv2d(
    spec: NodeSpec, x: Operand, w: QuantisedWeights, attributes: Mapping[str, Any], residual: Operand | None = None
) -> Emitted:
    """qconv2d; `attributes` are those of conv2d. A residual is rescaled to each channel's accumulator unit and added."""
    unit = x.affine.scale * w.scale
    constants = _weight_constants(spec, x, w)
    attributes = {**attributes, **spec.bounds, "pad_value": x.affine.zero_point}
    if residual is None:
        return _node(spec, "qconv2d", [x.name], constants, attributes)
    node, named = _node(spec, "qconv2d", [x.name], constants, attributes)
    zero = np.full(len(unit), -residual.affine.zero_point, np.int32)
    extra = {f"{spec.name}.residual_bias": zero, f"{spec.name}.residual_scale": scale_words(residual.affine.scale / unit)}
    return Node(node.name, node.op, (*node.inputs, residual.name, *extra), node.outputs, node.attributes, node.source), {
        **named,
        **extra,
    }


def emit_dense(spec: NodeSpec, x: Operand, w: QuantisedWeights) -> Emitted:
    return _node(spec, "qdense", [x.name], _weight_constants(spec, x, w), spec.bounds)


def _weight_constants(spec: NodeSpec, x: Operand, w: QuantisedWeights) -> dict[str, Array]:
    affine = spec.output.affine
    return {
        "weight": w.weights,
        "bias": bias_words(w.bias, w.weights, x.affine.zero_point),
        "scale": scale_words(x.affine.scale * w.scale / affine.scale, affine.zero_point),
    }


def emit_rescaled(spec: NodeSpec, op: str, a: Operand, b: Operand) -> Emitted:
    """A `rescaled_form`, in a unit that is the output's level times a power of two, as fine as multipliers allow.

    The larger operand's ratio to the unit is between 2¹⁸ and 2¹⁹, so that the result of two operands is below 2²⁸. Where both
    scales and the output's are powers of two apart, and the smaller operand's at least 2⁻¹⁸ of the larger's, all is exact.
    """
    affine = spec.output.affine
    _, exponent = np.frexp(max(a.affine.scale, b.affine.scale) / affine.scale)
    unit = float(np.ldexp(affine.scale, exponent - SCALE_MULTIPLIER_BITS))
    constants = {
        "a_bias": np.array([-a.affine.zero_point], np.int32),
        "a_scale": scale_words(a.affine.scale / unit),
        "b_bias": np.array([-b.affine.zero_point], np.int32),
        "b_scale": scale_words(b.affine.scale / unit),
        "bias": np.zeros(1, np.int32),
        "scale": scale_words(unit / affine.scale, affine.zero_point),
    }
    return _node(spec, op, [a.name, b.name], constants, spec.bounds)


def emit_product(spec: NodeSpec, a: Operand, b: Operand) -> Emitted:
    """qmul: y = requantise((a − a_zero_point)·(b − b_zero_point), bias, scale)."""
    return _node(spec, "qmul", [a.name, b.name], *_product(spec, a, b))


def emit_matmul(spec: NodeSpec, a: Operand, b: Operand) -> Emitted:
    """qmatmul, the same of sums of products."""
    return _node(spec, "qmatmul", [a.name, b.name], *_product(spec, a, b))


def _product(spec: NodeSpec, a: Operand, b: Operand) -> tuple[dict[str, Array], dict[str, int]]:
    """Constants and attributes of a product of two activations."""
    affine = spec.output.affine
    constants = {
        "bias": np.zeros(1, np.int32),
        "scale": scale_words(a.affine.scale * b.affine.scale / affine.scale, affine.zero_point),
    }
    return constants, {**spec.bounds, "a_zero_point": a.affine.zero_point, "b_zero_point": b.affine.zero_point}


def emit_table(spec: NodeSpec, x: Operand, table: Array) -> Emitted:
    """qtable; the bounds are in the table. table: int8[256]."""
    bounds = spec.bounds
    return _node(spec, "qtable", [x.name], {"table": np.clip(table, bounds["low"], bounds["high"]).astype(np.int8)}, {})


def emit_scaled_channels(spec: NodeSpec, x: Operand, factor: Array, shift: Array) -> Emitted:
    """x · factor + shift for each channel of images, float64[C] both: a 1×1 depthwise convolution, whose weights of ±127 are
    exact at any factor; without a shift, positive factors are a rescaling."""
    if not shift.any() and (factor > 0).all():
        affine = spec.output.affine
        constants = {
            "bias": np.full(len(factor), -x.affine.zero_point, np.int32),
            "scale": scale_words(x.affine.scale * factor / affine.scale, affine.zero_point),
        }
        return _node(spec, "requantize", [x.name], constants, spec.bounds)
    weights = quantise_weights(factor.reshape(-1, 1, 1, 1), shift, x.affine, spec.output.affine.scale)
    return emit_conv2d(spec, x, weights, with_defaults("conv2d", {"groups": len(factor)}))


def emit_avg_pool2d(spec: NodeSpec, x: Operand, attributes: Mapping[str, Any]) -> Emitted:
    """qavg_pool2d; `attributes` are those of an avg_pool2d whose every window counts all its elements."""
    affine = spec.output.affine
    count = int(np.prod(attributes["kernel"]))
    constants = {
        "bias": np.array([-x.affine.zero_point * count], np.int32),
        "scale": scale_words(x.affine.scale / (count * affine.scale), affine.zero_point),
    }
    window = {key: attributes[key] for key in ("kernel", "strides", "pads", "ceil") if key in attributes}
    return _node(spec, "qavg_pool2d", [x.name], constants, {**window, **spec.bounds, "pad_value": x.affine.zero_point})


def emit_requantize(spec: NodeSpec, x: Operand) -> Emitted:
    """Another scale, or only a clip (relu)."""
    affine = spec.output.affine
    constants = {
        "bias": np.array([-x.affine.zero_point], np.int32),
        "scale": scale_words(x.affine.scale / affine.scale, affine.zero_point),
    }
    return _node(spec, "requantize", [x.name], constants, spec.bounds)


def renamed_apart(emitted: Emitted, used: Container[str]) -> Emitted:
    """The same with those constants renamed whose names are used already."""
    node, constants = emitted
    names = {name: unused_name(name, used) for name in constants}
    inputs = tuple(names.get(name, name) for name in node.inputs)
    return replace(node, inputs=inputs), {names[name]: value for name, value in constants.items()}


def uniquely_named(nodes: Iterable[Node]) -> list[Node]:
    """The nodes, those renamed whose name an earlier one has."""
    named: dict[str, Node] = {}
    for node in nodes:
        name = unused_name(node.name, named)
        named[name] = replace(node, name=name)
    return list(named.values())


def unused_name(name: str, used: Container[str]) -> str:
    while name in used:
        name += "_"
    return name


def emit_quantize(name: str, source: str, x: str, output: Operand) -> Node:
    attributes = {"scale": output.affine.scale, "zero_point": output.affine.zero_point}
    return Node(name, "quantize", (x,), (output.name,), MappingProxyType(attributes), source)


def emit_dequantize(name: str, source: str, x: Operand, output: str) -> Node:
    attributes = {"scale": x.affine.scale, "zero_point": x.affine.zero_point}
    return Node(name, "dequantize", (x.name,), (output,), MappingProxyType(attributes), source)
