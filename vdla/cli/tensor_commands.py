"""`vdla compare-tensors`: where two executions of a model part."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import print_json, say, table
from vdla.cli.model_options import JsonOption

if TYPE_CHECKING:
    from vdla.flows.compare_tensors import TensorComparison, TensorsReport

NAME_WIDTH = 44


def compare_tensors(
    a: Path = typer.Argument(metavar="A", help="An .npz from `vdla run --save-tensors`: what is expected."),
    b: Path = typer.Argument(metavar="B", help="Another: what was found."),
    rtol: float = typer.Option(1e-4, "--rtol", min=0, help="An element may differ by this share of A's value …"),
    atol: float = typer.Option(1e-5, "--atol", min=0, help="… and by this much besides."),
    json: bool = JsonOption,
) -> int:
    """Name the first tensor, in the order they were computed, that differs between two files, and by how much; then the rest.

    Exit code 1 when one differs.

    \b
    Examples:
      vdla run model.onnx --target cpu --save-tensors cpu.npz
      vdla run model.onnx --target cpu --save-tensors reference.npz --tensors-from reference
      vdla compare-tensors reference.npz cpu.npz
      vdla compare-tensors simulator.npz rtl.npz --rtol 0 --atol 0
    """
    from vdla.flows.compare_tensors import compare_tensors as compare

    report = compare(a, b, rtol, atol)
    print_json(report.json()) if json else say(report_text(report))
    return 1 if report.differing else 0


def report_text(report: TensorsReport) -> str:
    """The first that differs, a row for each that does, and what could not be compared."""
    from vdla.text import shortened

    lines = []
    if differing := report.differing:
        lines += [f"the first that differs: {_said(differing[0])}", ""]
        columns = [("tensor", "left"), ("type", "left"), ("largest", "right"), ("relative", "right"), ("elements", "right")]
        rows = [[shortened(tensor.name, NAME_WIDTH), *_row(tensor)] for tensor in differing]
        lines += [table(columns, rows), ""]
    within = f"within rtol {report.rtol:g}, atol {report.atol:g}"
    lines.append(f"{len(report.tensors)} tensors in both files, {len(differing)} differ, the others are equal {within}")
    for file, names in ((report.a, report.only_in_a), (report.b, report.only_in_b)):
        if names:
            lines.append(f"only in {file}: {len(names)}, {', '.join(names[:3])}{' …' if len(names) > 3 else ''}")
    return "\n".join(lines)


def _said(tensor: TensorComparison) -> str:
    apart = tensor.apart
    if apart is None:
        return f"{tensor.name}: {tensor.type_a} in A, {tensor.type_b} in B"
    where = "[" + ", ".join(map(str, apart.where)) + "]"
    return (
        f"{tensor.name} {tensor.type_a}: {apart.differing:,} of {apart.elements:,} elements, by {apart.largest:.4g} at most, "
        f"at {where} ({apart.expected:.7g} in A, {apart.found:.7g} in B); relative {apart.relative:.3g}"
    )


def _row(tensor: TensorComparison) -> list[str]:
    apart = tensor.apart
    if apart is None:
        return [f"{tensor.type_a}, {tensor.type_b}", "", "", "all"]
    share = f"{apart.differing:,} of {apart.elements:,}"
    return [tensor.type_a, f"{apart.largest:.4g}", f"{apart.relative:.3g}", share]
