"""One spelling for each computation, so that later passes have fewer to know. Each rule shows before → after."""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, Rules, joined, rewrite
from vdla.compiler.operators.operator import FLOAT
from vdla.compiler.operators.registry import OPERATORS

ROUNDING = {"round", "floor", "ceil", "cast"}
FLOAT_LIMIT = float(np.finfo(np.float32).max)


def canonicalise(graph: Graph) -> Graph:
    """Apply RULES."""
    return rewrite(graph, RULES)


def replaced(context: Context, node: Node, op: str, inputs: list[str], source: str = "", **attributes: object) -> list[Node]:
    """The node's output computed by another operator."""
    return [context.make(op, inputs, node.outputs[0], attributes, name=node.name, source=source or node.source)]


def same_shape(context: Context, node: Node) -> bool:
    return context.shape(node.inputs[0]) == context.shape(node.outputs[0])


def identity_reshape(context: Context, node: Node) -> Change:
    """reshape(x) to its own shape → x"""
    return node.inputs[0] if same_shape(context, node) else None


def reshape_of_reshape(context: Context, node: Node) -> Change:
    """reshape(reshape(x)) → reshape(x)"""
    inner = context.source_of(node.inputs[0], "reshape")
    if inner is None:
        return None
    return replaced(context, node, "reshape", [inner.inputs[0]], shape=context.shape(node.outputs[0]))


def transpose_as_reshape(context: Context, node: Node) -> Change:
    """transpose that leaves dimensions other than 1 in order → reshape"""
    shape = context.shape(node.inputs[0])
    moved = [axis for axis in context.attributes(node)["permutation"] if shape[axis] != 1]
    if moved != sorted(moved):
        return None
    return replaced(context, node, "reshape", [node.inputs[0]], shape=context.shape(node.outputs[0]))


def transpose_of_transpose(context: Context, node: Node) -> Change:
    """transpose(transpose(x, p), q) → transpose(x, p∘q)"""
    inner = context.source_of(node.inputs[0], "transpose")
    if inner is None:
        return None
    first, second = context.attributes(inner)["permutation"], context.attributes(node)["permutation"]
    return replaced(context, node, "transpose", [inner.inputs[0]], permutation=tuple(first[axis] for axis in second))


def transpose_of_weights(context: Context, node: Node) -> Change:
    """transpose(dequantize(constant)) → dequantize(transposed constant)"""
    inner = context.source_of(node.inputs[0], "dequantize")
    constant = context.constant(inner.inputs[0]) if inner else None
    if inner is None or constant is None:
        return None
    a, permutation = context.attributes(inner), context.attributes(node)["permutation"]
    if not isinstance(a["scale"], float) or not isinstance(a["zero_point"], int):
        a["axis"] = permutation.index(a["axis"])
    moved = context.add_constant(f"{inner.inputs[0]}.transposed", np.ascontiguousarray(constant.transpose(permutation)))
    return replaced(context, node, "dequantize", [moved], joined(inner.source, node.source), **a)


def mean_of_maps(context: Context, node: Node) -> Change:
    """reduce_mean(x[N, C, H, W], axes (2, 3)) → global_avg_pool(x), reshaped when the axes are dropped"""
    a, shape = context.attributes(node), context.shape(node.inputs[0])
    if len(shape) != 4 or set(a["axes"]) != {2, 3}:
        return None
    if a["keepdims"]:
        return replaced(context, node, "global_avg_pool", [node.inputs[0]])
    pooled = context.fresh(f"{node.outputs[0]}.pooled")
    pool = context.make("global_avg_pool", [node.inputs[0]], pooled, {}, name=f"{node.name}.pool", source=node.source)
    return [pool, *replaced(context, node, "reshape", [pooled], shape=shape[:2])]


