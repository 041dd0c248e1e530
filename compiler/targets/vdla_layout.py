"""Layout transformation: pack and unpack operators where tensors cross between the accelerator and other targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vdla.compiler.graph.flatten import MAP
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type
from vdla.compiler.targets.backend import Run
from vdla.compiler.targets.placement import joined
from vdla.design import Design

PACKED = ".packed"
"""Suffix of a tensor's packed twin."""


def quantised_name(slot: str) -> str:
    """The quantised graph's tensor whose elements a program's slot holds."""
    return slot.removesuffix(PACKED).removesuffix(MAP)


def insert_layout_operators(
    graph: Graph, runs: Sequence[Run], design: Design, target: str, host: str
) -> tuple[Graph, list[Run]]:
    """Give every run on `target` packed tensors only: `x` from elsewhere becomes `x.packed` by pack_nchwc on the host before
    the run; a result that is read elsewhere is unpacked after it. Returns the graph in execution order and its runs."""
    consumers = graph.consumers()
    where = {node.name: run.target for run in runs for node in run.nodes}
    tensors: dict[str, TensorType] = {}
    laid_out: list[Run] = []
    packed: set[str] = set()
    for run in runs:
        if run.target != target:
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
            leaves = any(where[user.name] != target for user in consumers.get(name, ()))
            if leaves or name in graph.outputs:
                after.append(_unpack(name, graph))
        for node in before:
            tensors[node.outputs[0]] = infer_type("pack_nchwc", (graph.type_of(node.inputs[0]),), node.attributes)
        for name in made:
            tensors[name + PACKED] = infer_type("pack_nchwc", (graph.type_of(name),), _pack(name, design).attributes)
        on_packed = tuple(_on_packed(node, graph) for node in run.nodes)
        laid_out += [Run(host, tuple(before)), Run(target, on_packed), Run(host, tuple(after))]
    laid_out = joined(laid_out)
    nodes = tuple(node for run in laid_out for node in run.nodes)
    return graph.with_nodes(nodes, tensors), laid_out


def _pack(name: str, design: Design) -> Node:
    attributes = {"batch": design.gemm.batch, "block": design.channel_block}
    return Node(f"pack.{name}", "pack_nchwc", (name,), (name + PACKED,), attributes, name)


def _unpack(name: str, graph: Graph) -> Node:
    return Node(f"unpack.{name}", "unpack_nchwc", (name + PACKED,), (name,), {"shape": graph.type_of(name).shape}, name)


def _on_packed(node: Node, graph: Graph) -> Node:
    """The node reading and writing packed activations; constants keep their names."""
    inputs = tuple(name if not name or name in graph.constants else name + PACKED for name in node.inputs)
    return replace(node, inputs=inputs, outputs=tuple(name + PACKED for name in node.outputs))
