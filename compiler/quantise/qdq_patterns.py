"""What stands between dequantize and quantize, and its integer form.

A pattern is read from its end: clips and movement that a quantize takes over, the operator that computes, its operands. What
has no integer form raises `NoIntegerForm` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from vdla.compiler.graph.fold_affine import channel_vector
from vdla.compiler.graph.graph import Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import (
    UNCLIPPED,
    NodeSpec,
    Operand,
    emit_avg_pool2d,
    emit_conv2d,
    emit_dense,
    emit_requantize,
    emit_rescaled,
)
from vdla.compiler.quantise.plan import MAX_POOL_WINDOW, clip_interval, counts_all, inherits, within
from vdla.compiler.quantise.qdq_weights import LayerWeights, NoIntegerForm, fitted
from vdla.compiler.quantise.qdq_wide import narrowed
from vdla.compiler.quantise.qdq_writer import Writer
from vdla.compiler.quantise.scales import QuantisedWeights

Array = np.ndarray
Clip = tuple[float, float]

NOTHING = "nothing computes it"
"""Of a graph input: no reason that anyone needs to be told."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What a quantize node takes over. clip: of all clips; moves: nodes that only move elements, the last one first.

    tensor: what the anchor computes; None is the anchor of a graph input, and of what others read too.
    """

    anchor: Node | None
    tensor: str
    clip: Clip
    moves: tuple[Node, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Linear:
    """A layer, multiplied and shifted by constants for each channel, and with another tensor added."""

    layer: Node
    x: Operand
    weights: LayerWeights
    sources: tuple[str, ...]
    residual: Operand | None = None


def quantised(c: Writer, tensor: str, output: Operand, clip: Clip = UNCLIPPED, node: Node | None = None) -> None:
    """Append what computes quantize(clip(tensor)) as `output`. node: the quantize. Raises `NoIntegerForm`."""
    tail = tail_of(c, tensor, clip)
    anchor = tail.anchor or node
    name, source = (anchor.name, anchor.source or anchor.name) if anchor else (output.name, tensor)
    result = output
    if tail.moves:
        result = c.new_levels(f"{output.name}.{name}", c.shape(tail.tensor), output.affine)
    spec = NodeSpec(name, "+".join((source, *tail.sources)), result, tail.clip)
    operand = c.operand(tail.tensor)
    if operand is not None:
        c.append(emit_requantize(spec, operand))
    else:
        computed(c, tail, spec)
    moved = result
    for move in reversed(tail.moves):
        attributes = with_defaults(move.op, move.attributes)
        if move.op == "pad":
            attributes["value"] = output.affine.zero_point
        op = OPERATORS[move.op].integer_form or move.op
        last = output if move is tail.moves[0] else None
        moved = c.move(op, [moved], move.name, move.source, last, **attributes)


def tail_of(c: Writer, name: str, clip: Clip = UNCLIPPED) -> Tail:
    """Walk up from a quantize's input over clips and movement that nobody else reads."""
    sources: list[str] = []
    moves: list[Node] = []
    while name not in c.levels and (node := c.sole_producer(name)) is not None:
        if interval := clip_interval(node):
            clip = (within(interval[0], *clip), within(interval[1], *clip))  # the later clip has the last word
            sources.append(node.source or node.name)
        elif inherits(node) and len(node.inputs) == 1 and keeps_zero(node, clip):
            moves.append(node)
        else:
            break
        name = node.inputs[0]
    anchor = None if name in c.levels else c.sole_producer(name)
    return Tail(anchor, name, clip, tuple(moves), tuple(reversed(sources)))


def keeps_zero(node: Node, clip: Clip) -> bool:
    """Whether a movement may as well come after the clip: the zeros that it pads with are not clipped."""
    return node.op != "pad" or (node.attributes.get("value", 0.0) == 0 and clip[0] <= 0 <= clip[1])


def computed(c: Writer, tail: Tail, spec: NodeSpec) -> None:
    """Append the integer form of what computes the tail's tensor, or raise `NoIntegerForm`."""
    anchor = tail.anchor
    if anchor is None:
        raise NoIntegerForm(NOTHING)
    if both(c, anchor) is None and (found := linear(c, tail.tensor)) is not None:
        emit_linear(c, found, replace(spec, name=found.layer.name, source="+".join((*found.sources, *tail.sources))))
        return
    form = FORMS.get(anchor.op)
    if form is None and OPERATORS[anchor.op].rescaled_form:
        form = pair
    if form is None:
        raise NoIntegerForm(f"{anchor.op} has no integer form")
    form(c, anchor, spec)


def linear(c: Writer, tensor: str) -> Linear | None:
    """The layer that a tensor is, but for constants for each channel; None where there is none. Raises `NoIntegerForm`."""
    node = c.sole_producer(tensor)
    if node is None or tensor in c.levels:
        return None
    match node.op:
        case "conv2d" | "dense":
            return layer(c, node)
        case "matmul" if c.operand(node.inputs[1]) is None and len(c.shape(node.inputs[1])) == 2:
            return layer(c, node)
        case "mul" | "add" | "sub":
            return around_layer(c, node)
    return None


def layer(c: Writer, node: Node) -> Linear:
    x, shape = c.operand(node.inputs[0]), c.shape(node.inputs[0])
    if x is None:
        raise NoIntegerForm(f"its input {node.inputs[0]} is not quantised")
    if node.op != "conv2d" and len(shape) != 2:
        raise NoIntegerForm(f"{node.op} of rank {len(shape)}")
    return Linear(node, x, c.weights(node), (node.source or node.name,))


