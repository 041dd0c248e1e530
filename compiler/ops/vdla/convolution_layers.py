"""What runs as a convolution: qconv2d with any groups, qdense (1×1), qavg_pool2d (depthwise, one identity tile), and qmatmul2d
(1×1, whose weights are an activation).

`workload` and its like need types and attributes only; `constants` and its like pack.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.ops.vdla.operands import identity_tile, image_of, packed_parameters
from vdla.compiler.ops.vdla.packing import pack_conv_weights, pack_table
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.definition import table_tiles


def workload(node: Node, graph: Graph, design: Design) -> ConvWorkload:
    """Of a qconv2d or a qdense. Raises `CompileError` for groups whose tiles would be nearly all zeros."""
    a = _attributes(node)
    n, _, h, width = image_of(graph, node.inputs[0])
    _, o, out_height, out_width = image_of(graph, node.outputs[0])
    _, c_group, kh, kw = _weight_shape(node, graph)
    fused, groups = _groups(node, graph, design)
    residual = len(node.inputs) > 4 and bool(node.inputs[4])
    workload = ConvWorkload(
        batch=ceil_div(n, design.gemm.batch), groups=groups,
        in_blocks=ceil_div(c_group * fused, design.gemm.block_in),
        out_blocks=ceil_div(o // a["groups"] * fused, design.gemm.block_out),
        height=h, width=width, kernel=(kh, kw), strides=tuple(a["strides"]), pads=tuple(a["pads"]),
        dilations=tuple(a["dilations"]), residual=residual, pad_value=a["pad_value"], low=a["low"], high=a["high"],
        table_tiles=table_tiles(design) if _table(node) else 0,
    )  # fmt: skip
    macs = n * o * out_height * out_width * c_group * kh * kw
    if a["groups"] > 1 and workload.gemm_uops > macs:
        raise CompileError(
            "groups whose tiles would be nearly all zeros", where=node.name,
            found=f"{workload.gemm_uops} tiles to multiply for {macs} products",
            expected=f"channels of a group that fill or divide blocks of {design.channel_block}",
        )  # fmt: skip
    return workload


def constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    """Of a qconv2d or a qdense: weight, parameters, with a residual its parameters and the identity tile, and its table."""
    fused, groups = _groups(node, graph, design)
    w = graph.constants[node.inputs[1]].reshape(_weight_shape(node, graph))
    packed = {
        "weight": pack_conv_weights(w, _attributes(node)["groups"], design, fused),
        "parameters": packed_parameters(node, graph, design, bias=2, groups=groups),
    }
    if len(node.inputs) > 4 and node.inputs[4]:
        packed["residual_parameters"] = packed_parameters(node, graph, design, bias=5, groups=groups)
        packed["identity"] = identity_tile(design)
    if table := _table(node):
        packed["table"] = pack_table(graph.constants[table], design)
    return packed


def _table(node: Node) -> str:
    """The table that its levels are looked up in; empty without one."""
    return node.inputs[7] if len(node.inputs) > 7 else ""


def _attributes(node: Node) -> dict[str, Any]:
    """With those of a convolution that a dense layer does not have."""
    return {**with_defaults("qconv2d", {}), **with_defaults(node.op, node.attributes)}


def _weight_shape(node: Node, graph: Graph) -> tuple[int, int, int, int]:
    """(O, C/groups, KH, KW); a dense layer's window is 1×1."""
    o, c, kh, kw = (*graph.type_of(node.inputs[1]).shape, 1, 1)[:4]
    return o, c, kh, kw


def _groups(node: Node, graph: Graph, design: Design) -> tuple[int, int]:
    """How many of the model's groups share one of the kernel's, and how many of those there are."""
    groups = _attributes(node)["groups"]
    o, c_group, _, _ = _weight_shape(node, graph)
    fused = fused_groups(groups, c_group, o // groups, design)
    return fused, ceil_div(groups, fused)


def fused_groups(groups: int, inputs: int, outputs: int, design: Design) -> int:
    """How many groups of `inputs` and `outputs` channels share one kernel group: the fewest that fill whole blocks.

    16 groups of 6 channels on blocks of 4: two and two, each pair 12 channels, 3 × 3 tiles of which the pair's diagonal is not
    zero. All of them, as one dense convolution, where the last ones would leave a block over: 5 groups of 6.
    """
    block = design.channel_block
    fused = math.lcm(block // math.gcd(block, inputs), block // math.gcd(block, outputs))
    whole = all(ceil_div(groups, fused) * (c * fused // block) == ceil_div(groups * c, block) for c in (inputs, outputs))
    return fused if whole and fused < groups else groups


def average_workload(node: Node, graph: Graph, design: Design) -> ConvWorkload:
    """A depthwise convolution whose weights are all one identity tile; the division is in the scale words."""
    a = with_defaults(node.op, node.attributes)
    if a["ceil"]:
        raise CompileError("average pooling in ceil mode has windows of unequal size", where=node.name)
    n, c, h, w = image_of(graph, node.inputs[0])
    return ConvWorkload(
        batch=ceil_div(n, design.gemm.batch), groups=ceil_div(c, design.channel_block), in_blocks=1, out_blocks=1,
        height=h, width=w, kernel=tuple(a["kernel"]), strides=tuple(a["strides"]), pads=tuple(a["pads"]), uniform_weight=True,
        pad_value=a["pad_value"], low=a["low"], high=a["high"],
    )  # fmt: skip


def average_constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    groups = ceil_div(image_of(graph, node.inputs[0])[1], design.channel_block)
    return {
        "weight": identity_tile(design)[None, None, None, None],
        "parameters": packed_parameters(node, graph, design, bias=1, groups=groups),
    }


def product_workload(node: Node, graph: Graph, design: Design) -> ConvWorkload:
    """Of a qmatmul2d. block_out positions of one block of b's channels lie in DRAM as a weight tile does.

    Raises `CompileError` for zero points, which would need the other operand's sums, and for extents that leave part of a
    tile over, whose lanes need not be zero.
    """
    a, block = with_defaults(node.op, node.attributes), design.channel_block
    n, channels, height, width = image_of(graph, node.inputs[0])
    _, positions, _, _ = image_of(graph, node.outputs[0])
    if zero_points := {key: a[key] for key in ("a_zero_point", "b_zero_point") if a[key]}:
        raise CompileError("a product with zero points needs sums of what it multiplies", where=node.name, found=zero_points)
    if design.gemm.batch != 1:
        raise CompileError(
            "a tile of an activation is no weight tile", where=node.name, found=f"batch {design.gemm.batch}", expected="1"
        )
    if channels % block or positions % block:
        raise CompileError(
            "a product whose tiles would be filled in part", where=node.name,
            found=f"{channels} channels, {positions} positions", expected=f"multiples of {block}",
        )  # fmt: skip
    return ConvWorkload(
        batch=n, groups=1, in_blocks=channels // block, out_blocks=positions // block, height=height, width=width,
        own_weights=True, low=a["low"], high=a["high"],
    )  # fmt: skip


def product_constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    return {"parameters": packed_parameters(node, graph, design, bias=2)}
