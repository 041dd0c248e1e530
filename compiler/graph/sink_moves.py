"""Reshapes and transposes sink through elementwise operators, reductions and concatenations, until they meet and cancel.

    before   conv2d → reshape → transpose → relu → add(constant) → transpose → reshape → conv2d
    after    conv2d → relu → add(constant) → conv2d

A chain of them is one `Move`, written out in the fewest nodes, and made once where several nodes want the same one. An operand
that is not moved is given the inverse, so that a residual is added where the layer has its channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.moves import Move, composed, moved_axis, reshaping, spread, steps, transposing, widened
from vdla.compiler.graph.rewrite import Change, Context, Rule, named_apart, rewrite
from vdla.compiler.operators.registry import OPERATORS

MOVES = ("reshape", "transpose")
LAYERS = {"conv2d", "depth_to_space", "max_pool2d", "avg_pool2d", "global_avg_pool"}
"""Whose channels lie along axis 1, where they should stay."""
CLIPS = ("relu", "clip")
FAR = 64
"""How many operators back a layer is looked for."""


def sink_moves(graph: Graph) -> Graph:
    """Apply the rules below until none changes a node."""
    made = Made()
    elementwise: list[Rule] = [through_elementwise, through_blocks]
    rules: dict[str, Sequence[Rule]] = {op: elementwise for op, record in OPERATORS.items() if record.is_elementwise}
    rules |= dict.fromkeys(MOVES, [shortest, partial(shared, made)])
    rules |= {"concat": [through_concat], "pad": [through_pad], "slice": [through_slice]}
    rules |= dict.fromkeys(("reduce_mean", "reduce_sum", "reduce_max"), [through_reduction])
    return named_apart(rewrite(rewrite(graph, rules), dict.fromkeys((*CLIPS, "quantize"), [of_each_layer])))


@dataclass
class Made:
    """The moves there are already, by operator, input and attributes."""

    tensors: dict[tuple[object, ...], str] = field(default_factory=dict)


def shared(made: Made, context: Context, node: Node) -> Change:
    """reshape(x) twice to one shape → once; likewise transpose"""
    key = (node.op, node.inputs[0], *(tuple(value) for value in context.attributes(node).values()))
    return made.tensors[key] if made.tensors.setdefault(key, node.outputs[0]) != node.outputs[0] else None


def move_of(context: Context, node: Node) -> Move:
    """What one reshape or transpose does."""
    source, a = context.shape(node.inputs[0]), context.attributes(node)
    return reshaping(source, tuple(a["shape"])) if node.op == "reshape" else transposing(source, a["permutation"])


def chain(context: Context, tensor: str) -> tuple[str, Move, int]:
    """The tensor that `tensor` is a rearrangement of, which one, and by how many nodes."""
    shape = context.shape(tensor)
    whole, count = reshaping(shape, shape), 0
    while (node := context.source_of(tensor, *MOVES)) is not None and context.type_of(tensor).elements:
        longer = composed(move_of(context, node), whole)
        if longer is None:
            break
        tensor, whole, count = node.inputs[0], longer, count + 1
    return tensor, whole, count


def shortest(context: Context, node: Node) -> Change:
    """transpose(reshape(transpose(x))) → x, or what fewer nodes do the same to x"""
    root, whole, count = chain(context, node.inputs[0])
    own = move_of(context, node)
    longer = composed(whole, own) if context.type_of(node.outputs[0]).elements else None
    if longer is None:
        return None
    whole, count = longer, count + 1
    written = steps(whole)
    if not written and node.outputs[0] not in context.outputs:
        return root
    if not written or len(written) >= count:
        return None
    return write(context, root, whole, node.outputs[0], node)


def write(context: Context, root: str, m: Move, output: str, of: Node) -> list[Node]:
    """Nodes that compute `output` by moving `root`: one at least."""
    made: list[Node] = []
    written = steps(m) or [("reshape", {"shape": m.result})]
    for index, (op, attributes) in enumerate(written):
        last = index == len(written) - 1
        tensor = output if last else context.fresh(f"{output}.moved")
        made.append(context.make(op, [root], tensor, attributes, name=f"{tensor}.{op}", source=of.source))
        root = tensor
    return made


def moved(context: Context, tensor: str, m: Move, of: Node) -> tuple[str, list[Node]]:
    """The tensor rearranged, and the nodes that do it, if it takes any; of a constant another constant."""
    constant = context.constant(tensor)
    if m.is_identity:
        return tensor, []
    if constant is not None:
        return context.add_constant(f"{tensor}.moved", m.apply(constant)), []
    output = context.fresh(f"{tensor}.moved")
    return output, write(context, tensor, m, output, of)


def from_layer(context: Context, tensor: str) -> bool:
    """Whether a layer computed it, elementwise operators behind that aside."""
    for _ in range(FAR):
        node = context.producer.get(tensor)
        if node is None:
            return False
        if node.op in LAYERS:
            return True
        if not OPERATORS[node.op].is_elementwise:
            return False
        varying = [name for name in node.inputs if name and context.constant(name) is None]
        if not varying:
            return False
        tensor = varying[0]
    return False


def through_elementwise(context: Context, node: Node) -> Change:
    """add(move(x), move(y)) → move(add(x, y)); an operand that is not moved, of a tensor that a layer computed, is moved back

    relu(move(x)) → move(relu(x));  mul(move(x), constant) → move(mul(x, constant moved back))
    """
    shape = context.shape(node.outputs[0])
    if any(declared.channels for declared in OPERATORS[node.op].inputs) or not context.type_of(node.outputs[0]).elements:
        return None
    names = list(dict.fromkeys(name for name in node.inputs if name))
    chains = {name: chain(context, name) for name in names if context.constant(name) is None}
    candidates = [(root, m) for root, m, _ in chains.values() if not m.is_identity and m.result == shape]
    for root, m in sorted(candidates, key=lambda found: not from_layer(context, found[0])):
        foreign = [name for name, (_, other, _) in chains.items() if other != m]
        if all(may_move_back(context, root, name, chains[name], shape) for name in foreign) and (
            change := sunk(context, node, names, chains, m)
        ):
            return change
    return None


def may_move_back(context: Context, root: str, name: str, found: tuple[str, Move, int], shape: tuple[int, ...]) -> bool:
    """Whether another operand should follow a moved one, `root`: not where that only turns the tables."""
    return from_layer(context, root) and (context.shape(name) != shape or not from_layer(context, found[0]))


def sunk(
    context: Context, node: Node, names: list[str], chains: dict[str, tuple[str, Move, int]], m: Move
) -> list[Node] | None:
    """The operator on what m moves, and m behind it."""
    made: list[Node] = []
    operands = {"": ""}
    for name in names:
        if name in chains and chains[name][1] == m:
            operands[name] = chains[name][0]
            continue
        back = spread(m.inverse, context.shape(name))
        if back is None and (constant := context.constant(name)) is not None:
            full = np.broadcast_to(constant, m.result)
            operands[name] = context.add_constant(f"{name}.spread", m.inverse.apply(full))
            continue
        if back is None:
            return None
        operands[name], nodes = moved(context, name, back, node)
        made += nodes
    attributes = context.attributes(node)
    if of_channels(attributes):
        axis = moved_axis(m.inverse, attributes["axis"])
        if axis is None:
            return None
        attributes["axis"] = axis
    y = node.outputs[0]
    inner = context.fresh(f"{y}.image")
    made.append(
        context.make(node.op, [operands[name] for name in node.inputs], inner, attributes, name=node.name, source=node.source)
    )
    return [*made, *write(context, inner, m, y, node)]


def of_channels(attributes: Mapping[str, Any]) -> bool:
    """Whether a dequantize has a scale or zero point for each index of an axis."""
    return any(isinstance(attributes.get(name), tuple | list) for name in ("scale", "zero_point"))


def through_blocks(context: Context, node: Node) -> Change:
    """relu(depth_to_space(x)) → depth_to_space(relu(x)), whatever is elementwise; constants of channels repeat"""
    if any(declared.channels for declared in OPERATORS[node.op].inputs):
        return None
    names = dict.fromkeys(name for name in node.inputs if name and context.constant(name) is None)
    inner = [context.source_of(name, "depth_to_space") for name in names]
    blocks = {tuple(found.attributes["blocks"]) if found else () for found in inner}
    a, y, shape = context.attributes(node), node.outputs[0], context.shape(node.outputs[0])
    if len(blocks) != 1 or () in blocks or of_channels(a):
        return None
    if any(context.shape(name) != shape for name in names):
        return None
    operands = {name: found.inputs[0] for name, found in zip(names, inner, strict=True) if found} | {"": ""}
    ((rows, columns),) = blocks
    for name in set(node.inputs) - set(operands):
        constant = context.constant(name)
        assert constant is not None
        aligned = constant.reshape((1,) * (4 - constant.ndim) + constant.shape)
        if aligned.shape not in ((1, 1, 1, 1), (1, shape[1], 1, 1)):
            return None
        repeated = aligned if aligned.size == 1 else np.tile(aligned, (1, rows * columns, 1, 1))
        operands[name] = context.add_constant(f"{name}.blocks", repeated)
    deep = context.fresh(f"{y}.blocks")
    first = context.make(node.op, [operands[name] for name in node.inputs], deep, a, name=node.name, source=node.source)
    spread_out = {"blocks": (rows, columns)}
    return [first, context.make("depth_to_space", [deep], y, spread_out, name=f"{y}.depth_to_space", source=node.source)]


def of_each_layer(context: Context, node: Node) -> Change:
    """relu(concat(conv2d(x), conv2d(y))) → concat(relu(conv2d(x)), relu(conv2d(y))), where each layer then ends in it; likewise
    clip and quantize
    """
    inner = context.source_of(node.inputs[0], "concat")
    if inner is None or not context.only_use(node.inputs[0]) or of_channels(context.attributes(node)):
        return None
    if not all(context.source_of(name, "conv2d", *CLIPS) and context.only_use(name) for name in inner.inputs):
        return None
    made = []
    for index, name in enumerate(inner.inputs):
        part = context.fresh(f"{node.outputs[0]}.{index}")
        made.append(context.make(node.op, [name], part, node.attributes, name=f"{node.name}.{index}", source=node.source))
    parts = [part.outputs[0] for part in made]
    return [*made, context.make("concat", parts, node.outputs[0], inner.attributes, name=inner.name, source=inner.source)]


def through_concat(context: Context, node: Node) -> Change:
    """concat(move(x), move(y)) → move(concat(x, y)) along the axis that becomes it"""
    axis = context.attributes(node)["axis"] % len(context.shape(node.outputs[0]))
    chains = {name: chain(context, name) for name in node.inputs if context.constant(name) is None}
    for root, m, _ in chains.values():
        if m.is_identity or m.result[axis] == 1 or not from_layer(context, root):
            continue
        whole = widened(m, axis, context.shape(node.outputs[0])[axis])
        parts = [widened(m, axis, context.shape(name)[axis]) for name in node.inputs]
        if whole is None or not all(
            part is not None and (name not in chains or chains[name][1] == part)
            for name, part in zip(node.inputs, parts, strict=True)
        ):
            continue
        made: list[Node] = []
        operands = []
        for name, part in zip(node.inputs, parts, strict=True):
            assert part is not None
            operand, nodes = (chains[name][0], []) if name in chains else moved(context, name, part.inverse, node)
            operands.append(operand)
            made += nodes
        y = node.outputs[0]
        inner = context.fresh(f"{y}.image")
        source_axis = moved_axis(m.inverse, axis)
        made.append(context.make("concat", operands, inner, {"axis": source_axis}, name=node.name, source=node.source))
        return [*made, *write(context, inner, whole, y, node)]
    return None


def through_pad(context: Context, node: Node) -> Change:
    """pad(move(x)) → move(pad(x)), of axes that stay axes"""
    a = context.attributes(node)
    changes = {axis: (b, e) for axis, (b, e) in enumerate(zip(a["before"], a["after"], strict=True)) if b or e}
    found = along_axes(context, node, list(changes))
    if found is None:
        return None
    root, m, axes = found
    before, after = [0] * len(m.source), [0] * len(m.source)
    for axis, source_axis in axes.items():
        before[source_axis], after[source_axis] = changes[axis]
    return resized(context, node, root, m, {"before": tuple(before), "after": tuple(after), "value": a["value"]})


def through_slice(context: Context, node: Node) -> Change:
    """slice(move(x)) → move(slice(x)), of axes that stay axes"""
    a, shape = context.attributes(node), context.shape(node.inputs[0])
    whole = [(0, 1, size) for size in shape]
    given = list(zip(a["starts"], a["steps"], a["sizes"], strict=True))
    found = along_axes(context, node, [axis for axis in range(len(shape)) if given[axis] != whole[axis]])
    if found is None:
        return None
    root, m, axes = found
    taken = [(0, 1, size) for size in m.source]
    for axis, source_axis in axes.items():
        taken[source_axis] = given[axis]
    starts, steps_, sizes = zip(*taken, strict=True)
    return resized(context, node, root, m, {"starts": starts, "steps": steps_, "sizes": sizes})


def along_axes(context: Context, node: Node, changed: list[int]) -> tuple[str, Move, dict[int, int]] | None:
    """What the node's input is a rearrangement of, which one, and the axes there that become those that it changes."""
    root, m, _ = chain(context, node.inputs[0])
    if m.is_identity or not context.type_of(node.outputs[0]).elements:
        return None
    axes = {axis: moved_axis(m.inverse, axis) for axis in changed}
    known = {axis: source for axis, source in axes.items() if source is not None}
    return (root, m, known) if len(known) == len(axes) else None


