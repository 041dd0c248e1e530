"""Operators that take values between the elements of a tensor: along an axis by tables, at given places."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import ir, te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, flag, integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present
from vdla.errors import ModelError

MOST_UNROLLED = 4
"""Taps of an interpolation that are written out; more are a reduction."""
CUBIC = -0.75  # the coefficient of Keys' kernel that GridSample has


def infer_interpolate(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, index, weight = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    if index.shape != weight.shape:
        raise ModelError("taps and their weights differ", found=f"{index.shape} and {weight.shape}", expected="one shape")
    return (TensorType((*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :]), x.dtype),)


def define_interpolate(types: Types, a: Attributes) -> Definition:
    """y[a…, o, b…] = Σₜ weight[o, t] · x[a…, index[o, t], b…]."""
    x, index, weight = required(*placeholders(types, "x", "index", "weight"))
    axis, count = a["axis"] % len(x.shape), index.shape[1]

    def tap(at: tuple[Expr, ...], t: Expr | int) -> Expr:
        o = at[axis]
        source = te.clip(index[o, t], 0, x.shape[axis] - 1)
        return x[(*at[:axis], source, *at[axis + 1 :])] * weight[o, t]

    k = te.reduce_axis(count, "t")

    def element(*at: Expr) -> Expr:
        if count > MOST_UNROLLED:
            return te.sum(tap(at, k), k)
        total = tap(at, 0)
        for t in range(1, count):
            total = total + tap(at, t)
        return total

    return Definition((x, index, weight), (te.compute(infer_interpolate(types, a)[0].shape, element, "y"),))


def interpolate(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """As a product with the matrix of the taps."""
    x, index, weight = inputs
    size = x.shape[a["axis"]]
    matrix = np.zeros((index.shape[0], size), np.float64)
    np.add.at(matrix, (np.arange(index.shape[0])[:, None], np.clip(index, 0, size - 1)), weight)
    return np.moveaxis(np.tensordot(matrix, x, (1, a["axis"])), 0, a["axis"]).astype(x.dtype)


def infer_grid_sample(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, grid = present(types)
    rank = len(x.shape) - 2
    if len(grid.shape) != rank + 2 or grid.shape[0] != x.shape[0] or grid.shape[-1] != rank:
        expected = f"({x.shape[0]}, …, {rank}) of {rank + 2} dimensions"
        raise ModelError("the grid does not fit the image", found=f"{grid.shape} for {x.shape}", expected=expected)
    return (TensorType((*x.shape[:2], *grid.shape[1:-1]), x.dtype),)


def reflected(position: Expr, low: float, high: float) -> Expr:
    """A float back and forth between two borders."""
    number = lambda value: te.const(value, position.dtype)  # noqa: E731
    if low == high:
        return number(low)
    span = number(high - low)
    distance = te.absolute(position - number(low))
    turns = te.floor(distance / span)
    rest = distance - turns * span
    half = turns / number(2)
    return te.select(te.equal(te.floor(half), half), rest + number(low), number(high) - rest)


def reflected_index(index: Expr, size: int, align: bool) -> Expr:
    """An index mirrored at the first and last elements (align), or at their outer edges."""
    if align:
        period = max(2 * size - 2, 1)
        place = index % period
        return te.minimum(place, period - place)
    place = index % (2 * size)
    return te.minimum(place, 2 * size - 1 - place)


def sampling_position(value: Expr, size: int, a: Attributes) -> Expr:
    """A grid's -1 … 1 as a position among `size` elements: on them, for padding by borders and reflections."""
    number = lambda v: te.const(v, value.dtype)  # noqa: E731
    if a["align_corners"]:
        position = (value + number(1)) / number(2) * number(size - 1)
    else:
        position = ((value + number(1)) * number(size) - number(1)) / number(2)
    if a["mode"] == "nearest":
        position = te.round_even(position)
    if a["padding"] == "border":
        return te.clip(position, number(0), number(size - 1))
    if a["padding"] == "reflection":
        low, high = (0, size - 1) if a["align_corners"] else (-0.5, size - 0.5)
        inside = te.logical_and(position >= number(low), position <= number(high))
        position = te.select(inside, position, reflected(position, low, high))
    return te.clip(position, number(-3), number(size + 2))  # farther away nothing changes, and it is an int32


def tap_weights(fraction: Expr, mode: str) -> list[Expr]:
    """Of the elements from floor(position) on, or for cubic ones from the one before."""
    one = te.const(1, fraction.dtype)
    if mode == "nearest":
        return [one]
    if mode == "linear":
        return [one - fraction, fraction]
    number = lambda v: te.const(v, fraction.dtype)  # noqa: E731
    near = lambda d: (number(CUBIC + 2) * d - number(CUBIC + 3)) * d * d + one  # noqa: E731
    far = lambda d: ((d - number(5)) * d + number(8)) * d * number(CUBIC) - number(4 * CUBIC)  # noqa: E731
    return [far(one + fraction), near(fraction), near(one - fraction), far(number(2) - fraction)]


