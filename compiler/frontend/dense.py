"""Gemm and MatMul: `dense` when the right operand is a matrix of weights (constant or dequantised), `matmul` otherwise."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError


def gemm(builder: GraphBuilder, node: OnnxNode) -> Value:
    """alpha · A' · B' + beta · C"""
    a, b, c = node.input(0), node.input(1), node.optional(2)
    alpha, beta = node.float_("alpha", 1.0), node.float_("beta", 1.0)
    transpose_a, transpose_b = node.int_("transA", 0) != 0, node.int_("transB", 0) != 0
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError("Gemm multiplies matrices", found=f"{a.shape} and {b.shape}", expected="two dimensions each")
    if transpose_a:
        a = transposed(builder, a)
    bias = scaled(builder, c, beta, "beta")
    if b.constant is not None and alpha not in (0, 1):
        b, alpha = builder.emit("mul", [b, builder.scalar(alpha, b.dtype)], suffix="scaled"), 1.0
    if not is_weight(b):
        b = transposed(builder, b) if transpose_b else b
        return with_addend(builder, times(builder, builder.emit("matmul", [a, b]), alpha), bias)
    w = b if transpose_b else transposed(builder, b)
    if alpha == 1 and bias is not None and bias.constant is not None and is_row(bias.shape, w.shape[0]):
        if bias.shape != (w.shape[0],):
            row = np.broadcast_to(bias.constant, (1, w.shape[0])).ravel().copy()
            bias = builder.constant(row, builder.fresh(f"{bias.name}.row"))
        return builder.emit("dense", [a, w, bias])
    return with_addend(builder, times(builder, builder.emit("dense", [a, w]), alpha), bias)


def is_weight(value: Value) -> bool:
    return len(value.shape) == 2 and (value.static or value.constant is not None)


def transposed(builder: GraphBuilder, value: Value) -> Value:
    """A matrix's transpose."""
    return builder.emit("transpose", [value], suffix="transpose", permutation=(1, 0))


def is_row(shape: tuple[int, ...], width: int) -> bool:
    """Whether a bias is the same for every row: (), (1,), (O,), (1, 1) or (1, O)."""
    return shape in ((), (1,), (width,), (1, 1), (1, width))


def scaled(builder: GraphBuilder, value: Value | None, factor: float, suffix: str) -> Value | None:
    """value · factor; nothing when that is nothing."""
    if value is None or factor == 1 or factor == 0:
        return None if factor == 0 else value
    return builder.emit("mul", [value, builder.scalar(factor, value.dtype)], suffix=suffix)


def times(builder: GraphBuilder, value: Value, factor: float) -> Value:
    return value if factor == 1 else builder.emit("mul", [value, builder.scalar(factor, value.dtype)], suffix="alpha")


def with_addend(builder: GraphBuilder, value: Value, addend: Value | None) -> Value:
    """value + addend, where the sum must keep the shape of `value` (ONNX broadcasts one way here)."""
    if addend is None:
        return value
    result = builder.emit("add", [value, addend], suffix="add")
    if result.shape != value.shape:
        raise ModelError("Gemm's C does not broadcast to the product", found=addend.shape, expected=str(value.shape))
    return result


def matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    a, b = node.input(0), node.input(1)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ModelError("MatMul of vectors is not supported", found=f"{a.shape} and {b.shape}", hint="reshape to matrices")
    return product(builder, a, b)


def product(builder: GraphBuilder, a: Value, b: Value) -> Value:
    """a · b, b not transposed."""
    return builder.emit("dense", [a, transposed(builder, b)]) if is_weight(b) else builder.emit("matmul", [a, b])


IMPORTERS = {"Gemm": gemm, "MatMul": matmul}
