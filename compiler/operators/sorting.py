"""Operators that put elements in order, or run over them in order: the k largest, sums and products so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, MAX_RANK, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axis_in, present, same
from vdla.compiler.te.reductions import highest, lowest
from vdla.errors import ModelError


def infer_top_k(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """Values, and their positions."""
    (x,) = present(types)
    axis = axis_in(a["axis"], len(x.shape))
    if a["k"] > x.shape[axis]:
        raise ModelError("more elements are wanted than there are", found=a["k"], expected=f"at most {x.shape[axis]}")
    shape = (*x.shape[:axis], a["k"], *x.shape[axis + 1 :])
    return TensorType(shape, x.dtype), TensorType(shape, "int64")


def network(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A bitonic sorting network (Batcher 1968) of `size`, a power of two: of each step the distance of partners, and how
    large the blocks are that are sorted one way and the other in turn."""
    steps = [(1 << d, 1 << b) for b in range(1, size.bit_length()) for d in reversed(range(b))]
    distance, block = zip(*(steps or [(0, 2)]), strict=True)
    return np.array(distance, np.int32), np.array(block, np.int32)


def define_top_k(types: Types, a: Attributes) -> Definition:
    """A scan over the steps of a sorting network that carries the values and positions in their order so far.

    Of equal values the first comes first; NaNs are the largest. What fills up to a power of two comes last. A step says first
    from where each place is taken: without a choice between loads there are no branches.
    """
    (x,) = required(*placeholders(types, "x"))
    axis = a["axis"] % len(x.shape)
    count = x.shape[axis]
    size = 1 << (count - 1).bit_length()
    tables = network(size)
    distance, block = (te.placeholder(tables[0].shape, "int32", name) for name in ("distance", "block"))
    shape = (*x.shape[:axis], *x.shape[axis + 1 :], size)
    worst = lowest(x.dtype) if a["largest"] else float("nan") if x.dtype in FLOAT else highest(x.dtype)

    def above(first: Expr, second: Expr) -> Expr:
        larger = first > second
        if x.dtype not in FLOAT:
            return larger
        return te.logical_or(larger, te.logical_and(te.not_equal(first, first), te.equal(second, second)))

    t = te.scan_axis(len(tables[0]), "t")
    keys, order = te.placeholder(shape, x.dtype, "keys"), te.placeholder(shape, "int32", "order")

    def source_of(*at: Expr) -> Expr:
        *rest, i = at
        partner = te.clip(te.bit_xor(i, distance[t]), 0, size - 1)
        there = (*rest, partner)
        larger, smaller = above(keys[at], keys[there]), above(keys[there], keys[at])
        ties = te.logical_and(te.equal(larger, smaller), order[at] < order[there])
        comes_first = te.logical_or(larger if a["largest"] else smaller, ties)
        forwards = te.equal(te.bit_and(i, block[t]), 0)
        return te.select(te.equal(comes_first, te.equal(forwards, i < partner)), i, partner)

    def first_key(*at: Expr) -> Expr:
        *rest, i = at
        return te.select(i < count, x[(*rest[:axis], te.clip(i, 0, count - 1), *rest[axis:])], te.const(worst, x.dtype))

    source = te.compute(shape, source_of, "source")

    def moved(state: te.Tensor) -> te.Tensor:
        taken = lambda *at: state[(*at[:-1], te.clip(source[at], 0, size - 1))]  # noqa: E731
        return te.compute(shape, taken, f"{state.name}_next")

    starts = te.compute(shape, first_key, "keys_0"), te.compute(shape, lambda *at: at[-1] + 0, "order_0")
    states = [te.State(state, start, moved(state)) for state, start in zip((keys, order), starts, strict=True)]
    finals, _ = te.scan(t, states, name="sort")

    def result(final: te.Tensor, wanted: TensorType, name: str) -> te.Tensor:
        found = lambda *at: te.cast(final[(*at[:axis], *at[axis + 1 :], at[axis])], wanted.dtype)  # noqa: E731
        return te.compute(wanted.shape, found, name)

    outputs = tuple(map(result, finals, infer_top_k(types, a), ("values", "indices")))
    return Definition((x, distance, block), outputs, tables)


