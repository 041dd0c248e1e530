"""Operators on signals. Fourier transforms are matrix products, made by the importer; what is left is cutting into frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.movement import movement
from vdla.compiler.operators.operator import ANY, MAX_RANK, Input
from vdla.compiler.operators.shapes import present, window_output


def infer_frames(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[…, L] → [… , F, size] for as many frames as fit."""
    (x,) = present(types)
    count = window_output(x.shape[-1], a["size"], a["step"], 0)
    return (TensorType((*x.shape[:-1], count, a["size"]), x.dtype),)


def define_frames(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    ((*shape,),) = (t.shape for t in infer_frames(types, a))

    def element(*at: Expr) -> Expr:
        return x[(*at[:-2], at[-2] * a["step"] + at[-1])]

    return Definition((x,), (te.compute(shape, element, "y"),))


def frames(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """y[…, f, i] = x[…, f · step + i]."""
    starts = np.arange(0, inputs[0].shape[-1] - a["size"] + 1, a["step"])
    return inputs[0][..., starts[:, None] + np.arange(a["size"])]


FAMILY = (
    movement(
        "frames",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)),),
        attributes={"size": integer(low=1), "step": integer(low=1)},
        infer=infer_frames,
        define=define_frames,
        kernel=frames,
    ),
)
