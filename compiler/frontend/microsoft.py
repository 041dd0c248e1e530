"""Operators of the domain com.microsoft that onnxruntime's quantiser writes beside ONNX's own.

Each is imported as its float operator between dequantize and quantize.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.dense import product, transposed
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.normalisation import emit_softmax
from vdla.compiler.frontend.pooling import emit_average_pool
from vdla.compiler.frontend.quantisation import (
    NARROW,
    dequantize,
    dequantize_linear,
    output_dtype,
    quantize,
    quantize_linear,
    scale_of,
)
from vdla.compiler.frontend.reduction import emit_reduced
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError


def operand(builder: GraphBuilder, node: OnnxNode, index: int, axis: int = 1) -> Value:
    """Inputs `index`, +1, +2 (data, scale, zero point), dequantised."""
    return dequantize(builder, node, node.input(index, NARROW), (index + 1, index + 2), axis, suffix=f"dequantize_{index}")


def result(builder: GraphBuilder, node: OnnxNode, value: Value, index: int) -> Value:
    """Quantised by inputs `index`, +1 (scale, zero point)."""
    return quantize(builder, node, value, (index, index + 1), output_dtype(node, index + 1, 0), 1, suffix="quantize")


def qlinear_binary(op: str) -> Importer:
    """A, scale, zero point, B, scale, zero point, then the result's scale and zero point."""

    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        return result(builder, node, builder.emit(op, [operand(builder, node, 0), operand(builder, node, 3)]), 6)

    return importer


def qlinear_sigmoid(builder: GraphBuilder, node: OnnxNode) -> Value:
    return result(builder, node, builder.emit("sigmoid", [operand(builder, node, 0)]), 3)


def qlinear_leaky_relu(builder: GraphBuilder, node: OnnxNode) -> Value:
    value = builder.emit("leaky_relu", [operand(builder, node, 0)], alpha=node.float_("alpha", 0.01))
    return result(builder, node, value, 3)


def qlinear_reduce_mean(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Over the axes given, or all."""
    x, keep = operand(builder, node, 0), node.int_("keepdims", 1) != 0
    axes = sorted({node.axis(axis, len(x.shape)) for axis in node.ints("axes") or range(len(x.shape))})
    return result(builder, node, emit_reduced(builder, "reduce_mean", x, tuple(axes), keep), 3)


def qlinear_where(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Condition, X and its scale and zero point, Y and its, then the result's."""
    condition = node.input(0, ("bool",))
    return result(builder, node, builder.emit("where", [condition, operand(builder, node, 1), operand(builder, node, 4)]), 7)


def qlinear_softmax(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Softmax as of the ONNX opset its own attribute `opset` names."""
    return result(builder, node, emit_softmax(builder, node, operand(builder, node, 0), node.int_("opset", 13)), 3)


def qlinear_global_average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    node.require("channels_last", node.int_("channels_last", 0), 0)
    node.image(0, NARROW)
    return result(builder, node, builder.emit("global_avg_pool", [operand(builder, node, 0)]), 3)


def qlinear_average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    node.require("channels_last", node.int_("channels_last", 0), 0)
    node.image(0, NARROW)
    return result(builder, node, emit_average_pool(builder, node, operand(builder, node, 0)), 3)


def qlinear_concat(builder: GraphBuilder, node: OnnxNode) -> Value:
    """The result's scale and zero point first, then data, scale and zero point of each part."""
    parts = [operand(builder, node, index) for index in range(2, len(node.inputs), 3)]
    if not parts or any(len(part.shape) != len(parts[0].shape) for part in parts):
        raise ModelError("QLinearConcat mixes ranks, or has no parts", found=[part.shape for part in parts])
    joined = builder.emit("concat", parts, axis=node.axis(node.int_("axis", 0), len(parts[0].shape)))
    return result(builder, node, joined, 0)


def qgemm(builder: GraphBuilder, node: OnnxNode) -> Value:
    """alpha · (A' · B' + C), C in units of A's scale times B's; a float result when its scale is absent."""
    transpose_b = node.int_("transB", 0) != 0
    alpha = node.float_("alpha", 1.0)
    node.require("alpha", alpha, 1.0)
    a, b = operand(builder, node, 0), operand(builder, node, 3, 0 if transpose_b else 1)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError("QGemm multiplies matrices", found=f"{a.shape} and {b.shape}", expected="two dimensions each")
    a = transposed(builder, a) if node.int_("transA", 0) else a
    value = product(builder, a, transposed(builder, b) if transpose_b else b)
    if node.has(6):
        unit = scale_of(node, 1).astype(np.float64) * scale_of(node, 4).astype(np.float64)
        bias = (node.array(6, "C") * unit).astype(np.float32)
        value = builder.emit("add", [value, builder.constant(bias, builder.fresh(f"{node.name}.bias"))], suffix="add")
    return result(builder, node, value, 7) if node.has(7) else value


IMPORTERS: dict[str, Importer] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QLinearAdd": qlinear_binary("add"),
    "QLinearMul": qlinear_binary("mul"),
    "QLinearSigmoid": qlinear_sigmoid,
    "QLinearLeakyRelu": qlinear_leaky_relu,
    "QLinearReduceMean": qlinear_reduce_mean,
    "QLinearWhere": qlinear_where,
    "QLinearSoftmax": qlinear_softmax,
    "QLinearGlobalAveragePool": qlinear_global_average_pool,
    "QLinearAveragePool": qlinear_average_pool,
    "QLinearConcat": qlinear_concat,
    "QGemm": qgemm,
}
