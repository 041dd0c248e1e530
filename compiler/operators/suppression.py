"""Non-maximum suppression: of boxes that overlap much, the one with the highest score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integer, real
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError

NOTHING = -1
"""In place of a box where no more are chosen."""


def infer_suppression(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """The boxes chosen for each batch and class, best first, as many as there may be; and how many there are."""
    boxes, scores = present(types)
    if boxes.shape[2] != 4 or (boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]):
        expected = "(B, N, 4) and (B, C, N)"
        raise ModelError("boxes and scores differ", found=f"{boxes.shape} and {scores.shape}", expected=expected)
    per_class = scores.shape[:2]
    return TensorType((*per_class, min(a["most"], boxes.shape[1])), "int64"), TensorType(per_class, "int64")


def define_suppression(types: Types, a: Attributes) -> Definition:
    """A scan over the boxes to be chosen: each time the best that is left, which takes those away that overlap it."""
    boxes, scores = required(*placeholders(types, "boxes", "scores"))
    chosen, _ = infer_suppression(types, a)
    batches, classes, most = chosen.shape
    count, dtype = boxes.shape[1], boxes.dtype
    number = lambda value: te.const(value, dtype)  # noqa: E731
    yes, no = te.const(1, "int32"), te.const(0, "int32")

    def corner(side: str, d: int) -> te.Tensor:
        def at(b: Expr, i: Expr) -> Expr:
            if a["centred"]:  # x, y, width, height
                half = boxes[b, i, 3 - d] / number(2)
                return boxes[b, i, 1 - d] - half if side == "low" else boxes[b, i, 1 - d] + half
            first, second = boxes[b, i, d], boxes[b, i, 2 + d]
            return te.minimum(first, second) if side == "low" else te.maximum(first, second)

        return te.compute((batches, count), at, f"{side}{d}")

    low, high = [corner("low", d) for d in (0, 1)], [corner("high", d) for d in (0, 1)]
    area = te.compute((batches, count), lambda b, i: (high[0][b, i] - low[0][b, i]) * (high[1][b, i] - low[1][b, i]), "area")
    t, left = te.scan_axis(most, "t"), te.placeholder((batches, classes, count), "int32", "left")
    admitted = lambda score: score > number(a["score"]) if a["scored"] else te.equal(score, score)  # noqa: E731
    everything = te.compute(left.shape, lambda b, c, i: te.select(admitted(scores[b, c, i]), yes, no), "everything")
    best, choice = _best_left(left, scores)

    def overlap(b: Expr, i: Expr, j: Expr) -> Expr:
        """Whether boxes i and j overlap by more than the threshold, of all that they cover."""
        sides = [te.minimum(high[d][b, i], high[d][b, j]) - te.maximum(low[d][b, i], low[d][b, j]) for d in (0, 1)]
        positive = te.logical_and(sides[0] > number(0), sides[1] > number(0))
        together = sides[0] * sides[1]
        whole = area[b, i] + area[b, j] - together
        return te.logical_and(te.logical_and(positive, whole > number(0)), together / whole > number(a["overlap"]))

    def remains(b: Expr, c: Expr, i: Expr) -> Expr:
        winner = te.clip(choice[b, c], 0, count - 1)
        gone = te.logical_or(te.equal(i, winner), overlap(b, i, winner))
        return te.select(te.logical_and(best[b, c] > 0, gone), no, left[b, c, i])

    found = te.compute(
        (batches, classes), lambda b, c: te.select(best[b, c] > 0, choice[b, c], te.const(NOTHING, "int32")), "found"
    )
    _, (steps,) = te.scan(t, [te.State(left, everything, te.compute(left.shape, remains, "remains"))], [found], "suppression")
    k = te.reduce_axis(most, "k")
    total = te.compute((batches, classes), lambda b, c: te.sum(te.select(steps[k, b, c] >= 0, yes, no), k), "total")
    outputs = (
        te.compute(chosen.shape, lambda b, c, i: te.cast(steps[i, b, c], "int64"), "chosen"),
        te.compute((batches, classes), lambda b, c: te.cast(total[b, c], "int64"), "counts"),
    )
    return Definition((boxes, scores), outputs)


def _best_left(left: te.Tensor, scores: te.Tensor) -> tuple[te.Tensor, te.Tensor]:
    """Whether any box is left of a batch and class, and the first of those with the highest score."""
    shape, count = left.shape[:2], left.shape[2]
    i, j, n = te.reduce_axis(count, "i"), te.reduce_axis(count, "j"), te.reduce_axis(count, "n")
    lowest = te.const(float("-inf"), scores.dtype)
    score = lambda b, c, at: te.select(left[b, c, at] > 0, scores[b, c, at], lowest)  # noqa: E731
    highest = te.compute(shape, lambda b, c: te.max(score(b, c, i), i), "highest")

    def first(b: Expr, c: Expr) -> Expr:
        here = te.logical_and(left[b, c, j] > 0, te.equal(scores[b, c, j], highest[b, c]))
        return te.min(te.select(here, j, te.const(count - 1, "int32")), j)

    return te.compute(shape, lambda b, c: te.max(left[b, c, n], n), "any"), te.compute(shape, first, "choice")


def suppression(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """Candidates sorted once, each kept unless one before it overlaps it."""
    boxes, scores = inputs
    most = min(a["most"], boxes.shape[1])
    chosen = np.full((*scores.shape[:2], most), NOTHING, np.int64)
    for b, c in np.ndindex(*scores.shape[:2]):
        corners = corners_of(boxes[b], a["centred"])
        order = np.argsort(-scores[b, c], kind="stable")
        if a["scored"]:
            order = order[scores[b, c][order] > a["score"]]
        kept: list[int] = []
        for candidate in order[~np.isnan(scores[b, c][order])]:
            if len(kept) == most:
                break
            if not (overlaps(corners[kept], corners[candidate]) > a["overlap"]).any():
                kept.append(int(candidate))
        chosen[b, c, : len(kept)] = kept
    return chosen, (chosen >= 0).sum(-1)


def corners_of(boxes: np.ndarray, centred: bool) -> np.ndarray:
    """(N, 2, 2): the least and greatest coordinates."""
    if centred:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return np.stack([middle - half, middle + half], 1)
    return np.sort(boxes.reshape(-1, 2, 2), axis=1)


def overlaps(kept: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The intersection of each box with one, over their union."""
    sides = np.minimum(kept[:, 1], box[1]) - np.maximum(kept[:, 0], box[0])
    together = np.prod(np.maximum(sides, 0), axis=-1)
    whole = np.prod(kept[:, 1] - kept[:, 0], axis=-1) + np.prod(box[1] - box[0]) - together
    return np.divide(together, whole, out=np.zeros_like(whole), where=whole > 0)


FAMILY = (
    Operator(
        name="non_max_suppression",
        inputs=(Input("boxes", FLOAT, rank=(3, 3)), Input("scores", like="boxes", rank=(3, 3))),
        attributes={
            "most": integer(low=1),
            "overlap": real(0.0),
            "scored": flag(),
            "score": real(0.0),
            "centred": flag(),
        },
        infer=infer_suppression,
        define=define_suppression,
        kernel=suppression,
        fusion=Fusion.OPAQUE,
        host_reason="no VDLA kernel: which boxes remain is data",
    ),
)