def pool_of_everything(context: Context, node: Node) -> Change:
    """avg_pool2d whose one window is the whole map → global_avg_pool"""
    a = context.attributes(node)
    if tuple(a["kernel"]) != context.shape(node.inputs[0])[2:] or any(a["pads"]):
        return None
    return replaced(context, node, "global_avg_pool", [node.inputs[0]])


def pool_of_one(context: Context, node: Node) -> Change:
    """pooling over windows of one element → x"""
    a = context.attributes(node)
    single = tuple(a["kernel"]) == (1, 1) and tuple(a["strides"]) == (1, 1) and not any(a["pads"])
    return node.inputs[0] if single else None


def global_pool_of_one(context: Context, node: Node) -> Change:
    """global_avg_pool of 1x1 maps → x"""
    return node.inputs[0] if same_shape(context, node) else None


def pad_into_conv(context: Context, node: Node) -> Change:
    """conv2d(pad(x, 0)) → conv2d(x, pads grown)"""
    found = map_padding(context, node)
    if found is None or found[2] != 0:
        return None
    pad, pads, _ = found
    a = {**context.attributes(node), "pads": pads}
    return replaced(context, node, "conv2d", [pad.inputs[0], *node.inputs[1:]], joined(pad.source, node.source), **a)


def pad_into_max_pool(context: Context, node: Node) -> Change:
    """max_pool2d(pad(x, v)) → max_pool2d(x, pads grown), where v can win no window: -∞, or 0 around x ≥ 0"""
    found = map_padding(context, node)
    if found is None:
        return None
    pad, pads, value = found
    harmless = value <= -FLOAT_LIMIT or (value <= 0 and is_non_negative(context, pad.inputs[0]))
    a = context.attributes(node)
    if not harmless or any(p >= a["kernel"][i % 2] for i, p in enumerate(pads)):
        return None
    return replaced(context, node, "max_pool2d", [pad.inputs[0]], joined(pad.source, node.source), **{**a, "pads": pads})


def pad_into_average(context: Context, node: Node) -> Change:
    """avg_pool2d(pad(x, 0)) → avg_pool2d(x, pads grown, count_include_pad)"""
    found, a = map_padding(context, node), context.attributes(node)
    if found is None or found[2] != 0 or (any(a["pads"]) and not a["count_include_pad"]):
        return None
    pad, pads, _ = found
    a |= {"pads": pads, "count_include_pad": True}
    return replaced(context, node, "avg_pool2d", [pad.inputs[0]], joined(pad.source, node.source), **a)


def map_padding(context: Context, node: Node) -> tuple[Node, tuple[int, ...], float] | None:
    """The pad before a window operator, if it pads height and width only: it, the pads of both together, its value."""
    pad = context.source_of(node.inputs[0], "pad")
    if pad is None:
        return None
    a = context.attributes(pad)
    before, after, pads = a["before"], a["after"], context.attributes(node)["pads"]
    if any((*before[:2], *after[:2])):
        return None
    grown = (pads[0] + before[2], pads[1] + before[3], pads[2] + after[2], pads[3] + after[3])
    return pad, grown, a["value"]


def is_non_negative(context: Context, tensor: str) -> bool:
    """Of floats: the least integer has no magnitude."""
    node = context.producer.get(tensor)
    if node is None or context.type_of(tensor).dtype not in FLOAT:
        return False
    operator = OPERATORS[node.op]
    return operator.non_negative or (operator.clips is not None and operator.clips(context.attributes(node))[0] >= 0)


def empty_pad(context: Context, node: Node) -> Change:
    """pad by nothing → x"""
    return node.inputs[0] if same_shape(context, node) else None


def clip_as_relu(context: Context, node: Node) -> Change:
    """clip(x, 0, ∞) → relu(x); clip(x, -∞, ∞) → x; of float32, whose largest value is no bound either"""
    a = context.attributes(node)
    if a["high"] < FLOAT_LIMIT or context.type_of(node.inputs[0]).dtype != "float32":
        return None
    if a["low"] <= -FLOAT_LIMIT:
        return node.inputs[0]
    return replaced(context, node, "relu", [node.inputs[0]]) if a["low"] == 0 else None


