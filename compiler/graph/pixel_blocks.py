"""Channels that reshapes and a transpose make blocks of pixels are `depth_to_space`.

    before   reshape [N, b·b·C, H, W] → [N, b, b, C, H, W], transpose (0, 3, 4, 1, 5, 2), reshape → [N, C, b·H, b·W]
    after    depth_to_space

PyTorch's pixel shuffle has the pixels of a block innermost, [N, C, b, b, H, W]: then the convolution in front computes its
channels in the other order.
"""

from __future__ import annotations

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.moves import Move, composed, move
from vdla.compiler.graph.rewrite import Change, Context, named_apart, rewrite
from vdla.compiler.graph.sink_moves import chain, move_of, of_channels
from vdla.compiler.graph.weights import read_weights, write_weights
from vdla.compiler.operators.registry import OPERATORS


def pixel_blocks(graph: Graph) -> Graph:
    """Apply the rule below."""
    return named_apart(rewrite(graph, {"reshape": [as_depth_to_space]}))


def as_depth_to_space(context: Context, node: Node) -> Change:
    """See above."""
    root, whole, _ = chain(context, node.inputs[0])
    m = composed(whole, move_of(context, node)) if context.type_of(node.outputs[0]).elements else None
    if m is None or m.is_reshape or len(m.source) != 4 or len(m.result) != 4:
        return None
    blocks = (m.result[2] // m.source[2], m.result[3] // m.source[3])
    made: list[Node] = []
    if m == blocks_outermost(m, blocks, False):
        found = root
    elif m == blocks_outermost(m, blocks, True):
        reordered = reordered_layer(context, root, blocks[0] * blocks[1])
        if reordered is None:
            return None
        found, made = reordered
    else:
        return None
    y = node.outputs[0]
    return [*made, context.make("depth_to_space", [found], y, {"blocks": blocks}, name=node.name, source=node.source)]


def blocks_outermost(m: Move, blocks: tuple[int, int], innermost: bool) -> Move | None:
    """What depth_to_space does to m's source, or (innermost) the same with a block's pixels innermost in the channels."""
    (n, channels, height, width), (rows, columns) = m.source, blocks
    if not rows or not columns or channels % (rows * columns):
        return None
    depth = channels // (rows * columns)
    if innermost:
        return move(m.source, (n, depth, rows, columns, height, width), (0, 1, 4, 2, 5, 3), m.result)
    return move(m.source, (n, rows, columns, depth, height, width), (0, 3, 4, 1, 5, 2), m.result)


def reordered_layer(context: Context, tensor: str, block: int) -> tuple[str, list[Node]] | None:
    """The tensor with channels [C, block] as [block, C], where a convolution computed it that may do so."""
    between: list[Node] = []
    while (node := context.producer.get(tensor)) is not None and context.only_use(tensor) and node.op != "conv2d":
        varying = [name for name in node.inputs if context.constant(name) is None]
        single = all(context.type_of(name).elements == 1 for name in node.inputs if name not in varying)
        if not OPERATORS[node.op].is_elementwise or len(varying) != 1 or not single or of_channels(context.attributes(node)):
            return None
        between.append(node)
        tensor = varying[0]
    if node is None or node.op != "conv2d" or not context.only_use(tensor) or context.attributes(node)["groups"] != 1:
        return None
    weights = read_weights(context, node.inputs[1])
    bias = context.constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else np.zeros(0)
    if weights is None or bias is None or (weights.per_channel and weights.axis):
        return None
    order = np.arange(len(weights.values)).reshape(-1, block).T.ravel()
    w, made = write_weights(
        context, weights.rearranged(weights.values[order], 0, lambda own: own[order]), f"{node.inputs[1]}.blocks", node.source
    )
    inputs = [node.inputs[0], w, *([context.add_constant(f"{node.inputs[2]}.blocks", bias[order])] if bias.size else [])]
    for old, operands in [(node, inputs), *((old, None) for old in reversed(between))]:
        output = context.fresh(f"{old.outputs[0]}.blocks")
        taken = operands or [tensor if context.constant(name) is None else name for name in old.inputs]
        made.append(context.make(old.op, taken, output, old.attributes, name=old.name, source=old.source))
        tensor = output
    return tensor, made
