"""Inference that operators of several families share: from input types and attributes to output types."""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.operator import Infer
from vdla.errors import ModelError

Shape = tuple[int, ...]


def present(types: Types) -> list[TensorType]:
    """The types of the inputs that are there; all of them, for an operator without optional ones."""
    return [t for t in types if t is not None]


def same(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """The first input's."""
    return (present(types)[0],)


def same_shape(dtype: str) -> Infer:
    """The first input's shape, in `dtype`."""
    return lambda types, a: (TensorType(present(types)[0].shape, dtype),)


def broadcast(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """NumPy's broadcasting of every input, in the dtype of the last."""
    return (TensorType(broadcast_shape([t.shape for t in present(types)]), present(types)[-1].dtype),)


def broadcast_to(dtype: str) -> Infer:
    """NumPy's broadcasting of every input, in `dtype`."""
    return lambda types, a: (TensorType(broadcast(types, a)[0].shape, dtype),)


def broadcast_shape(shapes: list[Shape]) -> Shape:
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        raise ModelError("shapes do not broadcast", found=" and ".join(map(str, shapes))) from None


def axis_in(axis: int, rank: int) -> int:
    """A possibly negative axis as 0 … rank-1."""
    if not -rank <= axis < rank:
        raise ModelError("axis is out of range", found=axis, expected=f"{-rank}..{rank - 1}")
    return axis % rank


def axes_in(axes: tuple[int, ...], rank: int) -> set[int]:
    found = {axis_in(axis, rank) for axis in axes}
    if len(found) != len(axes):
        raise ModelError("axes repeat", found=axes)
    return found


def window_output(size: int, kernel: int, stride: int, pad: int, dilation: int = 1, ceil: bool = False) -> int:
    """Positions of a sliding window over `size` elements with `pad` elements of padding in all."""
    span = size + pad - (dilation * (kernel - 1) + 1)
    if span < 0:
        raise ModelError("the window is larger than its padded input", found=kernel, expected=f"at most {size + pad}")
    return (span + stride - 1 if ceil else span) // stride + 1
