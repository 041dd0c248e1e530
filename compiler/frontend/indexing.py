"""Operators that look elements up: Gather, GatherElements, GatherND, OneHot, ReverseSequence, Compress, NonZero, Unique."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.bounded import counted, packed
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, Kind, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.indexing import INDEX
from vdla.compiler.operators.operator import ANY, NUMBER
from vdla.errors import ModelError


def indices_of(node: OnnxNode, index: int) -> Value:
    return node.input(index, INDEX)


def check_known_indices(node: OnnxNode, indices: Value, size: int) -> None:
    """Refuse a constant that lies on no element. Raises `ModelError`."""
    known = indices.constant
    if known is not None and known.size and (known.min() < -size or known.max() >= size):
        raise ModelError(
            f"an index of {node.op} is out of range",
            found=int(known.min() if known.min() < -size else known.max()),
            expected=f"{-size}..{size - 1}",
        )


def gather(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, indices = node.input(0, ANY), indices_of(node, 1)
    axis = node.axis(node.int_("axis", 0), len(x.shape))
    check_known_indices(node, indices, x.shape[axis])
    return builder.emit("gather", [x, indices], axis=axis)


def gather_elements(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, indices = node.input(0, ANY), indices_of(node, 1)
    axis = node.axis(node.int_("axis", 0), len(x.shape))
    check_known_indices(node, indices, x.shape[axis])
    return builder.emit("gather_elements", [x, indices], axis=axis)


def gather_nd(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, indices = node.input(0, ANY), indices_of(node, 1)
    check_known_tuples(node, indices, x.shape[node.int_("batch_dims", 0) :])
    return builder.emit("gather_nd", [x, indices], batch_dims=node.int_("batch_dims", 0))


def check_known_tuples(node: OnnxNode, indices: Value, shape: tuple[int, ...]) -> None:
    """The same of index tuples into `shape`."""
    if indices.constant is not None:
        for k, size in enumerate(shape[: indices.shape[-1] if indices.shape else 0]):
            check_known_indices(node, Value("", indices.type, indices.constant[..., k]), size)


def one_hot(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Indices of any number type; 0 and depth - 1 at most, or counted from the end, else nothing is on."""
    indices, values = node.input(0, NUMBER), node.input(2, ANY)
    depth = node.array(1, "depth").ravel()
    axis = node.int_("axis", -1)
    if depth.size != 1 or depth[0] < 1:
        raise ModelError("depth of OneHot", found=depth.tolist(), expected="one positive number")
    if indices.dtype not in INDEX:
        indices = builder.emit("cast", [indices], suffix="indices", to="int64")
    return builder.emit("one_hot", [indices, values], depth=int(depth[0]), axis=node.axis(axis, len(indices.shape) + 1))


def reverse_sequence(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, lengths = node.input(0, ANY), indices_of(node, 1)
    batch, time = node.int_("batch_axis", 1), node.int_("time_axis", 0)
    return builder.emit("reverse_sequence", [x, lengths], batch_axis=batch, time_axis=time)


def compress(builder: GraphBuilder, node: OnnxNode) -> Value:
    """The slices where a condition, which must be known, holds; without an axis, of the elements in a row."""
    x = node.input(0, ANY)
    kept = np.flatnonzero(node.array(1, "condition")).astype(np.int64)
    if node.attribute("axis", Kind.INT) is None:
        x, axis = builder.emit("reshape", [x], suffix="flat", shape=(x.type.elements,)), 0
    else:
        axis = node.axis(node.int_("axis", 0), len(x.shape))
    if kept.size and kept[-1] >= x.shape[axis]:
        raise ModelError("condition of Compress is too long", found=int(kept[-1]) + 1, expected=f"at most {x.shape[axis]}")
    return builder.emit("gather", [x, builder.constant(kept)], axis=axis)


def non_zero(builder: GraphBuilder, node: OnnxNode) -> Value:
    """How many there are is data, but of a constant: a column for each element of the input, and their number."""
    x = node.input(0, ANY)
    if not x.shape:
        x = builder.emit("reshape", [x], suffix="line", shape=(1,))
    if 0 in x.shape:
        return builder.constant(np.zeros((len(x.shape), 0), np.int64))
    line = builder.emit("reshape", [x], suffix="line", shape=(x.type.elements,))
    zero = builder.emit("equal", [line, builder.scalar(0, line.dtype)], suffix="zero")
    places, length = packed(builder, builder.emit("not", [zero], suffix="flags"))
    every = np.stack(np.unravel_index(np.arange(x.type.elements), x.shape)).astype(np.int64)
    return counted(builder.emit("gather", [builder.constant(every), places], axis=1), length, axis=1)


def unique(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Of a constant: its values, where each stands first, which of them each element is, and how often each occurs."""
    x = node.array(0, "the input")
    axis = None if node.attribute("axis", Kind.INT) is None else node.axis(node.int_("axis", 0), x.ndim)
    values, first, inverse, count = np.unique(x, True, True, True, axis=axis)
    if not node.int_("sorted", 1):  # in the order in which they first occur
        order = np.argsort(first)
        values, first, count = np.take(values, order, axis or 0), first[order], count[order]
        inverse = np.argsort(order)[inverse]
    return (builder.constant(values), *(builder.constant(a.ravel().astype(np.int64)) for a in (first, inverse, count)))


IMPORTERS: dict[str, Importer] = {
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "ReverseSequence": reverse_sequence,
    "Compress": compress,
    "NonZero": non_zero,
    "Unique": unique,
}
