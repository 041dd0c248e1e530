"""From a quantised graph node to a VDLA kernel: its workload, and what each kernel parameter is bound to.

`layer_of` is total over what `refusal` does not refuse; placement asks `refusal` first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.ops.vdla.packing import blocks, pack_conv_weights, pack_parameters
from vdla.compiler.ops.vdla.tiling import choose_elementwise_tiling, choose_pool_tiling, require_fit
from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload
from vdla.design import Design
from vdla.errors import CompileError

Workload = ConvWorkload | ElementwiseWorkload | PoolWorkload


@dataclass(frozen=True)
class Layer:
    """activations: kernel parameter → graph tensor (packed in DRAM). constants: kernel parameter → packed array.

    macs: useful multiply-accumulates of the model, padding excluded. gemm_uops: what the GEMM core must run for them.
    """

    node: Node
    workload: Workload
    activations: dict[str, str]
    constants: dict[str, np.ndarray]
    macs: int
    gemm_uops: int


def layer_of(node: Node, graph: Graph, design: Design) -> Layer:
    return _BUILDERS[node.op](node, graph, design)


def refusal(node: Node, graph: Graph, design: Design) -> str:
    """Why `node` cannot run on `design`; empty when it can."""
    try:
        if node.op == "concat":
            _require_whole_blocks(node, graph, design)
            return ""
        if node.op not in _BUILDERS:
            return HOST_REASONS.get(node.op, f"no VDLA kernel: {node.op} is computed in float")
        match _BUILDERS[node.op](node, graph, design).workload:
            case ConvWorkload() as workload:
                require_fit(workload, design)
            case PoolWorkload() as workload:
                choose_pool_tiling(workload, design)
            case ElementwiseWorkload() as workload:
                choose_elementwise_tiling(workload, design)
    except CompileError as error:
        return str(error)
    return ""


HOST_REASONS = {
    "quantize": "floats become int8 on the host",
    "dequantize": "int8 becomes floats on the host",
    "im2col": "the host arranges a first layer's input while it copies it",
    **dict.fromkeys(("reshape", "transpose", "pad"), "no VDLA kernel: elements change places, and the host moves them"),
    **dict.fromkeys(("conv2d", "dense"), "no VDLA kernel: the weights are computed, or not quantised"),
    "avg_pool2d": "no VDLA kernel: windows at the border divide by another number",
    "add": "no VDLA kernel: shapes differ, or an operand is constant, or no operand is int8",
}
"""Why the host runs what has no VDLA kernel."""


def _require_whole_blocks(node: Node, graph: Graph, design: Design) -> None:
    """A concat whose inputs are runs of whole tiles in its output needs no kernel. Raises `CompileError` for any other."""
    block, shapes = design.gemm.block_in, [graph.type_of(name).shape for name in node.inputs]
    n, *_ = _image(graph, node.outputs[0])
    if graph.type_of(node.outputs[0]).dtype != "int8" or any(name in graph.constants for name in node.inputs):
        raise CompileError("no VDLA kernel: concat of floats or constants", where=node.name)
    if node.attributes["axis"] != 1 or blocks(n, design.gemm.batch) > 1 or any(s[1] % block for s in shapes[:-1]):
        raise CompileError(
            "concatenated tensors are not runs of whole tiles", where=node.name,
            found=f"axis {node.attributes['axis']} of {', '.join(map(str, shapes))}",
            expected=f"axis 1, channels in multiples of {block}, up to {design.gemm.batch} images",
        )  # fmt: skip


def _constant(graph: Graph, name: str, node: Node) -> np.ndarray:
    if name not in graph.constants:
        raise CompileError(f"{node.op} needs a constant", where=node.name, found=f"{name} is computed")
    return graph.constants[name]


def _parameters(graph: Graph, node: Node, names: tuple[str, str], channels: int, groups: int, design: Design) -> np.ndarray:
    bias, scale = (_constant(graph, name, node) for name in names)
    return pack_parameters(bias, scale, channels, groups, design)


def _image(graph: Graph, tensor: str) -> tuple[int, int, int, int]:
    """(N, C, H, W); a matrix has H = W = 1."""
    shape = graph.type_of(tensor).shape
    if len(shape) not in (2, 4):
        raise CompileError(
            "the accelerator's tensors have 2 or 4 dimensions", where=tensor, found=shape, expected="(N, C) or (N, C, H, W)"
        )
    n, c, h, w = (*shape, 1, 1)[:4]
    return n, c, h, w


def _qconv2d(node: Node, graph: Graph, design: Design) -> Layer:
    a = with_defaults(node.op, node.attributes)
    return _convolution(node, graph, design, _constant(graph, node.inputs[1], node), a)


def _qdense(node: Node, graph: Graph, design: Design) -> Layer:
    w = _constant(graph, node.inputs[1], node)
    a = {**with_defaults("qconv2d", {}), **with_defaults("qdense", node.attributes)}
    return _convolution(node, graph, design, w[:, :, None, None], a)


def _convolution(node: Node, graph: Graph, design: Design, w: np.ndarray, a: dict[str, Any]) -> Layer:
    n, c, h, width = _image(graph, node.inputs[0])
    o, c_group, kh, kw = w.shape
    groups = a["groups"]
    packed = pack_conv_weights(w, groups, design, fused_groups(groups, c_group, o // groups, design))
    kernel_groups = packed.shape[0]
    macs = n * o * math.prod(graph.type_of(node.outputs[0]).shape[2:]) * c_group * kh * kw
    parameters = _grouped(_parameters(graph, node, (node.inputs[2], node.inputs[3]), o, 1, design), kernel_groups)
    residual = len(node.inputs) > 4 and bool(node.inputs[4])
    workload = ConvWorkload(
        batch=blocks(n, design.gemm.batch), groups=kernel_groups, in_blocks=packed.shape[2], out_blocks=packed.shape[1],
        height=h, width=width, kernel=(kh, kw), strides=tuple(a["strides"]), pads=tuple(a["pads"]),
        dilations=tuple(a["dilations"]), residual=residual, pad_value=a["pad_value"], low=a["low"], high=a["high"],
    )  # fmt: skip
    if groups > 1 and workload.gemm_uops > macs:
        raise CompileError(
            "groups whose tiles would be nearly all zeros", where=node.name,
            found=f"{workload.gemm_uops} tiles to multiply for {macs} products",
            expected=f"channels of a group that fill or divide blocks of {design.gemm.block_in}",
        )  # fmt: skip
    activations = {"x": node.inputs[0], "y": node.outputs[0]}
    constants = {"weight": packed, "parameters": parameters}
    if residual:
        activations["residual"] = node.inputs[4]
        residual_parameters = _parameters(graph, node, (node.inputs[5], node.inputs[6]), o, 1, design)
        constants["residual_parameters"] = _grouped(residual_parameters, kernel_groups)
        constants["identity"] = identity_tile(design)
    return Layer(node, workload, activations, constants, macs, workload.gemm_uops)


def fused_groups(groups: int, inputs: int, outputs: int, design: Design) -> int:
    """How many groups of `inputs` and `outputs` channels share one kernel group: the fewest that fill whole blocks.

    16 groups of 6 channels on blocks of 4: two and two, each pair 12 channels, 3 × 3 tiles of which the pair's diagonal is not
    zero. All of them, as one dense convolution, where the last ones would leave a block over: 5 groups of 6.
    """
    block = design.gemm.block_in
    fused = math.lcm(block // math.gcd(block, inputs), block // math.gcd(block, outputs))
    whole = all(blocks(groups, fused) * (c * fused // block) == blocks(groups * c, block) for c in (inputs, outputs))
    return fused if whole and fused < groups else groups


def identity_tile(design: Design) -> np.ndarray:
    """int8[1, block_out, block_in]: a micro-op with it widens an int8 tile to int32."""
    return np.eye(design.gemm.block_out, dtype=np.int8)[None]


def _grouped(parameters: np.ndarray, groups: int) -> np.ndarray:
    """[1 or G, blocks, 2, …] → [groups, blocks of each, 2, …]: blocks follow one another either way."""
    return parameters.reshape(groups, -1, *parameters.shape[2:])


def _qavg_pool2d(node: Node, graph: Graph, design: Design) -> Layer:
    """A depthwise convolution whose weights are all one identity tile; the division is in the scale words."""
    a = with_defaults(node.op, node.attributes)
    if a["ceil"]:
        raise CompileError("average pooling in ceil mode has windows of unequal size", where=node.name)
    n, c, h, w = _image(graph, node.inputs[0])
    groups = blocks(c, design.gemm.block_in)
    parameters = _grouped(_parameters(graph, node, (node.inputs[1], node.inputs[2]), c, 1, design), groups)
    workload = ConvWorkload(
        batch=blocks(n, design.gemm.batch), groups=groups, in_blocks=1, out_blocks=1, height=h, width=w,
        kernel=tuple(a["kernel"]), strides=tuple(a["strides"]), pads=tuple(a["pads"]), uniform_weight=True,
        pad_value=a["pad_value"], low=a["low"], high=a["high"],
    )  # fmt: skip
    activations = {"x": node.inputs[0], "y": node.outputs[0]}
    weight = identity_tile(design)[None, None, None, None]
    return Layer(node, workload, activations, {"weight": weight, "parameters": parameters}, 0, workload.gemm_uops)


def _qmax_pool2d(node: Node, graph: Graph, design: Design) -> Layer:
    a = with_defaults(node.op, node.attributes)
    n, c, h, w = _image(graph, node.inputs[0])
    _, _, out_height, out_width = _image(graph, node.outputs[0])
    workload = PoolWorkload(
        blocks(n, design.gemm.batch), blocks(c, design.gemm.block_in), h, w,
        tuple(a["kernel"]), tuple(a["strides"]), tuple(a["pads"]), out_height, out_width,
    )  # fmt: skip
    activations = {"x": node.inputs[0], "y": node.outputs[0]}
    return Layer(node, workload, activations, {"identity": identity_tile(design)}, 0, 0)


def _elementwise(node: Node, graph: Graph, design: Design) -> Layer:
    a = with_defaults(node.op, node.attributes)
    n, c, h, w = _image(graph, node.inputs[0])
    workload = ElementwiseWorkload(
        node.op, blocks(n, design.gemm.batch), blocks(c, design.gemm.block_in), h * w, a["low"], a["high"]
    )

    def parameters(bias: int) -> np.ndarray:
        return _parameters(graph, node, (node.inputs[bias], node.inputs[bias + 1]), c, 1, design)

    if node.op == "requantize":
        return Layer(node, workload, {"x": node.inputs[0], "y": node.outputs[0]}, {"parameters": parameters(1)}, 0, 0)
    constants = {"a_parameters": parameters(2), "b_parameters": parameters(4), "parameters": parameters(6)}
    activations = {"a": node.inputs[0], "b": node.inputs[1], "y": node.outputs[0]}
    return Layer(node, workload, activations, constants, 0, 0)


_BUILDERS: dict[str, Callable[[Node, Graph, Design], Layer]] = {
    "qconv2d": _qconv2d,
    "qdense": _qdense,
    "qavg_pool2d": _qavg_pool2d,
    "qmax_pool2d": _qmax_pool2d,
    "qadd": _elementwise,
    "requantize": _elementwise,
}
