"""Regions of interest: each box of an image as a small image of a fixed size (RoIAlign, arXiv 1703.06870)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import product
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integer, integers, positive_real
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.indexing import INDEX, index_in, numpy_index_in
from vdla.compiler.operators.operator import FLOAT, IMAGE, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError

Geometry = list[tuple[te.Tensor, te.Tensor, te.Tensor]]
"""Of the rows and of the columns: where each region starts, how large its bins are, how many samples a bin has."""
Neighbours = Callable[[int, Expr], tuple[Expr, Expr]]
"""Dimension and position → the lower neighbour, or -1 outside the image, and the weight of the upper one."""


def infer_roi_align(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, rois, batch = present(types)
    if rois.shape[1] != 4 or batch.shape != rois.shape[:1]:
        raise ModelError(
            "regions and their batches differ", found=f"{rois.shape} and {batch.shape}", expected="(N, 4) and (N,)"
        )
    if not a["samples"] and a["max"]:
        raise ModelError("a maximum of as many samples as a region has pixels", expected="a fixed number of samples")
    return (TensorType((rois.shape[0], x.shape[1], *a["size"]), x.dtype),)


def define_roi_align(types: Types, a: Attributes) -> Definition:
    """Stages for each of the two dimensions: where a region starts, how large its bins are, how many samples each has; then of
    every sample its lower neighbour (-1: outside the image) and the upper one's weight; then the mean or maximum."""
    x, rois, batch = required(*placeholders(types, "x", "rois", "batch"))
    dtype, count = x.dtype, rois.shape[0]
    number = lambda v: te.const(v, dtype)  # noqa: E731
    shift = number(0.5 if a["half_pixel"] else 0)

    def geometry(d: int) -> tuple[te.Tensor, te.Tensor, te.Tensor]:
        start = te.compute((count,), lambda r: rois[r, 1 - d] * number(a["scale"]) - shift, f"start{d}")

        def bin_size(r: Expr) -> Expr:
            extent = rois[r, 3 - d] * number(a["scale"]) - shift - start[r]
            return (extent if a["half_pixel"] else te.maximum(extent, number(1))) / number(a["size"][d])

        size = te.compute((count,), bin_size, f"bin{d}")
        samples = te.compute((count,), lambda r: number(a["samples"]) if a["samples"] else te.ceil(size[r]), f"samples{d}")
        return start, size, samples

    def low_and_high(d: int, position: Expr) -> tuple[Expr, Expr]:
        """The lower neighbour, or -1, and the weight of the upper one."""
        last = x.shape[2 + d] - 1
        inside = te.logical_and(position >= number(-1), position <= number(last + 1))
        at = te.clip(position, number(0), number(last))
        low = te.floor(at)
        return te.select(inside, te.cast(low, "int32"), te.const(-1, "int32")), at - low

    parts = [geometry(d) for d in (0, 1)]
    dense = not a["samples"]
    return Definition((x, rois, batch), ((define_dense if dense else define_sampled)(x, batch, parts, low_and_high, a),))


def define_sampled(x: te.Tensor, batch: te.Tensor, parts: Geometry, low_and_high: Neighbours, a: Attributes) -> te.Tensor:
    """A fixed number of samples in each bin."""
    count, samples, dtype = batch.shape[0], a["samples"], x.dtype

    def position(d: int) -> Callable[[Expr, Expr, Expr], Expr]:
        start, size, _ = parts[d]
        half = te.const(0.5, dtype)
        within = lambda k: (te.cast(k, dtype) + half) / te.const(samples, dtype)  # noqa: E731
        return lambda r, p, k: start[r] + (te.cast(p, dtype) + within(k)) * size[r]

    shapes = [(count, a["size"][d], samples) for d in (0, 1)]
    low = [
        te.compute(shapes[d], lambda *at, d=d: low_and_high(d, position(d)(*at))[0], f"low{d}", ("r", "p", "k")) for d in (0, 1)
    ]
    high = [
        te.compute(shapes[d], lambda *at, d=d: low_and_high(d, position(d)(*at))[1], f"high{d}", ("r", "p", "k"))
        for d in (0, 1)
    ]
    ky, kx = te.reduce_axis(samples, "ky"), te.reduce_axis(samples, "kx")
    one = te.const(1, dtype)

    def sample(r: Expr, c: Expr, ph: Expr, pw: Expr) -> Expr:
        image = index_in(batch[r], x.shape[0])
        places = [low[0][r, ph, ky], low[1][r, pw, kx]]
        weights = [high[0][r, ph, ky], high[1][r, pw, kx]]
        corners = []
        for dy, dx in product((0, 1), (0, 1)):
            at = [te.clip(place + step, 0, n - 1) for place, step, n in zip(places, (dy, dx), x.shape[2:], strict=True)]
            weight = [w if step else one - w for w, step in zip(weights, (dy, dx), strict=True)]
            corners.append(weight[0] * weight[1] * x[(image, c, *at)])
        together = reduce(te.maximum if a["max"] else operator.add, corners)
        inside = te.logical_and(places[0] >= 0, places[1] >= 0)
        return (te.max if a["max"] else te.sum)(te.select(inside, together, te.const(0, dtype)), (ky, kx))

    total = te.compute((count, x.shape[1], *a["size"]), sample, "y" if a["max"] else "total")
    if a["max"]:
        return total
    return te.compute(total.shape, lambda *at: total[at] / te.const(samples * samples, dtype), "y")


