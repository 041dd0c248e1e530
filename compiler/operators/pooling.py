"""Pools over windows, of floats and in exact integers.

qavg_pool2d y = requantise(Σ over the window of pad(x), bias, scale, low, high)
qmax_pool2d y = max over the window; padding is -128
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integers
from vdla.compiler.operators.convolution import PADS, PAIR
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    of_channel,
    padded_image,
    placeholders,
    required,
)  # fmt: skip
from vdla.compiler.operators.integer_arithmetic import LEVELS, PAD_LEVEL, parameters_of, requantise_channels, window_sums
from vdla.compiler.operators.operator import IMAGE, INT8, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present, window_output
from vdla.compiler.operators.windows import pad_image, taps
from vdla.errors import ModelError

POOL = {"kernel": integers(2, low=1), "strides": PAIR, "pads": PADS, "ceil": flag()}


def infer_pool2d(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x = present(types)[0]
    (kh, kw), (sy, sx), (top, left, bottom, right) = a["kernel"], a["strides"], a["pads"]
    ceil = bool(a["ceil"])
    oh = window_output(x.shape[2], kh, sy, top + bottom, ceil=ceil)
    ow = window_output(x.shape[3], kw, sx, left + right, ceil=ceil)
    return (TensorType((*x.shape[:2], oh, ow), x.dtype),)


def infer_avg_pool2d(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """Each window has something to divide by."""
    (y,) = infer_pool2d(types, a)
    for i, size in enumerate(present(types)[0].shape[2:]):
        last = (y.shape[2 + i] - 1) * a["strides"][i] - a["pads"][i]
        if not a["count_include_pad"] and (a["pads"][i] >= a["kernel"][i] or last >= size):
            found = f"kernel {a['kernel']}, strides {a['strides']}, pads {a['pads']} over {present(types)[0].shape}"
            raise ModelError("a window lies in the padding alone", found=found, expected="pads smaller than the kernel")
    return (y,)


def window_geometry(x: te.Tensor, a: Attributes) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Output size, and the pads grown to what the last windows reach in ceil mode."""
    (kh, kw), (sy, sx), (top, left, bottom, right) = a["kernel"], a["strides"], a["pads"]
    height, width = x.shape[2:]
    oh = window_output(height, kh, sy, top + bottom, ceil=bool(a["ceil"]))
    ow = window_output(width, kw, sx, left + right, ceil=bool(a["ceil"]))
    reach = (oh - 1) * sy + kh - height - top, (ow - 1) * sx + kw - width - left
    return (oh, ow), (top, left, max(bottom, reach[0]), max(right, reach[1]))


def pooled(x: te.Tensor, a: Attributes, reduce: Callable, pad_value: float, name: str, dtype: str = "") -> te.Tensor:
    """`reduce` over each window of padded x, in `dtype`."""
    (oh, ow), pads = window_geometry(x, a)
    (kh, kw), (sy, sx) = a["kernel"], a["strides"]
    padded = padded_image(x, pads, pad_value)
    rows, columns = te.reduce_axis(kh, "kh"), te.reduce_axis(kw, "kw")
    return te.compute(
        (*x.shape[:2], oh, ow),
        lambda n, c, h, w: reduce(te.cast(padded[n, c, h * sy + rows, w * sx + columns], dtype or x.dtype), (rows, columns)),
        name,
    )


def define_max_pool2d(types: Types, a: Attributes) -> Definition:
    """Padding never wins: it is the identity of max, the lowest value of the dtype."""
    (x,) = required(*placeholders(types, "x"))
    lowest = float("-inf") if x.dtype.startswith("float") else -128
    return Definition((x,), (pooled(x, a, te.max, lowest, "y"),))


def covered(position: Expr, stride: int, kernel: int, before: int, size: int, after: int) -> Expr:
    """How many of a window's elements lie in [-before, size + after), the window starting at position · stride - before."""
    start = position * stride
    end = te.minimum(start + kernel, te.const(before + size + after, "int32"))
    return end - start


def exposed(position: Expr, stride: int, kernel: int, before: int, size: int) -> Expr:
    """How many of a window's elements lie on the tensor itself."""
    start = position * stride - before
    return te.minimum(start + kernel, te.const(size, "int32")) - te.maximum(start, te.const(0, "int32"))


def define_avg_pool2d(types: Types, a: Attributes) -> Definition:
    """The mean of each window's real elements; with count_include_pad, of those and of `pads`, but never of ceil mode's."""
    (x,) = required(*placeholders(types, "x"))
    (kh, kw), (sy, sx), (top, left, bottom, right) = a["kernel"], a["strides"], a["pads"]
    height, width = x.shape[2:]
    total = pooled(x, a, te.sum, 0, "total")

    def mean(n: Expr, c: Expr, h: Expr, w: Expr) -> Expr:
        if a["count_include_pad"]:
            count = covered(h, sy, kh, top, height, bottom) * covered(w, sx, kw, left, width, right)
        else:
            count = exposed(h, sy, kh, top, height) * exposed(w, sx, kw, left, width)
        return total[n, c, h, w] / te.cast(count, x.dtype)

    return Definition((x,), (te.compute(total.shape, mean, "y"),))


