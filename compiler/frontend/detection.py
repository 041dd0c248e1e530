"""NonMaxSuppression, and Det."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError


def non_max_suppression(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Rows of batch, class and box, of inputs that are known: how many there are depends on them."""
    boxes, scores = node.input(0, ("float32",)), node.input(1, ("float32",))
    most = int(node.number(2, "max_output_boxes_per_class", 0))
    for index, what in enumerate(("boxes", "scores")):
        node.array(index, what)
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
    assert chosen.constant is not None
    batch, kind, rank = np.nonzero(chosen.constant >= 0)
    return builder.constant(np.stack([batch, kind, chosen.constant[batch, kind, rank]], -1).astype(np.int64))


def determinant(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.emit("determinant", [node.input(0)])


IMPORTERS: dict[str, Importer] = {"NonMaxSuppression": non_max_suppression, "Det": determinant}
