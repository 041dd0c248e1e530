"""How long the accelerator would take for a layer, as its bound says: cheap, and rather too little than too much."""

from __future__ import annotations

import math

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.ops.vdla.packing import packed_shape
from vdla.design import Design

OVER_BOUND = 1.1
"""Layers take about so much longer than their bound; where they take longer still, the accelerator has the benefit of it."""
INSTRUCTIONS = 8
"""That a layer's first transfers and last results wait for, one after another."""
ALU_READS = 4
"""Cycles of the ALU for a tile of an elementwise layer."""


def layer_seconds(node: Node, graph: Graph, design: Design) -> float:
    """Of a node that the accelerator takes: GEMM, ALU or bus, whichever takes longest, and the latency of memory."""
    from vdla.compiler.ops.vdla.layers import workload_of  # schedules
    from vdla.compiler.targets.vdla_views import copies_of, moves

    workloads = copies_of(node, graph, design) if moves(node) else [workload_of(node, graph, design)]
    if not workloads:
        return 0.0
    gemm = alu = 0
    for workload in workloads:
        tiles, uops = int(getattr(workload, "out_tiles", 0)), int(getattr(workload, "gemm_uops", 0))
        gemm += uops
        alu += tiles if uops else tiles * max(ALU_READS, math.prod(getattr(workload, "kernel", ())))
    bus = sum(packed_bytes(name, graph, design) for name in {*node.inputs, *node.outputs} if name) / design.bytes_per_cycle
    latency = INSTRUCTIONS * (design.memory.read_latency + design.memory.write_latency)
    return (max(gemm, alu, bus) * OVER_BOUND + latency) / (design.clock_mhz * 1e6)


def packed_bytes(name: str, graph: Graph, design: Design) -> int:
    """Of a constant its own bytes; of an activation those of its tiles."""
    t = graph.type_of(name)
    return t.bytes if name in graph.constants or len(t.shape) not in (2, 3, 4) else math.prod(packed_shape(t.shape, design))
