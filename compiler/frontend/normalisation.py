"""Normalisations: of batches, layers, groups, instances and neighbours, soft maxima and norms of vectors."""

from __future__ import annotations

from math import prod

import numpy as np

from vdla.compiler.frontend.builder import NARROW_FLOATS, GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import FLOAT
from vdla.errors import ModelError


def batch_normalization(builder: GraphBuilder, node: OnnxNode) -> Value | tuple[Value, ...]:
    """With running statistics; or in training mode with the batch's own, by which the running ones then move."""
    x = node.input(0, FLOAT)
    parameters = [node.input(i, FLOAT) for i in range(1, 5)]
    momentum, epsilon = node.float_("momentum", 0.9), node.float_("epsilon", 1e-5)
    training = node.int_("training_mode", 0) != 0
    node.require("spatial", node.int_("spatial", 1), 1)  # opsets 7 and 8
    shape = x.shape
    if len(shape) == 1:  # N values of one channel
        x = builder.emit("reshape", [x], suffix="channel", shape=(*shape, 1))
    if not shape or any(p.shape != (x.shape[1],) for p in parameters):
        raise ModelError(
            "parameters do not fit the input",
            found=f"{[p.shape for p in parameters]} for {shape}",
            expected="one for each channel (axis 1)",
        )
    parameters = [builder.converted(p, x.dtype) for p in parameters]
    running = parameters[2:]
    if training:
        parameters[2:] = batch_statistics(builder, x)
    y = builder.emit("batch_norm", [x, *parameters], epsilon=epsilon)
    y = y if len(shape) > 1 else builder.emit("reshape", [y], suffix="line", shape=shape)
    if not training:
        return y
    moved = [moving(builder, old, new, momentum) for old, new in zip(running, parameters[2:], strict=True)]
    return y, *moved


def batch_statistics(builder: GraphBuilder, x: Value) -> list[Value]:
    """Mean and variance (of the whole batch, not an estimate) of each channel."""
    axes = tuple(axis for axis in range(len(x.shape)) if axis != 1)
    mean = builder.emit("reduce_mean", [x], suffix="mean", axes=axes, keepdims=True)
    squares = squared_distance(builder, x, mean)
    variance = builder.emit("reduce_mean", [squares], suffix="variance", axes=axes, keepdims=True)
    return [builder.emit("reshape", [value], suffix="channels", shape=(x.shape[1],)) for value in (mean, variance)]


def squared_distance(builder: GraphBuilder, x: Value, mean: Value) -> Value:
    difference = builder.emit("sub", [x, mean], suffix="difference")
    return builder.emit("mul", [difference, difference], suffix="squares")


def moving(builder: GraphBuilder, old: Value, new: Value, momentum: float) -> Value:
    """old · momentum + new · (1 - momentum)."""
    parts = ((old, momentum), (new, 1 - momentum))
    kept, added = (builder.emit("mul", [v, builder.scalar(f, v.dtype)], suffix="moving") for v, f in parts)
    return builder.emit("add", [kept, added], suffix="running")


def lrn(builder: GraphBuilder, node: OnnxNode) -> Value:
    size, x = node.int_("size", 0), node.input(0, FLOAT)
    if size < 1:
        raise ModelError("size of LRN is not positive", found=size)
    alpha, beta, bias = node.float_("alpha", 1e-4), node.float_("beta", 0.75), node.float_("bias", 1.0)
    return builder.emit("lrn", [x], size=size, alpha=alpha, beta=beta, bias=bias)


def soft(op: str) -> Importer:
    """The importer of an operator along one axis, which before opset 13 was one over all axes from `axis` on."""

    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        return emit_along_axis(builder, node, node.input(0, FLOAT), node.opset, op)

    return importer


def emit_softmax(builder: GraphBuilder, node: OnnxNode, x: Value, opset: int) -> Value:
    return emit_along_axis(builder, node, x, opset, "softmax")


