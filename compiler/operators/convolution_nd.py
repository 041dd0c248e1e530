"""Convolution over any number of spatial axes, in floating point and in exact int32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, INT32, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.compiler.operators.spatial import STEPS, axis_names, kernel_axes, padded, tapped, windows
from vdla.compiler.operators.windows import pad_image, taps
from vdla.errors import ModelError

MAPS = (3, MAX_RANK)
"""Ranks of x[N, C, …] with one spatial axis or more."""
SUMMED = tuple(dict.fromkeys((*FLOAT, *INT32)))
"""What is multiplied and added."""


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[N, C, …], w[O, C/groups, *kernel] → [N, O, *output]."""
    x, w = present(types)[:2]
    if len(w.shape) != len(x.shape):
        raise ModelError("the weight does not fit the input", found=f"{w.shape} for {x.shape}", expected="as many axes")
    if w.shape[1] * a["groups"] != x.shape[1] or w.shape[0] % a["groups"]:
        raise ModelError(
            "channels and groups disagree",
            found=f"input {x.shape[1]}, weight {w.shape}, groups {a['groups']}",
            expected="weight (O, C/groups, …)",
        )
    return (TensorType((x.shape[0], w.shape[0], *windows(x.shape, a, w.shape[2:]).output), x.dtype),)


def define(types: Types, a: Attributes) -> Definition:
    """acc[n, o, p] = Σ over c and kernel positions; y = acc + b."""
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    window = windows(x.shape, a, w.shape[2:])
    image = padded(x, window.pads, 0)
    c, tap = te.reduce_axis(w.shape[1], "c"), kernel_axes(window.kernel)
    per_group = w.shape[0] // a["groups"]

    def products(n: Expr, o: Expr, *at: Expr) -> Expr:
        channel = c if a["groups"] == 1 else o // per_group * w.shape[1] + c
        return te.sum(image[(n, channel, *tapped(window, at, tap))] * w[(o, c, *tap)], (c, *tap))

    shape = (x.shape[0], w.shape[0], *window.output)
    names = axis_names(len(shape))
    acc = te.compute(shape, products, "acc", axes=names)
    y = te.compute(shape, lambda *at: acc[at] + b[at[1]] if b is not None else acc[at], "y", axes=names)
    return Definition(required(x, w, b), (y,))


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """A matrix product for each kernel position and group, added up."""
    x, w = inputs[:2]
    groups, window = a["groups"], windows(x.shape, a, w.shape[2:])
    n, size = len(x), window.output
    weights = w.reshape(groups, w.shape[0] // groups, w.shape[1], window.taps)
    total = np.zeros((n, groups, w.shape[0] // groups, int(np.prod(size))), x.dtype)
    for position, view in enumerate(taps(pad_image(x, a["pads"], 0), window.kernel, a["strides"], a["dilations"], size)):
        total += np.matmul(weights[..., position], view.reshape(n, groups, w.shape[1], -1))
    y: np.ndarray = total.reshape(n, w.shape[0], *size)
    if len(inputs) > 2 and inputs[2] is not None:
        y += inputs[2].reshape(-1, *[1] * len(size))
    return y


FAMILY = (
    Operator(
        name="conv",
        inputs=(
            Input("x", SUMMED, rank=MAPS),
            Input("w", SUMMED, like="x", rank=MAPS),
            Input("b", SUMMED, like="x", channels=("w", 0)),
        ),
        optional=1,
        attributes={**STEPS, "groups": integer(1, low=1)},
        infer=infer,
        define=define,
        kernel=kernel,
        fusion=Fusion.COMPLEX,
        host_reason="no VDLA kernel: convolution in one or three dimensions, or of whole numbers",
    ),
)