def define_dense(x: te.Tensor, batch: te.Tensor, parts: Geometry, low_and_high: Neighbours, a: Attributes) -> te.Tensor:
    """As many samples in each bin as it has pixels, rounded up: the mean is a sum over all rows and columns, weighted apart.

    Samples lie more than half a pixel apart, or there is one; so no more than 2 · (size + 2) of them touch the image, and the
    first one that may is found by a division.
    """
    count, dtype = batch.shape[0], x.dtype
    zero, one = te.const(0, dtype), te.const(1, dtype)

    def weights(d: int) -> te.Tensor:
        (start, size, samples), extent = parts[d], x.shape[2 + d]
        k = te.reduce_axis(2 * (extent + 2), f"k{d}")

        def weight(r: Expr, p: Expr, at: Expr) -> Expr:
            step = size[r] / te.maximum(samples[r], one)
            first = start[r] + te.cast(p, dtype) * size[r] + te.const(0.5, dtype) * step
            skipped = te.floor((te.const(-1, dtype) - first) / te.maximum(step, te.const(1e-6, dtype)))
            number = te.maximum(te.select(samples[r] > one, skipped, zero), zero) + te.cast(k, dtype)
            low, high = low_and_high(d, first + number * step)
            share = te.select(te.equal(low, at), one - high, te.select(te.equal(low + 1, at), high, zero))
            valid = te.logical_and(number < samples[r], low >= 0)
            return te.sum(te.select(valid, share, zero), k)

        return te.compute((count, a["size"][d], extent), weight, f"weights{d}")

    rows, columns = weights(0), weights(1)
    h, w = te.reduce_axis(x.shape[2], "h"), te.reduce_axis(x.shape[3], "w")
    across = te.compute(
        (count, x.shape[1], x.shape[2], a["size"][1]),
        lambda r, c, i, pw: te.sum(x[index_in(batch[r], x.shape[0]), c, i, w] * columns[r, pw, w], w),
        "across",
    )
    total = te.compute(
        (count, x.shape[1], *a["size"]), lambda r, c, ph, pw: te.sum(across[r, c, h, pw] * rows[r, ph, h], h), "total"
    )
    number = lambda r: te.maximum(parts[0][2][r] * parts[1][2][r], one)  # noqa: E731
    return te.compute(total.shape, lambda r, c, ph, pw: total[r, c, ph, pw] / number(r), "y")


def roi_align(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Region by region, each dimension's samples as rows of a matrix of bilinear weights."""
    x, rois, batch = inputs
    y = np.zeros((len(rois), x.shape[1], *a["size"]), x.dtype)
    shift = np.asarray(0.5 if a["half_pixel"] else 0, x.dtype)
    for r, box in enumerate(rois):
        corners = box.astype(x.dtype) * np.asarray(a["scale"], x.dtype) - shift
        image = x[numpy_index_in(batch[r], x.shape[0])]
        matrices, samples = [], []
        for d in (0, 1):
            extent = corners[3 - d] - corners[1 - d]
            size = (extent if a["half_pixel"] else max(extent, 1)) / a["size"][d]
            samples.append(a["samples"] or int(np.ceil(size)))
            matrices.append(bilinear_rows(corners[1 - d], size, a["size"][d], samples[d], x.shape[2 + d]))
        if min(samples) <= 0:
            continue
        if not a["max"]:
            y[r] = matrices[0].sum(1) @ image @ matrices[1].sum(1).T / (samples[0] * samples[1])
            continue
        ends = [[np.where(one, matrix, 0) for one in low_or_high(matrix)] for matrix in matrices]
        products = [np.einsum("pkh,chw,qlw->cpkql", top, image, side, optimize=True) for top in ends[0] for side in ends[1]]
        y[r] = np.max(products, axis=0).max(axis=(2, 4))
    return y


def bilinear_rows(start: float, size: float, bins: int, samples: int, extent: int) -> np.ndarray:
    """(bins, samples, extent): the weights of the two neighbours of each sample, or zeros outside the image."""
    rows = np.zeros((bins, max(samples, 0), extent))
    for p, k in np.ndindex(rows.shape[:2]):
        position = start + p * size + (k + 0.5) * size / samples
        if -1 <= position <= extent:
            position = min(max(position, 0), extent - 1)
            low = int(position)
            rows[p, k, low] += 1 - (position - low)
            rows[p, k, min(low + 1, extent - 1)] += position - low
    return rows


def low_or_high(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the first weight of each row that is not zero, and of the others."""
    first = np.arange(rows.shape[-1]) == np.argmax(rows != 0, axis=-1)[..., None]
    return first, ~first


FAMILY = (
    Operator(
        name="roi_align",
        inputs=(Input("x", FLOAT, rank=IMAGE), Input("rois", like="x", rank=(2, 2)), Input("batch", INDEX, rank=(1, 1))),
        attributes={
            "size": integers(2, low=1),
            "samples": integer(0, low=0),
            "scale": positive_real(),
            "max": flag(),
            "half_pixel": flag(True),
        },
        infer=infer_roi_align,
        define=define_roi_align,
        kernel=roi_align,
        fusion=Fusion.OPAQUE,
        host_reason="no VDLA kernel: where it reads is data",
    ),
)
