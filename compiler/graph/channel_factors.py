"""Factors and terms that `fold_affine` leaves move into layers whose arithmetic is to be integer.

in front     conv2d(x · s + t, w, b) → conv2d(x, w · s, b + Σ w · t)       where no border is padded, or t is 0
of levels    conv2d(x, dequantize(w), b) · s → conv2d(x, dequantize(w), b · s), its scales times |s|, levels negated for s < 0
of products  matmul(conv2d(x, w, b), y) · s → matmul(conv2d(x, w · s, b · s), y), of one s, moves in between aside
of many      max(x, y, z) → max(max(x, y), z), likewise min
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.fold_affine import channel_vector, has_bias, merge
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, joined, named_apart, rewrite
from vdla.compiler.graph.sink_moves import chain, write
from vdla.compiler.graph.weights import Weights, read_weights, real, write_weights

LAYERS = ("conv2d", "dense")


def channel_factors(graph: Graph) -> Graph:
    """Apply the rules above."""
    rules = {
        "conv2d": [affine_in_front],
        "dense": [affine_in_front],
        "mul": [factor_of_levels, factor_of_product],
        "max": [pairwise],
        "min": [pairwise],
    }
    return named_apart(rewrite(graph, rules))


def pairwise(context: Context, node: Node) -> Change:
    """max(x, y, z) → max(max(x, y), z)"""
    if len(node.inputs) < 3:
        return None
    first = context.fresh(f"{node.outputs[0]}.first")
    inner = context.make(node.op, node.inputs[:-1], first, {}, name=f"{node.name}.first", source=node.source)
    last = [first, node.inputs[-1]]
    return [inner, context.make(node.op, last, node.outputs[0], {}, name=node.name, source=node.source)]


def affine_in_front(context: Context, node: Node) -> Change:
    """conv2d(add(mul(x, s), t), w, b) → conv2d(x, w · s, b + Σ w · t)"""
    axis = 1 if node.op == "conv2d" else -1
    channels = context.shape(node.inputs[0])[axis]
    x, scale, shift, sources = node.inputs[0], np.ones(channels), np.zeros(channels), [node.source]
    for op in ("add", "mul"):
        found = channel_operand(context, x, op, axis)
        if found is not None:
            x, vector, source = found
            scale, shift = (scale, vector) if op == "add" else (vector, shift)
            sources.insert(0, source)
    w = context.constant(node.inputs[1])
    b = context.constant(node.inputs[2]) if has_bias(node) else np.zeros(1)
    if x == node.inputs[0] or w is None or b is None or (shift.any() and any(context.attributes(node).get("pads", ()))):
        return None
    groups = context.attributes(node).get("groups", 1)
    of_groups = w.astype(np.float64).reshape(groups, -1, *w.shape[1:])  # [groups, O/groups, C/groups, …]
    own = (groups, 1, -1, *[1] * (w.ndim - 2))
    terms = (of_groups * shift.reshape(own)).reshape(len(w), -1).sum(axis=1)
    weight = context.add_constant(
        f"{node.name}.weight.scaled", (of_groups * scale.reshape(own)).reshape(w.shape).astype(w.dtype)
    )
    inputs = [x, weight, *node.inputs[2:]]
    if shift.any():
        inputs = [x, weight, context.add_constant(f"{node.name}.bias.shifted", (b + terms).astype(w.dtype))]
    source = joined(*sources)
    return [context.make(node.op, inputs, node.outputs[0], node.attributes, name=node.name, source=source)]


def channel_operand(context: Context, tensor: str, op: str, axis: int) -> tuple[str, np.ndarray, str] | None:
    """For a tensor that one node reads and `op` made of another and a constant: that, the constant's channels, the source."""
    node = context.source_of(tensor, op)
    if node is None or not context.only_use(tensor):
        return None
    x, other = node.inputs
    constant = context.constant(other)
    if constant is None or context.shape(x) != context.shape(tensor):
        return None
    vector = channel_vector(constant, context.shape(tensor), axis)
    return None if vector is None else (x, vector, node.source)


