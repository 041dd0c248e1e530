"""Operators that only move elements of any dtype about."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import isfinite, prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integer, integers, real
from vdla.compiler.operators.definition import (
    Attributes,
    Definition,
    Types,
    flatten,
    inside,
    placeholders,
    required,
    unflatten,
)  # fmt: skip
from vdla.compiler.operators.operator import ANY, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

HOST_MOVES = "no VDLA kernel: elements change places, and the host moves them"


def infer_pad(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if not len(a["before"]) == len(a["after"]) == len(x.shape):
        found = f"{len(a['before'])} and {len(a['after'])} for {x.shape}"
        raise ModelError("pads do not fit the input", found=found, expected="one before and one after each dimension")
    if not holds(x.dtype, a["value"]):
        raise ModelError("the padding is no value of the input's dtype", found=a["value"], expected=x.dtype)
    return (TensorType(tuple(b + s + e for s, b, e in zip(x.shape, a["before"], a["after"], strict=True)), x.dtype),)


def holds(dtype: str, value: float) -> bool:
    """Whether a tensor may have the element `value`."""
    if dtype == "float8_e8m0fnu":  # powers of two alone
        return value > 0
    if ELEMENT_TYPES[dtype].is_float:
        return dtype != "float4_e2m1fn" or isfinite(value)
    low, high = ELEMENT_TYPES[dtype].range
    return low <= value <= high and value == int(value)


def infer_concat(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    shapes = [t.shape for t in present(types)]
    axis = axis_in(a["axis"], len(shapes[0]))
    if len({len(s) for s in shapes}) != 1 or len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) != 1:
        raise ModelError("concatenated shapes disagree off the axis", found=shapes)
    return (TensorType((*shapes[0][:axis], sum(s[axis] for s in shapes), *shapes[0][axis + 1 :]), present(types)[0].dtype),)


def infer_split(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    if not a["sizes"] or sum(a["sizes"]) != x.shape[axis]:
        raise ModelError("the parts are not the whole", found=a["sizes"], expected=f"sizes that sum to {x.shape[axis]}")
    return tuple(TensorType((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype) for size in a["sizes"])


def infer_reshape(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if prod(a["shape"]) != x.elements:
        raise ModelError("element counts disagree", found=f"{x.shape} to {a['shape']}")
    return (TensorType(tuple(a["shape"]), x.dtype),)


def infer_transpose(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if sorted(a["permutation"]) != list(range(len(x.shape))):
        raise ModelError(
            "not a permutation of the axes", found=a["permutation"], expected=f"each of 0..{len(x.shape) - 1} once"
        )
    return (TensorType(tuple(x.shape[i] for i in a["permutation"]), x.dtype),)


def define_pad(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    before, after = a["before"], a["after"]
    shape = [b + s + e for s, b, e in zip(x.shape, before, after, strict=True)]
    value = a["value"] if ELEMENT_TYPES[x.dtype].is_float else int(a["value"])

    def element(*at: Expr) -> Expr:
        checks = list(zip(at, x.shape, before, after, strict=True))
        return inside(checks, x[tuple(i - b if b else i for i, b in zip(at, before, strict=True))], value)

    return Definition((x,), (te.compute(shape, element, "y"),))


def define_concat(types: Types, a: Attributes) -> Definition:
    axis = a["axis"]
    inputs = required(*placeholders(types, *(f"x{i}" for i in range(len(types)))))
    axis += len(inputs[0].shape) if axis < 0 else 0
    shape = list(inputs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in inputs)

    def element(*at: Expr) -> Expr:
        """x0 below the first boundary, else x1 below the second, …"""
        start = shape[axis]
        value: Expr | None = None
        for x in reversed(inputs):
            end, start = start, start - x.shape[axis]
            here = x[(*at[:axis], at[axis] - start if start else at[axis], *at[axis + 1 :])]
            value = here if value is None else te.select(at[axis] < end, here, value)
        assert value is not None
        return value

    return Definition(inputs, (te.compute(shape, element, "y"),))


def define_reshape(types: Types, a: Attributes) -> Definition:
    """A copy in order."""
    (x,) = required(*placeholders(types, "x"))
    shape = tuple(a["shape"])
    return Definition((x,), (te.compute(shape, lambda *at: x[unflatten(flatten(at, shape), x.shape)], "y"),))


def define_transpose(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    permutation = a["permutation"]
    source = lambda at: tuple(at[permutation.index(d)] for d in range(len(permutation)))  # noqa: E731
    permutation = list(permutation)
    return Definition((x,), (te.compute([x.shape[p] for p in permutation], lambda *at: x[source(at)], "y"),))


def define_split(types: Types, a: Attributes) -> Definition:
    """A stage for each part."""
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)

    def part(start: int, end: int, name: str) -> te.Tensor:
        shape = (*x.shape[:axis], end - start, *x.shape[axis + 1 :])
        return te.compute(shape, lambda *at: x[(*at[:axis], at[axis] + start, *at[axis + 1 :])], name)

    bounds = list(pairwise(accumulate(a["sizes"], initial=0)))
    names = [f"y{i}" for i in range(len(bounds))] if len(bounds) > 1 else ["y"]
    return Definition((x,), tuple(part(*bound, name) for bound, name in zip(bounds, names, strict=True)))


def pad(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    (x,) = inputs
    padded = np.full([b + n + e for n, b, e in zip(x.shape, a["before"], a["after"], strict=True)], a["value"], x.dtype)
    padded[tuple(slice(b, b + n) for n, b in zip(x.shape, a["before"], strict=True))] = x
    return padded


def movement(name: str, *, host_reason: str = HOST_MOVES, **fields: Any) -> Operator:
    """An operator whose output has elements of its inputs, elsewhere. fields: further ones of `Operator`."""
    return Operator(name=name, fusion=Fusion.INJECTIVE, moves=True, commutes=True, slope=1, host_reason=host_reason, **fields)


FAMILY = (
    movement(
        "pad",
        inputs=(Input("x", ANY),),
        attributes={"before": integers(low=0), "after": integers(low=0), "value": real(0.0)},
        infer=infer_pad,
        define=define_pad,
        kernel=pad,
    ),
    movement(
        "concat",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)),),
        variadic=True,
        attributes={"axis": integer()},
        infer=infer_concat,
        define=define_concat,
        kernel=lambda i, a: np.concatenate(i, axis=a["axis"]),
        host_reason="",
    ),
    movement(
        "split",
        inputs=(Input("x", ANY, rank=(1, MAX_RANK)),),
        attributes={"axis": integer(), "sizes": integers(low=1)},
        infer=infer_split,
        define=define_split,
        kernel=lambda i, a: tuple(map(np.ascontiguousarray, np.split(i[0], np.cumsum(a["sizes"])[:-1], axis=a["axis"]))),
    ),
    movement(
        "reshape",
        inputs=(Input("x", ANY),),
        attributes={"shape": integers(low=0)},
        infer=infer_reshape,
        define=define_reshape,
        kernel=lambda i, a: i[0].reshape(a["shape"]),
    ),
    movement(
        "transpose",
        inputs=(Input("x", ANY),),
        attributes={"permutation": integers()},
        infer=infer_transpose,
        define=define_transpose,
        kernel=lambda i, a: i[0].transpose(a["permutation"]).copy(),
    ),
)
