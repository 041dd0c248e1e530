"""Operators that only move data: Reshape, Flatten, Squeeze, Unsqueeze, Transpose, Concat, Split."""

from __future__ import annotations

from math import prod

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import ANY, Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

Shape = tuple[int, ...]


def reshape(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    wanted = node.integers(1, "shape")
    return builder.emit("reshape", [x], shape=resolve_shape(x.shape, wanted, node.int_("allowzero", 0) != 0))


def resolve_shape(shape: Shape, wanted: Shape, allow_zero: bool) -> Shape:
    """ONNX's Reshape: 0 copies the dimension (unless allowzero), one -1 is whatever is left. Raises `ModelError`."""
    if wanted.count(-1) > 1 or any(d < -1 for d in wanted):
        raise ModelError("shape has more than one -1 or a smaller number", found=wanted)
    if not allow_zero and any(d == 0 and i >= len(shape) for i, d in enumerate(wanted)):
        raise ModelError(
            "shape copies a dimension the input does not have",
            found=wanted,
            expected=f"0 only in the first {len(shape)} places",
        )
    copied = tuple(shape[i] if d == 0 and not allow_zero else d for i, d in enumerate(wanted))
    known = prod(d for d in copied if d != -1)
    if -1 not in copied:
        return copied
    if known == 0 or prod(shape) % known:
        raise ModelError("element counts disagree", found=f"{shape} to {wanted}")
    return tuple(prod(shape) // known if d == -1 else d for d in copied)


def flatten(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    rank = len(x.shape)
    axis = node.int_("axis", 1)
    if not -rank <= axis <= rank:
        raise ModelError("axis of Flatten is out of range", found=axis, expected=f"{-rank}..{rank}")
    axis = axis + rank if axis < 0 else axis
    return builder.emit("reshape", [x], shape=(prod(x.shape[:axis]), prod(x.shape[axis:])))


def squeeze(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    return builder.emit("reshape", [x], shape=squeezed(x.shape, node.axes(13, len(x.shape))))


def squeezed(shape: Shape, axes: Shape | None) -> Shape:
    if axes is None:
        return tuple(d for d in shape if d != 1)
    if any(shape[a] != 1 for a in axes):
        raise ModelError("a squeezed dimension is not 1", found=f"axes {axes} of {shape}")
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def unsqueeze(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    return builder.emit("reshape", [x], shape=unsqueezed(node, x.shape))


def unsqueezed(node: OnnxNode, shape: Shape) -> Shape:
    count = len(node.ints("axes") or ()) if node.opset < 13 else len(node.integers(1, "axes"))
    axes = node.axes(13, len(shape) + count)
    if not axes:
        raise ModelError("axes of Unsqueeze are absent")
    rest = iter(shape)
    return tuple(1 if i in axes else next(rest) for i in range(len(shape) + count))


def transpose(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    return builder.emit("transpose", [x], permutation=read_permutation(node, len(x.shape)))


def read_permutation(node: OnnxNode, rank: int) -> Shape:
    permutation = node.ints("perm") or tuple(reversed(range(rank)))
    if sorted(permutation) != list(range(rank)):
        raise ModelError("perm is not a permutation of the axes", found=permutation, expected=f"each of 0..{rank - 1} once")
    return permutation


def concat(builder: GraphBuilder, node: OnnxNode) -> Value:
    parts = [node.input(i, ANY) for i in range(max(len(node.inputs), 1))]
    if len({p.dtype for p in parts}) > 1:
        raise ModelError("Concat mixes dtypes", found=[p.dtype for p in parts])
    axis = node.axis(node.int_("axis", 0), len(parts[0].shape))
    if any(len(p.shape) != len(parts[0].shape) for p in parts):
        raise ModelError("Concat mixes ranks", found=[p.shape for p in parts])
    whole = [p for p in parts if 0 not in p.shape] or parts  # what has no elements adds none
    return whole[0] if len(whole) == 1 else builder.emit("concat", whole, axis=axis)


def split(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Sizes are an attribute before opset 13, an input from then on; without them the parts are even, the last one smaller."""
    x = node.input(0, ANY)
    axis = node.axis(node.int_("axis", 0), len(x.shape))
    count = node.int_("num_outputs", node.output_count) if node.opset >= 18 else node.output_count
    if count != node.output_count:
        raise ModelError("num_outputs of Split does not fit its outputs", found=count, expected=str(node.output_count))
    sizes = node.ints("split") if node.opset < 13 else node.integers(1, "split") if node.has(1) else None
    if sizes is None:
        each = ceil_div(x.shape[axis], count)
        sizes = (*[each] * (count - 1), x.shape[axis] - each * (count - 1))
    if len(sizes) != count:
        raise ModelError("sizes of Split do not fit its outputs", found=sizes, expected=f"{count} numbers")
    return parts(builder, x, axis, sizes)


def parts(builder: GraphBuilder, x: Value, axis: int, sizes: tuple[int, ...]) -> tuple[Value, ...]:
    """x[…, N, …] cut along an axis into parts of the given sizes; what has none is a constant."""
    if min(sizes, default=0) < 0 or sum(sizes) != x.shape[axis]:
        raise ModelError("sizes of parts", found=sizes, expected=f"numbers, none negative, that sum to {x.shape[axis]}")
    cut = iter(builder.emit_all("split", [x], axis=axis, sizes=tuple(n for n in sizes if n)) if any(sizes) else ())
    nothing = np.empty((*x.shape[:axis], 0, *x.shape[axis + 1 :]), x.type.numpy_dtype)
    return tuple(next(cut) if size else builder.constant(nothing) for size in sizes)


IMPORTERS: dict[str, Importer] = {
    "Reshape": reshape,
    "Split": split,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Concat": concat,
}
