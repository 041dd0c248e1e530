"""TopK, CumSum, CumProd."""

from __future__ import annotations

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import NUMBER
from vdla.errors import ModelError


def top_k(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """Values and positions, in order even where that is not asked for. k is an attribute before opset 10."""
    x = node.input(0, NUMBER)
    axis = node.axis(node.int_("axis", -1), len(x.shape))
    k = node.int_("k", 0) if node.opset < 10 else int(node.number(1, "K"))
    node.int_("sorted", 1)
    if k < 0:
        raise ModelError("k of TopK is negative", found=k)
    if k == 0:
        nothing = builder.emit("slice", [x], starts=(0,) * len(x.shape), steps=(1,) * len(x.shape), sizes=without(x, axis))
        return nothing, builder.converted(nothing, "int64")
    return builder.emit_all("top_k", [x], k=k, axis=axis, largest=node.int_("largest", 1) != 0)


def without(x: Value, axis: int) -> tuple[int, ...]:
    """The shape with no elements along an axis."""
    return tuple(0 if d == axis else n for d, n in enumerate(x.shape))


def running(op: str) -> Importer:
    def importer(builder: GraphBuilder, node: OnnxNode) -> Value:
        x = node.input(0, NUMBER)
        axis = node.axis(int(node.number(1, "axis")), len(x.shape))
        exclusive, reverse = node.int_("exclusive", 0) != 0, node.int_("reverse", 0) != 0
        return builder.emit(op, [x], axis=axis, exclusive=exclusive, reverse=reverse)

    return importer


IMPORTERS: dict[str, Importer] = {
    "TopK": top_k,
    "CumSum": running("cumulative_sum"),
    "CumProd": running("cumulative_product"),
}
