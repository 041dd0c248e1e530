"""Operators of the domain com.microsoft that onnxruntime fuses, and its integer products with float results."""

from __future__ import annotations

from onnx import parser

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.convolution import emit_convolution
from vdla.compiler.frontend.dense import any_product, transposed, with_addend
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.quantisation import NARROW, dequantize
from vdla.compiler.frontend.values import Value
from vdla.compiler.frontend.window import maps
from vdla.compiler.operators.operator import FLOAT
from vdla.errors import ModelError

DYNAMIC_MATMUL = """
<domain: "vdla", opset_import: ["" : 18, "com.microsoft" : 1]>
product (a, b, b_scale, b_zero, bias) => (y) {
    levels, scale, zero = DynamicQuantizeLinear(a)
    y = com.microsoft.MatMulIntegerToFloat(levels, b, scale, b_scale, zero, b_zero, bias)
}
"""
ACTIVATIONS = {
    "Relu": ("relu", ()),
    "Tanh": ("tanh", ()),
    "Sigmoid": ("sigmoid", ()),
    "LeakyRelu": ("leaky_relu", ("alpha",)),
    "Clip": ("clip", ("low", "high")),
    "HardSigmoid": ("hard_sigmoid", ("alpha", "beta")),
}
"""ONNX's name → the operator, and which of its attributes the parameters are, in order."""


def activated(builder: GraphBuilder, node: OnnxNode, value: Value, parameters: tuple[float, ...]) -> Value:
    """The activation that the node names, if any."""
    name = node.string("activation", "")
    if not name:
        return value
    if name not in ACTIVATIONS:
        raise ModelError(f"unsupported attribute activation of {node.op}", found=name, expected=" or ".join(ACTIVATIONS))
    op, names = ACTIVATIONS[name]
    if len(parameters) < len(names):
        raise ModelError(f"{name} of {node.op} needs parameters", found=parameters, expected=", ".join(names))
    return builder.emit(op, [value], suffix="activation", **dict(zip(names, parameters, strict=False)))


def fused_conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Conv, a tensor added, an activation."""
    value = emit_convolution(builder, node, maps(node, 0, FLOAT), node.input(1, FLOAT), node.optional(2, FLOAT))
    if (addend := node.optional(3, FLOAT)) is not None:
        value = builder.emit("add", [value, addend], suffix="add")
    return activated(builder, node, value, node.floats("activation_params") or ())


def fused_gemm(builder: GraphBuilder, node: OnnxNode) -> Value:
    """alpha · A' · B' + beta · C, then an activation."""
    a, b, c = node.input(0), node.input(1), node.optional(2)
    alpha, beta = node.float_("alpha", 1.0), node.float_("beta", 1.0)
    a = transposed(builder, a) if node.int_("transA", 0) else a
    b = transposed(builder, b) if node.int_("transB", 0) else b
    value = times(builder, any_product(builder, a, b), alpha)
    value = with_addend(builder, value, None if c is None else times(builder, c, beta))
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    return activated(builder, node, value, tuple(node.float_(name, 0.0) for name in names))


def fused_matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    """alpha · A' · B', the last two axes of either perhaps the other way round."""
    for name in ("transBatchA", "transBatchB"):
        node.require(name, node.int_(name, 0), 0)
    operands = [node.input(0), node.input(1)]
    for index, name in enumerate(("transA", "transB")):
        rank = len(operands[index].shape)
        if node.int_(name, 0) and rank > 1:
            order = (*range(rank - 2), rank - 1, rank - 2)
            operands[index] = builder.emit("transpose", [operands[index]], suffix=name, permutation=order)
    return times(builder, any_product(builder, *operands), node.float_("alpha", 1.0))


def times(builder: GraphBuilder, value: Value, factor: float) -> Value:
    return value if factor == 1 else builder.emit("mul", [value, builder.scalar(factor, value.dtype)], suffix="times")


def matmul_integer_to_float(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A, B, their scales, their zero points, a bias: the product of what both stand for."""
    a = dequantize(builder, node, node.input(0, NARROW), (2, 4), -2, suffix="dequantize_a")
    return with_bias(builder, node, any_product(builder, a, dequantized_weights(builder, node, 1, (3, 5))), 6)


def dynamic_quantize_matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A is quantised as it comes; B, its scale and zero point, a bias."""
    assert node.reader is not None
    (result,) = node.reader.call(parser.parse_function(DYNAMIC_MATMUL), node)
    value: Value = result
    return value


def dequantized_weights(builder: GraphBuilder, node: OnnxNode, index: int, parameters: tuple[int, int]) -> Value:
    """A matrix by scale and zero point, of its columns or of all."""
    return dequantize(builder, node, node.input(index, NARROW), parameters, -1, suffix="dequantize_b")


def with_bias(builder: GraphBuilder, node: OnnxNode, value: Value, index: int) -> Value:
    bias = node.optional(index)
    return value if bias is None else builder.emit("add", [value, bias], suffix="add")


IMPORTERS: dict[str, Importer] = {
    "FusedConv": fused_conv,
    "FusedGemm": fused_gemm,
    "FusedMatMul": fused_matmul,
    "MatMulIntegerToFloat": matmul_integer_to_float,
    "DynamicQuantizeMatMul": dynamic_quantize_matmul,
}
