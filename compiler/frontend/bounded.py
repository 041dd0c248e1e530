"""Tensors whose length is data: as many places as there may be, and how many of them count.

What NonZero and NonMaxSuppression find comes first in such a tensor; what lies behind it has no meaning. An operator can take
one if it computes each place along that axis from the same place alone: then its result is such a tensor too, and so on to the
model's output, beside which the length is one more. Any other operator would take the places behind for real ones; it is
refused, unless all is known when compiling.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import replace

import numpy as np

from vdla.compiler.frontend import elementwise
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import ANY, Importer, OnnxNode
from vdla.compiler.frontend.values import Anything, Sequence, Value
from vdla.compiler.graph.graph import TensorType

MOVES = ("Concat", "Expand", "Flatten", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze")
"""Operators that only move elements: what they do to numbers that count the places tells where the axis goes."""
LOOKUPS = ("Gather", "GatherND")


def packed(builder: GraphBuilder, flags: Value) -> tuple[Value, Value]:
    """Of flags[N]: where those that are set stand, in order, int64[N] with zeros behind; and how many there are, int64[]."""
    (count,) = flags.shape
    numbers = builder.converted(flags, "int64")
    sums = builder.emit("cumulative_sum", [numbers], suffix="sums", axis=0)
    place = builder.emit("sub", [sums, builder.scalar(1, "int64")], suffix="place")
    place = builder.emit("where", [flags, place, builder.scalar(count, "int64")], suffix="place")
    zeros, every = np.zeros(count + 1, np.int64), np.arange(count, dtype=np.int64)
    written = builder.emit("scatter_elements", [builder.constant(zeros), place, builder.constant(every)], axis=0)
    found = builder.emit("slice", [written], suffix="found", starts=(0,), steps=(1,), sizes=(count,))
    return found, builder.emit("reduce_sum", [numbers], suffix="length", axes=(0,), keepdims=False)


def counted(value: Value, length: Value, axis: int) -> Value:
    """`value`, of which the first `length` places count; where that is known, those alone."""
    if value.constant is None or length.constant is None:
        return replace(value, length=length, axis=axis)
    found = np.take(value.constant, np.arange(length.constant.item()), axis)
    return replace(value, constant=found, type=TensorType(found.shape, value.dtype))


def bounded_inputs(node: OnnxNode) -> list[Value]:
    """The node's inputs of unknown length, those in sequences too."""
    values: list[Anything] = []
    for given in node.inputs:
        values += given.items if isinstance(given, Sequence) else (given,)
    return [value for value in values if isinstance(value, Value) and value.length is not None]


def imported(importer: Importer, builder: GraphBuilder, node: OnnxNode) -> tuple[Anything, ...]:
    """A node's results, of unknown length where its inputs are. Raises `UnknownValue` where their length would count."""
    bounded = bounded_inputs(node)
    if not bounded:
        return several(importer(builder, node))
    first = bounded[0]
    if any(value.length is not first.length for value in bounded) or node.op not in {*elementwise.IMPORTERS, *MOVES, *LOOKUPS}:
        raise node.unknown(first, "the length of an input")
    with builder.bounded():
        results = several(importer(builder, node))
        axes = axes_of(importer, builder, node, results, bounded)
    if None in axes:
        raise node.unknown(first, "the length of an input")
    pairs = zip(results, axes, strict=True)
    return tuple(replace(r, length=first.length, axis=axis) for r, axis in pairs if isinstance(r, Value) and axis is not None)


def several(results: Anything | tuple[Anything, ...]) -> tuple[Anything, ...]:
    return results if isinstance(results, tuple) else (results,)


def axes_of(
    importer: Importer, builder: GraphBuilder, node: OnnxNode, results: Several[Anything], bounded: Several[Value]
) -> list[int | None]:
    """Along which axis each result is of that length; None where it is not, or depends on what lies behind."""
    if node.op in MOVES or (node.op == "Gather" and node.inputs[0] in bounded):
        return moved(importer, builder, node, bounded)
    if node.op in LOOKUPS:
        indices = node.input(1, ANY)
        axis = node.axis(node.int_("axis", 0), len(node.input(0, ANY).shape)) if node.op == "Gather" else 0
        tuples = node.op == "GatherND" and (indices.axis == len(indices.shape) - 1 or node.int_("batch_dims", 0) != 0)
        single = len(bounded) == 1 and bounded[0] is indices and not tuples
        return [axis + indices.axis if single else None for _ in results]
    return [aligned(node, result) for result in results]


def aligned(node: OnnxNode, result: Anything) -> int | None:
    """Of an elementwise operator: all inputs are of that length along one axis, or have one place there."""
    assert isinstance(result, Value)
    found: set[int | None] = set()
    values = [value for value in node.inputs if isinstance(value, Value)]
    ranks = len(result.shape)
    for value in values:
        if value.length is not None:
            found.add(value.axis + ranks - len(value.shape))
    (axis,) = found if len(found) == 1 else (None,)
    for value in values:
        at = None if axis is None else axis - (ranks - len(value.shape))
        if value.length is None and at is not None and at >= 0 and value.shape[at] != 1:
            return None
    return axis


def moved(importer: Importer, builder: GraphBuilder, node: OnnxNode, bounded: Several[Value]) -> list[int | None]:
    """The operator on numbers that count the places along the axis: it must count them along one axis of its result."""
    operands = [numbered(builder, value) if value in bounded else value for value in node.inputs]
    if node.op == "Concat" and len(bounded) < len(node.inputs):
        return [None]
    counted = several(importer(builder, replace(node, inputs=operands)))
    return [counting_axis(value, bounded[0].shape[bounded[0].axis]) for value in counted]


def numbered(builder: GraphBuilder, value: Anything) -> Value:
    assert isinstance(value, Value)
    along = [-1 if axis == value.axis else 1 for axis in range(len(value.shape))]
    numbers = np.arange(value.shape[value.axis], dtype=np.int64).reshape(along)
    return builder.constant(np.broadcast_to(numbers, value.shape))


def counting_axis(value: Anything, count: int) -> int | None:
    if not isinstance(value, Value) or value.constant is None:
        return None
    for axis, size in enumerate(value.shape):
        along = [-1 if other == axis else 1 for other in range(len(value.shape))]
        if size == count and (value.constant == np.arange(count).reshape(along)).all():
            return axis
    return None
