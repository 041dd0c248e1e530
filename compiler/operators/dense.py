"""Matrix products: by constant weights (dense) and of two tensors (matmul)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.operator import MAX_RANK, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.products import dot_products
from vdla.compiler.operators.shapes import broadcast_shape, present
from vdla.errors import ModelError


def infer_dense(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[…, I], w[O, I] → [… , O], of the dtype of x."""
    x, w = present(types)[:2]
    if x.shape[-1] != w.shape[1]:
        raise ModelError("inner dimensions disagree", found=f"{x.shape} and {w.shape}", expected="x (…, I) and w (O, I)")
    return (TensorType((*x.shape[:-1], w.shape[0]), x.dtype),)


def define_dense(types: Types, a: Attributes, lanes: int = 1) -> Definition:
    """lanes: of the partial sums, see `products.dot_products`."""
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    acc = dot_products(x, w, x.dtype, lanes)
    y = te.compute(acc.shape, lambda *at: acc[at] + b[at[-1]] if b is not None else acc[at], "y")
    return Definition(required(x, w, b), (y,))


def dense(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """x[…, I] · w[O, I]ᵀ + b[O]."""
    y = inputs[0] @ inputs[1].T
    return y + inputs[2] if len(inputs) > 2 and inputs[2] is not None else y


def infer_matmul(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, y = present(types)
    if x.shape[-1] != y.shape[-2]:
        raise ModelError("inner dimensions disagree", found=f"{x.shape} and {y.shape}", expected="(…, M, K) and (…, K, N)")
    return (TensorType((*broadcast_shape([x.shape[:-2], y.shape[:-2]]), x.shape[-2], y.shape[-1]), x.dtype),)


def define_matmul(types: Types, a: Attributes) -> Definition:
    """(…, M, K) · (…, K, N), batch dimensions broadcast."""
    x, y = required(*placeholders(types, "a", "b"))
    batch = broadcast_shape([x.shape[:-2], y.shape[:-2]])
    k = te.reduce_axis(x.shape[-1], "k")

    def element(*at: Expr) -> Expr:
        left, right = broadcast_index(x.shape[:-2], at[:-2]), broadcast_index(y.shape[:-2], at[:-2])
        return te.sum(x[(*left, at[-2], k)] * y[(*right, k, at[-1])], k)

    acc = te.compute((*batch, x.shape[-2], y.shape[-1]), element, "acc")
    return Definition((x, y), (te.compute(acc.shape, lambda *at: acc[at], "y"),))


FAMILY = (
    Operator(
        name="dense",
        inputs=(Input("x", rank=(1, MAX_RANK)), Input("w", like="x", rank=(2, 2)), Input("b", like="x", channels=("w", 0))),
        optional=1,
        infer=infer_dense,
        define=define_dense,
        kernel=dense,
        fusion=Fusion.COMPLEX,
        takes_clip=True,
        channel_axis=-1,
        host_reason="no VDLA kernel: the weights are computed, or not quantised",
    ),
    Operator(
        name="matmul",
        inputs=(Input("a", NUMBER, rank=(2, MAX_RANK)), Input("b", NUMBER, like="a", rank=(2, MAX_RANK))),
        infer=infer_matmul,
        define=define_matmul,
        kernel=lambda inputs, a: np.matmul(inputs[0], inputs[1]),
        fusion=Fusion.COMPLEX,
    ),
)
