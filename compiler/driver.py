"""From a quantised graph to a `CompiledModel`: place, fold first layers, partition, lay out, build programs.

quantised ─ fold_first_layers ─ place ─ partition ─ insert_layout_operators ─ fuse ─▶ steps: host groups and programs
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vdla.compiler.graph.flatten import flatten_to_convolution
from vdla.compiler.graph.fuse import FusionGroup, fuse
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.placement import Run, place_and_partition
from vdla.compiler.layout import insert_layout_operators
from vdla.compiler.model import CompiledModel, HostStep, Step, VdlaStep
from vdla.compiler.ops.vdla.first_layer import fold_first_layers
from vdla.compiler.ops.vdla.layers import refusal
from vdla.compiler.program import build_program
from vdla.design import Design

Dump = Callable[[str, str], None]
"""Receives the name of a stage and its text (for --dump-ir)."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """latency_hiding: double-buffer tiles so that loads, computation and stores overlap."""

    latency_hiding: bool = True
    dump: Dump | None = None


def build_model(quantised: Graph, design: Design, options: BuildOptions, float_graph: Graph | None = None) -> CompiledModel:
    """Compile `quantised` for `design`. Raises `CompileError` when a layer cannot be lowered."""
    begun = time.perf_counter()
    flattened = flatten_to_convolution(quantised, lambda node, graph: not refusal(node, graph, design))
    folded = fold_first_layers(flattened, design)
    placement, runs = place_and_partition(folded, lambda node, graph: refusal(node, graph, design))
    placed, laid_out = insert_layout_operators(folded, runs, design)
    groups = host_groups(placed, laid_out)
    steps = [step for run in laid_out for step in _steps(run, groups, folded, design, options)]
    seconds = {"compile_s": time.perf_counter() - begun}
    return CompiledModel(design, quantised, placed, placement, tuple(steps), float_graph, seconds)


def host_groups(placed: Graph, runs: list[Run]) -> dict[str, FusionGroup]:
    """The host's operators fused, each group by the name of its last node, where it runs."""
    on_host = {node.name for run in runs if run.target == "cpu" for node in run.nodes}
    groups = fuse(placed, lambda node: node.name in on_host)
    return {group.nodes[-1].name: group for group in groups}


def _steps(run: Run, groups: Mapping[str, FusionGroup], folded: Graph, design: Design, options: BuildOptions) -> list[Step]:
    if run.target == "cpu":
        return [HostStep(groups[node.name]) for node in run.nodes if node.name in groups]
    originals = {node.name: node for node in folded.nodes}
    program = build_program([originals[node.name] for node in run.nodes], folded, design, options.latency_hiding, options.dump)
    return [VdlaStep(run.nodes[0].name, program, run.nodes)]