def emit_along_axis(builder: GraphBuilder, node: OnnxNode, x: Value, opset: int, op: str) -> Value:
    """From opset 13 along one axis (default the last); before, over everything from `axis` (default 1) on."""
    rank = len(x.shape)
    if opset >= 13:
        axis = node.axis(node.int_("axis", -1), rank)
        if op == "softmax" and x.dtype in NARROW_FLOATS:
            return narrow_softmax(builder, x, axis)
        return builder.emit(op, [x], axis=axis)
    axis = node.axis(node.int_("axis", 1), rank)
    if prod(x.shape[axis + 1 :]) == 1:
        return builder.emit(op, [x], axis=axis)
    flat = builder.emit("reshape", [x], suffix="flatten", shape=(prod(x.shape[:axis]), prod(x.shape[axis:])))
    return builder.emit("reshape", [builder.emit(op, [flat], axis=1)], suffix="restore", shape=x.shape)


def narrow_softmax(builder: GraphBuilder, x: Value, axis: int) -> Value:
    """As the standard's function has it from opset 13: each step rounded to the narrow type."""
    greatest = builder.emit("reduce_max", [x], suffix="greatest", axes=(axis,), keepdims=True)
    exponent = builder.emit("exp", [builder.emit("sub", [x, greatest], suffix="below")], suffix="exponent")
    total = builder.emit("reduce_sum", [exponent], suffix="total", axes=(axis,), keepdims=True)
    return builder.emit("div", [exponent, total])


