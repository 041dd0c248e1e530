"""What stands between dequantize and quantize, and its integer form.

A pattern is read from its end: clips and movement that a quantize takes over, the operator that computes, its operands. What
has no integer form raises `NoIntegerForm` with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vdla.compiler.graph.graph import Node
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.emit import UNCLIPPED, NodeSpec, Operand, emit_requantize
from vdla.compiler.quantise.plan import clip_interval, inherits, within
from vdla.compiler.quantise.qdq_forms import FORMS, concat, pair, table
from vdla.compiler.quantise.qdq_linear import emit_linear, linear
from vdla.compiler.quantise.qdq_weights import NoIntegerForm
from vdla.compiler.quantise.qdq_writer import Writer

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
    """Walk up from a quantize's input over clips and movement that nobody else reads, and over clips of levels."""
    sources: list[str] = []
    moves: list[Node] = []
    while c.is_clip_of_levels(name) or name not in c.levels:
        node = c.producer.get(name) if c.is_clip_of_levels(name) else c.sole_producer(name)
        if node is None:
            break
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
    if anchor.op == "concat":
        concat(c, anchor, spec, quantised)
    elif c.pair_of_levels(anchor):
        pair(c, anchor, spec)
    elif (found := linear(c, tail.tensor)) is not None:
        name = found.layer.name if found.layer else spec.name
        emit_linear(c, found, replace(spec, name=name, source="+".join((*found.sources, *tail.sources))))
    elif not table(c, tail.tensor, spec):
        FORMS.get(anchor.op, pair)(c, anchor, spec)
