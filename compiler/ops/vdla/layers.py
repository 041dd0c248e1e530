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
from vdla.compiler.ops.vdla.moves import MOVING, moves_of
from vdla.compiler.ops.vdla.operands import identity_tile, image_of, packed_parameters, widening_tiles
from vdla.compiler.ops.vdla.packing import pack_activation, pack_table
from vdla.compiler.ops.vdla.workload import (
    PAIRS,
    RESCALED_PAIRS,
    ElementwiseWorkload,
    Operand,
    PoolWorkload,
    TableWorkload,
    Workload,
)
from vdla.design import Design
from vdla.errors import CompileError


@dataclass(frozen=True)
class LayerKind:
    """How one operator of the graph runs on VDLA.

    activations: kernel parameter → the position of its tensor among the node's inputs; every other input is constant.
    workload, constants: see `workload_of` and `constants_of`. constant: an activation may be one as well.
    """

    activations: Mapping[str, int]
    workload: Callable[[Node, Graph, Design], Workload]
    constants: Callable[[Node, Graph, Design], dict[str, np.ndarray]]
    constant: bool = False


def workload_of(node: Node, graph: Graph, design: Design) -> Workload:
    """What the node's kernel computes, from types and attributes: no constant need have a value. Raises `CompileError` when no
    kernel of VDLA computes it."""
    return KINDS[node.op].workload(node, graph, design)


