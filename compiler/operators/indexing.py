"""Operators whose input says where their elements come from.

An index below zero counts from the end; one that lies on no element is the nearest that does, so that nothing is ever read
outside a tensor. (ONNX has no meaning for it; importers refuse it of constants.)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import ANY, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present
from vdla.errors import ModelError

INDEX = ("int32", "int64")
HOST_LOOKS_UP = "no VDLA kernel: elements are looked up, and the host does that"


def index_in(index: Expr, size: int) -> Expr:
    """An index into `size` elements as int32 in 0 … size-1."""
    narrow = te.cast(te.clip(index, -size, size - 1), "int32")
    return te.clip(te.select(narrow < 0, narrow + size, narrow), 0, size - 1)


def numpy_index_in(index: np.ndarray, size: int) -> np.ndarray:
    """The same of an array."""
    return np.clip(np.where(index < 0, index + size, index), 0, max(size - 1, 0)).astype(np.int64)


def infer_gather(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, indices = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    return (TensorType((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),)


def define_gather(types: Types, a: Attributes) -> Definition:
    """y[a…, i…, b…] = x[a…, indices[i…], b…]."""
    x, indices = required(*placeholders(types, "x", "indices"))
    axis, more = a["axis"] % len(x.shape), len(indices.shape)

    def element(*at: Expr) -> Expr:
        index = index_in(indices[at[axis : axis + more]], x.shape[axis])
        return x[(*at[:axis], index, *at[axis + more :])]

    return Definition((x, indices), (te.compute(infer_gather(types, a)[0].shape, element, "y"),))


def gather(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, indices = inputs
    return np.take(x, numpy_index_in(indices, x.shape[a["axis"]]), a["axis"])


def infer_gather_elements(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, indices = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    check_indices_lie_on(x.shape, indices.shape, axis)
    return (TensorType(indices.shape, x.dtype),)


def check_indices_lie_on(shape: tuple[int, ...], indices: tuple[int, ...], axis: int) -> None:
    """Off `axis` an index stands for its own place. Raises `ModelError`."""
    if len(indices) != len(shape) or any(i > n for d, (i, n) in enumerate(zip(indices, shape, strict=False)) if d != axis):
        raise ModelError("the indices do not lie on the tensor", found=f"{indices} on {shape}, along axis {axis}")


def define_gather_elements(types: Types, a: Attributes) -> Definition:
    """y[a…, i, b…] = x[a…, indices[a…, i, b…], b…]."""
    x, indices = required(*placeholders(types, "x", "indices"))
    axis = a["axis"] % len(x.shape)
    element = lambda *at: x[(*at[:axis], index_in(indices[at], x.shape[axis]), *at[axis + 1 :])]  # noqa: E731
    return Definition((x, indices), (te.compute(indices.shape, element, "y"),))


def gather_elements(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, indices = inputs
    axis = a["axis"] % x.ndim
    covered = x[tuple(slice(None) if d == axis else slice(n) for d, n in enumerate(indices.shape))]
    return np.take_along_axis(covered, numpy_index_in(indices, x.shape[axis]), axis)


def infer_gather_nd(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, indices = present(types)
    batch, depth = a["batch_dims"], indices.shape[-1]
    if batch >= len(indices.shape) or x.shape[:batch] != indices.shape[:batch]:
        raise ModelError(
            "batches of data and indices differ", found=f"{x.shape} and {indices.shape}", expected=f"{batch} alike"
        )
    if not 1 <= depth <= len(x.shape) - batch:
        raise ModelError("indices of wrong length", found=depth, expected=f"1..{len(x.shape) - batch}, for {x.shape}")
    return (TensorType((*indices.shape[:-1], *x.shape[batch + depth :]), x.dtype),)


def define_gather_nd(types: Types, a: Attributes) -> Definition:
    """y[b…, i…, s…] = x[b…, indices[b…, i…]…, s…]."""
    x, indices = required(*placeholders(types, "x", "indices"))
    batch, depth, places = a["batch_dims"], indices.shape[-1], len(indices.shape) - 1

    def element(*at: Expr) -> Expr:
        found = (index_in(indices[(*at[:places], k)], x.shape[batch + k]) for k in range(depth))
        return x[(*at[:batch], *found, *at[places:])]

    return Definition((x, indices), (te.compute(infer_gather_nd(types, a)[0].shape, element, "y"),))


def gather_nd(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """By flat positions: batches apart, then the indexed dimensions taken as one."""
    x, indices = inputs
    batch, depth = a["batch_dims"], indices.shape[-1]
    indexed, slices = x.shape[batch : batch + depth], x.shape[batch + depth :]
    flat = x.reshape(prod(x.shape[:batch]), prod(indexed), *slices)
    rows = indices.reshape(flat.shape[0], -1, depth)
    columns = tuple(numpy_index_in(rows[..., k], indexed[k]) for k in range(depth))
    position = np.ravel_multi_index(columns, indexed)
    y = np.stack([flat[b][position[b]] for b in range(flat.shape[0])])
    return y.reshape((*indices.shape[:-1], *slices))


def infer_one_hot(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    indices, values = present(types)
    axis = axis_in(a["axis"], len(indices.shape) + 1)
    if values.shape != (2,):
        raise ModelError("the values of one_hot", found=values.shape, expected="two: what is off, what is on")
    return (TensorType((*indices.shape[:axis], a["depth"], *indices.shape[axis:]), values.dtype),)


def define_one_hot(types: Types, a: Attributes) -> Definition:
    """values[1] where the position along the new axis is the index, counted from the end below zero; else values[0]."""
    indices, values = required(*placeholders(types, "indices", "values"))
    axis, depth = a["axis"] % (len(indices.shape) + 1), a["depth"]

    def element(*at: Expr) -> Expr:
        index = indices[(*at[:axis], *at[axis + 1 :])]
        position = te.cast(te.select(index < 0, index + depth, index), "int64")
        return te.select(te.equal(position, te.cast(at[axis], "int64")), values[1], values[0])

    return Definition((indices, values), (te.compute(infer_one_hot(types, a)[0].shape, element, "y"),))


def one_hot(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    indices, values = inputs
    axis, depth = a["axis"] % (indices.ndim + 1), a["depth"]
    positions = np.arange(depth).reshape(-1, *[1] * (indices.ndim - axis))
    wanted = np.expand_dims(indices, axis)
    return np.where((wanted == positions) | (wanted == positions - depth), values[1], values[0]).astype(values.dtype)


def infer_reverse_sequence(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    x, lengths = present(types)
    batch, time = axis_in(a["batch_axis"], len(x.shape)), axis_in(a["time_axis"], len(x.shape))
    if batch == time or lengths.shape != (x.shape[batch],):
        raise ModelError(
            "lengths do not fit the sequences", found=f"{lengths.shape} for {x.shape}", expected=f"({x.shape[batch]},)"
        )
    return (x,)


def define_reverse_sequence(types: Types, a: Attributes) -> Definition:
    """The first lengths[b] elements of a sequence backwards, the others where they are."""
    x, lengths = required(*placeholders(types, "x", "lengths"))
    batch, time = a["batch_axis"] % len(x.shape), a["time_axis"] % len(x.shape)
    size = x.shape[time]

    def element(*at: Expr) -> Expr:
        length = te.cast(te.clip(lengths[at[batch]], 0, size), "int32")
        source = te.clip(te.select(at[time] < length, length - 1 - at[time], at[time]), 0, size - 1)
        return x[(*at[:time], source, *at[time + 1 :])]

    return Definition((x, lengths), (te.compute(x.shape, element, "y"),))


def reverse_sequence(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    x, lengths = inputs
    y = x.copy()
    by_batch, source = (np.moveaxis(array, (a["batch_axis"], a["time_axis"]), (0, 1)) for array in (y, x))
    for sequence, old, length in zip(by_batch, source, lengths, strict=True):
        count = max(min(int(length), len(old)), 0)
        sequence[:count] = old[:count][::-1]
    return y


def lookup(name: str, **fields: Any) -> Operator:
    """An operator that reads its elements where another input says. fields: further ones of `Operator`."""
    return Operator(name=name, fusion=Fusion.INJECTIVE, host_reason=HOST_LOOKS_UP, **fields)


FAMILY = (
    lookup(
        "gather",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)), Input("indices", INDEX)),
        attributes={"axis": integer(0)},
        infer=infer_gather,
        define=define_gather,
        kernel=gather,
    ),
    lookup(
        "gather_elements",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)), Input("indices", INDEX)),
        attributes={"axis": integer(0)},
        infer=infer_gather_elements,
        define=define_gather_elements,
        kernel=gather_elements,
    ),
    lookup(
        "gather_nd",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)), Input("indices", INDEX, rank=(1, MAX_RANK))),
        attributes={"batch_dims": integer(0, low=0)},
        infer=infer_gather_nd,
        define=define_gather_nd,
        kernel=gather_nd,
    ),
    lookup(
        "one_hot",
        inputs=(Input("indices", INDEX), Input("values", ANY, rank=(1, 1))),
        attributes={"depth": integer(low=1, high=(1 << 31) - 1), "axis": integer(-1)},
        infer=infer_one_hot,
        define=define_one_hot,
        kernel=one_hot,
    ),
    lookup(
        "reverse_sequence",
        inputs=(Input("x", ANY, rank=(2, MAX_RANK)), Input("lengths", INDEX, rank=(1, 1))),
        attributes={"batch_axis": integer(1), "time_axis": integer(0)},
        infer=infer_reverse_sequence,
        define=define_reverse_sequence,
        kernel=reverse_sequence,
    ),
)
