"""Gemm, MatMul and MatMulInteger.

`dense` when the right operand is a matrix of floating-point weights (constant or dequantised), `matmul` otherwise.
"""

from __future__ import annotations

from math import prod

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import FLOAT, NUMBER
from vdla.errors import ModelError

BYTES = ("uint8", "int8")


def gemm(builder: GraphBuilder, node: OnnxNode) -> Value:
    """alpha · A' · B' + beta · C. Of whole numbers, alpha and beta must be whole too."""
    a, b, c = node.input(0, NUMBER), node.input(1, NUMBER), node.optional(2, NUMBER)
    alpha, beta = node.float_("alpha", 1.0), node.float_("beta", 1.0)
    transpose_a, transpose_b = node.int_("transA", 0) != 0, node.int_("transB", 0) != 0
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise ModelError("Gemm multiplies matrices", found=f"{a.shape} and {b.shape}", expected="two dimensions each")
    if a.dtype not in FLOAT and not (alpha.is_integer() and beta.is_integer()):
        found = f"alpha {alpha}, beta {beta}"
        raise ModelError(f"Gemm of {a.dtype} scales by fractions", found=found, expected="whole numbers")
    if transpose_a:
        a = transposed(builder, a)
    bias = scaled(builder, c, beta, "beta") if c is not None and beta != 0 else None
    if b.constant is not None:
        b, alpha = scaled(builder, b, alpha, "scaled"), 1.0
    if not is_weight(b) or b.dtype not in FLOAT:
        b = transposed(builder, b) if transpose_b else b
        return with_addend(builder, scaled(builder, builder.emit("matmul", [a, b]), alpha, "alpha"), bias)
    w = b if transpose_b else transposed(builder, b)
    if alpha == 1 and bias is not None and bias.constant is not None and is_row(bias.shape, w.shape[0]):
        if bias.shape != (w.shape[0],):
            row = np.broadcast_to(bias.constant, (1, w.shape[0])).ravel().copy()
            bias = builder.constant(row, builder.fresh(f"{bias.name}.row"))
        return builder.emit("dense", [a, w, bias])
    return with_addend(builder, scaled(builder, builder.emit("dense", [a, w]), alpha, "alpha"), bias)


def is_weight(value: Value) -> bool:
    return len(value.shape) == 2 and (value.static or value.constant is not None)


def transposed(builder: GraphBuilder, value: Value) -> Value:
    """A matrix's transpose."""
    return builder.emit("transpose", [value], suffix="transpose", permutation=(1, 0))


def is_row(shape: tuple[int, ...], width: int) -> bool:
    """Whether a bias is the same for every row: (), (1,), (O,), (1, 1) or (1, O)."""
    return shape in ((), (1,), (width,), (1, 1), (1, width))


def scaled(builder: GraphBuilder, value: Value, factor: float, suffix: str) -> Value:
    """`value` times a number."""
    return value if factor == 1 else builder.emit("mul", [value, builder.scalar(factor, value.dtype)], suffix=suffix)


def with_addend(builder: GraphBuilder, value: Value, addend: Value | None) -> Value:
    """value + addend, where the sum must keep the shape of `value` (ONNX broadcasts one way here)."""
    if addend is None:
        return value
    result = builder.emit("add", [value, addend], suffix="add")
    if result.shape != value.shape:
        raise ModelError("Gemm's C does not broadcast to the product", found=addend.shape, expected=str(value.shape))
    return result


def matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    return any_product(builder, node.input(0, NUMBER), node.input(1, NUMBER))


def any_product(builder: GraphBuilder, a: Value, b: Value) -> Value:
    """a · b as NumPy has it: a vector is a row on the left and a column on the right, and leaves no dimension."""
    if not a.shape or not b.shape:
        raise ModelError("MatMul of a scalar", found=f"{a.shape} and {b.shape}", expected="one dimension or more each")
    left = a if len(a.shape) > 1 else builder.emit("reshape", [a], suffix="row", shape=(1, *a.shape))
    right = b if len(b.shape) > 1 else builder.emit("reshape", [b], suffix="column", shape=(*b.shape, 1))
    y = product(builder, left, right)
    if left is a and right is b:
        return y
    rows, columns = (() if left is not a else (y.shape[-2],)), (() if right is not b else (y.shape[-1],))
    return builder.emit("reshape", [y], suffix="vector", shape=(*y.shape[:-2], *rows, *columns))


def product(builder: GraphBuilder, a: Value, b: Value) -> Value:
    """a · b of matrices, b not transposed."""
    dense = is_weight(b) and b.dtype in FLOAT
    return builder.emit("dense", [a, transposed(builder, b)]) if dense else builder.emit("matmul", [a, b])


def matmul_integer(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Exact products of levels less their zero points, in int32: of A one for all or for each row, of B for each column."""
    a, b = node.input(0, BYTES), node.input(1, BYTES)
    return any_product(builder, less_zero_point(builder, node, a, 2, -2), less_zero_point(builder, node, b, 3, -1))


def less_zero_point(builder: GraphBuilder, node: OnnxNode, value: Value, index: int, axis: int | None) -> Value:
    """`value` less input `index`, in int32. axis: along which a vector of zero points lies, where there may be one."""
    wide = builder.converted(value, "int32")
    zero = node.optional(index, (value.dtype,))
    if zero is None:
        return wide
    zero = builder.converted(zero, "int32")
    rank = len(value.shape)
    if prod(zero.shape) == 1:
        zero = builder.emit("reshape", [zero], suffix="zero", shape=(1,) * rank)
    elif axis is not None and zero.shape == (value.shape[axis],):
        shape = tuple(zero.shape[0] if d == axis % rank else 1 for d in range(rank))
        zero = builder.emit("reshape", [zero], suffix="zero", shape=shape)
    elif axis is None or len(zero.shape) != rank or any(z not in (1, n) for z, n in zip(zero.shape, value.shape, strict=True)):
        found = f"{zero.shape} for {value.shape}"
        raise ModelError(f"zero points of {node.op} do not fit", found=found, expected="one, or one for each row or column")
    return builder.emit("sub", [wide, zero], suffix="level")


IMPORTERS = {"Gemm": gemm, "MatMul": matmul, "MatMulInteger": matmul_integer}
