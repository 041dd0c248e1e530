"""Reductions: ReduceSum and its kin, ArgMax, ArgMin, Hardmax, pooling over everything."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import FLOAT, NUMBER

Axes = tuple[int, ...]
Before = Callable[[GraphBuilder, Value], Value]
AXES_AS_INPUT = 18
"""The opset from which on axes are an input, but for ReduceSum, of which they are one from 13 on."""


def axes_and_keep(node: OnnxNode, rank: int) -> tuple[Axes, bool]:
    """No axes given: all of them, or (noop_with_empty_axes) none."""
    axes = node.axes(13 if node.op == "ReduceSum" else AXES_AS_INPUT, rank)
    nothing = node.int_("noop_with_empty_axes", 0) != 0
    keep = node.int_("keepdims", 1) != 0
    return axes or (() if nothing else tuple(range(rank))), keep


def emit_reduced(builder: GraphBuilder, op: str, x: Value, axes: Axes, keep: bool, suffix: str = "") -> Value:
    """x itself where there is nothing to reduce."""
    return builder.emit(op, [x], suffix=suffix, axes=axes, keepdims=keep) if axes else x


def reducer(op: str, before: Before = lambda builder, x: x, after: str = "", inside: tuple[str, ...] = NUMBER) -> Importer:
    """The importer of `op` over what `before` makes of each element, then the function `after`.

    inside: the dtypes in which it is computed, any other number in float64.
    """

    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        x = node.input(0, NUMBER)
        axes, keep = axes_and_keep(node, len(x.shape))
        elements = builder.converted(x, x.dtype if x.dtype in inside else "float64")
        y = emit_reduced(builder, op, before(builder, elements), axes, keep)
        return builder.converted(builder.emit(after, [y]) if after else y, x.dtype)

    return importer


def squared(builder: GraphBuilder, x: Value) -> Value:
    return builder.emit("mul", [x, x], suffix="square")


def absolute(builder: GraphBuilder, x: Value) -> Value:
    if x.dtype in FLOAT:
        return builder.emit("abs", [x])
    return builder.emit("max", [x, builder.emit("sub", [zero(builder, x), x], suffix="negative")])


def zero(builder: GraphBuilder, x: Value) -> Value:
    return builder.constant(np.zeros((), x.dtype))


def extreme(op: str) -> Importer:
    """Of bool too: of 0 and 1."""

    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        x = node.input(0, (*NUMBER, "bool"))
        axes, keep = axes_and_keep(node, len(x.shape))
        numbers = builder.converted(x, "uint8") if x.dtype == "bool" else x
        return builder.converted(emit_reduced(builder, op, numbers, axes, keep), x.dtype)

    return importer


def mean(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Of integers: the sum divided towards zero."""
    x = node.input(0, NUMBER)
    axes, keep = axes_and_keep(node, len(x.shape))
    if x.dtype in FLOAT:
        return emit_reduced(builder, "reduce_mean", x, axes, keep)
    count = np.array(prod(x.shape[axis] for axis in axes), x.dtype)
    return builder.emit("div", [emit_reduced(builder, "reduce_sum", x, axes, keep), builder.constant(count)])


def log_sum_exp(builder: GraphBuilder, node: OnnxNode) -> Value:
    """log Σ exp(x - m) + m, m being the greatest element, or 0 where that is infinite."""
    given = node.input(0, NUMBER)
    axes, keep = axes_and_keep(node, len(given.shape))
    x = builder.converted(given, given.dtype if given.dtype in FLOAT else "float64")
    greatest = emit_reduced(builder, "reduce_max", x, axes, True, "greatest")
    infinite = builder.emit("is_inf", [greatest], positive=True, negative=True)
    shift = builder.emit("where", [infinite, zero(builder, x), greatest])
    terms = builder.emit("exp", [builder.emit("sub", [x, shift])])
    total = builder.emit("log", [emit_reduced(builder, "reduce_sum", terms, axes, keep)])
    if not keep:
        shift = builder.emit("reshape", [shift], suffix="shift", shape=total.shape)
    return builder.converted(builder.emit("add", [total, shift]), given.dtype)


def position(op: str) -> Importer:
    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        x = node.input(0, NUMBER)
        axis = node.axis(node.int_("axis", 0), len(x.shape))
        keep, last = node.int_("keepdims", 1) != 0, node.int_("select_last_index", 0) != 0
        return builder.emit(op, [x], axis=axis, keepdims=keep, last=last)

    return importer


def hardmax(builder: GraphBuilder, node: OnnxNode) -> Value:
    """1 at the first greatest element along the axis; before opset 13, along everything from the axis on."""
    x = node.input(0, NUMBER)
    flat, axis = x, node.axis(node.int_("axis", -1 if node.opset >= 13 else 1), len(x.shape))
    if node.opset < 13:
        flat, axis = builder.emit("reshape", [x], shape=(prod(x.shape[:axis]), prod(x.shape[axis:]))), 1
    greatest = builder.emit("arg_max", [flat], axis=axis, keepdims=False)
    values = builder.constant(np.array([0, 1], x.dtype))
    y = builder.emit("one_hot", [greatest, values], depth=flat.shape[axis], axis=axis)
    return y if y.shape == x.shape else builder.emit("reshape", [y], suffix="restore", shape=x.shape)


def global_max_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, NUMBER)
    return emit_reduced(builder, "reduce_max", x, tuple(range(2, len(x.shape))), True)


IMPORTERS: dict[str, Importer] = {
    "ReduceSum": reducer("reduce_sum"),
    "ReduceMean": mean,
    "ReduceMax": extreme("reduce_max"),
    "ReduceMin": extreme("reduce_min"),
    "ReduceProd": reducer("reduce_prod"),
    "ReduceL1": reducer("reduce_sum", absolute),
    "ReduceL2": reducer("reduce_sum", squared, "sqrt", FLOAT),
    "ReduceSumSquare": reducer("reduce_sum", squared),
    "ReduceLogSum": reducer("reduce_sum", after="log", inside=FLOAT),
    "ReduceLogSumExp": log_sum_exp,
    "ArgMax": position("arg_max"),
    "ArgMin": position("arg_min"),
    "Hardmax": hardmax,
    "GlobalMaxPool": global_max_pool,
}
