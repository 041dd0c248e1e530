"""Blocks of pixels laid along the channels, and back.

depth_to_space  y[n, c, h·BH + i, w·BW + j] = x[n, (i·BW + j)·C + c, h, w]

The pixels of a block are C channels each, one pixel after another (ONNX: mode DCR), so that where C fills whole tiles, tiles
are moved and not taken apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
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


FAMILY = (
    movement(
        "depth_to_space",
        inputs=(Input("x", ANY, rank=IMAGE),),
        attributes={"blocks": integers(2, low=1)},
        infer=infer_depth_to_space,
        define=define_depth_to_space,
        kernel=depth_to_space,
    ),
)
