"""Fill the input block of a convolution with few channels by folding kernel columns, or the whole window, into them.

    before: x[N, 3, 224, 224] ─ qconv2d 7×7 stride 2, 3 of 16 lanes useful, 49 micro-ops an output tile
    after:  im2col "columns" on the host: [N, 21, 224, 112] ─ qconv2d 7×1, 21 of 32 lanes, 14 micro-ops

The host copies the input anyway (quantise, pack); folding makes that copy larger and the accelerator's work smaller.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.compiler.ops.vdla.packing import blocks
from vdla.design import Design


@dataclass(frozen=True, slots=True)
class Folding:
    """cycles: the larger of the GEMM core's and the bus's work under this folding."""

    fold: str  # "none", "columns" or "window"
    cycles: float


def fold_first_layers(graph: Graph, design: Design) -> Graph:
    """Fold every convolution that reads a model input where that lowers its cycles."""
    model_inputs = set(graph.inputs) | {n.outputs[0] for n in graph.nodes if n.op == "quantize" and n.inputs[0] in graph.inputs}
    nodes: list[Node] = []
    tensors: dict[str, TensorType] = {}
    constants: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        fold = "none"
        if node.op == "qconv2d" and node.inputs[0] in model_inputs and node.inputs[1] in graph.constants:
            fold = cheapest_folding(node, graph, design).fold
        if fold == "none":
            nodes.append(node)
            continue
        im2col, conv, weight = folded(node, graph, fold)
        nodes += [im2col, conv]
        tensors[im2col.outputs[0]] = infer_type("im2col", (graph.type_of(node.inputs[0]),), im2col.attributes)
        constants[conv.inputs[1]] = weight
    return graph.with_nodes(nodes, tensors, constants)


def cheapest_folding(node: Node, graph: Graph, design: Design) -> Folding:
    """The folding with the fewest cycles; grouped convolutions are left alone, ties go to the smaller host copy."""
    a = with_defaults(node.op, node.attributes)
    n, c, h, _ = graph.type_of(node.inputs[0]).shape
    _, o, out_height, out_width = graph.type_of(node.outputs[0]).shape
    kh, kw = graph.type_of(node.inputs[1]).shape[2:]
    if a["groups"] != 1 or kh * kw == 1:
        return Folding("none", 0)
    block = design.gemm.block_in
    tiles = blocks(n, design.gemm.batch) * out_height * out_width

    def cost(fold: str, channels: int, steps: int, positions: int) -> Folding:
        gemm = tiles * blocks(o, block) * blocks(channels, block) * steps
        bus = blocks(n, design.gemm.batch) * positions * blocks(channels, block) * design.inp_tile_bytes / design.bus_bytes
        return Folding(fold, max(gemm, bus))

    width = graph.type_of(node.inputs[0]).shape[3]
    options = [
        cost("none", c, kh * kw, h * width),
        cost("columns", c * kw, kh, h * out_width),
        cost("window", c * kw * kh, 1, out_height * out_width),
    ]
    return min(options, key=lambda option: option.cycles)


def folded(node: Node, graph: Graph, fold: str) -> tuple[Node, Node, np.ndarray]:
    """The im2col node, the convolution that follows it, and that convolution's weights."""
    a = with_defaults(node.op, node.attributes)
    w = graph.constants[node.inputs[1]]
    o, c, kh, kw = w.shape
    top, _, bottom, _ = a["pads"]
    window = {k: a[k] for k in ("strides", "pads", "dilations", "pad_value")}
    image = f"{node.inputs[0]}.{fold}.{node.name}"
    im2col = Node(
        f"{node.name}.im2col", "im2col", (node.inputs[0],), (image,), {"kernel": (kh, kw), "fold": fold, **window}, node.source
    )
    attributes: dict[str, Any] = {**a, "dilations": (a["dilations"][0], 1)}
    if fold == "columns":
        weight = w.transpose(0, 3, 1, 2).reshape(o, kw * c, kh, 1)
        attributes |= {"strides": (a["strides"][0], 1), "pads": (top, 0, bottom, 0)}
    else:
        weight = w.transpose(0, 2, 3, 1).reshape(o, kh * kw * c, 1, 1)
        attributes |= {"strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    weight_name = f"{node.inputs[1]}.{fold}"
    conv = replace(node, inputs=(image, weight_name, *node.inputs[2:]), attributes=attributes)
    return im2col, conv, np.ascontiguousarray(weight)
