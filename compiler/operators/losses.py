"""Losses of classification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import choice, flag, integer
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import MAX_RANK, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError

LABELS = ("int32", "int64")


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """scores[N, C, …], labels[N, …] → the labels' shape, or () when reduced."""
    scores, labels = present(types)[:2]
    if labels.shape != (scores.shape[0], *scores.shape[2:]):
        expected = str((scores.shape[0], *scores.shape[2:]))
        raise ModelError("labels do not fit the scores", found=f"{labels.shape} for {scores.shape}", expected=expected)
    return (TensorType(labels.shape if a["reduction"] == "none" else (), scores.dtype),)


def define(types: Types, a: Attributes) -> Definition:
    """loss[i] = -scores[i, label] · weight[label], nothing where the label is ignored; a mean divides by the weights' sum."""
    scores, labels, weights = placeholders(types, "scores", "labels", "weights")
    assert scores is not None
    assert labels is not None
    inputs = required(scores, labels, weights)
    zero, one = te.const(0, scores.dtype), te.const(1, scores.dtype)

    def class_at(*at: Expr) -> Expr:
        """The label, within the classes: an index that is ignored may be anything."""
        return te.clip(labels[at], te.const(0, labels.dtype), te.const(scores.shape[1] - 1, labels.dtype))

    def counted(value: Expr, *at: Expr) -> Expr:
        ignored = te.equal(labels[at], te.const(a["ignore_index"], labels.dtype))
        return te.select(ignored, zero, value) if a["ignores"] else value

    def loss_at(*at: Expr) -> Expr:
        lost = zero - scores[(at[0], class_at(*at), *at[1:])]
        return counted(lost if weights is None else lost * weights[class_at(*at)], *at)

    if a["reduction"] == "none":
        return Definition(inputs, (te.compute(labels.shape, loss_at, "y"),))
    loss = te.compute(labels.shape, loss_at, "loss")
    total = summed(loss, "total")
    if a["reduction"] == "sum":
        return Definition(inputs, (te.compute((1,), lambda i: total[i], "y"),))
    weight_at = lambda *at: counted(one if weights is None else weights[class_at(*at)], *at)  # noqa: E731
    divisor = summed(te.compute(labels.shape, weight_at, "weight"), "divisor")
    return Definition(inputs, (te.compute((1,), lambda i: total[i] / divisor[i], "y"),))


def summed(x: te.Tensor, name: str) -> te.Tensor:
    """Of shape (1,)."""
    along = tuple(te.reduce_axis(size, f"k{axis}") for axis, size in enumerate(x.shape))
    return te.compute((1,), lambda i: te.sum(x[along], along), name)


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    scores, labels, weights = (*inputs, None)[:3]
    counted = labels != a["ignore_index"] if a["ignores"] else np.ones(labels.shape, bool)
    taken = np.where(counted, labels, 0).clip(0, scores.shape[1] - 1)
    weight = counted.astype(scores.dtype) if weights is None else np.where(counted, weights[taken], 0).astype(scores.dtype)
    picked = np.take_along_axis(scores, np.expand_dims(taken, 1), axis=1).squeeze(1)
    loss = np.where(counted, -picked * weight, scores.dtype.type(0))
    if a["reduction"] == "none":
        return loss
    total = loss.sum(dtype=scores.dtype)
    return np.asarray(total if a["reduction"] == "sum" else total / weight.sum(dtype=scores.dtype))


FAMILY = (
    Operator(
        name="negative_log_likelihood",
        inputs=(
            Input("scores", rank=(2, MAX_RANK)),
            Input("labels", LABELS, rank=(1, MAX_RANK)),
            Input("weights", like="scores", channels=("scores", 1)),
        ),
        optional=1,
        attributes={
            "reduction": choice("none", "sum", "mean", default="mean"),
            "ignores": flag(),
            "ignore_index": integer(-1, -(1 << 31), (1 << 31) - 1),
        },
        infer=infer,
        define=define,
        kernel=kernel,
    ),
)