def layer_normalization(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """stash_type is the dtype of the statistics: float32, which is the least that anything is computed in here."""
    x, scale, bias = node.input(0, FLOAT), node.input(1, FLOAT), node.optional(2, FLOAT)
    axis, epsilon = node.axis(node.int_("axis", -1), len(x.shape)), node.float_("epsilon", 1e-5)
    node.require("stash_type", node.int_("stash_type", 1), 1)
    y = emit_trailing(builder, "layer_norm", x, axis, epsilon, [scale, bias])
    if not node.wanted(1) and not node.wanted(2):
        return (y,)
    axes = tuple(range(axis, len(x.shape)))
    x = builder.converted(x, "float32")
    mean = builder.emit("reduce_mean", [x], suffix="mean", axes=axes, keepdims=True)
    squares = squared_distance(builder, x, mean)
    variance = builder.emit("reduce_mean", [squares], suffix="variance", axes=axes, keepdims=True)
    raised = builder.emit("add", [variance, builder.scalar(epsilon, x.dtype)], suffix="epsilon")
    deviation = builder.emit("sqrt", [raised], suffix="deviation")
    return y, mean, builder.emit("reciprocal", [deviation], suffix="inverse")


def rms_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, scale = node.input(0, FLOAT), node.input(1, FLOAT)
    axis, epsilon = node.axis(node.int_("axis", -1), len(x.shape)), node.float_("epsilon", 1e-5)
    node.require("stash_type", node.int_("stash_type", 1), 1)
    return emit_trailing(builder, "rms_norm", x, axis, epsilon, [scale])


def emit_trailing(builder: GraphBuilder, op: str, x: Value, axis: int, epsilon: float, parameters: list[Value | None]) -> Value:
    """A norm over the axes from `axis` on; parameters that are only broadcast to these are applied afterwards."""
    fitting = [p is None or p.shape == x.shape[axis:] for p in parameters]
    if all(fitting):
        return builder.emit(op, [x, *parameters], axis=axis, epsilon=epsilon)
    y = builder.emit(op, [x], axis=axis, epsilon=epsilon)
    return affine(builder, y, *parameters)


def affine(builder: GraphBuilder, y: Value, scale: Value | None, bias: Value | None = None) -> Value:
    """y · scale + bias, of whatever broadcasts to y."""
    for op, parameter in (("mul", scale), ("add", bias)):
        if parameter is not None:
            y = builder.emit(op, [y, checked(parameter, y)], suffix="scaled" if op == "mul" else "biased")
    return y


def checked(parameter: Value, y: Value) -> Value:
    if len(parameter.shape) > len(y.shape) or np.broadcast_shapes(parameter.shape, y.shape) != y.shape:
        raise ModelError("a parameter does not broadcast to the input", found=parameter.shape, expected=str(y.shape))
    return parameter


def instance_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Each channel of each instance by itself."""
    x, scale, bias = (node.input(i, FLOAT) for i in range(3))
    return grouped(builder, x, scale, bias, len(x.shape) > 1 and x.shape[1] or 1, node.float_("epsilon", 1e-5))


def group_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Scale and bias are one for each channel; in opset 18 they were one for each group."""
    x, scale, bias = (node.input(i, FLOAT) for i in range(3))
    groups, epsilon = node.int_("num_groups", 0), node.float_("epsilon", 1e-5)
    node.require("stash_type", node.int_("stash_type", 1), 1)
    if len(x.shape) < 2 or groups < 1 or x.shape[1] % groups:
        raise ModelError("num_groups does not divide the channels", found=f"{groups} of {x.shape}")
    if node.opset < 21:
        each = x.shape[1] // groups
        scale, bias = (repeated(builder, p, groups, each) for p in (scale, bias))
    return grouped(builder, x, scale, bias, groups, epsilon)


def repeated(builder: GraphBuilder, parameter: Value, groups: int, each: int) -> Value:
    """One for each group → one for each of its channels."""
    if parameter.shape != (groups,):
        raise ModelError("parameters do not fit the groups", found=parameter.shape, expected=f"({groups},)")
    if each == 1:
        return parameter
    column = builder.emit("reshape", [parameter], suffix="groups", shape=(groups, 1))
    rows = builder.emit("mul", [column, builder.constant(np.ones((1, each), parameter.dtype))], suffix="channels")
    return builder.emit("reshape", [rows], suffix="channels", shape=(groups * each,))


def grouped(builder: GraphBuilder, x: Value, scale: Value, bias: Value, groups: int, epsilon: float) -> Value:
    """A layer norm of each group of channels, then scale and bias for each channel."""
    if len(x.shape) < 2 or scale.shape != (x.shape[1],) or bias.shape != (x.shape[1],):
        found = f"{scale.shape} and {bias.shape} for {x.shape}"
        raise ModelError("parameters do not fit the input", found=found, expected="one for each channel (axis 1)")
    rows = builder.emit("reshape", [x], suffix="groups", shape=(x.shape[0], groups, prod(x.shape[1:]) // groups))
    y = builder.emit("layer_norm", [rows], suffix="normalised", axis=2, epsilon=epsilon)
    y = builder.emit("reshape", [y], suffix="channels", shape=x.shape)
    along = (x.shape[1], *[1] * (len(x.shape) - 2))
    return affine(builder, y, *(builder.emit("reshape", [p], suffix="parameter", shape=along) for p in (scale, bias)))


def lp_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, FLOAT)
    p = node.int_("p", 2)
    if p not in (1, 2):
        raise ModelError("p of LpNormalization is neither 1 nor 2", found=p)
    return builder.emit("lp_norm", [x], axis=node.axis(node.int_("axis", -1), len(x.shape)), p=p)


VARIANCE_FLOOR = 1e-9
"""What the function of MeanVarianceNormalization adds to the deviation."""


def mean_variance_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    """(x - mean) / (deviation + 1e-9) over `axes`."""
    x = node.input(0, FLOAT)
    axes = tuple(node.axis(axis, len(x.shape)) for axis in node.ints("axes") or (0, 2, 3))
    mean = builder.emit("reduce_mean", [x], suffix="mean", axes=axes, keepdims=True)
    difference = builder.emit("sub", [x, mean], suffix="difference")
    squares = builder.emit("mul", [difference, difference], suffix="squares")
    variance = builder.emit("reduce_mean", [squares], suffix="variance", axes=axes, keepdims=True)
    deviation = builder.emit("sqrt", [variance], suffix="deviation")
    floored = builder.emit("add", [deviation, builder.scalar(VARIANCE_FLOOR, x.dtype)], suffix="floor")
    return builder.emit("div", [difference, floored])


IMPORTERS: dict[str, Importer] = {
    "BatchNormalization": batch_normalization,
    "LRN": lrn,
    "Softmax": soft("softmax"),
    "LogSoftmax": soft("log_softmax"),
    "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
}
