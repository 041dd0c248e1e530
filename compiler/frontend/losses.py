"""NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss."""

from __future__ import annotations

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.losses import LABELS
from vdla.compiler.operators.operator import FLOAT
from vdla.errors import ModelError

REDUCTIONS = ("none", "sum", "mean")


def negative_log_likelihood(builder: GraphBuilder, node: OnnxNode) -> Value:
    return emit_loss(builder, node, node.input(0, FLOAT))


def softmax_cross_entropy(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """The loss of the scores' log softmax, which is the second output."""
    scores = node.input(0, FLOAT)
    if len(scores.shape) < 2:
        raise ModelError("scores of SoftmaxCrossEntropyLoss have no classes", found=scores.shape, expected="(N, C, …)")
    logarithm = builder.emit("log_softmax", [scores], suffix="log_prob", axis=1)
    return emit_loss(builder, node, logarithm), logarithm


def emit_loss(builder: GraphBuilder, node: OnnxNode, scores: Value) -> Value:
    """The loss of log probabilities[N, C, …], with the node's labels, weights and attributes."""
    reduction = node.string("reduction", "mean")
    if reduction not in REDUCTIONS:
        raise ModelError(f"unsupported reduction of {node.op}", found=reduction, expected=", ".join(REDUCTIONS))
    labels, ignore = node.input(1, LABELS), node.int_("ignore_index", -1)
    if abs(ignore) >= 1 << 31:
        raise ModelError(f"ignore_index of {node.op} is out of range", found=ignore, expected="32 bits")
    operands = [scores, labels, node.optional(2, FLOAT)]
    ignores = node.given("ignore_index")
    return builder.emit("negative_log_likelihood", operands, reduction=reduction, ignores=ignores, ignore_index=ignore)


IMPORTERS: dict[str, Importer] = {
    "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
}
