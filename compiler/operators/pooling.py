"""Windows and other reductions that are not products."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from vdla.compiler import te
from vdla.compiler.graph.opset import window_output
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    inside,
    of_channel,
    padded_image,
    placeholders,
    required,
)  # fmt: skip


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


def max_pool2d(types: Types, a: Attributes) -> Definition:
    """Padding never wins: it is the identity of max, the lowest value of the dtype."""
    (x,) = required(*placeholders(types, "x"))
    lowest = float("-inf") if x.dtype.startswith("float") else -128
    return Definition((x,), pooled(x, a, te.max, lowest, "y"))


def covered(position: Expr, stride: int, kernel: int, before: int, size: int, after: int) -> Expr:
    """How many of a window's elements lie in [-before, size + after), the window starting at position · stride - before."""
    start = position * stride
    end = te.minimum(start + kernel, te.const(before + size + after, "int32"))
    return end - start


def exposed(position: Expr, stride: int, kernel: int, before: int, size: int) -> Expr:
    """How many of a window's elements lie on the tensor itself."""
    start = position * stride - before
    return te.minimum(start + kernel, te.const(size, "int32")) - te.maximum(start, te.const(0, "int32"))


def avg_pool2d(types: Types, a: Attributes) -> Definition:
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

    return Definition((x,), te.compute(total.shape, mean, "y"))


def qavg_pool2d(types: Types, a: Attributes) -> Definition:
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
    return Definition((x, bias, scale), y)


def mean_over(x: te.Tensor, axes: tuple[int, ...], shape: tuple[int, ...], keep: bool) -> te.Tensor:
    """The mean over `axes`, to `shape`, which has them as 1 or (not keep) not at all."""
    reduced = {axis: te.reduce_axis(x.shape[axis], f"r{axis}") for axis in sorted(axes)}
    kept = [d for d in range(len(x.shape)) if keep or d not in reduced]

    def total_at(*at: Expr) -> Expr:
        index = {**dict(zip(kept, at, strict=False)), **reduced}  # without kept axes, the one of shape (1,) is no index
        return te.sum(x[tuple(index[d] for d in range(len(x.shape)))], tuple(reduced.values()))

    total = te.compute(shape, total_at, "total")
    count = te.const(prod(x.shape[axis] for axis in reduced), x.dtype)
    return te.compute(shape, lambda *at: total[at] / count, "y")


def global_avg_pool(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), mean_over(x, tuple(range(2, len(x.shape))), (*x.shape[:2], *([1] * (len(x.shape) - 2))), True))


def reduce_mean(types: Types, a: Attributes) -> Definition:
    """Axes may be negative; a mean over every axis, none kept, has shape (), for which te has (1,)."""
    (x,) = required(*placeholders(types, "x"))
    axes = tuple(sorted({axis % len(x.shape) for axis in a["axes"]}))
    keep = bool(a["keepdims"])
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape) if keep or d not in axes)
    return Definition((x,), mean_over(x, axes, shape or (1,), keep))


def softmax(types: Types, a: Attributes) -> Definition:
    """exp(x - max) / Σ exp(x - max) along `axis`."""
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)
    rest = tuple(1 if d == axis else n for d, n in enumerate(x.shape))
    along = te.reduce_axis(x.shape[axis], "k"), te.reduce_axis(x.shape[axis], "k")
    at_axis = lambda at, index: tuple(index if d == axis else i for d, i in enumerate(at))  # noqa: E731
    greatest = te.compute(rest, lambda *at: te.max(x[at_axis(at, along[0])], along[0]), "greatest")
    exponent = te.compute(x.shape, lambda *at: te.exp(x[at] - greatest[at_axis(at, 0)]), "exponent")
    total = te.compute(rest, lambda *at: te.sum(exponent[at_axis(at, along[1])], along[1]), "total")
    return Definition((x,), te.compute(x.shape, lambda *at: exponent[at] / total[at_axis(at, 0)], "y"))


def lrn(types: Types, a: Attributes) -> Definition:
    """x / (bias + alpha/size · Σ x² over `size` neighbouring channels)^beta."""
    (x,) = required(*placeholders(types, "x"))
    size, channels = a["size"], x.shape[1]
    before = (size - 1) // 2
    k = te.reduce_axis(size, "k")

    def squares(n: Expr, c: Expr, *at: Expr) -> Expr:
        neighbour = x[(n, c + k - before, *at)]
        return te.sum(inside([(c + k, channels, before, size - 1 - before)], neighbour * neighbour, 0), k)

    total = te.compute(x.shape, squares, "total", axes=("n", "c", *(f"s{i}" for i in range(len(x.shape) - 2))))
    scale, bias = te.const(a["alpha"] / size, "float32"), te.const(a["bias"], "float32")
    return Definition((x,), te.compute(x.shape, lambda *at: x[at] / raised(bias + scale * total[at], a["beta"]), "y"))


def raised(base: Expr, exponent: float) -> Expr:
    """base^exponent; the usual 3/4 by square roots, which vectorise."""
    if exponent == 0.75:
        root = te.sqrt(base)
        return root * te.sqrt(root)
    return te.power(base, te.const(exponent, base.dtype))


WINDOWS = {"max_pool2d": max_pool2d, "qmax_pool2d": max_pool2d, "avg_pool2d": avg_pool2d, "qavg_pool2d": qavg_pool2d}
REDUCTIONS = {"global_avg_pool": global_avg_pool, "reduce_mean": reduce_mean, "softmax": softmax, "lrn": lrn}
