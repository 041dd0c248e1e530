"""Products of two activations as products of images, which is how the accelerator multiplies: see `qmatmul2d`.

    before   y = qmatmul(a[…, M, K], b[…, K, N])
    after    image of b[·, K, N, 1], as weights a turned to [·, K, M, 1];  y = their product [·, M, N, 1], read as […, M, N]
    or       image of a turned to [·, K, M, 1], as weights b [·, K, N, 1];  y = their product [·, N, M, 1], turned back

The second where that, or what follows, turns less. Channels and weights' positions that leave part of a tile over are padded
with zeros. Rearrangements that meet become one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod

from vdla.arithmetic import round_up
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.moves import Move, composed, move
from vdla.compiler.graph.rewrite import Change, Context, named_apart, rewrite
from vdla.compiler.graph.sink_moves import MOVES, move_of, moved, shortest, write

Accepts = Callable[[Node, Graph], bool]


def products_as_images(graph: Graph, block: int, accepts: Accepts) -> Graph:
    """Rewrite every qmatmul whose product of images the device `accepts`. block: channels, and positions, of a tile."""
    readers = graph.consumers()
    rule = partial(product_of_images, block, readers, lambda node, context: accepts(node, _around(node, context)))
    rewritten = rewrite(graph, {"qmatmul": [rule]})
    if rewritten.nodes == graph.nodes:
        return graph
    return named_apart(rewrite(rewritten, dict.fromkeys(MOVES, [shortest])))


def _around(node: Node, context: Context) -> Graph:
    """What there is to know of one node."""
    tensors = {name: context.type_of(name) for name in (*node.inputs, *node.outputs)}
    constants = {name: context.constants[name] for name in node.inputs if name in context.constants}
    return Graph("product", (), node.outputs, (node,), tensors, constants)


def product_of_images(
    block: int, readers: dict[str, list[Node]], accepts: Callable[[Node, Context], bool], context: Context, node: Node
) -> Change:
    a, b, *parameters = node.inputs
    (*heads, m, k), (*others, _, n) = context.shape(a), context.shape(b)
    if heads != others or min(*heads, m, k, n) < 1 or a in context.constants or b in context.constants:
        return None
    count, y = prod(heads), node.outputs[0]
    rows_to_image = move((*heads, m, k), (count, m, k), (0, 2, 1), (count, k, m, 1))
    columns_to_image = move((*heads, k, n), (count, k, n), (0, 1, 2), (count, k, n, 1))
    turned_back = move((count, n, m, 1), (count, n, m), (0, 2, 1), (*heads, m, n))
    read_back = move((count, m, n, 1), (count, m, n), (0, 1, 2), (*heads, m, n))
    attributes = context.attributes(node)
    zero_points = {key: attributes[key] for key in ("a_zero_point", "b_zero_point")}
    if _turns(context, readers, y, turned_back) < _turns(context, readers, y, read_back):
        operands, back, positions = ((a, rows_to_image), (b, columns_to_image)), turned_back, n
    else:
        operands, back, positions = ((b, columns_to_image), (a, rows_to_image)), read_back, m
        zero_points = {"a_zero_point": attributes["b_zero_point"], "b_zero_point": attributes["a_zero_point"]}
    made: list[Node] = []
    images = []
    for place, (name, to_image) in enumerate(operands):
        image, nodes = moved(context, name, to_image, node)
        made += nodes
        extra = (0, round_up(k, block) - k, round_up(positions, block) - positions if place else 0, 0)
        if any(extra):
            padded = context.fresh(f"{image}.whole")
            attributes_of_pad = {"before": (0,) * 4, "after": extra}
            made.append(context.make("pad", [image], padded, attributes_of_pad, name=f"{padded}.pad", source=node.source))
            image = padded
        images.append(image)
    result = context.fresh(f"{y}.image")
    bounds = {"low": attributes["low"], "high": attributes["high"]}
    product = context.make(
        "qmatmul2d", [*images, *parameters], result, {**bounds, **zero_points}, name=node.name, source=node.source
    )
    if not accepts(product, context):
        return None
    made.append(product)
    if context.shape(result) != back.source:
        cut = context.fresh(f"{result}.cut")
        ranges = {"starts": (0,) * 4, "steps": (1,) * 4, "sizes": back.source}
        made.append(context.make("slice", [result], cut, ranges, name=f"{cut}.slice", source=node.source))
        result = cut
    return [*made, *write(context, result, back, y, node)]


def _turns(context: Context, readers: dict[str, list[Node]], tensor: str, back: Move) -> bool:
    """Whether what reads the product would have to turn it, `back` and a move behind that taken together."""
    following = readers.get(tensor, ())
    for _ in range(2):  # a transpose and a reshape at most, of one reader
        if len(following) != 1 or following[0].op not in MOVES:
            break
        (reader,) = following
        if (longer := composed(back, move_of(context, reader))) is None:
            break
        back, following = longer, readers.get(reader.outputs[0], ())
    return not back.is_reshape
