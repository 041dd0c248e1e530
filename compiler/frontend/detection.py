"""NonMaxSuppression, and Det."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.bounded import counted, packed
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError


def non_max_suppression(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Rows of batch, class and box. How many there are is data: there are as many as there may be, and their number."""
    boxes, scores = node.input(0, ("float32",)), node.input(1, ("float32",))
    most = int(node.number(2, "max_output_boxes_per_class", 0))
    centred = node.int_("center_point_box", 0)
    if centred not in (0, 1):
        raise ModelError("unknown center_point_box of NonMaxSuppression", found=centred, expected="0 or 1")
    if most <= 0 or 0 in boxes.shape or 0 in scores.shape:
        return builder.constant(np.zeros((0, 3), np.int64))
    chosen, _ = builder.emit_all(
        "non_max_suppression",
        [boxes, scores],
        most=min(most, boxes.shape[1]),
        overlap=node.number(3, "iou_threshold", 0.0),
        scored=node.has(4),
        score=node.number(4, "score_threshold", 0.0),
        centred=centred == 1,
    )
    flat = builder.emit("reshape", [chosen], suffix="flat", shape=(chosen.type.elements,))
    flags = builder.emit("greater_or_equal", [flat, builder.scalar(0, "int64")], suffix="flags")
    places, length = packed(builder, flags)
    owners = np.stack(np.unravel_index(np.arange(chosen.type.elements), chosen.shape), -1)[:, :2]
    pairs = builder.emit("gather", [builder.constant(owners.astype(np.int64)), places], suffix="owners", axis=0)
    box = builder.emit("gather", [flat, places], suffix="box", axis=0)
    column = builder.emit("reshape", [box], suffix="column", shape=(*box.shape, 1))
    return counted(builder.emit("concat", [pairs, column], axis=1), length, axis=0)


def determinant(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.emit("determinant", [node.input(0)])


IMPORTERS: dict[str, Importer] = {"NonMaxSuppression": non_max_suppression, "Det": determinant}
