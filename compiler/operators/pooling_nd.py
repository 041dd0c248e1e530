"""Pools over any number of spatial axes, with dilations, of any numbers; and where the greatest element of a window lies.

max_pool_indices also gives the position of each window's first greatest element in the whole tensor, elements counted in the
order of memory, or (column_major) with the first spatial axis running fastest within each map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr, all_of
from vdla.compiler.operators.attribute import flag, integer, integers
from vdla.compiler.operators.convolution_nd import MAPS
from vdla.compiler.operators.definition import Attributes, Definition, Types, flatten, placeholders, required, unflatten
from vdla.compiler.operators.operator import NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.compiler.operators.spatial import KERNEL, STEPS, Windows, axis_names, kernel_axes, padded, tapped, windows
from vdla.compiler.operators.windows import pad_image, taps
from vdla.errors import ModelError

COMPARED = tuple(dict.fromkeys((*NUMBER, "int8", "uint8")))
POOL = {**KERNEL, **STEPS}
COUNTED = {"counted": integers(low=0)}
"""Of an average: how much of `pads` counts as elements, like `pads`."""


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[N, C, …] → [N, C, *output]; every window holds an element of x."""
    (x,) = present(types)
    found = windows(x.shape, a)
    refuse_empty(found, a)
    return (TensorType((*x.shape[:2], *found.output), x.dtype),)


