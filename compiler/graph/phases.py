"""Transposed convolutions become ordinary ones, which an accelerator of matrix products computes without multiplying zeros.

    before   y = conv_transpose(x, w), strides (s, t)
    after    p[r] = conv2d(x, w[r]) for each of the s · t phases r;  y = depth_to_space(concat(p[0], p[1], …))

Output positions s·q + r of one phase r meet kernel positions k with d·k ≡ r + before (mod s) alone, at x[q + offset of k].
Where all phases look at the same window, or nearly, one convolution has the channels of all of them. A window that reaches
beyond the image pads it; one that begins inside it is given a slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd, prod

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.rewrite import Change, Context, named_apart, rewrite
from vdla.compiler.graph.weights import Weights, read_weights, write_weights

Ends = tuple[int, int]
"""Where a window begins and ends, from the place of its output on."""
TOGETHER = 1.125
"""One convolution of all phases is worth this many times the products: it reads x once."""
LANES = 16
"""Outputs that a matrix unit computes at once, at least: fewer take as long, as the three colours of each phase would."""


def phases(graph: Graph) -> Graph:
    """Rewrite every conv_transpose of images or lines whose weights are constant."""
    return named_apart(rewrite(graph, {"conv_transpose": [line_as_image, as_convolutions]}))


@dataclass(frozen=True)
class Taps:
    """What one phase reads along one axis: x[q + first], x[q + first + step] … under these `kernel` positions."""

    kernel: tuple[int, ...]
    first: int
    step: int

    @property
    def last(self) -> int:
        return self.first + (max(len(self.kernel), 1) - 1) * self.step

    def placed(self, first: int, last: int) -> tuple[int, ...]:
        """The kernel position at each place first … last, -1 where there is none."""
        places = {self.first + i * self.step: k for i, k in enumerate(self.kernel)}
        return tuple(places.get(place, -1) for place in range(first, last + 1))


def reach(phases: list[Taps]) -> Ends:
    return min(taps.first for taps in phases), max(taps.last for taps in phases)


def taps_of(phase: int, kernel: int, stride: int, dilation: int, before: int) -> Taps:
    met = [k for k in reversed(range(kernel)) if (phase + before - dilation * k) % stride == 0]
    first = (phase + before - dilation * met[0]) // stride if met else 0
    return Taps(tuple(met), first, dilation // gcd(dilation, stride))


def line_as_image(context: Context, node: Node) -> Change:
    """conv_transpose(x[N, C, L]) → reshape(conv_transpose(x[N, C, 1, L]))"""
    shape, weights = context.shape(node.inputs[0]), read_weights(context, node.inputs[1])
    if len(shape) != 3 or weights is None:
        return None
    a, source, y = context.attributes(node), node.source, node.outputs[0]
    a |= {"strides": (1, *a["strides"]), "dilations": (1, *a["dilations"]), "before": (0, *a["before"])}
    a |= {"output": (1, *a["output"])}
    image, large = context.fresh(f"{node.inputs[0]}.image"), context.fresh(f"{y}.image")
    attributes = {"shape": (*shape[:2], 1, shape[2])}
    lifted = context.make("reshape", [node.inputs[0]], image, attributes, name=image, source=source)
    wide = weights.rearranged(weights.values[:, :, None], weights.axis + (weights.axis > 1))
    w, made = write_weights(context, wide, f"{node.inputs[1]}.image", source)
    layer = context.make(node.op, [image, w, *node.inputs[2:]], large, a, name=node.name, source=source)
    back = context.make("reshape", [large], y, {"shape": context.shape(y)}, name=f"{node.name}.line", source=source)
    return [lifted, *made, layer, back]


def as_convolutions(context: Context, node: Node) -> Change:
    """conv_transpose(x[N, C, H, W], constant w[C, O/groups, KH, KW]) → see above"""
    a, weights = context.attributes(node), read_weights(context, node.inputs[1])
    if weights is None or weights.values.ndim != 4 or (weights.per_channel and weights.axis != 1):
        return None
    if len(node.inputs) > 2 and node.inputs[2] and context.constant(node.inputs[2]) is None:
        return None
    strides = a["strides"]
    axes = list(zip(weights.values.shape[2:], strides, a["dilations"], a["before"], strict=True))
    rows, columns = ([taps_of(phase, *axis) for phase in range(axis[1])] for axis in axes)
    size = [ceil_div(length, stride) for length, stride in zip(a["output"], strides, strict=True)]
    outputs = by_output(weights.values, a["groups"])
    plan = Plan(context, node, weights.rearranged(outputs, 0, lambda own: np.tile(own, a["groups"])), size)
    found = plan.together(rows, columns) if a["groups"] == 1 else None
    return found or plan.apart(rows, columns)


def by_output(w: np.ndarray, groups: int) -> np.ndarray:
    """w[C, O/groups, …] as [O, C/groups, …]."""
    depth = w.shape[0] // groups
    grouped = w.reshape(groups, depth, *w.shape[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(grouped).reshape(groups * w.shape[1], depth, *w.shape[2:])


@dataclass(frozen=True)
class Plan:
    """weights [O, C/groups, KH, KW] of the conv_transpose `node`; size: outputs of one phase."""

    context: Context
    node: Node
    weights: Weights
    size: list[int]

    def together(self, rows: list[Taps], columns: list[Taps]) -> Change:
        """One convolution over the window that holds every phase's, where that costs few products more."""
        ends = reach(rows), reach(columns)
        window = [last - first + 1 for first, last in ends]
        count = len(rows) * len(columns)
        needed = sum(max(len(r.kernel), 1) for r in rows) * sum(max(len(c.kernel), 1) for c in columns)
        outputs = len(self.weights.values)
        if count == 1 or prod(window) * ceil_div(count * outputs, LANES) > TOGETHER * needed * ceil_div(outputs, LANES):
            return None
        parts = [self.window(r.placed(*ends[0]), c.placed(*ends[1])) for r, c in product(rows, columns)]
        repeat = lambda values: np.tile(values, count)  # noqa: E731
        weights = self.weights.rearranged(np.concatenate(parts), 0, repeat)
        y = self.context.fresh(f"{self.node.outputs[0]}.phases")
        made = self.convolution(weights, ends, (1, 1), self.node.name, self.bias(count), y)
        return None if made is None else [*made, *self.spread(y, (len(rows), len(columns)))]

    def apart(self, rows: list[Taps], columns: list[Taps]) -> Change:
        """A convolution for each phase."""
        whole = len(rows) * len(columns) == 1
        made: list[Node] = []
        outputs = []
        for (i, r), (j, c) in product(enumerate(rows), enumerate(columns)):
            weights = self.weights.rearranged(self.window(r.kernel or (-1,), c.kernel or (-1,)), 0)
            number = "" if whole else f".phase{i * len(columns) + j}"
            y = self.node.outputs[0] if whole else self.context.fresh(f"{self.node.outputs[0]}{number}")
            ends = ((r.first, r.last), (c.first, c.last))
            nodes = self.convolution(weights, ends, (r.step, c.step), f"{self.node.name}{number}", self.bias(1), y)
            if nodes is None:
                return None
            made += nodes
            outputs.append(y)
        if whole:
            return made
        joined = self.context.fresh(f"{self.node.outputs[0]}.phases")
        return [*made, self.make("concat", outputs, joined, axis=1), *self.spread(joined, (len(rows), len(columns)))]

    def window(self, rows: tuple[int, ...], columns: tuple[int, ...]) -> np.ndarray:
        """The weights at those kernel positions, zeros at -1."""
        w = self.weights.values[:, :, rows][..., columns]
        absent = np.array(rows)[:, None] + np.zeros(len(columns), int) < 0
        absent |= np.array(columns) < 0
        return np.where(absent, self.weights.zero, w)

    def bias(self, count: int) -> str:
        """The bias for `count` phases, "" where there is none."""
        name = self.node.inputs[2] if len(self.node.inputs) > 2 else ""
        constant = self.context.constant(name) if name else None
        if constant is None or count == 1:
            return name
        return self.context.add_constant(f"{name}.phases", np.tile(constant, count))

    def convolution(
        self, weights: Weights, ends: tuple[Ends, Ends], steps: tuple[int, int], name: str, bias: str, y: str
    ) -> list[Node] | None:
        """The nodes of one convolution whose windows begin at q + first and end at q + last; None where x has no part in it."""
        context, node = self.context, self.node
        x, groups = node.inputs[0], context.attributes(node)["groups"]
        shape = context.shape(x)
        before = [-first for first, _ in ends]
        after = [n + last - have for n, (_, last), have in zip(self.size, ends, shape[2:], strict=True)]
        starts = tuple(max(-pad, 0) for pad in before)
        sizes = tuple(have - start - max(-pad, 0) for have, start, pad in zip(shape[2:], starts, after, strict=True))
        if min(sizes) < 1:
            return None
        made: list[Node] = []
        if sizes != shape[2:]:
            x = context.fresh(f"{x}.part")
            part = {"starts": (0, 0, *starts), "steps": (1, 1, 1, 1), "sizes": (*shape[:2], *sizes)}
            made.append(self.make("slice", [node.inputs[0]], x, **part))
        w, nodes = write_weights(context, weights, f"{name}.weight", node.source)
        attributes = {"pads": tuple(max(pad, 0) for pad in (*before, *after)), "dilations": steps, "groups": groups}
        inputs = [x, w, bias] if bias else [x, w]
        return [*made, *nodes, context.make("conv2d", inputs, y, attributes, name=name, source=node.source)]

    def spread(self, x: str, blocks: tuple[int, int]) -> list[Node]:
        """The phases along the channels of x as the output, or as an image of whole blocks of which it is a part."""
        y, context = self.node.outputs[0], self.context
        shape = context.shape(y)
        if all(n * block == length for n, block, length in zip(self.size, blocks, shape[2:], strict=True)):
            return [self.make("depth_to_space", [x], y, blocks=blocks)]
        whole = context.fresh(f"{y}.blocks")
        part = {"starts": (0,) * 4, "steps": (1,) * 4, "sizes": shape}
        return [self.make("depth_to_space", [x], whole, blocks=blocks), self.make("slice", [whole], y, **part)]

    def make(self, op: str, inputs: list[str], output: str, **attributes: object) -> Node:
        return self.context.make(op, inputs, output, attributes, name=output, source=self.node.source)
