"""Rotary position embedding (arXiv 2104.09864): pairs of a vector's elements turned by angles that depend on its position.

With x[B, H, S, D] and half = rotated / 2, a pair is elements (i, i + half), or (interleaved) elements (2i, 2i + 1):

    y = x · cos(i) - partner · sin(i) of its first element, x · cos(i) + partner · sin(i) of its second

Elements from `rotated` on stay. cos and sin are [B, S, half].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.attribute import flag, integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.operator import Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, *angles = present(types)
    batch, _, length, size = x.shape
    rotated = a["rotated"]
    if rotated % 2 or rotated > size:
        raise ModelError("rotated is not an even part of the vectors", found=rotated, expected=f"at most {size}")
    for angle in angles:
        if angle.shape not in ((batch, length, rotated // 2), (1, length, rotated // 2)):
            expected = str((batch, length, rotated // 2))
            raise ModelError("cosines and sines do not fit the vectors", found=angle.shape, expected=expected)
    return (x,)


def define(types: Types, a: Attributes) -> Definition:
    x, cos, sin = required(*placeholders(types, "x", "cos", "sin"))
    rotated, half = a["rotated"], a["rotated"] // 2

    def element(b: Expr, h: Expr, s: Expr, d: Expr) -> Expr:
        if a["interleaved"]:
            pair, second = d // 2, te.equal(d % 2, 1)
            step = Const(1)
        else:
            pair, second = te.select(d < half, d, d - half), d >= half
            step = Const(half)
        at = lambda angle: angle[broadcast_index(angle.shape, (b, s, te.minimum(pair, half - 1)))]  # noqa: E731
        partner = te.select(second, x[b, h, s, d - step], x[b, h, s, d + step])
        turned = x[b, h, s, d] * at(cos) + te.select(second, partner, te.const(0, x.dtype) - partner) * at(sin)
        return te.select(d < rotated, turned, x[b, h, s, d]) if rotated < x.shape[3] else turned

    return Definition((x, cos, sin), (te.compute(x.shape, element, "y"),))


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """As the multiplication of complex numbers, pair by pair."""
    x, cos, sin = inputs
    rotated, half = a["rotated"], a["rotated"] // 2
    first, second = (slice(0, rotated, 2), slice(1, rotated, 2)) if a["interleaved"] else (slice(half), slice(half, rotated))
    cos, sin = cos[:, None], sin[:, None]
    y: np.ndarray = x.copy()
    y[..., first] = x[..., first] * cos - x[..., second] * sin
    y[..., second] = x[..., first] * sin + x[..., second] * cos
    return y


FAMILY = (
    Operator(
        name="rotary_embedding",
        inputs=(Input("x", rank=(4, 4)), Input("cos", like="x", rank=(3, 3)), Input("sin", like="x", rank=(3, 3))),
        attributes={"rotated": integer(low=2), "interleaved": flag()},
        infer=infer,
        define=define,
        kernel=kernel,
        fusion=Fusion.OPAQUE,
    ),
)
