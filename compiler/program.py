"""One VDLA program from a run of consecutive layers: kernels, DRAM plan, link.

layers ─ workload, configuration ─ kernel (expression, schedule, lower, emit; cached by both)
       └ constants, activations ─ DRAM plan ─▶ bindings ─▶ link ─▶ Program
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.memory_plan import Lifetime, plan_memory
from vdla.compiler.ops.configuration import Config, Configs
from vdla.compiler.ops.vdla.kernels import kernel, template_of
from vdla.compiler.ops.vdla.layers import activations_of, constants_of, macs_of, workload_of
from vdla.compiler.ops.vdla.moves import Move, move_constants
from vdla.compiler.ops.vdla.packing import packed_shape
from vdla.compiler.ops.vdla.workload import Workload
from vdla.compiler.targets.vdla_layout import PACKED
from vdla.compiler.targets.vdla_views import Places, placed
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.program import Program, Segment, Slot

Dump = Callable[[str, str], None]


@dataclass(frozen=True)
class Layer:
    """A kernel's workload and what its parameters are bound to; a node has one, or where it moves levels any number.

    activations: kernel parameter → graph tensor (packed in DRAM). constants: kernel parameter → packed array. completes: its
    output is whole when it is done.
    """

    name: str
    node: Node
    workload: Workload
    activations: dict[str, str]
    constants: Mapping[str, np.ndarray]
    completes: bool = True


def build_program(
    nodes: Sequence[Node],
    graph: Graph,
    design: Design,
    latency_hiding: bool,
    dump: Dump | None,
    configs: Configs = MappingProxyType({}),
) -> Program:
    """The program of `nodes` (quantised, unpacked, in order). Tensors they read from outside are its inputs; those read
    outside or leaving the graph are its outputs. Slots are named after the packed tensors.

    configs: of the workloads to build otherwise than by default. Raises `CompileError` for one that is not in its space.
    """
    places = placed(nodes, graph, design)
    layers = [layer for node in nodes for layer in _layers(node, graph, design, places)]
    inputs, outputs = _boundary(nodes, graph)
    addresses, segments, size = _dram_plan(layers, inputs, outputs, places)

    def slot(tensor: str) -> Slot:
        return Slot(tensor + PACKED, addresses[tensor], packed_shape(graph.type_of(tensor).shape, design), "int8")

    kernels = []
    for k, layer in enumerate(layers):
        node = layer.node
        config = _config(layer, design, latency_hiding, configs)
        emission = kernel(layer.workload, design, config, dump and _dump_of(f"{k:02}_{node.name}", dump))
        bindings = {p: addresses[t] for p, t in layer.activations.items()}
        bindings |= {p: addresses[f"{layer.name}.{p}"] for p in layer.constants}
        written = (slot(layer.activations["y"]),) if layer.completes else ()
        macs, moved = macs_of(node, graph), _unique_bytes(layer, places)
        kernels.append(LinkedKernel(emission, bindings, layer.name, node.op, written, macs, moved))
    return link(
        kernels, design, dram_bytes=size, segments=segments,
        inputs=[slot(t) for t in inputs], outputs=[slot(t) for t in outputs], serial=not latency_hiding,
    )  # fmt: skip


def _layers(node: Node, graph: Graph, design: Design, places: Places) -> list[Layer]:
    if node.name not in places.copies:
        activations, constants = activations_of(node, graph), constants_of(node, graph, design)
        return [Layer(node.name, node, workload_of(node, graph, design), activations, constants)]
    moves = places.copies[node.name]
    last = {move.target: k for k, move in enumerate(moves)}
    return [
        Layer(
            node.name if k == len(moves) - 1 else f"{node.name}.{k}", node, move.workload, _moved(move, graph),
            move_constants(move, graph, design), completes=last[move.target] == k,
        )
        for k, move in enumerate(moves)
    ]  # fmt: skip


def _moved(move: Move, graph: Graph) -> dict[str, str]:
    """The activations of one of a node's moves."""
    source = {} if move.source in graph.constants else {"x": move.source}
    return {**source, "y": move.target, **({"residual": move.target} if move.onto else {})}


def _config(layer: Layer, design: Design, latency_hiding: bool, configs: Configs) -> Config:
    """The configuration asked for, once it is known to be one; else the heuristic's."""
    template = template_of(layer.workload)
    if layer.workload not in configs:
        return (template.default if latency_hiding else template.serial)(layer.workload, design)
    config = configs[layer.workload]
    if problem := template.space(layer.workload, design).problem(config):
        raise CompileError(
            f"not a configuration of this {template.name} on {design.name}: {problem}",
            where=layer.node.name,
            found=str(config),
        )
    return config


def _dump_of(name: str, dump: Dump) -> Dump:
    return lambda stage, text: dump(f"{name}/{stage}", text)


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
    places: Places,
) -> tuple[dict[str, int], list[Segment], int]:
    """Byte address of every tensor and constant ("node.parameter"), the constants' segments, and the size of it all.

    Constants come first and stay; activations share what is left by lifetime, inputs alive from the start, outputs to the end.
    """
    align = places.design.dram_alignment
    addresses: dict[str, int] = {}
    segments: list[Segment] = []
    size = 0
    for layer in layers:
        for parameter, value in layer.constants.items():
            name = f"{layer.name}.{parameter}"
            addresses[name] = size
            segments.append(Segment(name, size, np.ascontiguousarray(value).view(np.uint8).reshape(-1)))
            size = ceil_div(size + value.nbytes, align) * align
    used = {name: [0] for name in inputs}
    for step, layer in enumerate(layers):
        for tensor in layer.activations.values():
            used.setdefault(tensor, []).append(step)
    for name in outputs:
        used.setdefault(name, []).append(len(layers))
    steps: dict[str, list[int]] = {}  # of each tensor with memory of its own
    for name, when in used.items():
        steps.setdefault(places.of(name)[0], []).extend(when)
    lifetimes = [Lifetime(t, places.bytes_of(t), min(when), max(when)) for t, when in steps.items()]
    offsets, activation_bytes = plan_memory(lifetimes, align)
    for name in used:
        root, offset = places.of(name)
        addresses[name] = size + offsets[root] + offset
    return addresses, segments, size + activation_bytes


def _unique_bytes(layer: Layer, places: Places) -> int:
    """Every tensor the layer touches, once."""
    activations = sum(places.bytes_of(tensor) for tensor in set(layer.activations.values()))
    return activations + sum(value.nbytes for value in layer.constants.values())