def top_k(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """By a stable sort; for the largest of what stands backwards, read backwards."""
    (x,) = inputs
    axis = a["axis"] % x.ndim
    if a["largest"]:
        backwards = np.argsort(np.flip(x, axis), axis, kind="stable")
        order = x.shape[axis] - 1 - np.flip(backwards, axis)
    else:
        order = np.argsort(x, axis, kind="stable")
    chosen = np.take(order, np.arange(a["k"]), axis)
    return np.take_along_axis(x, chosen, axis), chosen.astype(np.int64)


def infer_cumulative(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = same(types, a)
    axis_in(a["axis"], len(x.shape))
    return (x,)


def define_cumulative(combine: Callable[[Expr, Expr], Expr], start: int) -> Callable[[Types, Attributes], Definition]:
    """A scan along the axis, all lines at once."""

    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        axis = a["axis"] % len(x.shape)
        count, rest = x.shape[axis], (*x.shape[:axis], *x.shape[axis + 1 :])
        t, total = te.scan_axis(count, "t"), te.placeholder(rest, x.dtype, "total")
        step = (lambda i: count - 1 - i) if a["reverse"] else (lambda i: i)  # noqa: E731
        read = lambda at: x[(*at[:axis], step(t), *at[axis:])]  # noqa: E731
        names = [f"i{d}" for d in range(len(rest))]
        nothing = te.compute(rest, lambda *at: te.const(start, x.dtype), "nothing", axes=names)
        following = te.compute(rest, lambda *at: combine(total[at], read(at)), "following", axes=names)
        before = te.compute(rest, lambda *at: total[at], "before", axes=names)
        _, (sums,) = te.scan(t, [te.State(total, nothing, following)], [before if a["exclusive"] else following], "cumulative")
        element = lambda *at: sums[(step(at[axis]), *at[:axis], *at[axis + 1 :])]  # noqa: E731
        return Definition((x,), (te.compute(x.shape, element, "y"),))

    return define


def cumulative(ufunc: np.ufunc, start: int) -> Callable[[Sequence[Any], Attributes], np.ndarray]:
    def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
        (x,) = inputs
        axis = a["axis"] % x.ndim
        x = np.flip(x, axis) if a["reverse"] else x
        y = ufunc.accumulate(x, axis, dtype=x.dtype)
        if a["exclusive"]:
            first = np.full_like(np.take(y, [0], axis), start)
            y = np.concatenate([first, np.take(y, np.arange(x.shape[axis] - 1), axis)], axis)
        return np.flip(y, axis).copy() if a["reverse"] else y

    return kernel


def running(name: str, combine: Callable[[Expr, Expr], Expr], ufunc: np.ufunc, start: int) -> Operator:
    """The combination of the elements up to each one along `axis`, or (exclusive) before it; (reverse) from the end."""
    return Operator(
        name=name,
        inputs=(Input("x", NUMBER, rank=(1, MAX_RANK)),),
        attributes={"axis": integer(), "exclusive": flag(), "reverse": flag()},
        infer=infer_cumulative,
        define=define_cumulative(combine, start),
        kernel=cumulative(ufunc, start),
        fusion=Fusion.OPAQUE,
    )


FAMILY = (
    Operator(
        name="top_k",
        inputs=(Input("x", NUMBER, rank=(1, MAX_RANK)),),
        attributes={"k": integer(low=1), "axis": integer(-1), "largest": flag(True)},
        infer=infer_top_k,
        define=define_top_k,
        kernel=top_k,
        fusion=Fusion.OPAQUE,
    ),
    running("cumulative_sum", lambda total, value: total + value, np.add, 0),
    running("cumulative_product", lambda total, value: total * value, np.multiply, 1),
)
