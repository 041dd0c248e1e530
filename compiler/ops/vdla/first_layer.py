"""Fill the input block of a convolution with few channels by folding kernel columns, or the whole window, into them.

    before: x[N, 3, 224, 224] ─ qconv2d 7×7 stride 2, 3 of 16 lanes useful, 49 micro-ops an output tile
    after:  im2col "columns" on the host: [N, 21, 224, 112] ─ qconv2d 7×1, 21 of 32 lanes, 14 micro-ops

The host copies the input anyway (quantise, pack); folding makes that copy larger and the accelerator's work smaller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.design import Design


@dataclass(frozen=True, slots=True)
class Folding:
    """cycles: the larger of the GEMM core's and the bus's work under this folding."""

    fold: str  # "none", "columns" or "window"
    cycles: float


def fold_first_layers(graph: Graph, design: Design) -> Graph:
    """Fold every convolution that reads a model input where that lowers its cycles. Types decide; weights that have values
    (`graph.constants`) are rearranged."""
    model_inputs = set(graph.inputs) | {n.outputs[0] for n in graph.nodes if n.op == "quantize" and n.inputs[0] in graph.inputs}
    for node in graph.nodes:  # the input and some of its channels again, for weights wider than int8
        if node.op in ("concat", "slice") and all(name in model_inputs for name in node.inputs):
            model_inputs |= set(node.outputs)
    computed = set(graph.inputs) | {name for node in graph.nodes for name in node.outputs}
    nodes: list[Node] = []
    tensors: dict[str, TensorType] = {}
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        fold = "none"
        if node.op == "qconv2d" and node.inputs[0] in model_inputs and node.inputs[1] not in computed:
            fold = cheapest_folding(node, graph, design).fold
        if fold == "none":
            nodes.append(node)
            continue
        weight = node.inputs[1]
        im2col, conv = folded(node, graph, fold)
        nodes += [im2col, conv]
        tensors[im2col.outputs[0]] = infer_type("im2col", (graph.type_of(node.inputs[0]),), im2col.attributes)
        shape = folded_weight_shape(graph.type_of(weight).shape, fold)
        tensors[conv.inputs[1]] = TensorType(shape, graph.type_of(weight).dtype)
        if weight in graph.constants:
            constants[conv.inputs[1]] = folded_weight(graph.constants[weight], fold)
    return graph.with_nodes(nodes, tensors, constants)


def cheapest_folding(node: Node, graph: Graph, design: Design) -> Folding:
    """The folding with the fewest cycles; grouped convolutions are left alone, ties go to the smaller host copy."""
    a = with_defaults(node.op, node.attributes)
    n, c, h, _ = graph.type_of(node.inputs[0]).shape
    _, o, out_height, out_width = graph.type_of(node.outputs[0]).shape
    kh, kw = graph.type_of(node.inputs[1]).shape[2:]
    if a["groups"] != 1 or kh * kw == 1:
        return Folding("none", 0)
    block = design.channel_block
    tiles = ceil_div(n, design.gemm.batch) * out_height * out_width

    def cost(fold: str, channels: int, steps: int, positions: int) -> Folding:
        gemm = tiles * ceil_div(o, block) * ceil_div(channels, block) * steps
        bus = ceil_div(n, design.gemm.batch) * positions * ceil_div(channels, block) * design.inp_tile_bytes / design.bus_bytes
        return Folding(fold, max(gemm, bus))

    width = graph.type_of(node.inputs[0]).shape[3]
    options = [
        cost("none", c, kh * kw, h * width),
        cost("columns", c * kw, kh, h * out_width),
        cost("window", c * kw * kh, 1, out_height * out_width),
    ]
    return min(options, key=lambda option: option.cycles)


def folded(node: Node, graph: Graph, fold: str) -> tuple[Node, Node]:
    """The im2col node, and the convolution that follows it."""
    a = with_defaults(node.op, node.attributes)
    top, _, bottom, _ = a["pads"]
    window = {k: a[k] for k in ("strides", "pads", "dilations", "pad_value")}
    image = f"{node.inputs[0]}.{fold}.{node.name}"
    kernel = graph.type_of(node.inputs[1]).shape[2:]
    im2col = Node(
        f"{node.name}.im2col", "im2col", (node.inputs[0],), (image,), {"kernel": kernel, "fold": fold, **window}, node.source
    )
    attributes: dict[str, Any] = {**a, "dilations": (a["dilations"][0], 1)}
    if fold == "columns":
        attributes |= {"strides": (a["strides"][0], 1), "pads": (top, 0, bottom, 0)}
    else:
        attributes |= {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    weight = f"{node.inputs[1]}.{fold}"
    return im2col, replace(node, inputs=(image, weight, *node.inputs[2:]), attributes=attributes)


def folded_weight_shape(shape: tuple[int, ...], fold: str) -> tuple[int, ...]:
    """(O, C, KH, KW) → (O, KW·C, KH, 1), or (O, KH·KW·C, 1, 1)."""
    o, c, kh, kw = shape
    return (o, kw * c, kh, 1) if fold == "columns" else (o, kh * kw * c, 1, 1)


def folded_weight(w: np.ndarray, fold: str) -> np.ndarray:
    axes = (0, 3, 1, 2) if fold == "columns" else (0, 2, 3, 1)
    return np.ascontiguousarray(w.transpose(axes).reshape(folded_weight_shape(w.shape, fold)))
