"""BatchNormalization, LRN, Softmax."""

from __future__ import annotations

from math import prod

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError


def batch_normalization(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0)
    parameters = [node.input(i) for i in range(1, 5)]
    node.float_("momentum", 0.9)
    node.require("training_mode", node.int_("training_mode", 0), 0)
    node.require("spatial", node.int_("spatial", 1), 1)  # opsets 7 and 8
    if len(x.shape) < 2 or any(p.shape != (x.shape[1],) for p in parameters):
        raise ModelError(
            "parameters do not fit the input",
            found=f"{[p.shape for p in parameters]} for {x.shape}",
            expected="one for each channel (axis 1)",
        )
    return builder.emit("batch_norm", [x, *parameters], epsilon=node.float_("epsilon", 1e-5))


def lrn(builder: GraphBuilder, node: OnnxNode) -> Value:
    size = node.int_("size", 0)
    if size < 1:
        raise ModelError("size of LRN is not positive", found=size)
    alpha, beta, bias = node.float_("alpha", 1e-4), node.float_("beta", 0.75), node.float_("bias", 1.0)
    return builder.emit("lrn", [node.image(0)], size=size, alpha=alpha, beta=beta, bias=bias)


def softmax(builder: GraphBuilder, node: OnnxNode) -> Value:
    return emit_softmax(builder, node, node.input(0), node.opset)


def emit_softmax(builder: GraphBuilder, node: OnnxNode, x: Value, opset: int) -> Value:
    """From opset 13 along one axis (default the last); before, over everything from `axis` (default 1) on."""
    rank = len(x.shape)
    if opset >= 13:
        return builder.emit("softmax", [x], axis=node.axis(node.int_("axis", -1), rank))
    axis = node.axis(node.int_("axis", 1), rank)
    if prod(x.shape[axis + 1 :]) == 1:
        return builder.emit("softmax", [x], axis=axis)
    flat = builder.emit("reshape", [x], suffix="flatten", shape=(prod(x.shape[:axis]), prod(x.shape[axis:])))
    return builder.emit("reshape", [builder.emit("softmax", [flat], axis=1)], suffix="restore", shape=x.shape)


IMPORTERS = {"BatchNormalization": batch_normalization, "LRN": lrn, "Softmax": softmax}
