"""Layout transformation: pack and unpack operators where tensors cross between the host and the accelerator."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler.graph.flatten import MAP
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.placement import Run
from vdla.compiler.operators.registry import infer_type
from vdla.design import Design

PACKED = ".packed"
"""Suffix of a tensor's packed twin."""


def quantised_name(slot: str) -> str:
    """The quantised graph's tensor whose elements a program's slot holds."""
    return slot.removesuffix(PACKED).removesuffix(MAP)


def insert_layout_operators(graph: Graph, runs: list[Run], design: Design) -> tuple[Graph, list[Run]]:
    """Give every VDLA run packed tensors only: `x` from the host becomes `x.packed` by pack_nchwc before the run; a result the
    host reads is unpacked after it. Returns the graph in execution order and its runs."""
    consumers = graph.consumers()
    where = {node.name: k for k, run in enumerate(runs) for node in run.nodes}
    tensors: dict[str, TensorType] = {}
    laid_out: list[Run] = []
    packed: set[str] = set()
    for run in runs:
        if run.target != "vdla":
            laid_out.append(run)
            continue
        made = {out for node in run.nodes for out in node.outputs}
        used = dict.fromkeys(name for node in run.nodes for name in node.inputs if name and name not in graph.constants)
        before, after = [], []
        for name in used:
            if name in made or name in packed:
                continue
            before.append(_pack(name, design))
            packed.add(name)
        for name in dict.fromkeys(out for node in run.nodes for out in node.outputs):
            packed.add(name)
            leaves = any(runs[where[user.name]].target != "vdla" for user in consumers.get(name, ()))
            if leaves or name in graph.outputs:
                after.append(_unpack(name, graph))
        for node in before:
            tensors[node.outputs[0]] = infer_type("pack_nchwc", (graph.type_of(node.inputs[0]),), node.attributes)
        for name in made:
            tensors[name + PACKED] = infer_type("pack_nchwc", (graph.type_of(name),), _pack(name, design).attributes)
        laid_out += [
            Run("cpu", tuple(before)),
            replace(run, nodes=tuple(_on_packed(n, graph) for n in run.nodes)),
            Run("cpu", tuple(after)),
        ]
    laid_out = _joined(laid_out)
    nodes = tuple(node for run in laid_out for node in run.nodes)
    return graph.with_nodes(nodes, tensors), laid_out


def _pack(name: str, design: Design) -> Node:
    attributes = {"batch": design.gemm.batch, "block": design.gemm.block_in}
    return Node(f"pack.{name}", "pack_nchwc", (name,), (name + PACKED,), attributes, name)


def _unpack(name: str, graph: Graph) -> Node:
    return Node(f"unpack.{name}", "unpack_nchwc", (name + PACKED,), (name,), {"shape": graph.type_of(name).shape}, name)


def _on_packed(node: Node, graph: Graph) -> Node:
    """The node reading and writing packed activations; constants keep their names."""
    inputs = tuple(name if not name or name in graph.constants else name + PACKED for name in node.inputs)
    return replace(node, inputs=inputs, outputs=tuple(name + PACKED for name in node.outputs))


def _joined(runs: list[Run]) -> list[Run]:
    """Neighbouring runs on one target as one; empty ones gone."""
    joined: list[Run] = []
    for run in runs:
        if not run.nodes:
            continue
        if joined and joined[-1].target == run.target:
            joined[-1] = Run(run.target, joined[-1].nodes + run.nodes)
        else:
            joined.append(run)
    return joined
