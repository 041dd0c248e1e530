"""Blocks of pixels laid along the channels, and back.

depth_to_space  y[n, c, h·BH + i, w·BW + j] = x[n, (i·BW + j)·C + c, h, w]
rearrange       y = x.reshape(parts).transpose(order).reshape(shape)

The pixels of a block are C channels each, one pixel after another (ONNX: mode DCR), so that where C fills whole tiles, tiles
are moved and not taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, flatten, placeholders, required, unflatten
from vdla.compiler.operators.movement import movement
from vdla.compiler.operators.operator import ANY, IMAGE, Input
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError


def infer_depth_to_space(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    (n, channels, h, w), (rows, columns) = x.shape, a["blocks"]
    if channels % (rows * columns):
        raise ModelError("blocks do not fit the channels", found=channels, expected=f"a multiple of {rows * columns}")
    return (TensorType((n, channels // (rows * columns), h * rows, w * columns), x.dtype),)


def define_depth_to_space(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    rows, columns = a["blocks"]
    shape = infer_depth_to_space(types, a)[0].shape

    def element(n: Expr, c: Expr, h: Expr, w: Expr) -> Expr:
        return x[n, (h % rows * columns + w % columns) * shape[1] + c, h // rows, w // columns]

    return Definition((x,), (te.compute(shape, element, "y"),))


def depth_to_space(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, (rows, columns) = inputs[0], a["blocks"]
    n, channels, h, w = x.shape
    pixels = x.reshape(n, rows, columns, channels // (rows * columns), h, w)
    return np.ascontiguousarray(pixels.transpose(0, 3, 4, 1, 5, 2)).reshape(n, -1, h * rows, w * columns)


def infer_rearrange(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if not prod(a["parts"]) == prod(a["shape"]) == x.elements:
        raise ModelError("element counts disagree", found=f"{x.shape} by {a['parts']} to {a['shape']}")
    if sorted(a["order"]) != list(range(len(a["parts"]))):
        raise ModelError("not an order of the parts", found=a["order"], expected=f"each of 0..{len(a['parts']) - 1} once")
    return (TensorType(tuple(a["shape"]), x.dtype),)


def define_rearrange(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    parts, order, shape = tuple(a["parts"]), tuple(a["order"]), tuple(a["shape"])

    def element(*at: Expr) -> Expr:
        moved = unflatten(flatten(at, shape), tuple(parts[i] for i in order))
        return x[unflatten(flatten(tuple(moved[order.index(part)] for part in range(len(parts))), parts), x.shape)]

    return Definition((x,), (te.compute(shape, element, "y"),))


def rearrange(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    return np.ascontiguousarray(inputs[0].reshape(a["parts"]).transpose(a["order"])).reshape(a["shape"])


FAMILY = (
    movement(
        "depth_to_space",
        inputs=(Input("x", ANY, rank=IMAGE),),
        attributes={"blocks": integers(2, low=1)},
        infer=infer_depth_to_space,
        define=define_depth_to_space,
        kernel=depth_to_space,
    ),
    movement(
        "rearrange",
        inputs=(Input("x", ANY),),
        attributes={"parts": integers(low=1), "order": integers(), "shape": integers(low=1)},
        infer=infer_rearrange,
        define=define_rearrange,
        kernel=rearrange,
    ),
)