def factor_of_levels(context: Context, node: Node) -> Change:
    """mul(conv2d(x, dequantize(w), b), s) → conv2d(x, dequantize(w), b · s)"""
    layer, constant = context.source_of(node.inputs[0], *LAYERS), context.constant(node.inputs[1])
    if layer is None or constant is None or not context.only_use(node.inputs[0]):
        return None
    vector = channel_vector(constant, context.shape(node.inputs[0]), 1 if layer.op == "conv2d" else -1)
    weights = read_weights(context, layer.inputs[1])
    bias = read_weights(context, layer.inputs[2]) if has_bias(layer) else Weights(np.zeros(1))
    if vector is None or weights is None or bias is None or weights.scale is None or (weights.per_channel and weights.axis):
        return None
    scaled = times(weights, vector)
    if scaled is None:
        return None
    w, made = write_weights(context, scaled, f"{layer.name}.weight.scaled", layer.source)
    inputs = [layer.inputs[0], w]
    if has_bias(layer):
        inputs.append(context.add_constant(f"{layer.name}.bias.scaled", (real(bias) * vector).astype(np.float32)))
    return [*made, merge(context, layer, node, inputs)]


def times(weights: Weights, factors: np.ndarray) -> Weights | None:
    """Levels [O, …] whose real numbers are multiplied by a factor for each O; None where a negated level is out of range."""
    assert weights.scale is not None
    scale = np.broadcast_to(weights.scale, factors.shape) * np.where(factors == 0, 1, np.abs(factors))
    zero = weights.zero.astype(np.int64)
    column = factors.reshape(-1, *[1] * (weights.values.ndim - 1))
    levels = np.where(column < 0, 2 * zero - weights.values, np.where(column == 0, zero, weights.values))
    limits = np.iinfo(weights.values.dtype)
    if levels.min(initial=0) < limits.min or levels.max(initial=0) > limits.max or (scale < np.finfo(np.float32).tiny).any():
        return None
    return Weights(levels.astype(weights.values.dtype), scale, weights.zero_point, 0)


def factor_of_product(context: Context, node: Node) -> Change:
    """mul(matmul(moved conv2d(x, w, b), y), s) → matmul(moved conv2d(x, w · s, b · s), y), of one number s"""
    product, constant = context.source_of(node.inputs[0], "matmul"), context.constant(node.inputs[1])
    if product is None or constant is None or constant.size != 1 or not context.only_use(node.inputs[0]):
        return None
    if context.shape(node.inputs[0]) != context.shape(node.outputs[0]):
        return None
    for place, name in enumerate(product.inputs):
        root, whole, _ = chain(context, name)
        layer = context.source_of(root, *LAYERS)
        if layer is None or not read_once(context, name, root):
            continue
        w, b = context.constant(layer.inputs[1]), context.constant(layer.inputs[2]) if has_bias(layer) else np.zeros(1)
        if w is None or b is None:
            continue
        factor = constant.astype(np.float64).reshape(())
        inputs = [layer.inputs[0], context.add_constant(f"{layer.name}.weight.scaled", (w * factor).astype(w.dtype))]
        if has_bias(layer):
            inputs.append(context.add_constant(f"{layer.name}.bias.scaled", (b * factor).astype(w.dtype)))
        scaled, operand = context.fresh(f"{root}.scaled"), context.fresh(f"{name}.scaled")
        made = [context.make(layer.op, inputs, scaled, layer.attributes, name=layer.name, source=layer.source)]
        made += write(context, scaled, whole, operand, layer) if not whole.is_identity else []
        operands = list(product.inputs)
        operands[place] = scaled if whole.is_identity else operand
        source = joined(product.source, node.source)
        return [*made, context.make("matmul", operands, node.outputs[0], {}, name=product.name, source=source)]
    return None


def read_once(context: Context, tensor: str, root: str) -> bool:
    """Whether each tensor from `tensor` back to what it is a rearrangement of is read once."""
    while tensor != root:
        if not context.only_use(tensor):
            return False
        tensor = context.producer[tensor].inputs[0]
    return context.only_use(root)