def clip_of_clip(context: Context, node: Node) -> Change:
    """clip(clip(x, l, h), low, high) → clip(x, …), likewise with relu as clip(0, ∞), where the bounds nest"""
    inner = context.producer.get(node.inputs[0])
    clips = OPERATORS[inner.op].clips if inner is not None else None
    if inner is None or clips is None or not context.only_use(node.inputs[0]):
        return None
    (inner_low, inner_high), a = clips(context.attributes(inner)), context.attributes(node)
    low, high = a["low"], a["high"]
    a = {"low": max(inner_low, low), "high": min(inner_high, high)}
    if a["low"] > a["high"]:
        return None
    return replaced(context, node, "clip", [inner.inputs[0]], joined(inner.source, node.source), **a)


def relu_of_relu(context: Context, node: Node) -> Change:
    """relu(x) → x where x ≥ 0 already"""
    return node.inputs[0] if is_non_negative(context, node.inputs[0]) else None


def constant_last(context: Context, node: Node) -> Change:
    """add(constant, x) → add(x, constant), likewise mul"""
    a, b = node.inputs
    if context.constant(a) is None or context.constant(b) is not None:
        return None
    return replaced(context, node, node.op, [b, a])


def neutral(context: Context, node: Node) -> Change:
    """add(x, 0) → x; mul(x, 1) → x"""
    constant = context.constant(node.inputs[1])
    nothing = 0 if node.op == "add" else 1
    return node.inputs[0] if constant is not None and same_shape(context, node) and (constant == nothing).all() else None


def sub_as_add(context: Context, node: Node) -> Change:
    """sub(x, constant) → add(x, -constant)"""
    constant = context.constant(node.inputs[1])
    if constant is None:
        return None
    return replaced(context, node, "add", [node.inputs[0], context.add_constant(f"{node.inputs[1]}.negated", -constant)])


def div_as_mul(context: Context, node: Node) -> Change:
    """div(x, constant) → mul(x, 1 / constant), of floats, where nothing rounds the quotient: that would show the difference"""
    constant = context.constant(node.inputs[1])
    if constant is None or constant.dtype != np.float32 or not constant.all():
        return None
    if ROUNDING & context.readers.get(node.outputs[0], set()):
        return None
    inverse = context.add_constant(f"{node.inputs[1]}.inverse", (1 / constant.astype(np.float64)).astype(np.float32))
    return replaced(context, node, "mul", [node.inputs[0], inverse])


def matmul_as_dense(context: Context, node: Node) -> Change:
    """matmul(x, constant[I, O]) → dense(x, constantᵀ), of floats"""
    constant = context.constant(node.inputs[1])
    if constant is None or constant.ndim != 2 or str(constant.dtype) not in FLOAT:
        return None
    weight = context.add_constant(f"{node.inputs[1]}.transposed", np.ascontiguousarray(constant.T))
    return replaced(context, node, "dense", [node.inputs[0], weight])


RULES: Rules = {
    "reshape": [identity_reshape, reshape_of_reshape],
    "transpose": [transpose_as_reshape, transpose_of_transpose, transpose_of_weights],
    "reduce_mean": [mean_of_maps],
    "avg_pool2d": [pool_of_one, pad_into_average, pool_of_everything],
    "max_pool2d": [pool_of_one, pad_into_max_pool],
    "global_avg_pool": [global_pool_of_one],
    "conv2d": [pad_into_conv],
    "pad": [empty_pad],
    "clip": [clip_as_relu, clip_of_clip],
    "relu": [relu_of_relu],
    "add": [constant_last, neutral],
    "mul": [constant_last, neutral],
    "sub": [sub_as_add],
    "div": [div_as_mul],
    "matmul": [matmul_as_dense],
}
