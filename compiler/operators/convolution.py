"""Convolution of images, in floating point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.attribute import integer, integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import IMAGE, Fusion, Input, Operator
from vdla.compiler.operators.products import accumulated, at_position, geometry
from vdla.compiler.operators.shapes import present, window_output
from vdla.compiler.operators.windows import pad_image, taps
from vdla.errors import ModelError

PADS = integers(4, (0, 0, 0, 0), low=0)
PAIR = integers(2, (1, 1), low=1)
WINDOW = {"strides": PAIR, "pads": PADS, "dilations": PAIR, "groups": integer(1, low=1)}
"""`pads` is (top, left, bottom, right); pairs are (vertical, horizontal)."""


def infer_conv2d(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[N, C, H, W], w[O, C/groups, KH, KW] → [N, O, OH, OW], of the dtype of x."""
    x, w = present(types)[:2]
    n, c, h, width = x.shape
    o, c_group, kh, kw = w.shape
    if c_group * a["groups"] != c or o % a["groups"]:
        raise ModelError(
            "channels and groups disagree",
            found=f"input {c}, weight {w.shape}, groups {a['groups']}",
            expected="weight (O, C/groups, KH, KW)",
        )
    (top, left, bottom, right), (dy, dx), (sy, sx) = a["pads"], a["dilations"], a["strides"]
    size = window_output(h, kh, sy, top + bottom, dy), window_output(width, kw, sx, left + right, dx)
    return (TensorType((n, o, *size), x.dtype),)


def define(types: Types, a: Attributes, form: str = "direct") -> Definition:
    """form: see `products`."""
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    g = geometry(types, a)
    total = at_position(accumulated(x, w, g, 0, x.dtype, form), g, form)
    biased = lambda n, o, h, w: total(n, o, h, w) + b[o] if b is not None else total(n, o, h, w)  # noqa: E731
    return Definition(required(x, w, b), (te.compute((g.n, g.groups * g.o, *g.output), biased, "y"),))


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Σ pad(x)·w + b: x[N, C, H, W], w[O, C/groups, KH, KW], b[O]."""
    x, w = inputs[:2]
    groups, window = a["groups"], w.shape[2:]
    x = pad_image(x, a["pads"], 0)
    size = [window_output(x.shape[2 + i], window[i], a["strides"][i], 0, a["dilations"][i]) for i in (0, 1)]
    views = taps(x, window, a["strides"], a["dilations"], size)
    one_each = groups == x.shape[1] == w.shape[0]
    y = depthwise(views, w) if one_each else by_matrix_product(x, views, w, groups, size)
    if len(inputs) > 2 and inputs[2] is not None:
        y += inputs[2].reshape(1, -1, 1, 1)
    return y


def depthwise(views: Iterator[np.ndarray], w: np.ndarray) -> np.ndarray:
    """One multiply-add over the whole map for each kernel position."""
    weights = w.reshape(w.shape[0], -1).T  # [positions, C]
    y, product = None, None
    for view, weight in zip(views, weights, strict=True):
        if y is None:
            y = view * weight.reshape(1, -1, 1, 1)
            product = np.empty_like(y)
        else:
            y += np.multiply(view, weight.reshape(1, -1, 1, 1), out=product)
    assert y is not None
    return y


def by_matrix_product(
    x: np.ndarray, views: Iterator[np.ndarray], w: np.ndarray, groups: int, size: Sequence[int]
) -> np.ndarray:
    """im2col: columns[N, groups, C/groups · KH · KW, OH · OW] under weights[groups, O/groups, C/groups · KH · KW]."""
    n, c = x.shape[:2]
    o, c_group, kh, kw = w.shape
    oh, ow = size
    if (kh, kw) == (1, 1) and (oh, ow) == x.shape[2:]:
        columns = x
    else:
        columns = np.empty((n, c, kh * kw, oh, ow), x.dtype)
        for position, view in enumerate(views):
            columns[:, :, position] = view
    columns = columns.reshape(n, groups, c_group * kh * kw, oh * ow)
    weights = w.reshape(groups, o // groups, c_group * kh * kw)
    return np.matmul(weights, columns).reshape(n, o, oh, ow)


FAMILY = (
    Operator(
        name="conv2d",
        inputs=(Input("x", rank=IMAGE), Input("w", like="x", rank=IMAGE), Input("b", like="x", channels=("w", 0))),
        optional=1,
        attributes=WINDOW,
        infer=infer_conv2d,
        define=define,
        kernel=kernel,
        fusion=Fusion.COMPLEX,
        takes_clip=True,
        channel_axis=1,
        host_reason="no VDLA kernel: the weights are computed, or not quantised",
    ),
)
