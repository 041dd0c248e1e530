"""Batch norms, and other scales and shifts of each channel, move into the (transposed) convolution or dense layer before them.

    before   y = conv2d(x, w, b); z = batch_norm(y)
    between  y = conv2d(x, w, b); m = mul(y, s); z = add(m, t)      s = gamma / √(variance + epsilon), t = beta - mean · s
    after    z = conv2d(x, w · s, b · s + t)

A batch norm with nothing to move into stays a mul and an add.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, joined, rewrite
from vdla.compiler.operators.registry import OPERATORS


def fold_affine(graph: Graph) -> Graph:
    """Lower batch norms, then merge what can be merged."""
    return rewrite(graph, {"batch_norm": [lower_batch_norm], "mul": [fold_scale], "add": [fold_shift]})


def lower_batch_norm(context: Context, node: Node) -> Change:
    """batch_norm(x) → add(mul(x, s), t)"""
    parameters = [context.constant(name) for name in node.inputs[1:]]
    if any(p is None for p in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(p, np.float64) for p in parameters)
    x = node.inputs[0]
    along = (-1,) + (1,) * (len(context.shape(x)) - 2)
    scale = gamma / np.sqrt(variance + context.attributes(node)["epsilon"])
    dtype = context.type_of(x).dtype
    s = context.add_constant(f"{node.name}.scale", scale.reshape(along).astype(dtype))
    t = context.add_constant(f"{node.name}.shift", (beta - mean * scale).reshape(along).astype(dtype))
    scaled = context.fresh(f"{node.name}.scaled")
    first = context.make("mul", [x, s], scaled, {}, name=f"{node.name}.scale", source=node.source)
    return [first, context.make("add", [scaled, t], node.outputs[0], {}, name=node.name, source=node.source)]


def fold_scale(context: Context, node: Node) -> Change:
    """mul(conv2d(x, w, b), s) → conv2d(x, w · s, b · s), for constants w, b and s with one value per channel"""
    found = weighted_operand(context, node)
    if found is None:
        return None
    layer, scale = found
    w = context.constant(layer.inputs[1])
    b = context.constant(layer.inputs[2]) if has_bias(layer) else None
    if w is None or (has_bias(layer) and b is None):
        return None
    weight = context.add_constant(f"{layer.name}.weight.scaled", scaled_weights(context, layer, w, scale))
    inputs = [layer.inputs[0], weight]
    if b is not None:
        inputs.append(context.add_constant(f"{layer.name}.bias.scaled", (b * scale).astype(b.dtype)))
    return [merge(context, layer, node, inputs)]


def fold_shift(context: Context, node: Node) -> Change:
    """add(conv2d(x, w, b), t) → conv2d(x, w, b + t), for constants b and t with one value per channel"""
    found = weighted_operand(context, node)
    if found is None:
        return None
    layer, shift = found
    b = context.constant(layer.inputs[2]) if has_bias(layer) else np.zeros(1)
    if b is None:
        return None
    bias = context.add_constant(f"{layer.name}.bias.shifted", (b + shift).astype(context.type_of(node.outputs[0]).dtype))
    return [merge(context, layer, node, [*layer.inputs[:2], bias])]


def scaled_weights(context: Context, layer: Node, w: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Weights times a number for each output channel: their first axis, of a conv_transpose [C, O/groups, …] the second."""
    if layer.op != "conv_transpose":
        return (w * scale.reshape((-1,) + (1,) * (w.ndim - 1))).astype(w.dtype)
    groups = context.attributes(layer)["groups"]
    grouped = w.reshape(groups, -1, *w.shape[1:]) * scale.reshape(groups, 1, -1, *(1,) * (w.ndim - 2))
    return grouped.reshape(w.shape).astype(w.dtype)


def channels_of(layer: Node) -> int | None:
    """Where the output channels of a layer with weights lie."""
    return 1 if layer.op == "conv_transpose" else OPERATORS[layer.op].channel_axis


def has_bias(layer: Node) -> bool:
    return len(layer.inputs) > 2 and layer.inputs[2] != ""


def merge(context: Context, layer: Node, node: Node, inputs: list[str]) -> Node:
    """The layer again, with other weights, computing what `node` did."""
    source = joined(layer.source, node.source)
    return context.make(layer.op, inputs, node.outputs[0], layer.attributes, name=layer.name, source=source)


def weighted_operand(context: Context, node: Node) -> tuple[Node, np.ndarray] | None:
    """For `layer ∘ constant` in either order: the layer (used here alone) and float64[O], the constant for each channel."""
    for tensor, other in (node.inputs, reversed(node.inputs)):
        layer, constant = context.producer.get(tensor), context.constant(other)
        axis = channels_of(layer) if layer is not None else None
        if layer is None or axis is None or constant is None or not context.only_use(tensor):
            continue
        vector = channel_vector(constant, context.shape(tensor), axis)
        if vector is not None:
            return layer, vector
    return None


def channel_vector(constant: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """The constant as float64[channels], when broadcasting it to `shape` varies along `axis` at most."""
    if constant.ndim > len(shape):
        return None
    axis %= len(shape)
    aligned = (1,) * (len(shape) - constant.ndim) + constant.shape
    if any(d != 1 for i, d in enumerate(aligned) if i != axis) or aligned[axis] not in (1, shape[axis]):
        return None
    return np.broadcast_to(constant.astype(np.float64).ravel(), (shape[axis],))
