"""If, Loop and Scan: the branch that is taken, and loops whose number of turns is known."""

from __future__ import annotations

from collections.abc import Sequence as Several

import numpy as np
import onnx

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.loops import counted_loop
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.reader import Failed
from vdla.compiler.frontend.values import Anything, Sequence, Value
from vdla.errors import ModelError

MOST_TURNS = 4096
"""Of a loop that is written out turn by turn."""


def if_(builder: GraphBuilder, node: OnnxNode) -> tuple[Anything, ...]:
    """The branch that a known condition takes; of an unknown one both are computed and one is chosen, element by element."""
    condition = node.input(0, ("bool",))
    branches = node.graph("then_branch"), node.graph("else_branch")
    if condition.type.elements != 1:
        raise ModelError("the condition of If is not one value", found=condition.shape)
    if condition.constant is not None:
        return inlined(node, branches[0 if condition.constant.item() else 1], (), "branch")
    then, otherwise = (inlined(node, branch, (), name) for branch, name in zip(branches, ("then", "else"), strict=True))
    if any(typed(a) != typed(b) for a, b in zip(then, otherwise, strict=True)):
        raise node.unknown(condition, "the condition, by which the outputs' shapes differ,")
    single = builder.emit("reshape", [condition], suffix="condition", shape=())
    pairs = [(a, b) for a, b in zip(then, otherwise, strict=True) if isinstance(a, Value) and isinstance(b, Value)]
    return tuple(builder.emit("where", [single, a, b]) for a, b in pairs)


def typed(value: Anything) -> object:
    """What two values must share for one to be chosen element by element; unlike all others for what is no tensor."""
    return (value.shape, value.dtype) if isinstance(value, Value) else object()


def inlined(node: OnnxNode, graph: onnx.GraphProto, inputs: Several[Anything], name: str) -> tuple[Anything, ...]:
    """A graph inside a node, written out."""
    assert node.reader is not None
    results = node.reader.inline(graph, inputs, f"{node.name}/{name}/")
    if any(isinstance(result, Failed) for result in results):
        raise Refused(f"{node.op} holds what is refused")
    return results  # type: ignore[return-value]


class Refused(ModelError):
    """Something inside failed, and has been recorded there."""


def loop(builder: GraphBuilder, node: OnnxNode) -> tuple[Anything, ...]:
    """A loop whose number of turns is known: a real one where its body keeps the types of what it carries, or written out.

    Inputs: most turns, whether to begin, then what is carried. The body gives whether to go on, what is carried, and a slice of
    each further output.
    """
    body = node.graph("body")
    most = int(node.number(0, "the trip count")) if node.has(0) else None
    going: Anything = node.input(1, ("bool",)) if node.has(1) else builder.constant(np.array(True))
    carried = list(node.inputs[2:])
    if most is not None and known_condition(node, going):
        tensors = [value for value in carried if isinstance(value, Value)]
        if len(tensors) == len(carried) and (real := counted_loop(builder, node, most, tensors)) is not None:
            return real
    slices: list[list[Value]] = [[] for _ in range(len(body.output) - 1 - len(carried))]
    turn = 0
    while (most is None or turn < most) and known_condition(node, going):
        if turn >= MOST_TURNS:
            raise ModelError("a loop has too many turns to be written out", expected=f"at most {MOST_TURNS}")
        number = builder.constant(np.array(turn, np.int64))
        going, *rest = inlined(node, body, [number, going, *carried], str(turn))
        carried, found = rest[: len(carried)], rest[len(carried) :]
        for kept, value in zip(slices, found, strict=True):
            if not isinstance(value, Value):
                raise ModelError("a loop collects what is no tensor")
            kept.append(value)
        turn += 1
    names = [info.name for info in body.output[1 + len(carried) :]]
    return (*carried, *(stacked(builder, kept, 0, name) for kept, name in zip(slices, names, strict=True)))


def known_condition(node: OnnxNode, going: Anything) -> bool:
    if not isinstance(going, Value) or going.constant is None:
        if isinstance(going, Value):
            raise node.unknown(going, "whether to go on")
        raise ModelError("the condition of Loop is no tensor")
    return bool(going.constant.item())


def sequence_map(builder: GraphBuilder, node: OnnxNode) -> tuple[Anything, ...]:
    """The body for each tensor of the first sequence, with those beside it in the others and with tensors as they are."""
    body, first = node.graph("body"), node.sequence(0)
    for other in node.inputs[1:]:
        if isinstance(other, Sequence) and len(other.items) != len(first.items):
            raise ModelError("sequences of SequenceMap differ in length", found=[len(other.items), len(first.items)])
    turns = [
        inlined(node, body, [x.items[i] if isinstance(x, Sequence) else x for x in node.inputs], str(i))
        for i in range(len(first.items))
    ]
    results = [[value for value in column if isinstance(value, Value)] for column in zip(*turns, strict=True)]
    return tuple(Sequence(tuple(column)) for column in results or [[] for _ in body.output])


def stacked(builder: GraphBuilder, parts: list[Value], axis: int, name: str) -> Value:
    """Slices along a new axis."""
    if not parts:
        raise ModelError("a loop that never turns collects nothing", found=name)
    rank = len(parts[0].shape) + 1
    place = axis % rank
    raised = [builder.emit("reshape", [p], suffix="slice", shape=(*p.shape[:place], 1, *p.shape[place:])) for p in parts]
    return raised[0] if len(raised) == 1 else builder.emit("concat", raised, axis=place)


IMPORTERS = {"If": if_, "SequenceMap": sequence_map, "Loop": loop}
