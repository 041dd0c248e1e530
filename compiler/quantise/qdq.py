"""Models that come quantised: patterns dequantize → operator → quantize become integer operators.

    before   x ─ dequantize ─┐
             w ─ dequantize ─ conv2d ─ relu ─ quantize → y
             b ─ dequantize ─┘
    after    x ─ qconv2d(w, bias, scale, low = zero point) → y

The model's own scales and zero points are kept. What does not match stays float between its dequantize and quantize, and why is
noted. The result equals the float computation but for the rounding of ties and 2⁻¹⁷ in each scale: a difference of one level,
rarely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.affine import Affine, Levels
from vdla.compiler.quantise.emit import UNCLIPPED, Operand, emit_dequantize
from vdla.compiler.quantise.plan import inherits
from vdla.compiler.quantise.qdq_patterns import NOTHING, quantised, tail_of
from vdla.compiler.quantise.qdq_weights import NoIntegerForm
from vdla.compiler.quantise.qdq_writer import Writer


@dataclass(frozen=True)
class FromQdq:
    """levels: what the int8 tensors mean, those that the model dequantises and those made in between. reasons: by node that
    stayed in float, why."""

    graph: Graph
    levels: Levels
    reasons: Mapping[str, str]


def has_qdq(graph: Graph) -> bool:
    """Whether the model came quantised, so that it goes to `from_qdq` and not to `quantise`."""
    return any(node.op in ("quantize", "dequantize") for node in graph.nodes)


def from_qdq(graph: Graph) -> Graph:
    """The graph with every pattern that has an integer form replaced by it; same inputs and outputs."""
    return from_qdq_with_levels(graph).graph


def from_qdq_with_levels(graph: Graph) -> FromQdq:
    """The same, what its int8 tensors mean, and why what stayed in float did."""
    rewriter = QdqRewriter(Writer(without_duplicates(graph)))
    for node in rewriter.writer.graph.nodes:
        rewriter.add(node)
    return rewriter.finish()


def without_duplicates(graph: Graph) -> Graph:
    """Exporters quantise a tensor once for each reader: what is quantised alike is one tensor."""
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if node.op == "quantize" and node.outputs[0] not in graph.outputs:
            a = with_defaults("quantize", node.attributes)
            earlier = first.setdefault((node.inputs[0], a["scale"], a["zero_point"]), node.outputs[0])
            if earlier != node.outputs[0]:
                same[node.outputs[0]] = earlier
                continue
        nodes.append(node)
    return graph.with_nodes(nodes)


class QdqRewriter:
    """Walks the graph. same: int8 tensor → an earlier one that equals it."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.same: dict[str, str] = {}

    def add(self, node: Node) -> None:
        """Append a node, or what replaces it."""
        c = self.writer
        if node.op == "dequantize":
            self._add_dequantize(node)
        elif node.op == "quantize":
            self._add_quantize(node)
        elif inherits(node) and node.inputs[0] in c.levels and (node.op != "pad" or node.attributes.get("value", 0.0) == 0):
            self._add_inheriting(node)
        else:
            c.nodes.append(replace(node, inputs=tuple(self.same.get(name, name) for name in node.inputs)))

    def finish(self) -> FromQdq:
        c = self.writer
        graph = c.finish()
        levels = {operand.name: (tensor, operand.affine) for tensor, operand in c.levels.items()}
        return FromQdq(graph, levels, reasons(graph, c))

    def _add_dequantize(self, node: Node) -> None:
        c, name = self.writer, self.same.get(node.inputs[0], node.inputs[0])
        affine = affine_of(node)
        if affine is not None and c.graph.tensors[node.inputs[0]].dtype == "int8":
            c.levels[node.outputs[0]] = Operand(name, affine)
        c.nodes.append(Node(node.name, node.op, (name,), node.outputs, node.attributes, node.source))

    def _add_inheriting(self, node: Node) -> None:
        """max_pool(dequantize(x)) = dequantize(qmax_pool(x)), and so on, exactly."""
        c = self.writer
        x = c.levels[node.inputs[0]]
        output = c.new_levels(f"{node.outputs[0]}_q", c.graph.tensors[node.outputs[0]].shape, x.affine)
        attributes = with_defaults(node.op, node.attributes)
        if node.op == "pad":
            attributes["value"] = x.affine.zero_point
        c.move(OPERATORS[node.op].integer_form or node.op, [x], node.name, node.source, output, **attributes)
        c.nodes.append(emit_dequantize(f"{node.name}.dequantize", node.source, output, node.outputs[0]))
        c.levels[node.outputs[0]] = output

    def _add_quantize(self, node: Node) -> None:
        c, affine = self.writer, affine_of(node)
        assert affine is not None, "quantize has one scale"
        output = Operand(node.outputs[0], affine)
        tail = tail_of(c, node.inputs[0])
        operand = c.levels.get(tail.tensor)
        unchanged = operand is not None and operand.affine == affine and tail.clip == UNCLIPPED and not tail.moves
        if operand is not None and unchanged and output.name not in c.graph.outputs:
            self.same[output.name] = operand.name
            return
        before = len(c.nodes)
        try:
            quantised(c, node.inputs[0], output, node=node)
        except NoIntegerForm as reason:
            del c.nodes[before:]
            c.nodes.append(node)
            if str(reason) != NOTHING and tail.anchor is not None:
                c.reasons[tail.anchor.name] = str(reason)


def reasons(graph: Graph, c: Writer) -> dict[str, str]:
    """Why the layers of the finished graph that are in float are, and what else was tried in vain."""
    found = {}
    for node in graph.nodes:
        if node.name in c.reasons:
            found[node.name] = c.reasons[node.name]
        elif OPERATORS[node.op].channel_axis is not None and not node.op.startswith("q"):
            known = node.inputs[0] in c.levels
            found[node.name] = "its result is not quantised" if known else f"its input {node.inputs[0]} is not quantised"
    return found


def affine_of(node: Node) -> Affine | None:
    """The parameters of a per-tensor quantize or dequantize; None for one per channel."""
    scale, zero_point = np.asarray(node.attributes["scale"]), np.asarray(node.attributes.get("zero_point", 0))
    if scale.size != 1 or zero_point.size != 1:
        return None
    return Affine(float(np.float32(scale.item())), int(zero_point.item()))
