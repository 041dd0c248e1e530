"""Sliding blocks put back together: what a convolution's transpose does with its columns."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import ir, te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, flatten, placeholders, required
from vdla.compiler.operators.operator import NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present, window_output
from vdla.errors import ModelError


def complete(a: Attributes) -> Attributes:
    """With one stride, dilation and pad for each dimension, where none are given."""
    rank = len(a["image"])
    ones = (1,) * rank
    strides, dilations, pads = a["strides"] or ones, a["dilations"] or ones, a["pads"] or (0,) * (2 * rank)
    return {**a, "strides": strides, "dilations": dilations, "pads": pads}


def block_counts(a: Attributes) -> tuple[int, ...]:
    """How many blocks lie along each dimension of the image, all attributes being complete."""
    rank = len(a["image"])
    for name, count in (("block", rank), ("strides", rank), ("dilations", rank), ("pads", 2 * rank)):
        if len(a[name]) != count:
            raise ModelError(f"{name} do not fit the image", found=a[name], expected=f"{count} numbers for {a['image']}")
    pads = [a["pads"][d] + a["pads"][d + rank] for d in range(rank)]
    return tuple(map(window_output, a["image"], a["block"], a["strides"], pads, a["dilations"]))


def infer_columns_to_image(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    a = complete(a)
    counts, size = block_counts(a), prod(a["block"])
    if x.shape[1] % size or x.shape[2] != prod(counts):
        expected = f"(N, a multiple of {size}, {prod(counts)})"
        raise ModelError("the columns are not the image's blocks", found=x.shape, expected=expected)
    return (TensorType((x.shape[0], x.shape[1] // size, *a["image"]), x.dtype),)


def define_columns_to_image(types: Types, a: Attributes) -> Definition:
    """Each element is the sum over the places of a block of the columns in which it has that place."""
    (x,) = required(*placeholders(types, "x"))
    a = complete(a)
    counts, rank = block_counts(a), len(a["image"])
    places = [te.reduce_axis(size, f"k{d}") for d, size in enumerate(a["block"])]

    def element(n: Expr, c: Expr, *at: Expr) -> Expr:
        offsets = [at[d] + a["pads"][d] - places[d] * a["dilations"][d] for d in range(rank)]
        blocks = [offset // stride for offset, stride in zip(offsets, a["strides"], strict=True)]
        inside = [
            check
            for offset, block, stride, count in zip(offsets, blocks, a["strides"], counts, strict=True)
            for check in (block >= 0, block < count, *([te.equal(offset % stride, 0)] if stride > 1 else []))
        ]
        row = flatten((c, *places), (x.shape[1], *a["block"]))
        value = x[n, row, flatten(tuple(blocks), counts)]
        return te.sum(te.select(ir.all_of(inside), value, te.const(0, x.dtype)), places)

    axes = ("n", "c", *(f"i{d}" for d in range(rank)))
    return Definition((x,), (te.compute(infer_columns_to_image(types, a)[0].shape, element, "y", axes=axes),))


def columns_to_image(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Block place by block place, added to every stride-th element of a padded image."""
    (x,) = inputs
    a = complete(a)
    counts, rank = block_counts(a), len(a["image"])
    columns = x.reshape(x.shape[0], -1, *a["block"], *counts)
    padded = [n + a["pads"][d] + a["pads"][d + rank] for d, n in enumerate(a["image"])]
    total = np.zeros((*columns.shape[:2], *padded), x.dtype)
    for place in np.ndindex(*a["block"]):
        starts = [k * dilation for k, dilation in zip(place, a["dilations"], strict=True)]
        steps = zip(starts, counts, a["strides"], strict=True)
        region = tuple(slice(start, start + (count - 1) * stride + 1, stride) for start, count, stride in steps)
        total[(..., *region)] += columns[(slice(None), slice(None), *place)]
    inner = tuple(slice(a["pads"][d], a["pads"][d] + n) for d, n in enumerate(a["image"]))
    return total[(..., *inner)].copy()


FAMILY = (
    Operator(
        name="columns_to_image",
        inputs=(Input("x", NUMBER, rank=(3, 3)),),
        attributes={
            "image": integers(low=1),
            "block": integers(low=1),
            "strides": integers(default=(), low=1),
            "pads": integers(default=(), low=0),
            "dilations": integers(default=(), low=1),
        },
        infer=infer_columns_to_image,
        define=define_columns_to_image,
        kernel=columns_to_image,
        fusion=Fusion.REDUCTION,
    ),
)