def resized(context: Context, node: Node, root: str, m: Move, attributes: dict[str, object]) -> Change:
    """The operator on `root`, which changes the sizes of axes, and m behind it."""
    y, shape = node.outputs[0], context.shape(node.outputs[0])
    whole: Move | None = m
    for axis, size in enumerate(shape):
        if whole is not None and size != m.result[axis]:
            whole = widened(whole, axis, size)
    if whole is None:
        return None
    inner = context.fresh(f"{y}.image")
    first = context.make(node.op, [root], inner, attributes, name=node.name, source=node.source)
    return [first, *write(context, inner, whole, y, node)]


def through_reduction(context: Context, node: Node) -> Change:
    """reduce_mean(move(x)) → move(reduce_mean(x)); over an image's lines also along an axis of one element"""
    root, m, _ = chain(context, node.inputs[0])
    a, y = context.attributes(node), node.outputs[0]
    if m.is_identity or not context.type_of(node.inputs[0]).elements:
        return None
    over = {axis % len(m.result) for axis in a["axes"]}
    back = spread(m.inverse, tuple(size if axis in over else 1 for axis, size in enumerate(m.result)))
    if back is None:
        return None
    axes = {axis for axis, size in enumerate(back.result) if size != 1}
    if not axes:
        return None
    if len(m.source) == 4 and axes <= {2, 3}:
        axes |= {axis for axis in (2, 3) if m.source[axis] == 1}
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(m.source))
    forth = spread(m, kept)
    whole = composed(forth, reshaping(forth.result, context.shape(y))) if forth is not None else None
    if whole is None:
        return None
    inner = context.fresh(f"{y}.image")
    attributes = {"axes": tuple(sorted(axes)), "keepdims": True}
    first = context.make(node.op, [root], inner, attributes, name=node.name, source=node.source)
    return [first, *write(context, inner, whole, y, node)]
