"""From a quantised graph to a `CompiledModel`: rewrite, place, partition, lay out, build; each by asking the targets.

quantised ─ rewrite ─ place and partition ─ layout ─▶ runs on targets ─ build ─▶ steps
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import MappingProxyType

from vdla.compiler.graph.graph import Graph
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import Backend, BuildOptions, Placed, backend_of, host
from vdla.compiler.targets.placement import Placement, place_and_partition
from vdla.compiler.targets.wishes import wishes_for
from vdla.design import Design


def build_model(
    quantised: Graph,
    design: Design | None,
    options: BuildOptions,
    float_graph: Graph | None = None,
    in_float: Mapping[str, str] = MappingProxyType({}),
) -> CompiledModel:
    """Compile `quantised` for `design`, which targets with programs need. A float graph is compiled too: the host runs it.

    in_float: by node that was not quantised, why: that is its reason on the host. Raises `CompileError` when a layer cannot be
    lowered, a target is not known or a design is missing.
    """
    begun = time.perf_counter()
    placement, placed = place_model(quantised, design, options)
    builders = {backend.name: backend.build(placed) for backend in backends_of(options)}
    steps = tuple(step for run in placed.runs for step in builders[run.target](run))
    seconds = {"compile_s": time.perf_counter() - begun}
    placement = placement.because(in_float, host().name)
    return CompiledModel(design, quantised, placed.laid_out, placement, steps, float_graph, seconds)


def place_model(quantised: Graph, design: Design | None, options: BuildOptions) -> tuple[Placement, Placed]:
    """All but the building: `quantised` rewritten, every node on a target, laid out. Raises as `build_model`."""
    backends = backends_of(options)
    graph = quantised
    for backend in backends:
        graph = backend.rewrite(graph, design)
    placement, runs = place_and_partition(graph, backends, design, wishes_for(graph, options.place))
    laid_out = graph
    for backend in backends:
        laid_out, runs = backend.layout(laid_out, runs, design)
    return placement, Placed(graph, laid_out, tuple(runs), design, options)


def backends_of(options: BuildOptions) -> list[Backend]:
    """The targets asked for, the preferred first, and the host. Raises `CompileError` for one that is not known."""
    return [*(backend_of(name) for name in options.targets if name != host().name), host()]
