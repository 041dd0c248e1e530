"""From a quantised graph node to a VDLA kernel: its workload, and what each kernel parameter is bound to.

What a layer computes follows from types and attributes alone (`workload_of`, `refusal`); its constants are packed once, when
its program is built (`constants_of`). All but `refusal` are total over what that does not refuse; placement asks it first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import operator_of, with_defaults
from vdla.compiler.ops.vdla import convolution_layers
from vdla.compiler.ops.vdla.kernels import template_of
from vdla.compiler.ops.vdla.operands import identity_tile, image_of, packed_parameters
from vdla.compiler.ops.vdla.workload import PAIRS, ElementwiseWorkload, PoolWorkload, Workload
from vdla.design import Design
from vdla.errors import CompileError


@dataclass(frozen=True)
class LayerKind:
    """How one operator of the graph runs on VDLA.

    activations: kernel parameter → the position of its tensor among the node's inputs; every other input is constant.
    workload, constants: see `workload_of` and `constants_of`.
    """

    activations: Mapping[str, int]
    workload: Callable[[Node, Graph, Design], Workload]
    constants: Callable[[Node, Graph, Design], dict[str, np.ndarray]]


def workload_of(node: Node, graph: Graph, design: Design) -> Workload:
    """What the node's kernel computes, from types and attributes: no constant need have a value. Raises `CompileError` when no
    kernel of VDLA computes it."""
    return KINDS[node.op].workload(node, graph, design)


def constants_of(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    """Kernel parameter → its constant, packed as the accelerator reads it."""
    return KINDS[node.op].constants(node, graph, design)


def activations_of(node: Node) -> dict[str, str]:
    """Kernel parameter → the graph's tensor, which is packed in DRAM; the result is "y"."""
    places = KINDS[node.op].activations.items()
    return {p: node.inputs[k] for p, k in places if k < len(node.inputs) and node.inputs[k]} | {"y": node.outputs[0]}


def macs_of(node: Node, graph: Graph) -> int:
    """Useful multiply-accumulates of the model: those of padding lanes are left out."""
    if node.op == "qmatmul2d":
        return graph.type_of(node.outputs[0]).elements * graph.type_of(node.inputs[0]).shape[1]
    if node.op not in ("qconv2d", "qdense"):
        return 0
    return graph.type_of(node.outputs[0]).elements * math.prod(graph.type_of(node.inputs[1]).shape[1:])


def refusal(node: Node, graph: Graph, design: Design) -> str:
    """Why `node` cannot run on `design`; empty when it can."""
    if node.op != "concat" and node.op not in KINDS:
        return operator_of(node.op).host_reason or f"no VDLA kernel: {node.op} is computed in float"
    try:
        if node.op == "concat":
            _require_whole_blocks(node, graph, design)
        else:
            _require_constants(node, graph)
            workload = workload_of(node, graph, design)
            template_of(workload).space(workload, design)
    except CompileError as error:
        return str(error)
    return ""


def _require_whole_blocks(node: Node, graph: Graph, design: Design) -> None:
    """A concat whose inputs are runs of whole tiles in its output needs no kernel. Raises `CompileError` for any other."""
    block, shapes = design.channel_block, [graph.type_of(name).shape for name in node.inputs]
    n, *_ = image_of(graph, node.outputs[0])
    if graph.type_of(node.outputs[0]).dtype != "int8" or any(name in graph.constants for name in node.inputs):
        raise CompileError("no VDLA kernel: concat of floats or constants", where=node.name)
    if node.attributes["axis"] != 1 or ceil_div(n, design.gemm.batch) > 1 or any(s[1] % block for s in shapes[:-1]):
        raise CompileError(
            "concatenated tensors are not runs of whole tiles", where=node.name,
            found=f"axis {node.attributes['axis']} of {', '.join(map(str, shapes))}",
            expected=f"axis 1, channels in multiples of {block}, up to {design.gemm.batch} images",
        )  # fmt: skip


def _require_constants(node: Node, graph: Graph) -> None:
    activations = KINDS[node.op].activations.values()
    for k, name in enumerate(node.inputs):
        if k in activations and name in graph.constants:
            raise CompileError("an operand is constant", where=node.name, found=name)
        if name and k not in activations and name not in graph.constants:
            raise CompileError(f"{node.op} needs a constant", where=node.name, found=f"{name} is computed")


def _max_pool_workload(node: Node, graph: Graph, design: Design) -> PoolWorkload:
    a = with_defaults(node.op, node.attributes)
    n, c, h, w = image_of(graph, node.inputs[0])
    _, _, out_height, out_width = image_of(graph, node.outputs[0])
    return PoolWorkload(
        ceil_div(n, design.gemm.batch), ceil_div(c, design.channel_block), h, w,
        tuple(a["kernel"]), tuple(a["strides"]), tuple(a["pads"]), out_height, out_width,
    )  # fmt: skip


def _elementwise_workload(node: Node, graph: Graph, design: Design) -> ElementwiseWorkload:
    a = with_defaults(node.op, node.attributes)
    shapes = [graph.type_of(node.inputs[k]).shape for k in KINDS[node.op].activations.values()]
    if len(set(shapes)) > 1:
        raise CompileError("operands are broadcast", where=node.name, found=shapes, expected="one shape")
    n, c, h, w = image_of(graph, node.inputs[0])
    batch, blocks = ceil_div(n, design.gemm.batch), ceil_div(c, design.channel_block)
    return ElementwiseWorkload(node.op, batch, blocks, h * w, a["low"], a["high"])


def _parameters_at(**places: int) -> Callable[[Node, Graph, Design], dict[str, np.ndarray]]:
    """The constants of a layer that has only parameters. places: the position of each one's bias; its scale follows."""

    def constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
        return {name: packed_parameters(node, graph, design, bias=k) for name, k in places.items()}

    return constants


CONVOLUTION = LayerKind({"x": 0, "residual": 4}, convolution_layers.workload, convolution_layers.constants)
PAIR = LayerKind({"a": 0, "b": 1}, _elementwise_workload, _parameters_at(a_parameters=2, b_parameters=4, parameters=6))
KINDS: dict[str, LayerKind] = {
    "qconv2d": CONVOLUTION,
    "qdense": CONVOLUTION,
    "qmatmul2d": LayerKind({"x": 0, "weight": 1}, convolution_layers.product_workload, convolution_layers.product_constants),
    "qavg_pool2d": LayerKind({"x": 0}, convolution_layers.average_workload, convolution_layers.average_constants),
    "qmax_pool2d": LayerKind({"x": 0}, _max_pool_workload, lambda node, graph, design: {"identity": identity_tile(design)}),
    **dict.fromkeys(PAIRS, PAIR),
    "requantize": LayerKind({"x": 0}, _elementwise_workload, _parameters_at(parameters=1)),
}
