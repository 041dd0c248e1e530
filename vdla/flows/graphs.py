"""`vdla graph`: a model as imported and after each pass, up to the placed graph of a design."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vdla.compiler.driver import place_model
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.text import graph_summary, graph_text
from vdla.compiler.targets import BuildOptions, Run
from vdla.design import Design
from vdla.errors import RunError
from vdla.flows.compilation import CompileOptions, design_for, prepare
from vdla.text import shortened

REWRITTEN, PLACED = "rewritten", "placed"
RUN_WIDTH = 110


@dataclass(frozen=True, slots=True)
class GraphStage:
    """The graph after one pass. changed: whether that changed anything. runs: which target has which nodes, once known."""

    name: str
    graph: Graph
    text: str
    changed: bool
    runs: tuple[Run, ...] = ()

    def json(self) -> dict[str, Any]:
        runs = [{"target": run.target, "nodes": [node.name for node in run.nodes]} for run in self.runs]
        return {"stage": self.name, "changed": self.changed, **graph_summary(self.graph), "runs": runs, "text": self.text}


def graph_stages(
    model: object,
    design: str | Path | Design | None,
    options: CompileOptions,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> list[GraphStage]:
    """Import, simplify and, where the options' targets have programs, quantise, rewrite and place `model`; build nothing.

    Errors are those of `compile_to_model`.
    """
    loaded = design_for(design, options)
    stages: list[GraphStage] = []

    def add(name: str, graph: Graph, runs: Sequence[Run] = ()) -> None:
        names = [stage.name for stage in stages]
        again = 1 + sum(other == name or other.startswith(f"{name}.") for other in names)
        text = graph_text(graph) + "".join(f"  {line}\n" for line in run_lines(runs))
        changed = not stages or text != stages[-1].text
        stages.append(GraphStage(name if again == 1 else f"{name}.{again}", graph, text, changed, tuple(runs)))

    prepared = prepare(model, options, on_stage=on_stage, dump=add)
    if loaded is not None:
        on_stage(f"placing for {loaded.name}")
        _, placed = place_model(prepared.quantised, loaded, BuildOptions(targets=options.targets, place=options.place))
        add(REWRITTEN, placed.graph)
        add(PLACED, placed.laid_out, placed.runs)
    return stages


def run_lines(runs: Sequence[Run]) -> list[str]:
    """A line for each run of nodes on one target."""
    return [shortened(f"on {run.target}: {', '.join(node.name for node in run.nodes)}", RUN_WIDTH) for run in runs]


def stage_of(stages: Sequence[GraphStage], name: str) -> GraphStage:
    """Raises `RunError` when there is none of that name."""
    for stage in stages:
        if stage.name == name:
            return stage
    names = [stage.name for stage in stages]
    near = difflib.get_close_matches(name, names, n=1)
    later = "--design NAME for what comes after quantising" if name in ("quantised", REWRITTEN, PLACED) else ""
    hint = later or (f"did you mean {near[0]}?" if near else "")
    raise RunError("no such stage", where="--stage", found=name, expected=" or ".join(names), hint=hint)


def changes(before: GraphStage, after: GraphStage) -> str:
    """A unified diff of two stages' text."""
    lines = difflib.unified_diff(before.text.splitlines(), after.text.splitlines(), before.name, after.name, lineterm="", n=1)
    return "\n".join(lines)
