"""Models that come quantised: patterns dequantize → operator → quantize become integer operators.

    before   x ─ dequantize ─┐
             w ─ dequantize ─ conv2d ─ relu ─ quantize → y
             b ─ dequantize ─┘
    after    x ─ qconv2d(w, bias, scale, low = zero point) → y

The model's own scales and zero points are kept. What does not match stays float between its dequantize and quantize, and why is
noted. The result equals the float computation but for 2⁻¹⁹ in each ratio, nothing in powers of two: a difference of one level,
rarely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from vdla.compiler.graph.fold_constants import fold_constants
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.affine import HIGH, LOW, Affine, Levels
from vdla.compiler.quantise.emit import UNCLIPPED, NodeSpec, Operand, emit_dequantize, emit_requantize
from vdla.compiler.quantise.plan import clip_interval, keeps_levels
from vdla.compiler.quantise.qdq_patterns import NOTHING, quantised, tail_of
from vdla.compiler.quantise.qdq_weights import NoIntegerForm
from vdla.compiler.quantise.qdq_writer import Writer
from vdla.compiler.quantise.written_out import with_written_out


@dataclass(frozen=True)
class FromQdq:
    """levels: what the int8 tensors mean, those that the model dequantises and those made in between. reasons: by node that
    stayed in float, why."""

    graph: Graph
    levels: Levels
    reasons: Mapping[str, str]


def has_qdq(graph: Graph) -> bool:
    """Whether the model came quantised, so that it goes to `from_qdq` and not to `quantise`. Weights alone do not count."""
    nodes = with_written_out(graph).nodes
    return any(n.op == "quantize" or (n.op == "dequantize" and n.inputs[0] not in graph.constants) for n in nodes)


def with_real_weights(graph: Graph) -> Graph:
    """The graph with dequantised constants as floats, as `quantise` wants them: of a model that stores its weights in bytes."""
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        if node.op == "dequantize" and node.inputs[0] in graph.constants and node.outputs[0] not in graph.outputs:
            constants |= run_node(node, graph.constants)
        else:
            nodes.append(node)
    return fold_constants(graph.with_nodes(nodes, constants=constants)) if constants else graph


def from_qdq(graph: Graph) -> Graph:
    """The graph with every pattern that has an integer form replaced by it; same inputs and outputs."""
    return from_qdq_with_levels(graph).graph


def from_qdq_with_levels(graph: Graph) -> FromQdq:
    """The same, what its int8 tensors mean, and why what stayed in float did."""
    rewriter = QdqRewriter(Writer(without_duplicates(with_written_out(graph))))
    for node in rewriter.writer.graph.nodes:
        rewriter.add(node)
    return rewriter.finish()


def without_duplicates(graph: Graph) -> Graph:
    """Exporters quantise and dequantise a tensor once for each reader: what is done alike is done once."""
    first: dict[tuple[object, ...], str] = {}
    same: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(same.get(name, name) for name in node.inputs))
        if node.op in ("quantize", "dequantize") and node.outputs[0] not in graph.outputs:
            alike = (node.op, node.inputs[0], *sorted(with_defaults(node.op, node.attributes).items()))
            earlier = first.setdefault(alike, node.outputs[0])
            if earlier != node.outputs[0]:
                same[node.outputs[0]] = earlier
                continue
        nodes.append(node)
    return graph.with_nodes(nodes)


class QdqRewriter:
    """Walks the graph. same: int8 tensor → an earlier one that equals it; bounded: those whose clip a quantize took over."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.same: dict[str, str] = {}
        self.bounded: set[str] = set()

    def add(self, node: Node) -> None:
        """Append a node, or what replaces it."""
        c = self.writer
        if node.op == "dequantize":
            self._add_dequantize(node)
        elif node.op == "quantize":
            self._add_quantize(node)
        elif keeps_levels(node) and node.inputs[0] in c.levels and (node.op != "pad" or node.attributes.get("value", 0.0) == 0):
            self._add_inheriting(node)
        elif node.op == "clip" and c.graph.tensors[node.inputs[0]].dtype == "int8":
            self._add_bounds(node)
        elif self._is_exact_clip(node):
            self._add_exact_clip(node)
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
        outputs = [c.new_levels(f"{name}_q", c.graph.tensors[name].shape, x.affine) for name in node.outputs]
        attributes = with_defaults(node.op, node.attributes)
        if node.op == "pad":
            attributes["value"] = x.affine.zero_point
        op = OPERATORS[node.op].integer_form or node.op
        names = tuple(output.name for output in outputs)
        c.nodes.append(Node(node.name, op, (x.name,), names, MappingProxyType(attributes), node.source))
        for name, output in zip(node.outputs, outputs, strict=True):
            self._stands_for(name, output, node)

    def _stands_for(self, name: str, output: Operand, node: Node) -> None:
        """A float tensor whose levels were made; in float too, for who wants that."""
        c = self.writer
        c.nodes.append(emit_dequantize(f"{node.name}.dequantize", node.source, output, name))
        c.levels[name] = output

    def _is_exact_clip(self, node: Node) -> bool:
        """Whether a clip of numbers is one of levels, and read by more than what quantises it, which takes it over."""
        c, interval = self.writer, clip_interval(node)
        x = c.operand(node.inputs[0]) if interval else None
        if x is None or interval is None or len(c.shape(x.name)) < 2:
            return False
        least, most = x.affine.range
        exact = all(v <= least or v >= most or is_whole(v / x.affine.scale) for v in interval)
        return exact and any(reader.op != "quantize" for reader in c.consumers.get(node.outputs[0], ()))

    def _add_exact_clip(self, node: Node) -> None:
        c, x, interval = self.writer, self.writer.levels[node.inputs[0]], clip_interval(node)
        assert interval is not None
        output = c.new_levels(f"{node.outputs[0]}_q", c.shape(x.name), x.affine)
        c.append(emit_requantize(NodeSpec(node.name, node.source or node.name, output, interval), x))
        self._stands_for(node.outputs[0], output, node)

    def _add_bounds(self, node: Node) -> None:
        """A clip of levels that their quantize has not taken over: of one that stayed float, or of a graph input."""
        c, name = self.writer, self.same.get(node.inputs[0], node.inputs[0])
        if node.outputs[0] in self.bounded:
            return
        if len(c.shape(name)) < 2:
            c.nodes.append(replace(node, inputs=(name,)))
            return
        levels = Affine(1.0, 0)
        a = with_defaults("clip", node.attributes)
        spec = NodeSpec(node.name, node.source or node.name, Operand(node.outputs[0], levels), (a["low"], a["high"]))
        c.append(emit_requantize(spec, Operand(name, levels)))

    def _bounds_behind(self, node: Node, affine: Affine) -> tuple[Node | None, tuple[float, float]]:
        """The clip of levels that alone reads a quantize, and what it leaves in reals."""
        c = self.writer
        readers = c.consumers.get(node.outputs[0], [])
        if len(readers) != 1 or readers[0].op != "clip" or node.outputs[0] in c.graph.outputs:
            return None, UNCLIPPED
        a = with_defaults("clip", readers[0].attributes)
        low, high = (min(max(a[key], LOW), HIGH) for key in ("low", "high"))
        low = min(low, high)
        return readers[0], (
            affine.scale * (low - affine.zero_point) if low > LOW else -np.inf,
            affine.scale * (high - affine.zero_point) if high < HIGH else np.inf,
        )

    def _add_quantize(self, node: Node) -> None:
        c, affine = self.writer, affine_of(node)
        assert affine is not None, "quantize has one scale"
        bounds, clip = self._bounds_behind(node, affine)
        output = Operand(bounds.outputs[0] if bounds else node.outputs[0], affine)
        tail = tail_of(c, node.inputs[0], clip)
        operand = c.levels.get(tail.tensor)
        unchanged = operand is not None and operand.affine == affine and tail.clip == UNCLIPPED and not tail.moves
        if operand is not None and unchanged and output.name not in c.graph.outputs:
            self.same[output.name] = operand.name
            self.bounded |= {output.name} if bounds else set()
            return
        before = len(c.nodes)
        try:
            quantised(c, node.inputs[0], output, clip, node)
            if bounds:
                self.bounded.add(output.name)
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


def is_whole(number: float) -> bool:
    """But for float32's rounding."""
    return abs(number - round(number)) <= 1e-6 * max(1.0, abs(number))


def affine_of(node: Node) -> Affine | None:
    """The parameters of a per-tensor quantize or dequantize; None for one per channel."""
    scale, zero_point = np.asarray(node.attributes["scale"]), np.asarray(node.attributes.get("zero_point", 0))
    if scale.size != 1 or zero_point.size != 1:
        return None
    return Affine(float(np.float32(scale.item())), int(zero_point.item()))
