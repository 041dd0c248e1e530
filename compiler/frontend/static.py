"""Models that quantise while they run, read as the float models that they were: static scales come from calibration.

    before   DynamicQuantizeLinear(x) → levels, scale, zero;  Mul(Cast(MatMulInteger(levels, w, zero, w_zero)), scale · w_scale)
    after    Mul(MatMul(x, w - w_zero), 1 · w_scale)

Weights keep the levels they have.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.convolution import conv_integer, emit_convolution
from vdla.compiler.frontend.dense import any_product, less_zero_point, matmul_integer
from vdla.compiler.frontend.dynamic_lstm import static_lstm
from vdla.compiler.frontend.importers import importer_of
from vdla.compiler.frontend.microsoft_fused import dequantized_weights, matmul_integer_to_float, with_bias
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.quantisation import NARROW
from vdla.compiler.frontend.values import Anything, Value
from vdla.compiler.frontend.window import maps

FLOAT = ("float32",)
EITHER = (*FLOAT, *NARROW)


def unquantised(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, Value, Value]:
    """x itself, at scale 1 and zero point 0."""
    one, nothing = builder.constant(np.ones((), np.float32)), builder.constant(np.zeros((), np.uint8))
    return node.input(0, FLOAT), one, nothing


def without_zero_point(builder: GraphBuilder, node: OnnxNode, axis: int | None) -> Value:
    """Input 1 less input 3, as floats."""
    whole = less_zero_point(builder, node, node.input(1, NARROW), 3, axis)
    return builder.converted(whole, "float32")


def product(builder: GraphBuilder, node: OnnxNode) -> Value:
    """MatMulInteger."""
    a = node.input(0, EITHER)
    if a.dtype not in FLOAT:
        return matmul_integer(builder, node)
    return any_product(builder, a, without_zero_point(builder, node, -1))


def convolution(builder: GraphBuilder, node: OnnxNode) -> Value:
    """ConvInteger."""
    if node.input(0, EITHER).dtype not in FLOAT:
        return conv_integer(builder, node)
    return emit_convolution(builder, node, maps(node, 0, FLOAT), without_zero_point(builder, node, 0), None)


def product_to_float(builder: GraphBuilder, node: OnnxNode) -> Value:
    """MatMulIntegerToFloat."""
    a = node.input(0, EITHER)
    if a.dtype not in FLOAT:
        return matmul_integer_to_float(builder, node)
    scaled = builder.emit("mul", [a, node.input(2)], suffix="scaled")
    return with_bias(builder, node, any_product(builder, scaled, dequantized_weights(builder, node, 1, (3, 5))), 6)


def dynamic_product(builder: GraphBuilder, node: OnnxNode) -> Value:
    """DynamicQuantizeMatMul."""
    weights = dequantized_weights(builder, node, 1, (2, 3))
    return with_bias(builder, node, any_product(builder, node.input(0, FLOAT), weights), 4)


IMPORTERS: dict[tuple[str, str], Importer] = {
    ("", "DynamicQuantizeLinear"): unquantised,
    ("", "MatMulInteger"): product,
    ("", "ConvInteger"): convolution,
    ("com.microsoft", "MatMulIntegerToFloat"): product_to_float,
    ("com.microsoft", "DynamicQuantizeMatMul"): dynamic_product,
    ("com.microsoft", "DynamicQuantizeLSTM"): static_lstm,
}


class StaticImporters:
    """Finds importers. met: the nodes that quantise what they read while they run, by name."""

    def __init__(self) -> None:
        self.met: list[str] = []

    def find(self, domain: str, op: str) -> Importer | None:
        static = IMPORTERS.get((domain, op))
        if static is None:
            return importer_of(domain, op)
        return self._noting(static)

    def _noting(self, importer: Importer) -> Importer:
        def noting(builder: GraphBuilder, node: OnnxNode) -> Anything | tuple[Anything, ...]:
            if any(isinstance(value, Value) and value.dtype in FLOAT for value in node.inputs[:1]):
                self.met.append(node.name)
            return importer(builder, node)

        return noting
