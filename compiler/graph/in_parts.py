"""Layers that the accelerator runs in parts: max pools whose window is too large for it, groups that leave part of a tile over.

qmax_pool2d kh×kw            qmax_pool2d kh×1 ─ qmax_pool2d 1×kw
qmax_pool2d k×1              qmax_pool2d a×1, stride 1 ─ qmax_pool2d b×1, a + b - 1 = k
qconv2d of 403 groups        qconv2d of 400, which fill tiles ┬ concat
                             qconv2d of 3                     ┘
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import gcd, isqrt, lcm

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, named_apart, rewrite

Accepts = Callable[[Node, Graph], bool]
Direction = tuple[int, int, tuple[int, int]]
Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]
LONG_WINDOW = 32
"""Elements of a window in one direction, each a stage of its kernel, beyond which two shorter ones are better."""


def in_parts(graph: Graph, block: int, accepts: Accepts) -> Graph:
    """Rewrite what the device does not accept whole, and groups where that saves tiles. block: channels of a tile."""
    rules = {"qmax_pool2d": [partial(smaller_windows, accepts)], "qconv2d": [partial(whole_groups, block)]}
    return named_apart(rewrite(graph, rules))


def smaller_windows(accepts: Accepts, context: Context, node: Node) -> Change:
    """The larger of a window's two directions first, so that the second pool has less to do; then each direction in two."""
    types = {name: context.type_of(name) for name in (*node.inputs, *node.outputs)}
    a, (x,), (y,) = context.attributes(node), node.inputs, node.outputs
    accepted = max(a["kernel"]) <= LONG_WINDOW and accepts(node, Graph("pool", node.inputs, node.outputs, (node,), types, {}))
    if accepted:
        return None
    (kh, kw), (sy, sx), pads = a["kernel"], a["strides"], grown_pads(context, node)
    out = context.shape(y)[2:]
    if min(kh, kw) > 1:
        windows = [((kh, 1), (sy, 1), (pads[0], 0, pads[2], 0)), ((1, kw), (1, sx), (0, pads[1], 0, pads[3]))]
        windows = windows if kh >= kw else windows[::-1]
    elif max(kh, kw) > 2:
        axis = 0 if kh > 1 else 1
        along = one_after_another((kh, kw)[axis], (sy, sx)[axis], pads[axis::2], out[axis])
        other = ((kh, kw)[1 - axis], (sy, sx)[1 - axis], pads[1 - axis :: 2])
        pair = [(along[0], other), (along[1], (1, 1, (0, 0)))]
        windows = [_window(*(pair[k] if axis == 0 else pair[k][::-1])) for k in (0, 1)]
    else:
        return None

    def pool(source: str, target: str, window: Window) -> Node:
        attributes = dict(zip(("kernel", "strides", "pads"), window, strict=True))
        return context.make("qmax_pool2d", [source], target, attributes, name=node.name, source=node.source)

    between = context.fresh(f"{y}.part")
    return [pool(x, between, windows[0]), pool(between, y, windows[1])]


def _window(rows: Direction, columns: Direction) -> Window:
    (kh, sy, (top, below)), (kw, sx, (left, right)) = rows, columns
    return (kh, kw), (sy, sx), (top, left, below, right)


def one_after_another(size: int, stride: int, pads: tuple[int, ...], out: int) -> tuple[Direction, Direction]:
    """Two windows in one direction, (size, stride, pads) each, that find what one does.

    A single window is cut into equal parts, the last of them with padding; others overlap, by all but one element.
    """
    before, after = pads
    if out == 1:
        part = ceil_div(size, isqrt(size))
        count = ceil_div(size, part)
        return (part, part, (before, after + part * count - size)), (count, 1, (0, 0))
    half = ceil_div(size + 1, 2)
    return (half, 1, (before, after)), (size - half + 1, stride, (0, 0))


def grown_pads(context: Context, node: Node) -> tuple[int, int, int, int]:
    """What the windows reach, in ceil mode too."""
    a, size, out = context.attributes(node), context.shape(node.inputs[0])[2:], context.shape(node.outputs[0])[2:]
    top, left = a["pads"][:2]
    reach = ((n - 1) * s + k for n, s, k in zip(out, a["strides"], a["kernel"], strict=True))
    below, right = (max(0, r - n - p) for r, n, p in zip(reach, size, (top, left), strict=True))
    return top, left, below, right


def whole_groups(block: int, context: Context, node: Node) -> Change:
    """Those groups apart that fill whole blocks of channels, which run block-diagonally, where all together would be dense."""
    a, x, w = context.attributes(node), node.inputs[0], node.inputs[1]
    groups = a["groups"]
    if (
        groups == 1
        or len(node.inputs) > 7
        or any(name not in context.constants for name in (*node.inputs[1:4], *node.inputs[5:]) if name)
    ):
        return None
    outs, inputs = context.shape(w)[0] // groups, context.shape(w)[1]
    fused = lcm(block // gcd(block, inputs), block // gcd(block, outs))
    whole = groups // fused * fused
    rounded = ceil_div(groups, fused) * fused
    as_they_are = (rounded * width // block == ceil_div(groups * width, block) for width in (inputs, outs))
    if not 0 < whole < groups or all(as_they_are):
        return None

    def tiles(count: int) -> int:
        return ceil_div(count * inputs, block) * ceil_div(count * outs, block)

    if whole // fused * tiles(fused) + tiles(groups - whole) >= tiles(groups):
        return None
    made: list[Node] = []

    def cut(name: str, start: int, count: int, axis: int) -> str:
        """A part of a tensor or a constant; what is one for all stays."""
        if not name or context.shape(name)[axis] == 1 and name in context.constants:
            return name
        if (constant := context.constant(name)) is not None:
            return context.add_constant(f"{name}.part", constant[start : start + count])
        shape, part = context.shape(name), context.fresh(f"{name}.part")
        ranges = {
            "starts": (0, start, 0, 0),
            "steps": (1,) * 4,
            "sizes": (shape[0], count, *shape[2:]),
        }
        made.append(context.make("slice", [name], part, ranges, name=f"{part}.slice", source=node.source))
        return part

    parts = []
    for start, count in ((0, whole), (whole, groups - whole)):
        outputs = (start * outs, count * outs)
        own = [cut(name, *outputs, 1 if place == 3 else 0) for place, name in enumerate(node.inputs[1:])]
        image = cut(x, start * inputs, count * inputs, 1)
        part = context.fresh(f"{node.outputs[0]}.part")
        attributes = {**a, "groups": count}
        made.append(context.make("qconv2d", [image, *own], part, attributes, name=node.name, source=node.source))
        parts.append(part)
    joined = context.make("concat", parts, node.outputs[0], {"axis": 1}, name=f"{node.name}.joined", source=node.source)
    return [*made, joined]