def constants_of(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    """Kernel parameter → its constant, packed as the accelerator reads it."""
    return KINDS[node.op].constants(node, graph, design)


def activations_of(node: Node, graph: Graph) -> dict[str, str]:
    """Kernel parameter → the graph's tensor, which is packed in DRAM; the result is "y"."""
    names = {p: node.inputs[k] for p, k in KINDS[node.op].activations.items() if k < len(node.inputs)}
    return {p: name for p, name in names.items() if name and name not in graph.constants} | {"y": node.outputs[0]}


def macs_of(node: Node, graph: Graph) -> int:
    """Useful multiply-accumulates of the model: those of padding lanes are left out."""
    if node.op == "qmatmul2d":
        return graph.type_of(node.outputs[0]).elements * graph.type_of(node.inputs[0]).shape[1]
    if node.op not in ("qconv2d", "qdense"):
        return 0
    return graph.type_of(node.outputs[0]).elements * math.prod(graph.type_of(node.inputs[1]).shape[1:])


def refusal(node: Node, graph: Graph, design: Design) -> str:
    """Why `node` cannot run on `design`; empty when it can."""
    if node.op not in KINDS and node.op not in MOVING:
        return operator_of(node.op).host_reason or f"no VDLA kernel: {node.op} is computed in float"
    try:
        if node.op in MOVING:
            workloads = [move.workload for move in moves_of(node, graph, design)]
        else:
            _require_constants(node, graph)
            if node.op in PAIRS:
                _require_operands(node, graph, design)
            workloads = [workload_of(node, graph, design)]
        for workload in workloads:
            template_of(workload).space(workload, design)
    except CompileError as error:
        return str(error)
    return ""


def _require_constants(node: Node, graph: Graph) -> None:
    activations = KINDS[node.op].activations.values()
    for k, name in enumerate(node.inputs):
        if k in activations and name in graph.constants and not KINDS[node.op].constant:
            raise CompileError(f"{node.op} of a constant", where=node.name, found=name)
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
    n, c, h, w = image_of(graph, node.outputs[0])
    batch, blocks = ceil_div(n, design.gemm.batch), ceil_div(c, design.channel_block)
    operands = {p: _operand(node, p, graph, design) for p in KINDS[node.op].activations if node.op in PAIRS}
    zero_points = (a.get("a_zero_point", 0), a.get("b_zero_point", 0))
    return ElementwiseWorkload(node.op, batch, blocks, h * w, a["low"], a["high"], **operands, zero_points=zero_points)


def _table_workload(node: Node, graph: Graph, design: Design) -> TableWorkload:
    n, c, h, w = image_of(graph, node.inputs[0])
    return TableWorkload(ceil_div(n, design.gemm.batch), ceil_div(c, design.channel_block), h * w)


def _table_constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    return {"table": pack_table(graph.constants[node.inputs[1]], design), "identity": identity_tile(design)}


def _operand(node: Node, parameter: str, graph: Graph, design: Design) -> Operand:
    """How an operand of a pair is broadcast."""
    own, whole = image_of(graph, node.inputs[KINDS[node.op].activations[parameter]]), image_of(graph, node.outputs[0])
    batch = design.gemm.batch
    images = ceil_div(own[0], batch) < ceil_div(whole[0], batch)
    return Operand(images, own[1] < whole[1], own[2:] == (1, 1) != whole[2:])


def _require_operands(node: Node, graph: Graph, design: Design) -> None:
    """Raises `CompileError` where an operand that is no constant is broadcast along rows, columns or a tile's images alone."""
    whole, batch = image_of(graph, node.outputs[0]), design.gemm.batch
    for name in (node.inputs[k] for k in KINDS[node.op].activations.values()):
        own = image_of(graph, name)
        if name in graph.constants:
            continue
        if own[2:] not in (whole[2:], (1, 1)):
            raise CompileError(
                "an operand is broadcast along rows or columns alone", where=node.name, found=f"{name}, {own}",
                expected=f"H and W of the result, {whole[2]}×{whole[3]}, or 1×1",
            )  # fmt: skip
        if own[0] < min(whole[0], batch):
            raise CompileError(
                "an operand is broadcast to images that share a tile", where=node.name, found=f"{name}, {own}",
                expected=f"{whole[0]} images", hint=f"a design whose gemm.batch is 1, not {batch}",
            )  # fmt: skip


def _constant_operand(node: Node, name: str, graph: Graph, design: Design) -> np.ndarray:
    """A constant operand of a pair, packed: of all rows and columns where it has any, and as often as a tile has images."""
    n, c, h, w = shape = image_of(graph, name)
    images, _, height, width = image_of(graph, node.outputs[0])
    size = (1, 1) if (h, w) == (1, 1) else (height, width)
    held = (n if n == images else min(images, design.gemm.batch), c, *size)
    return pack_activation(np.broadcast_to(graph.constants[name].reshape(shape), held), design)


def _pair_constants(**places: int) -> Callable[[Node, Graph, Design], dict[str, np.ndarray]]:
    """What widens the operands, the parameters, and those operands that are constant. places: the position of each parameter's
    bias among the node's inputs; its scale words follow."""

    def constants(node: Node, graph: Graph, design: Design) -> dict[str, np.ndarray]:
        tiles = widening_tiles(design, _elementwise_workload(node, graph, design).widening_tiles)
        found = {"identity": tiles}
        found |= {name: packed_parameters(node, graph, design, bias=k) for name, k in places.items()}
        for parameter, k in KINDS[node.op].activations.items():
            if (name := node.inputs[k]) in graph.constants:
                found[parameter] = _constant_operand(node, name, graph, design)
        return found

    return constants


CONVOLUTION = LayerKind({"x": 0, "residual": 4}, convolution_layers.workload, convolution_layers.constants)
RESCALED = LayerKind(
    {"a": 0, "b": 1}, _elementwise_workload, _pair_constants(a_parameters=2, b_parameters=4, parameters=6), constant=True
)
KINDS: dict[str, LayerKind] = {
    "qconv2d": CONVOLUTION,
    "qdense": CONVOLUTION,
    "qmatmul2d": LayerKind({"x": 0, "weight": 1}, convolution_layers.product_workload, convolution_layers.product_constants),
    "qavg_pool2d": LayerKind({"x": 0}, convolution_layers.average_workload, convolution_layers.average_constants),
    "qmax_pool2d": LayerKind({"x": 0}, _max_pool_workload, lambda node, graph, design: {"identity": identity_tile(design)}),
    "qtable": LayerKind({"x": 0}, _table_workload, _table_constants),
    **dict.fromkeys(RESCALED_PAIRS, RESCALED),
    "qmul": LayerKind({"a": 0, "b": 1}, _elementwise_workload, _pair_constants(parameters=2), constant=True),
    "requantize": LayerKind({"x": 0}, _elementwise_workload, _pair_constants(parameters=1)),
}
