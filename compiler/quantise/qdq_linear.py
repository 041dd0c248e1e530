"""Layers of models that come quantised: weights that are constants, and what each channel is multiplied by and added to.

    before   add(mul(conv2d(x, w), s), residual)     x, residual dequantised, s constants of channels
    after    qconv2d(x, w, …, residual) with s in the channels' scales

Levels that constants of channels change without a layer (a batch norm in front of a convolution) are a 1×1 depthwise one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from vdla.compiler.graph.fold_affine import channel_vector
from vdla.compiler.graph.graph import Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import NodeSpec, Operand, emit_conv2d, emit_dense, emit_scaled_channels
from vdla.compiler.quantise.qdq_weights import LayerWeights, NoIntegerForm, fitted
from vdla.compiler.quantise.qdq_wide import narrowed
from vdla.compiler.quantise.qdq_writer import Writer
from vdla.compiler.quantise.scales import QuantisedWeights

Array = np.ndarray
ONE = 127
"""The level of a weight of 1 where there is no layer: a bias is as fine as that allows."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A layer, multiplied and shifted by constants for each channel, and with another tensor added. layer: None for levels as
    they are."""

    layer: Node | None
    x: Operand
    weights: LayerWeights
    sources: tuple[str, ...] = ()
    residual: Operand | None = None

    @property
    def channel_axis(self) -> int:
        axis = OPERATORS[self.layer.op].channel_axis if self.layer else None
        return 1 if axis is None else axis

    @property
    def takes_residual(self) -> bool:
        return self.residual is None and (self.layer is None or self.layer.op == "conv2d")


def linear(c: Writer, tensor: str) -> Linear | None:
    """The layer that a tensor is, but for constants of channels; None where there is none. Raises `NoIntegerForm`."""
    node = c.sole_producer(tensor)
    if node is None or tensor in c.levels:
        return None
    match node.op:
        case "conv2d" | "dense":
            return layer(c, node)
        case "matmul" if c.operand(node.inputs[1]) is None and len(c.shape(node.inputs[1])) == 2:
            return layer(c, node)
        case "mul" | "add" | "sub":
            return around_layer(c, node)
    return None


def layer(c: Writer, node: Node) -> Linear:
    x, shape = c.activation(node.inputs[0]), c.shape(node.inputs[0])
    if node.op != "conv2d" and len(shape) != 2:
        raise NoIntegerForm(f"{node.op} of rank {len(shape)}")
    return Linear(node, x, c.weights(node), (node.source or node.name,))


def unchanged(c: Writer, tensor: str) -> Linear | None:
    """Levels as they are, as if a layer had made them."""
    x = c.operand(tensor)
    if x is None or len(c.shape(tensor)) < 2:
        return None
    channels = c.shape(tensor)[1]
    ones = np.full((channels, 1, 1, 1), ONE, np.int16)
    return Linear(None, x, LayerWeights(ones, np.full(channels, 1 / ONE), np.zeros(channels)))


def around_layer(c: Writer, node: Node) -> Linear | None:
    """mul, add or sub of a layer, or levels, and something else."""
    refused: NoIntegerForm | None = None
    for position in (0, 1):
        name, other = node.inputs[position], node.inputs[1 - position]
        try:
            inner = linear(c, name) or unchanged(c, name)
        except NoIntegerForm as error:
            refused = error
            continue
        if inner is not None and (whole := joined(c, node, inner, name, other)) is not None:
            return replace(whole, sources=(*inner.sources, node.source or node.name))
    if refused is not None:
        raise refused
    return None


def joined(c: Writer, node: Node, inner: Linear, name: str, other: str) -> Linear | None:
    """`inner`, which is the tensor `name`, with the other operand of a mul, add or sub."""
    if c.shape(name) != c.shape(node.outputs[0]):
        return None
    subtracted = node.op == "sub" and node.inputs[0] == name
    if node.op == "sub" and not subtracted:  # other - inner
        inner = replace(inner, weights=inner.weights.scaled(-np.ones(len(inner.weights.scale))))
    real = c.reader.real(other)
    vector = channel_vector(real, c.shape(name), inner.channel_axis) if real is not None else None
    if vector is not None and inner.residual is None:
        if node.op == "mul":
            return replace(inner, weights=inner.weights.scaled(vector))
        return replace(inner, weights=inner.weights.shifted(-vector if subtracted else vector))
    residual = c.operand(other)
    if residual is None or not inner.takes_residual or c.shape(other) != c.shape(name) or node.op == "mul" or subtracted:
        return None
    return replace(inner, residual=residual)


def emit_linear(c: Writer, found: Linear, spec: NodeSpec) -> None:
    """qconv2d or qdense."""
    if found.layer is None:
        emit_channels(c, found, spec)
        return
    node, x, residual = found.layer, found.x, found.residual
    fit = fitted(found.weights, x.affine.scale, spec.output.affine.scale, residual.affine.scale if residual else 0.0)
    if node.op == "conv2d":
        read, weights, attributes = narrowed(c, x, fit.levels, with_defaults(node.op, node.attributes), spec.source)
        c.append(emit_conv2d(spec, read, QuantisedWeights(weights, fit.scale, fit.bias), attributes, residual))
        return
    read, weights, _ = narrowed(c, x, fit.levels, {}, spec.source)
    c.append(emit_dense(spec, read, QuantisedWeights(weights, fit.scale, fit.bias)))


def emit_channels(c: Writer, found: Linear, spec: NodeSpec) -> None:
    """Levels with constants of channels, as images."""
    shape = c.shape(found.x.name)
    image = (*shape[:2], prod(shape[2:3]), prod(shape[3:]))
    x, residual = (c.reshaped(t, image, spec.source) if t else None for t in (found.x, found.residual))
    assert x is not None
    output = spec.output if image == shape else c.new_levels(f"{spec.output.name}.image", image, spec.output.affine)
    at_image = replace(spec, output=output)
    fit = fitted(found.weights, x.affine.scale, spec.output.affine.scale, residual.affine.scale if residual else 0.0)
    if residual is None and not found.weights.bias.any() and (found.weights.levels > 0).all():
        c.append(emit_scaled_channels(at_image, x, found.weights.scale * ONE, found.weights.bias))
    else:
        attributes = with_defaults("conv2d", {"groups": image[1]})
        weights = QuantisedWeights(fit.levels.astype(np.int8), fit.scale, fit.bias)
        c.append(emit_conv2d(at_image, x, weights, attributes, residual))
    if output is not spec.output:
        c.move("reshape", [output], f"{spec.name}.back", spec.source, spec.output, shape=shape)
