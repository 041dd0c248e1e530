"""Activations and arithmetic, element by element."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from onnx import TensorProto

from vdla.compiler.frontend.builder import GraphBuilder, Value
from vdla.compiler.frontend.node import OnnxNode
from vdla.errors import ModelError

FLOAT_LIMIT = float(np.finfo(np.float32).max)  # ONNX's default bounds of Clip


def unary(op: str) -> Callable[[GraphBuilder, OnnxNode], Value]:
    return lambda builder, node: builder.emit(op, [node.input(0)])


def binary(op: str) -> Callable[[GraphBuilder, OnnxNode], Value]:
    return lambda builder, node: builder.emit(op, [node.input(0), node.input(1)])


def sum_(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Any number of addends, from the left."""
    addends = [node.input(i) for i in range(max(len(node.inputs), 1))]
    return reduce(lambda total, addend: builder.emit("add", [total, addend]), addends)


def clip(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Bounds are attributes before opset 11, inputs from then on; no upper and a zero lower bound make a relu."""
    if node.opset < 11:
        low, high = node.float_("min", -FLOAT_LIMIT), node.float_("max", FLOAT_LIMIT)
    else:
        low, high = bound(node, 1, "min", -FLOAT_LIMIT), bound(node, 2, "max", FLOAT_LIMIT)
    low, high = max(low, -FLOAT_LIMIT), min(high, FLOAT_LIMIT)
    if low == 0 and high == FLOAT_LIMIT:
        return builder.emit("relu", [node.input(0)])
    if np.isnan(low) or np.isnan(high):
        raise ModelError("a bound of Clip is not a number")
    return builder.emit("clip", [node.input(0)], low=min(low, high), high=high)  # ONNX: high wins where they cross


def bound(node: OnnxNode, index: int, what: str, default: float) -> float:
    if not node.has(index):
        return default
    array = node.array(index, what)
    if array.size != 1:
        raise ModelError(f"{what} of Clip is not a scalar", found=array.shape)
    return float(array.ravel()[0])


def hard_sigmoid(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.emit("hard_sigmoid", [node.input(0)], alpha=node.float_("alpha", 0.2), beta=node.float_("beta", 0.5))


def identity(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Leaves no node behind."""
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise ModelError(f"input 0 of {node.op} is absent")
    return value


def cast(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Between float32 and float32 only: a leftover of some exporters."""
    node.int_("saturate", 1)
    node.string("round_mode", "up")
    node.require("to", node.int_("to", TensorProto.UNDEFINED), TensorProto.FLOAT)
    return node.input(0)


def dropout(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Nothing at inference, which is all there is here."""
    node.float_("ratio", 0.5)
    node.int_("seed", 0)
    if node.has(2) and node.array(2, "training_mode").any():
        raise ModelError("Dropout in training mode is not supported", hint="export the model for inference")
    return identity(builder, node)


IMPORTERS = {
    "Relu": unary("relu"),
    "Sigmoid": unary("sigmoid"),
    "Tanh": unary("tanh"),
    "HardSwish": unary("hard_swish"),
    "HardSigmoid": hard_sigmoid,
    "Clip": clip,
    "Add": binary("add"),
    "Sub": binary("sub"),
    "Mul": binary("mul"),
    "Div": binary("div"),
    "Sum": sum_,
    "Identity": identity,
    "Dropout": dropout,
    "Cast": cast,
}
