"""Sequences of tensors: known lists while a model is read, of which no trace is left in the graph."""

from __future__ import annotations

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.movement import parts
from vdla.compiler.frontend.node import ANY, Importer, OnnxNode
from vdla.compiler.frontend.values import Anything, Sequence, Value
from vdla.errors import ModelError


def construct(builder: GraphBuilder, node: OnnxNode) -> Sequence:
    return Sequence(tuple(node.input(i, ANY) for i in range(len(node.inputs))))


def empty(builder: GraphBuilder, node: OnnxNode) -> Sequence:
    node.int_("dtype", 1)
    return Sequence(())


def position(node: OnnxNode, index: int, count: int, default: int) -> int:
    """A possibly negative place in a sequence, which must be known. Raises `ModelError`."""
    place = int(node.number(index, "position", default))
    if not -count <= place < max(count, 1) and place != default:
        raise ModelError(f"the position of {node.op} is outside the sequence", found=place, expected=f"{-count}..{count - 1}")
    return place + count if place < 0 else place


def at(builder: GraphBuilder, node: OnnxNode) -> Value:
    items = node.sequence(0).items
    place = position(node, 1, len(items), 0)
    if place >= len(items):
        raise ModelError("SequenceAt of an empty sequence")
    return items[place]


def insert(builder: GraphBuilder, node: OnnxNode) -> Sequence:
    items = node.sequence(0).items
    place = position(node, 2, len(items), len(items))
    return Sequence((*items[:place], node.input(1, ANY), *items[place:]))


def erase(builder: GraphBuilder, node: OnnxNode) -> Sequence:
    items = node.sequence(0).items
    place = position(node, 1, len(items), len(items) - 1)
    return Sequence((*items[:place], *items[place + 1 :]))


def length(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.constant(np.array(len(node.sequence(0).items), np.int64))


def concat_from_sequence(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Along an axis there is, or with new_axis along one more."""
    items = node.sequence(0).items
    if not items:
        raise ModelError("ConcatFromSequence of an empty sequence")
    new = node.int_("new_axis", 0)
    rank = len(items[0].shape) + new
    axis = node.axis(node.int_("axis", 0), rank)
    if new:
        shape = lambda x: (*x.shape[:axis], 1, *x.shape[axis:])  # noqa: E731
        items = tuple(builder.emit("reshape", [x], suffix="slice", shape=shape(x)) for x in items)
    return items[0] if len(items) == 1 else builder.emit("concat", items, axis=axis)


def split_to_sequence(builder: GraphBuilder, node: OnnxNode) -> Sequence:
    """Parts of the given sizes, or each of one size (the last smaller), or of 1, in which case keepdims can drop the axis."""
    x = node.input(0, ANY)
    axis = node.axis(node.int_("axis", 0), len(x.shape))
    keep = node.int_("keepdims", 1)
    total = x.shape[axis]
    if not node.has(1):
        sizes: tuple[int, ...] = (1,) * total
    elif (given := node.array(1, "split")).ndim == 0:
        each = int(given)
        if each < 1:
            raise ModelError("split of SplitToSequence is not positive", found=each)
        sizes = (*[each] * (total // each), *([total % each] if total % each else []))
        assert len(sizes) == ceil_div(total, each)
    else:
        sizes = node.integers(1, "split")
    tensors = parts(builder, x, axis, sizes)
    if not node.has(1) and not keep:
        tensors = tuple(builder.emit("reshape", [p], shape=(*p.shape[:axis], *p.shape[axis + 1 :])) for p in tensors)
    return Sequence(tensors)


def optional(builder: GraphBuilder, node: OnnxNode) -> Anything:
    node.read.add("type")
    return node.inputs[0] if node.inputs else None


def optional_get(builder: GraphBuilder, node: OnnxNode) -> Anything:
    if not node.has(0):
        raise ModelError("OptionalGetElement of nothing")
    return node.inputs[0]


def optional_has(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.constant(np.array(node.has(0)))


IMPORTERS: dict[str, Importer] = {
    "SequenceConstruct": construct,
    "SequenceEmpty": empty,
    "SequenceAt": at,
    "SequenceInsert": insert,
    "SequenceErase": erase,
    "SequenceLength": length,
    "ConcatFromSequence": concat_from_sequence,
    "SplitToSequence": split_to_sequence,
    "Optional": optional,
    "OptionalGetElement": optional_get,
    "OptionalHasElement": optional_has,
}