def infer_average(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """As `infer`, but counted padding is something to divide by too."""
    (x,) = present(types)
    found = windows(x.shape, a)
    if len(a["counted"]) != len(a["pads"]) or any(c > p for c, p in zip(a["counted"], a["pads"], strict=True)):
        raise ModelError("counted is no part of the padding", found=a["counted"], expected=f"up to {a['pads']}")
    refuse_empty(found, a, a["counted"])
    return (TensorType((*x.shape[:2], *found.output), x.dtype),)


def refuse_empty(found: Windows, a: Attributes, counted: tuple[int, ...] | None = None) -> None:
    if found.holds_nothing(counted):
        said = f"kernel {a['kernel']}, strides {a['strides']}, pads {a['pads']}, dilations {a['dilations']} over {found.size}"
        raise ModelError("a window lies in the padding alone", found=said, expected="pads smaller than the kernel")


def infer_indices(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (y,) = infer(types, a)
    return y, TensorType(y.shape, "int64")


def pooled(
    x: te.Tensor, w: Windows, reduce: Callable[..., te.Reduction], pad: float, name: str, of: Callable[[Expr], Expr]
) -> te.Tensor:
    """`reduce` of `of` each element over the windows of x with `pad` around."""
    image = padded(x, w.pads, pad)
    tap = kernel_axes(w.kernel)
    shape = (*x.shape[:2], *w.output)
    element = lambda n, c, *at: reduce(of(image[(n, c, *tapped(w, at, tap))]), tap)  # noqa: E731
    return te.compute(shape, element, name, axes=axis_names(len(shape)))


def lowest(dtype: str) -> float:
    """What wins against nothing of `dtype`."""
    return -np.inf if np.dtype(dtype).kind == "f" else int(np.iinfo(dtype).min)


def define_max(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (pooled(x, windows(x.shape, a), te.max, lowest(x.dtype), "y", lambda value: value),))


def define_average(types: Types, a: Attributes) -> Definition:
    """The sum over each window, divided by how many elements count, which are known here."""
    (x,) = required(*placeholders(types, "x"))
    w = windows(x.shape, a)
    held = w.held(a["counted"]).astype(x.dtype)
    count = te.placeholder(held.shape, x.dtype, "count")
    total = pooled(x, w, te.sum, 0, "total", lambda value: value)
    y = te.compute(total.shape, lambda *at: total[at] / count[at[2:]], "y", axes=axis_names(len(total.shape)))
    return Definition((x, count), (y,), (held,))


def define_lp(types: Types, a: Attributes) -> Definition:
    """(Σ |x|ᵖ)^(1/p) over each window."""
    (x,) = required(*placeholders(types, "x"))
    p = a["p"]
    total = pooled(x, windows(x.shape, a), te.sum, 0, "total", lambda value: raised(value, p))
    y = te.compute(total.shape, lambda *at: root(total[at], p), "y", axes=axis_names(len(total.shape)))
    return Definition((x,), (y,))


def raised(x: Expr, p: int) -> Expr:
    """|x|ᵖ."""
    if p == 2:
        return x * x
    return te.absolute(x) if p == 1 else te.power(te.absolute(x), te.const(p, x.dtype))


def root(x: Expr, p: int) -> Expr:
    """x^(1/p)."""
    if p == 2:
        return te.sqrt(x)
    return x if p == 1 else te.power(x, te.const(1 / p, x.dtype))


def define_indices(types: Types, a: Attributes) -> Definition:
    """The greatest of each window, and the first tap that has it and lies on x; from the tap, the position."""
    (x,) = required(*placeholders(types, "x"))
    w = windows(x.shape, a)
    greatest = pooled(x, w, te.max, lowest(x.dtype), "y", lambda value: value)
    image = padded(x, w.pads, lowest(x.dtype))
    tap, names = kernel_axes(w.kernel), axis_names(len(x.shape))

    def first(n: Expr, c: Expr, *at: Expr) -> te.Reduction:
        inside = tapped(w, at, tap)
        value = image[(n, c, *inside)]
        bounds = [b for i, size, e in zip(inside, w.size, w.before, strict=True) for b in (i >= e, i < e + size)]
        found = te.select(all_of([te.equal(value, greatest[(n, c, *at)]), *bounds]), flatten(tap, w.kernel), Const(w.taps))
        return te.min(found, tap)

    which = te.compute(greatest.shape, first, "which", axes=names)

    def position(n: Expr, c: Expr, *at: Expr) -> Expr:
        taken = unflatten(te.minimum(which[(n, c, *at)], w.taps - 1), w.kernel)
        place = [i - b for i, b in zip(tapped(w, at, taken), w.before, strict=True)]
        sizes = w.size
        if a["column_major"]:
            place, sizes = place[::-1], sizes[::-1]
        channel = te.cast(n * x.shape[1] + c, "int64")
        return channel * prod(w.size) + te.cast(flatten(tuple(place), sizes), "int64")

    return Definition((x,), (greatest, te.compute(greatest.shape, position, "indices", axes=names)))


def max_pool(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x = inputs[0]
    w = windows(x.shape, a)
    views = taps(pad_image(x, a["pads"], lowest(str(x.dtype))), w.kernel, a["strides"], a["dilations"], w.output)
    y = next(views).copy()
    for view in views:
        np.maximum(y, view, out=y)
    return y


def average_pool(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x = inputs[0]
    w = windows(x.shape, a)
    counted, steps = a["counted"], (a["strides"], a["dilations"], w.output)
    ones = pad_image(np.ones((1, 1, *x.shape[2:]), x.dtype), counted, 1)
    ones = pad_image(ones, [p - c for p, c in zip(a["pads"], counted, strict=True)], 0)
    total, count = (sum(taps(image, w.kernel, *steps)) for image in (pad_image(x, a["pads"], 0), ones))
    return np.asarray(total / count)


def lp_pool(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, p = inputs[0], a["p"]
    w = windows(x.shape, a)
    views = taps(pad_image(x, a["pads"], 0), w.kernel, a["strides"], a["dilations"], w.output)
    total = sum(np.abs(view) ** p for view in views)
    return np.asarray(total ** x.dtype.type(1 / p))


def max_pool_indices(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, ...]:
    """Elements and their positions side by side, position -1 on the padding."""
    x = inputs[0]
    w = windows(x.shape, a)
    order = range(x.ndim - 1, 1, -1) if a["column_major"] else range(2, x.ndim)
    strides = dict(zip(order, [prod(x.shape[axis] for axis in list(order)[i + 1 :]) for i in range(x.ndim - 2)], strict=True))
    grids = np.indices(x.shape[2:], np.int64)
    place = sum(grids[axis - 2] * stride for axis, stride in strides.items())
    position = np.arange(prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * prod(x.shape[2:]) + place
    steps = (w.kernel, a["strides"], a["dilations"], w.output)
    best, where = None, None
    padded_x, padded_position = pad_image(x, a["pads"], lowest(str(x.dtype))), pad_image(position, a["pads"], -1)
    for view, index in zip(taps(padded_x, *steps), taps(padded_position, *steps), strict=True):
        if best is None or where is None:
            best, where = view.copy(), index.copy()
            continue
        better = (index >= 0) & ((view > best) | (where < 0))
        best, where = np.where(better, view, best), np.where(better, index, where)
    assert best is not None
    assert where is not None
    return best, where


FAMILY = (
    Operator(
        name="max_pool",
        inputs=(Input("x", COMPARED, rank=MAPS),),
        attributes=POOL,
        infer=infer,
        define=define_max,
        kernel=max_pool,
        fusion=Fusion.COMPLEX,
        slope=1,
        host_reason="no VDLA kernel: pooling in one or three dimensions, dilated, or of other numbers than int8",
    ),
    Operator(
        name="max_pool_indices",
        inputs=(Input("x", COMPARED, rank=MAPS),),
        attributes={**POOL, "column_major": flag()},
        infer=infer_indices,
        define=define_indices,
        kernel=max_pool_indices,
        host_reason="no VDLA kernel: where the greatest element of a window lies",
    ),
    Operator(
        name="avg_pool",
        inputs=(Input("x", rank=MAPS),),
        attributes={**POOL, **COUNTED},
        infer=infer_average,
        define=define_average,
        kernel=average_pool,
        fusion=Fusion.COMPLEX,
        slope=1,
        host_reason="no VDLA kernel: windows at the border divide by another number",
    ),
    Operator(
        name="lp_pool",
        inputs=(Input("x", rank=MAPS),),
        attributes={**POOL, "p": integer(2, low=1)},
        infer=infer,
        define=define_lp,
        kernel=lp_pool,
        fusion=Fusion.COMPLEX,
        non_negative=True,
        host_reason="no VDLA kernel: a norm of each window",
    ),
)