def around_layer(c: Writer, node: Node) -> Linear | None:
    """mul, add or sub of a layer and something else."""
    refused: NoIntegerForm | None = None
    for position in (0, 1):
        inner_name, other = node.inputs[position], node.inputs[1 - position]
        try:
            inner = linear(c, inner_name)
        except NoIntegerForm as error:
            refused = error
            continue
        if inner is not None and (whole := joined(c, node, inner, inner_name, other, position)) is not None:
            return replace(whole, sources=(*inner.sources, node.source or node.name))
    if refused is not None:
        raise refused
    return None


def joined(c: Writer, node: Node, inner: Linear, name: str, other: str, position: int) -> Linear | None:
    """`inner` with the other operand of a mul, add or sub; position: which operand `inner` is."""
    if c.shape(name) != c.shape(node.outputs[0]) or inner.residual is not None:
        return None
    axis = OPERATORS[inner.layer.op].channel_axis
    real = c.reader.real(other)
    vector = channel_vector(real, c.shape(name), -1 if axis is None else axis) if real is not None else None
    if node.op == "sub" and position == 1:  # other - inner
        inner = replace(inner, weights=inner.weights.scaled(-np.ones(len(inner.weights.scale))))
    if vector is not None:
        if node.op == "mul":
            return replace(inner, weights=inner.weights.scaled(vector))
        return replace(inner, weights=inner.weights.shifted(-vector if node.op == "sub" and position == 0 else vector))
    residual = c.operand(other)
    same = c.shape(other) == c.shape(name)
    subtracted = node.op == "sub" and position == 0
    if residual is None or not same or inner.layer.op != "conv2d" or node.op == "mul" or subtracted:
        return None
    return replace(inner, residual=residual)


def emit_linear(c: Writer, found: Linear, spec: NodeSpec) -> None:
    """qconv2d or qdense."""
    node, x, residual = found.layer, found.x, found.residual
    fit = fitted(found.weights, x.affine.scale, spec.output.affine.scale, residual.affine.scale if residual else 0.0)
    if node.op == "conv2d":
        read, weights, attributes = narrowed(c, x, fit.levels, with_defaults(node.op, node.attributes), spec.source)
        c.append(emit_conv2d(spec, read, QuantisedWeights(weights, fit.scale, fit.bias), attributes, residual))
        return
    read, weights, _ = narrowed(c, x, fit.levels, {}, spec.source)
    c.append(emit_dense(spec, read, QuantisedWeights(weights, fit.scale, fit.bias)))


def both(c: Writer, node: Node) -> tuple[Operand, Operand] | None:
    """The two operands of an elementwise node that are levels both."""
    if len(node.inputs) != 2 or not OPERATORS[node.op].is_elementwise:
        return None
    a, b = (c.levels.get(name) for name in node.inputs)
    return (a, b) if a is not None and b is not None else None


def data_of(c: Writer, node: Node) -> Operand:
    """The one activation that a node reads."""
    x = c.operand(node.inputs[0])
    if x is None:
        raise NoIntegerForm(f"its input {node.inputs[0]} is not quantised")
    return x


def average(c: Writer, node: Node, spec: NodeSpec) -> None:
    a, x = with_defaults(node.op, node.attributes), data_of(c, node)
    if not counts_all(a):
        raise NoIntegerForm("its windows divide by different counts")
    emit_average(c, spec, x, a)


def global_average(c: Writer, node: Node, spec: NodeSpec) -> None:
    emit_average(c, spec, data_of(c, node), {"kernel": c.shape(node.inputs[0])[2:]})


def emit_average(c: Writer, spec: NodeSpec, x: Operand, a: Mapping[str, Any]) -> None:
    if prod(a["kernel"]) > MAX_POOL_WINDOW:
        raise NoIntegerForm(f"a window of {prod(a['kernel'])} elements could overflow int32")
    c.append(emit_avg_pool2d(spec, x, a))


def pair(c: Writer, node: Node, spec: NodeSpec) -> None:
    operands = both(c, node)
    if operands is None:
        missing = next((name for name in node.inputs if name not in c.levels), "")
        raise NoIntegerForm(f"its input {missing} is not quantised" if missing else f"{node.op} of {len(node.inputs)} tensors")
    a, b = operands
    if c.shape(a.name) != c.shape(b.name) or len(c.shape(a.name)) < 2:
        raise NoIntegerForm(f"{node.op} of shapes {c.shape(a.name)} and {c.shape(b.name)}")
    if c.is_constant(a) or c.is_constant(b):
        raise NoIntegerForm(f"{node.op} with a constant for each element")
    c.append(emit_rescaled(spec, OPERATORS[node.op].rescaled_form, a, b))


def concat(c: Writer, node: Node, spec: NodeSpec) -> None:
    """Each piece at the output's scale, clipped as the whole is; a constant one is quantised here."""
    pieces = []
    for name in node.inputs:
        operand, real = c.levels.get(name), c.reader.real(name)
        if operand is not None and operand.affine == spec.output.affine and spec.clip == UNCLIPPED:
            pieces.append(operand)
        elif real is not None:
            affine, (low, high) = spec.output.affine, spec.clip
            levels = np.clip(np.rint(np.clip(real, low, high) / affine.scale) + affine.zero_point, -128, 127)
            pieces.append(c.new_constant(f"{spec.name}.{name}", levels.astype(np.int8), affine))
        else:
            piece = c.new_levels(f"{spec.name}.{name}", c.shape(name), spec.output.affine)
            quantised(c, name, piece, spec.clip)
            pieces.append(piece)
    c.move("concat", pieces, spec.name, spec.source, spec.output, **with_defaults("concat", node.attributes))


Form = Callable[[Writer, Node, NodeSpec], None]
FORMS: dict[str, Form] = {
    "avg_pool2d": average,
    "global_avg_pool": global_average,
    "concat": concat,
}
"""By operator; layers are found by `linear`, and what has a `rescaled_form` is a pair."""
