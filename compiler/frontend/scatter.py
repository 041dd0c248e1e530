"""Operators that write where indices say: ScatterElements, ScatterND, TensorScatter, MaxUnpool."""

from __future__ import annotations

from math import prod

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.indexing import check_known_indices, check_known_tuples, indices_of
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.slicing import emit_pad
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import ANY
from vdla.compiler.operators.scatter import COMBINE
from vdla.errors import ModelError


def reduction_of(node: OnnxNode) -> str:
    found = node.string("reduction", "none")
    if found not in COMBINE:
        raise ModelError(f"unknown reduction of {node.op}", found=found, expected=" or ".join(COMBINE))
    return found


def scatter_elements(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Scatter is its name before opset 11. Without updates nothing is written."""
    x, indices = node.input(0, ANY), indices_of(node, 1)
    updates = node.input(2, (x.dtype,))
    axis, reduction = node.axis(node.int_("axis", 0), len(x.shape)), reduction_of(node)
    check_known_indices(node, indices, x.shape[axis])
    if 0 in indices.shape and updates.shape == indices.shape:
        return x
    return builder.emit("scatter_elements", [x, indices, updates], axis=axis, reduction=reduction)


def scatter_nd(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, indices = node.input(0, ANY), indices_of(node, 1)
    updates, reduction = node.input(2, (x.dtype,)), reduction_of(node)
    check_known_tuples(node, indices, x.shape)
    if 0 in indices.shape[:-1] and updates.shape[: len(indices.shape) - 1] == indices.shape[:-1]:
        return x
    return builder.emit("scatter_nd", [x, indices, updates], reduction=reduction)


def tensor_scatter(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Rows of a cache from write_indices[batch] on, or (circular) on from the start when the end is reached."""
    cache = node.input(0, ANY)
    update = node.input(1, (cache.dtype,))
    axis = node.axis(node.int_("axis", -2), len(cache.shape))
    mode = node.string("mode", "linear")
    if mode not in ("linear", "circular") or axis == 0:
        raise ModelError(
            "unknown mode of TensorScatter", found=f"{mode}, axis {axis}", expected="linear or circular, axis 1 or more"
        )
    length, size = update.shape[axis], cache.shape[axis]
    along = tuple(length if d == axis else 1 for d in range(len(cache.shape)))
    rows = builder.constant(np.arange(length, dtype=np.int64).reshape(along))
    if node.has(2):
        starts = builder.converted(indices_of(node, 2), "int64")
        check_known_indices(node, starts, size)
        across = tuple(cache.shape[0] if d == 0 else 1 for d in range(len(cache.shape)))
        rows = builder.emit("add", [builder.emit("reshape", [starts], suffix="starts", shape=across), rows])
    if mode == "circular":
        rows = builder.emit("mod", [rows, builder.constant(np.array(size, np.int64))])
    places = builder.emit("expand", [rows], shape=update.shape)
    return builder.emit("scatter_elements", [cache, places, update], axis=axis)


def max_unpool(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Values back where a MaxPool took them from; its indices count the elements of the whole tensor that it was given.

    With an output shape, that tensor is the first part of a larger one.
    """
    x, indices = node.input(0, ANY), node.input(1, ("int64",))
    kernel = node.ints("kernel_shape") or ()
    rank = len(x.shape) - 2
    strides, pads = node.ints("strides") or (1,) * rank, node.ints("pads") or (0,) * (2 * rank)
    if not len(kernel) == len(strides) == rank or len(pads) != 2 * rank or indices.shape != x.shape:
        found = f"kernel {kernel}, strides {strides}, pads {pads}, indices {indices.shape} for {x.shape}"
        raise ModelError("MaxUnpool does not fit its input", found=found)
    spatial = [(n - 1) * strides[d] + kernel[d] - pads[d] - pads[d + rank] for d, n in enumerate(x.shape[2:])]
    shape = (*x.shape[:2], *spatial)
    zeros = builder.constant(np.zeros(prod(shape), x.type.numpy_dtype))
    flat = [builder.emit("reshape", [v], suffix="flat", shape=(x.type.elements,)) for v in (indices, x)]
    check_known_indices(node, flat[0], prod(shape))
    y = builder.emit("reshape", [builder.emit("scatter_elements", [zeros, *flat], axis=0)], shape=shape)
    wanted = node.integers(2, "output_shape") if node.has(2) else shape
    if len(wanted) != len(shape) or any(w < n for w, n in zip(wanted, shape, strict=False)):
        raise ModelError("output_shape of MaxUnpool is too small", found=wanted, expected=f"at least {shape}")
    after = tuple(w - n for w, n in zip(wanted, shape, strict=True))
    return emit_pad(builder, y, (0,) * len(shape), after, "constant", 0)


IMPORTERS: dict[str, Importer] = {
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
    "MaxUnpool": max_unpool,
}
