"""One VDLA program from a run of consecutive layers: kernels, DRAM plan, link.

layers ─ workload ─ kernel (expression, tiling, schedule, lower, emit; cached by workload)
       └ constants, activations ─ DRAM plan ─▶ bindings ─▶ link ─▶ Program
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from vdla.compiler.backends.vdla.emit import Emission, emit
from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.memory_plan import Lifetime, plan_memory
from vdla.compiler.graph.placement import is_view
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ir.printer import to_text
from vdla.compiler.layout import PACKED
from vdla.compiler.ops.vdla.kernels import scheduled_kernel
from vdla.compiler.ops.vdla.layers import Layer, Workload, layer_of
from vdla.compiler.ops.vdla.packing import packed_shape
from vdla.compiler.passes.lower import lower
from vdla.design import Design
from vdla.isa.program import Program, Segment, Slot

Dump = Callable[[str, str], None]


def build_program(nodes: Sequence[Node], graph: Graph, design: Design, latency_hiding: bool, dump: Dump | None) -> Program:
    """The program of `nodes` (quantised, unpacked, in order). Tensors they read from outside are its inputs; those read
    outside or leaving the graph are its outputs. Slots are named after the packed tensors."""
    layers = [layer_of(node, graph, design) for node in nodes if not is_view(node, graph)]
    inputs, outputs = _boundary(nodes, graph)
    addresses, segments, size = _dram_plan(layers, inputs, outputs, _places(nodes, graph, design), graph, design)

    def slot(tensor: str) -> Slot:
        return Slot(tensor + PACKED, addresses[tensor], packed_shape(graph.type_of(tensor).shape, design), "int8")

    kernels = []
    for k, layer in enumerate(layers):
        emission = kernel(layer.workload, design, latency_hiding)
        if dump is not None:
            dump_kernel(f"{k:02}_{layer.node.name}", layer.workload, design, latency_hiding, dump)
        bindings = {p: addresses[t] for p, t in layer.activations.items()}
        bindings |= {p: addresses[f"{layer.node.name}.{p}"] for p in layer.constants}
        written = tuple(slot(t) for t in graph.tensors if t == layer.node.outputs[0])
        node, moved = layer.node, _unique_bytes(layer, graph, design)
        kernels.append(LinkedKernel(emission, bindings, node.name, node.op, written, layer.macs, moved))
    return link(
        kernels, design, dram_bytes=size, segments=segments,
        inputs=[slot(t) for t in inputs], outputs=[slot(t) for t in outputs], serial=not latency_hiding,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def kernel(workload: Workload, design: Design, latency_hiding: bool) -> Emission:
    """The instructions of a workload under its chosen tiling. Raises `CompileError` when no tiling fits."""
    return emit(lowered_kernel(workload, design, latency_hiding), design)


def lowered_kernel(
    workload: Workload, design: Design, latency_hiding: bool, dump: Callable[[str, Function], None] | None = None
) -> Function:
    """The loop nest of a workload after scheduling and lowering."""
    scheduled = scheduled_kernel(workload, design, vdla_intrinsics(design), latency_hiding)
    return lower(scheduled, dump)


def dump_kernel(name: str, workload: Workload, design: Design, latency_hiding: bool, dump: Dump) -> None:
    """Every stage of one kernel as text."""
    lowered_kernel(workload, design, latency_hiding, lambda stage, func: dump(f"{name}/{stage}", to_text(func)))


Place = tuple[str, int]
"""A tensor with memory of its own, and a byte offset in it."""


def _places(nodes: Sequence[Node], graph: Graph, design: Design) -> Callable[[str], Place]:
    """Where tensors lie: a reshape's output is its input; a concat's inputs are parts of its output, in a row."""
    inside: dict[str, Place] = {}

    def place(tensor: str) -> Place:
        offset = 0
        while tensor in inside:
            tensor, further = inside[tensor]
            offset += further
        return tensor, offset

    for node in nodes:
        if node.op == "concat":
            offset = 0
            for name in node.inputs:
                inside[place(name)[0]] = node.outputs[0], offset
                offset += _packed_bytes(name, graph, design)
        elif is_view(node, graph):
            inside[node.outputs[0]] = node.inputs[0], 0
    return place


def _packed_bytes(tensor: str, graph: Graph, design: Design) -> int:
    return math.prod(packed_shape(graph.type_of(tensor).shape, design))


def _boundary(nodes: Sequence[Node], graph: Graph) -> tuple[list[str], list[str]]:
    """Tensors the run reads and does not make, and tensors it makes that are read elsewhere."""
    inside = {node.name for node in nodes}
    made = {out for node in nodes for out in node.outputs}
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name and name not in graph.constants)
    consumers = graph.consumers()
    outputs = [
        name
        for node in nodes
        for name in node.outputs
        if name in graph.outputs or any(user.name not in inside for user in consumers.get(name, ()))
    ]
    return [name for name in read if name not in made], outputs


def _dram_plan(
    layers: Sequence[Layer],
    inputs: Sequence[str],
    outputs: Sequence[str],
    place: Callable[[str], Place],
    graph: Graph,
    design: Design,
) -> tuple[dict[str, int], list[Segment], int]:
    """Byte address of every tensor and constant ("node.parameter"), the constants' segments, and the size of it all.

    Constants come first and stay; activations share what is left by lifetime, inputs alive from the start, outputs to the end.
    """
    align = design.dram_alignment
    addresses: dict[str, int] = {}
    segments: list[Segment] = []
    size = 0
    for layer in layers:
        for parameter, value in layer.constants.items():
            name = f"{layer.node.name}.{parameter}"
            addresses[name] = size
            segments.append(Segment(name, size, np.ascontiguousarray(value).view(np.uint8).reshape(-1)))
            size = -(-(size + value.nbytes) // align) * align
    used = {name: [0] for name in inputs}
    for step, layer in enumerate(layers):
        for tensor in layer.activations.values():
            used.setdefault(tensor, []).append(step)
    for name in outputs:
        used.setdefault(name, []).append(len(layers))
    steps: dict[str, list[int]] = {}  # of each tensor with memory of its own
    for name, when in used.items():
        steps.setdefault(place(name)[0], []).extend(when)
    lifetimes = [Lifetime(t, _packed_bytes(t, graph, design), min(when), max(when)) for t, when in steps.items()]
    offsets, activation_bytes = plan_memory(lifetimes, align)
    for name in used:
        root, offset = place(name)
        addresses[name] = size + offsets[root] + offset
    return addresses, segments, size + activation_bytes


def _unique_bytes(layer: Layer, graph: Graph, design: Design) -> int:
    """Every tensor the layer touches, once."""
    activations = sum(_packed_bytes(t, graph, design) for t in layer.activations.values())
    return activations + sum(value.nbytes for value in layer.constants.values())
