"""Matrix products by constant weights become 1×1 convolutions: the rows are an image's positions, the columns its channels.

    before   y = dense(x[N, L, K], w[O, K], b)
    after    i = image(x)[N, K, L, 1];  j = conv2d(i, w[O, K, 1, 1], b);  y = j read back as [N, L, O]

The rearrangements are reshapes and transposes, which `sink_moves` has cancel between layers. A dense layer of one row for
each image, x[N, K], stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.moves import Move, move
from vdla.compiler.graph.rewrite import Change, Context, Rule, named_apart, rewrite
from vdla.compiler.graph.sink_moves import moved, write
from vdla.compiler.graph.weights import Weights, read_weights, write_weights


def images(graph: Graph) -> Graph:
    """Apply the rules below."""
    batches = {graph.tensors[name].shape[0] for name in graph.inputs if graph.tensors[name].shape}

    def rows(context: Context, node: Node) -> Change:
        """A matrix whose rows are no images of the model's: of one image, of which they are the positions."""
        shape = context.shape(node.inputs[0])
        return None if len(shape) == 2 and (shape[0] == 1 or shape[0] in batches) else dense_as_conv2d(context, node)

    rules: dict[str, Sequence[Rule]] = {
        "dense": [rows],
        "matmul": [matmul_by_weights, weights_by_matmul],
        "avg_pool": [average_of_images],
    }
    return named_apart(rewrite(graph, rules))


def image_of_rows(shape: tuple[int, ...]) -> Move | None:
    """x[…, L, K] as an image of K channels: [N, K, L, 1] of three axes, [N, K, H, W] of four, else of all rows."""
    *rows, depth = shape
    if min(shape) < 1 or not rows:
        return None
    match rows:
        case (n, length):
            return move(shape, shape, (0, 2, 1), (n, depth, length, 1))
        case (n, height, width):
            return move(shape, shape, (0, 3, 1, 2), (n, depth, height, width))
    count = 1
    for size in rows:
        count *= size
    return move(shape, (count, depth), (1, 0), (1, depth, count, 1))


def dense_as_conv2d(context: Context, node: Node) -> Change:
    """dense(x[…, L, K], w[O, K], b) → conv2d of the image"""
    return by_conv2d(context, node, read_weights(context, node.inputs[1]), list(node.inputs[2:]))


def matmul_by_weights(context: Context, node: Node) -> Change:
    """matmul(x[…, L, K], w[K, O]) → conv2d of the image, also by levels"""
    weights = read_weights(context, node.inputs[1])
    if weights is None or weights.values.ndim != 2 or len(context.shape(node.inputs[0])) == 2:
        return None
    return by_conv2d(context, node, weights.rearranged(weights.values.T, 1 - weights.axis), [])


def by_conv2d(context: Context, node: Node, weights: Weights | None, bias: list[str]) -> Change:
    """weights: [O, K]."""
    x = node.inputs[0]
    image = image_of_rows(context.shape(x))
    if weights is None or image is None or context.type_of(x).dtype != "float32":
        return None
    if weights.per_channel and weights.axis != 0:
        return None
    back = image_of_rows(context.shape(node.outputs[0]))
    assert back is not None
    return convolved(context, node, x, image, weights.rearranged(weights.values[:, :, None, None], 0), bias, back.inverse)


def convolved(context: Context, node: Node, x: str, image: Move, weights: Weights, bias: list[str], back: Move) -> list[Node]:
    """back(conv2d(image(x), weights, bias)) as the node's output."""
    y = node.outputs[0]
    lifted, made = moved(context, x, image, node)
    w, nodes = write_weights(context, weights, f"{node.inputs[1]}.kernel", node.source)
    layer = context.fresh(f"{y}.image")
    conv2d = context.make("conv2d", [lifted, w, *bias], layer, {}, name=node.name, source=node.source)
    return [*made, *nodes, conv2d, *write(context, layer, back, y, node)]


def weights_by_matmul(context: Context, node: Node) -> Change:
    """matmul(w[M, K], x[…, K, L]) → conv2d of x, whose channels lie where they should"""
    weights, shape = read_weights(context, node.inputs[0]), context.shape(node.inputs[1])
    if weights is None or weights.values.ndim != 2 or len(shape) not in (2, 3) or context.constant(node.inputs[1]) is not None:
        return None
    if context.type_of(node.inputs[1]).dtype != "float32" or (weights.per_channel and weights.axis != 0) or min(shape) < 1:
        return None
    n, depth, length = (1, *shape)[-3:]
    image, out = (n, depth, length, 1), (n, weights.values.shape[0], length, 1)
    kernel = weights.rearranged(weights.values[:, :, None, None], 0)
    whole = move(shape, shape, tuple(range(len(shape))), image)
    result = context.shape(node.outputs[0])
    back = move(out, out, (0, 1, 2, 3), result)
    return convolved(context, node, node.inputs[1], whole, kernel, [], back)


def average_of_images(context: Context, node: Node) -> Change:
    """avg_pool(x[N, C, H, W]), without dilation, that counts all of its padding or none → avg_pool2d"""
    a, shape = context.attributes(node), context.shape(node.inputs[0])
    counted, pads = tuple(a["counted"]), tuple(a["pads"])
    if len(shape) != 4 or set(a["dilations"]) != {1} or context.type_of(node.inputs[0]).dtype != "float32":
        return None
    if counted not in (pads, (0, 0, 0, 0)):
        return None
    attributes = {
        "kernel": a["kernel"],
        "strides": a["strides"],
        "pads": pads,
        "count_include_pad": counted == pads and any(pads),
    }
    if counted != pads and any(pad >= size for pad, size in zip(pads, (*a["kernel"], *a["kernel"]), strict=True)):
        return None
    return [context.make("avg_pool2d", node.inputs, node.outputs[0], attributes, name=node.name, source=node.source)]
