"""Scan, and Loop with a number of turns that is known, as real loops: the body becomes the graph of one operator, `scan`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import numpy_helper

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import ANY, OnnxNode
from vdla.compiler.frontend.slicing import emit_slice
from vdla.compiler.frontend.values import Value
from vdla.compiler.graph.graph import TensorType
from vdla.errors import ModelError


def scan(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """States, then sequences along axes and in directions of their own; each result likewise."""
    if node.opset < 9:
        return scan_8(builder, node)
    body, count = node.graph("body"), sequence_count(node, len(node.inputs))
    states = [node.input(i, ANY) for i in range(len(node.inputs) - count)]
    sequences = [node.input(i, ANY) for i in range(len(states), len(node.inputs))]
    results = len(body.output) - len(states)
    axes = per_sequence(node, "scan_input_axes", count)
    backwards = per_sequence(node, "scan_input_directions", count)
    turned = [
        reversed_first(builder, first_axis(builder, x, node.axis(axis, len(x.shape))), back)
        for x, axis, back in zip(sequences, axes, backwards, strict=True)
    ]
    found = emit_scan(builder, node, body, states, turned)
    finals, stacked = found[: len(states)], found[len(states) :]
    axes, backwards = per_sequence(node, "scan_output_axes", results), per_sequence(node, "scan_output_directions", results)
    placed = [
        from_first_axis(builder, reversed_first(builder, y, back), node.axis(axis, len(y.shape)))
        for y, axis, back in zip(stacked, axes, backwards, strict=True)
    ]
    return (*finals, *placed)


def scan_8(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """As opset 8 had it: everything has a batch axis in front, and each sample is a scan of its own."""
    if node.has(0):
        raise ModelError("sequence_lens of Scan is not supported", hint="export with opset 9 or later")
    body, count = node.graph("body"), sequence_count(node, len(node.inputs) - 1)
    values = [node.input(i, ANY) for i in range(1, len(node.inputs))]
    states = len(values) - count
    backwards = [0] * states + list(per_sequence(node, "directions", count))
    batch = values[0].shape[0] if values[0].shape else 0
    if any(len(v.shape) < 1 or v.shape[0] != batch for v in values) or not batch:
        raise ModelError("Scan of opset 8 has a batch axis", found=[v.shape for v in values], expected="one size in front")
    rows = []
    for sample in range(batch):
        row = [sample_of(builder, value, sample) for value in values]
        turned = [reversed_first(builder, value, back) for value, back in zip(row, backwards, strict=True)]
        rows.append(emit_scan(builder, node, body, turned[:states], turned[states:], suffix=f"sample{sample}"))
    return tuple(joined(builder, parts) for parts in zip(*rows, strict=True))


def sequence_count(node: OnnxNode, inputs: int) -> int:
    count = node.int_("num_scan_inputs", 0)
    if not 1 <= count <= inputs:
        raise ModelError("num_scan_inputs of Scan", found=count, expected=f"1 to {inputs}")
    return count


def per_sequence(node: OnnxNode, name: str, count: int) -> tuple[int, ...]:
    """An attribute of one number for each sequence, zeros by default."""
    found = node.ints(name) or (0,) * count
    if len(found) != count:
        raise ModelError(f"attribute {name} of {node.op}", found=found, expected=f"{count} numbers")
    return found


def emit_scan(
    builder: GraphBuilder,
    node: OnnxNode,
    body: onnx.GraphProto,
    states: Sequence[Value],
    sequences: Sequence[Value],
    suffix: str = "",
) -> tuple[Value, ...]:
    """The operator, of states and of sequences along their first axes."""
    lengths = {x.shape[0] for x in sequences}
    if len(lengths) != 1 or not min(lengths):
        raise ModelError("sequences of Scan differ in length, or are empty", found=[x.shape for x in sequences])
    assert node.reader is not None
    given = [*(typed(s) for s in states), *(TensorType(t.shape[1:], t.dtype) for t in map(typed, sequences))]
    graph, others = node.reader.body(body, given, f"{node.name}/")
    attributes = {"body": graph, "count": lengths.pop(), "states": len(states), "sequences": len(sequences)}
    return builder.emit_all("scan", [*states, *sequences, *others], suffix=suffix, **attributes)


def typed(value: Value) -> TensorType:
    """The type by which the model knows it."""
    return TensorType(value.shape, value.dtype)


def first_axis(builder: GraphBuilder, x: Value, axis: int) -> Value:
    """x with `axis` in front."""
    if axis == 0:
        return x
    order = (axis, *(d for d in range(len(x.shape)) if d != axis))
    return builder.emit("transpose", [x], suffix="first", permutation=order)


def from_first_axis(builder: GraphBuilder, x: Value, axis: int) -> Value:
    """x with its first axis at `axis`."""
    if axis == 0:
        return x
    order = (*range(1, axis + 1), 0, *range(axis + 1, len(x.shape)))
    return builder.emit("transpose", [x], suffix="placed", permutation=order)


def reversed_first(builder: GraphBuilder, x: Value, backwards: int) -> Value:
    if not backwards:
        return x
    region = [slice(x.shape[0] - 1, -1, -1), *(slice(0, n, 1) for n in x.shape[1:])]
    return emit_slice(builder, x, region, suffix="reversed")


def sample_of(builder: GraphBuilder, x: Value, index: int) -> Value:
    region = [slice(index, index + 1, 1), *(slice(0, n, 1) for n in x.shape[1:])]
    return builder.emit("reshape", [emit_slice(builder, x, region, suffix="sample")], suffix="sample", shape=x.shape[1:])


def joined(builder: GraphBuilder, parts: Sequence[Value]) -> Value:
    wide = [builder.emit("reshape", [p], suffix="batch", shape=(1, *p.shape)) for p in parts]
    return wide[0] if len(wide) == 1 else builder.emit("concat", wide, suffix="batch", axis=0)


WRITTEN_OUT = 4
"""Turns of a loop that is shorter written out: constants fold, operators fuse across turns."""
MOST_TURNS = 1 << 24


def counted_loop(builder: GraphBuilder, node: OnnxNode, count: int, carried: Sequence[Value]) -> tuple[Value, ...] | None:
    """A Loop of `count` turns, none of which ends it, as a scan; None where its body cannot be one graph for every turn.

    That is where it ends on a condition of its own, where what it carries changes its type, or where it needs the number of the
    turn when compiling; and where it is too short to be worth it.
    """
    assert node.reader is not None
    if not WRITTEN_OUT < count <= MOST_TURNS:
        return None
    given = [TensorType((), "int64"), *map(typed, carried)]
    try:
        graph, others = node.reader.body(going_on(node.graph("body")), given, f"{node.name}/")
    except ModelError:
        return None  # written out, it may be right all the same; if not, that will say why
    number, *states = graph.inputs[: len(given)]
    rest = graph.inputs[len(given) :]
    condition = dict(zip(rest, others, strict=True)).get(graph.outputs[0])
    if condition is None or condition.constant is None or not condition.constant.all():
        return None
    if [graph.type_of(name) for name in graph.outputs[1 : 1 + len(carried)]] != given[1:]:
        return None
    turn = replace(graph, inputs=(*states, number, *rest), outputs=graph.outputs[1:])
    numbers = builder.constant(np.arange(count, dtype=np.int64))
    attributes = {"body": turn, "count": count, "states": len(carried), "sequences": 1}
    return builder.emit_all("scan", [*carried, numbers, *others], **attributes)


def going_on(body: onnx.GraphProto) -> onnx.GraphProto:
    """A Loop's body where its condition, the second input, is true: so it is in the first turn, and then in every turn if the
    body says so again."""
    turn = onnx.GraphProto()
    turn.CopyFrom(body)
    turn.initializer.append(numpy_helper.from_array(np.array(True), turn.input.pop(1).name))
    return turn


IMPORTERS = {"Scan": scan}