def define_qavg_pool2d(types: Types, a: Attributes) -> Definition:
    """y = requantise(Σ over the window of pad(x), bias, scale)."""
    x, bias, scale = required(*placeholders(types, "x", "bias", "scale"))
    total = pooled(x, a, te.sum, a["pad_value"], "total", "int32")
    low, high = a["low"], a["high"]
    y = te.compute(
        total.shape,
        lambda n, c, h, w: te.cast(
            te.requantise(total[n, c, h, w], of_channel(bias, c), of_channel(scale, c), low, high), "int8"
        ),
        "y",
    )
    return Definition((x, bias, scale), (y,))


def pooled_size(x: np.ndarray, a: Attributes) -> tuple[list[int], list[int]]:
    """Output size, and pads grown to what the last windows reach in ceil mode."""
    pads, kernel, strides = list(a["pads"]), a["kernel"], a["strides"]
    size = [window_output(x.shape[2 + i], kernel[i], strides[i], pads[i] + pads[i + 2], ceil=bool(a["ceil"])) for i in (0, 1)]
    for i in (0, 1):
        reach = (size[i] - 1) * strides[i] + kernel[i]
        pads[i + 2] = max(pads[i + 2], reach - x.shape[2 + i] - pads[i])
    return size, pads


def max_pool2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Padding never wins: it is -∞, or the lowest int8."""
    x = inputs[0]
    size, pads = pooled_size(x, a)
    padded = pad_image(x, pads, -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min)
    y = None
    for view in taps(padded, a["kernel"], a["strides"], (1, 1), size):
        y = view.copy() if y is None else np.maximum(y, view, out=y)
    assert y is not None
    return y


def avg_pool2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """The mean of each window's real elements; with count_include_pad, of those and of `pads`, but never of ceil mode's."""
    x = inputs[0]
    size, pads = pooled_size(x, a)
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if a["count_include_pad"]:
        ones = pad_image(ones, a["pads"], 1)
        more = [0, 0, pads[2] - a["pads"][2], pads[3] - a["pads"][3]]
        counted = pad_image(ones, more, 0)
    else:
        counted = pad_image(ones, pads, 0)
    total, count = window_sum(pad_image(x, pads, 0), a, size), window_sum(counted, a, size)
    return total / count


def window_sum(padded: np.ndarray, a: Attributes, size: Sequence[int]) -> np.ndarray:
    total = np.zeros((*padded.shape[:2], *size), padded.dtype)
    for view in taps(padded, a["kernel"], a["strides"], (1, 1), size):
        total += view
    return total


def qavg_pool2d(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, bias, scale = inputs
    size, pads = pooled_size(x, a)
    acc = window_sums(pad_image(x, pads, a["pad_value"]), a["kernel"], a["strides"], size)
    return requantise_channels(acc, bias, scale, a["low"], a["high"])


FAMILY = (
    Operator(
        name="max_pool2d",
        inputs=(Input("x", rank=IMAGE),),
        attributes=POOL,
        infer=infer_pool2d,
        define=define_max_pool2d,
        kernel=max_pool2d,
        fusion=Fusion.COMPLEX,
        commutes=True,
        integer_form="qmax_pool2d",
        slope=1,
    ),
    Operator(
        name="avg_pool2d",
        inputs=(Input("x", rank=IMAGE),),
        attributes={**POOL, "count_include_pad": flag()},
        infer=infer_avg_pool2d,
        define=define_avg_pool2d,
        kernel=avg_pool2d,
        fusion=Fusion.COMPLEX,
        takes_clip=True,
        slope=1,
        host_reason="no VDLA kernel: windows at the border divide by another number",
    ),
    Operator(
        name="qmax_pool2d",
        inputs=(Input("x", INT8, rank=IMAGE),),
        attributes=POOL,
        infer=infer_pool2d,
        define=define_max_pool2d,
        kernel=max_pool2d,
        fusion=Fusion.COMPLEX,
        commutes=True,
    ),
    Operator(
        name="qavg_pool2d",
        inputs=(Input("x", INT8, rank=IMAGE), *parameters_of(("x", 1))),
        attributes={**POOL, **LEVELS, "pad_value": PAD_LEVEL},
        infer=infer_pool2d,
        define=define_qavg_pool2d,
        kernel=qavg_pool2d,
        fusion=Fusion.COMPLEX,
    ),
)
