"""What an operator's definition is made of: typed inputs, tensor-expression stages, and small index helpers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import ir, te
from vdla.compiler.graph.graph import TensorType

TABLE_SIZE = 256
"""Entries of a table of levels: one for each, from the least."""

Types = Sequence[TensorType | None]
Attributes = Mapping[str, Any]


@dataclass(frozen=True)
class Definition:
    """inputs: a placeholder for each present input, then one for each constant. outputs: a stage each, a lone one named "y".

    A placeholder may have its input's elements in another shape, such as weights as a matrix.
    constants: arrays the kernel is always called with, such as a scale for each channel.
    """

    inputs: tuple[te.Tensor, ...]
    outputs: tuple[te.Tensor, ...]
    constants: tuple[np.ndarray, ...] = ()


def placeholders(types: Types, *names: str) -> list[te.Tensor | None]:
    """A placeholder for each type; None for an absent input. Names beyond `types` are absent too."""
    padded = [*types, *([None] * (len(names) - len(types)))]
    return [None if t is None else te.placeholder(t.shape, t.dtype, name) for t, name in zip(padded, names, strict=True)]


def required(*tensors: te.Tensor | None) -> tuple[te.Tensor, ...]:
    """The tensors that are there."""
    return tuple(t for t in tensors if t is not None)


def broadcast_index(shape: Sequence[int], at: Sequence[ir.Expr]) -> tuple[ir.Scalar, ...]:
    """Where a tensor of `shape` is read for element `at` of what it is broadcast to."""
    return tuple(0 if size == 1 else index for size, index in zip(shape, at[len(at) - len(shape) :], strict=True))


def unflatten(index: ir.Expr, shape: tuple[int, ...]) -> tuple[ir.Expr, ...]:
    """Row-major position → one index for each dimension."""
    result: list[ir.Expr] = []
    stride = prod(shape)
    for position, size in enumerate(shape):
        stride //= size
        quotient = index // stride if stride > 1 else index
        result.append(ir.Const(0) if size == 1 else quotient % size if position else quotient)
    return tuple(result)


def flatten(at: tuple[ir.Expr, ...], shape: tuple[int, ...]) -> ir.Expr:
    index: ir.Expr = ir.Const(0)
    for i, size in zip(at, shape, strict=True):
        index = index * size + i
    return index


def joined(elements: list[ir.Expr]) -> ir.Expr:
    """Four values of 0 … 255 as one word."""
    total = elements[0]
    for r, value in enumerate(elements[1:], start=1):
        total = total + te.shift_left(value, te.const(8 * r, "int32"))
    return total


def of_channel(parameter: te.Tensor, channel: ir.Expr) -> ir.Expr:
    """A parameter for each channel, or one for all."""
    return parameter[0 if parameter.shape[0] == 1 else channel]


def table_index(level: ir.Expr) -> ir.Expr:
    """Where a table has what it has for a level, int32; clipped, as an index from data is."""
    return te.clip(level + TABLE_SIZE // 2, 0, TABLE_SIZE - 1)


def inside(checks: Sequence[tuple[ir.Expr, int, int, int]], value: ir.Expr, otherwise: float) -> ir.Expr:
    """`value` where every padded index (index, size, before, after) lies on the tensor, else `otherwise`."""
    conditions = [c for index, size, before, after in checks for c in _between(index, size, before, after)]
    return te.select(ir.all_of(conditions), value, ir.Const(otherwise, value.dtype)) if conditions else value


def _between(index: ir.Expr, size: int, before: int, after: int) -> list[ir.Expr]:
    return ([index >= before] if before > 0 else []) + ([index < before + size] if after > 0 else [])


def padded_image(x: te.Tensor, pads: Sequence[int], value: float, name: str = "padded") -> te.Tensor:
    """x[N, C, H, W] with (top, left, bottom, right) elements of `value` around; x itself when there are none."""
    top, left, bottom, right = pads
    if not any(pads):
        return x
    n, c, height, width = x.shape
    return te.compute(
        (n, c, top + height + bottom, left + width + right),
        lambda n, c, h, w: inside([(h, height, top, bottom), (w, width, left, right)], x[n, c, h - top, w - left], value),
        name,
    )


def phased_image(x: te.Tensor, pads: Sequence[int], stride: int, reach: int, value: float, dtype: str = "") -> te.Tensor:
    """Padded x[N, C, H, W] as [N, C, H', phase, reach]: column w · stride + phase at w; strided reads are neighbours."""
    top, left, bottom, _ = pads
    n, c, height, width = x.shape
    beyond = reach * stride - left - width  # columns past the right edge, whether `pads` or never used
    return te.compute(
        (n, c, top + height + bottom, stride, reach),
        lambda n, c, h, p, w: te.cast(
            inside(
                [(h, height, top, bottom), (w * stride + p, width, left, max(beyond, 0))],
                x[n, c, h - top, w * stride + p - left],
                value,
            ),
            dtype or x.dtype,
        ),
        "padded",
    )
