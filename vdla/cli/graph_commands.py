"""`vdla graph`: what the compiler makes of a model, pass by pass."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import print_json, progress, say, table
from vdla.cli.model_options import (
    BatchOption,
    BindOption,
    CalibrationOption,
    DimOption,
    JsonOption,
    ModelArgument,
    PlaceOption,
    SeedOption,
    ShapeOption,
    compile_options,
)  # fmt: skip

if TYPE_CHECKING:
    from vdla.flows.graphs import GraphStage


def graph(
    model: str = ModelArgument,
    design: str = typer.Option(
        None, "--design", "-d", help="Go on for this design: quantise, rewrite and place; a YAML file or a name."
    ),
    stage: str = typer.Option(None, "--stage", metavar="NAME", help="Print this one alone, such as import or placed."),
    diff: bool = typer.Option(False, "--diff", help="After the first, only what each pass changed, as a unified diff."),
    counts: bool = typer.Option(False, "--counts", help="Only how many nodes and constants each pass leaves."),
    everything: bool = typer.Option(False, "--all", help="Passes that changed nothing, too."),
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    dim: list[str] = DimOption,
    bind: list[str] = BindOption,
    calibration: Path = CalibrationOption,
    seed: int = SeedOption,
    place: list[str] = PlaceOption,
    json: bool = JsonOption,
) -> None:
    """Print a model's graph as imported and after each pass that changed it.

    \b
    Examples:
      vdla graph model.onnx
      vdla graph resnet18 --diff
      vdla graph resnet18 --design pynq_z1 --counts
      vdla graph model.onnx --design tiny --stage placed
    """
    from vdla.errors import RunError
    from vdla.flows.graphs import graph_stages, stage_of

    if sum((bool(stage), diff, counts)) > 1:
        raise RunError("these exclude each other", where="--stage, --diff, --counts", hint="one of them")
    if design is None and calibration is not None:
        raise RunError("nothing is quantised without a design", where="--calibration", hint="--design NAME")
    options = compile_options(
        model, target="cpu" if design is None else "vdla", batch=batch, input_shape=input_shape, dim=dim, bind=bind,
        calibration=calibration, seed=seed, place=place,
    )  # fmt: skip
    with progress(quiet=json) as spinner:
        stages = graph_stages(model, design, options, on_stage=spinner)
    if stage:
        chosen = [stage_of(stages, stage)]
    else:
        chosen = [s for s in stages if s.changed or everything]
    if json:
        print_json({"model": model, "design": design, "stages": [s.json() for s in chosen]})
    else:
        say(counts_text(chosen) if counts else stages_text(chosen, diff))


def stages_text(stages: Sequence[GraphStage], diff: bool) -> str:
    """The text of each stage under its name; with `diff` the first, then what changed."""
    from vdla.flows.graphs import changes

    parts = []
    for number, stage in enumerate(stages):
        if not stage.changed:
            body = "(unchanged)\n"
        elif diff and number:
            body = changes(stages[number - 1], stage)
        else:
            body = stage.text
        parts.append(f"── {stage.name} ──\n{body}".rstrip("\n"))
    return "\n\n".join(parts)


def counts_text(stages: Sequence[GraphStage]) -> str:
    """A row for each stage: nodes, operators that came and went, constants."""
    columns = [("after", "left"), ("nodes", "right"), ("constants", "right"), ("MiB", "right"), ("operators", "left")]
    rows, before = [], None
    for stage in stages:
        graph = stage.graph
        size = sum(array.nbytes for array in graph.constants.values()) / 2**20
        row = [stage.name, f"{len(graph.nodes):,}", f"{len(graph.constants):,}", f"{size:,.2f}"]
        rows.append([*row, operators_text(stage, before)])
        before = stage
    return table(columns, rows)


def operators_text(stage: GraphStage, before: GraphStage | None) -> str:
    """How many of each operator there are or, after another stage, how many more or fewer."""
    count = operator_counts(stage)
    if before is None:
        return ", ".join(f"{n} {op}" for op, n in sorted(count.items()))
    earlier = operator_counts(before)
    changes = {op: count.get(op, 0) - earlier.get(op, 0) for op in sorted({*count, *earlier})}
    return ", ".join(f"{n:+d} {op}" for op, n in changes.items() if n) or "the same"


def operator_counts(stage: GraphStage) -> dict[str, int]:
    count: dict[str, int] = {}
    for node in stage.graph.nodes:
        count[node.op] = count.get(node.op, 0) + 1
    return count