def define_grid_sample(types: Types, a: Attributes) -> Definition:
    """Stages: each dimension's position, its taps' indices (-1: outside) and weights; then the sum over all taps."""
    x, grid = required(*placeholders(types, "x", "grid"))
    sizes, mode = x.shape[2:], a["mode"]
    rank = len(sizes)
    places, taps = grid.shape[:-1], {"nearest": 1, "linear": 2, "cubic": 4}[mode]

    def position(d: int) -> te.Tensor:
        read = lambda *at: sampling_position(grid[(*at, rank - 1 - d)], sizes[d], a)  # noqa: E731
        return te.compute(places, lambda *at: te.cast(read(*at), x.dtype), f"position{d}")

    def index(d: int, positions: te.Tensor) -> te.Tensor:
        def at_tap(*at: Expr) -> Expr:
            first = te.cast(te.floor(positions[at[:-1]]), "int32") - (1 if mode == "cubic" else 0)
            place = first + at[-1]
            if a["padding"] == "zeros":
                return te.select(te.logical_and(place >= 0, place < sizes[d]), place, te.const(-1, "int32"))
            if a["padding"] == "reflection":
                place = reflected_index(place, sizes[d], a["align_corners"])
            return te.clip(place, 0, sizes[d] - 1)

        return te.compute((*places, taps), at_tap, f"index{d}")

    def weight(d: int, positions: te.Tensor) -> te.Tensor:
        def at_tap(*at: Expr) -> Expr:
            place = positions[at[:-1]]
            *others, value = tap_weights(place - te.floor(place), mode)
            for t, other in reversed(list(enumerate(others))):
                value = te.select(te.equal(at[-1], t), other, value)
            return value

        return te.compute((*places, taps), at_tap, f"weight{d}")

    found = [position(d) for d in range(rank)]
    indices, weights = [index(d, p) for d, p in enumerate(found)], [weight(d, p) for d, p in enumerate(found)]
    along = [te.reduce_axis(taps, f"k{d}") for d in range(rank)]

    def sample(n: Expr, c: Expr, *at: Expr) -> Expr:
        where = [indices[d][(n, *at, along[d])] for d in range(rank)]
        value: Expr = x[(n, c, *(te.clip(i, 0, size - 1) for i, size in zip(where, sizes, strict=True)))]
        for d in range(rank):
            value = value * weights[d][(n, *at, along[d])]
        if a["padding"] == "zeros":
            value = te.select(ir.all_of([i >= 0 for i in where]), value, te.const(0, x.dtype))
        return te.sum(value, along)

    axes = ("n", "c", *(f"o{d}" for d in range(rank)))
    return Definition((x, grid), (te.compute((*x.shape[:2], *places[1:]), sample, "y", axes=axes),))


def grid_sample(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Tap by tap over whole arrays; positions outside are read from a padded image, or folded back one border at a time."""
    x, grid = inputs
    sizes = x.shape[2:]
    total = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
    dimensions = [numpy_taps(grid[..., len(sizes) - 1 - d], size, a) for d, size in enumerate(sizes)]
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * len(sizes))
    for taps in product(*dimensions):
        inside = np.logical_and.reduce([valid for _, _, valid in taps])
        values = np.moveaxis(x[(batch, slice(None), *(index for index, _, _ in taps))], -1, 1)
        weight = prod(weight for _, weight, _ in taps)
        total += np.where(inside[:, None], values, 0) * np.asarray(weight, x.dtype)[:, None]
    return total


def numpy_taps(grid: np.ndarray, size: int, a: Attributes) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Index, weight and whether it is inside, of each tap along a dimension."""
    align, mode, padding = a["align_corners"], a["mode"], a["padding"]
    position = (grid + 1) / 2 * (size - 1) if align else ((grid + 1) * size - 1) / 2
    position = np.rint(position) if mode == "nearest" else position
    low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
    if padding == "border":
        position = np.clip(position, 0, size - 1)
    elif padding == "reflection":
        position = folded_between(position, low, high)
    position = np.nan_to_num(np.clip(position, -3, size + 2), nan=-3)
    first = np.floor(position)
    found = []
    for step in {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[mode]:
        distance = np.abs(position - (first + step))
        index = (first + step).astype(np.int64)
        valid = np.ones(index.shape, bool) if padding != "zeros" else (index >= 0) & (index < size)
        if padding == "reflection":
            index = np.trunc(folded_between(index.astype(np.float64), low, high)).astype(np.int64)
        weight = np.ones_like(position) if mode == "nearest" else 1 - distance if mode == "linear" else keys(distance)
        found.append((np.clip(index, 0, size - 1), weight, valid))
    return found


def folded_between(position: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:
        return np.full_like(position, low)
    offset = np.mod(position - low, 2 * (high - low))
    return low + np.minimum(offset, 2 * (high - low) - offset)


def keys(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel (ieeexplore.ieee.org/document/1163711, equation 4)."""
    near = (CUBIC + 2) * distance**3 - (CUBIC + 3) * distance**2 + 1
    far = CUBIC * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


FAMILY = (
    Operator(
        name="interpolate",
        inputs=(
            Input("x", FLOAT, rank=(1, MAX_RANK)),
            Input("index", ("int32",), rank=(2, 2)),
            Input("weight", like="x", rank=(2, 2)),
        ),
        attributes={"axis": integer()},
        infer=infer_interpolate,
        define=define_interpolate,
        kernel=interpolate,
        fusion=Fusion.OPAQUE,
        host_reason="no VDLA kernel: weights differ from element to element",
    ),
    Operator(
        name="grid_sample",
        inputs=(Input("x", FLOAT, rank=(3, MAX_RANK)), Input("grid", like="x", rank=(3, MAX_RANK))),
        attributes={
            "mode": choice("nearest", "linear", "cubic"),
            "padding": choice("zeros", "border", "reflection"),
            "align_corners": flag(),
        },
        infer=infer_grid_sample,
        define=define_grid_sample,
        kernel=grid_sample,
        fusion=Fusion.OPAQUE,
        host_reason="no VDLA kernel: where it reads is data",
    ),
)
