"""`vdla cosim`: the RTL against the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import print_json, progress, say, table
from vdla.cli.model_options import (
    BatchOption,
    BindOption,
    CalibrationOption,
    DesignOption,
    DimOption,
    HidingOption,
    JsonOption,
    ModelArgument,
    PlaceOption,
    SeedOption,
    ShapeOption,
    compile_options,
)  # fmt: skip

if TYPE_CHECKING:
    from vdla.flows.cosim import CosimReport, LayerCycles


def cosim(
    model: str = ModelArgument,
    design: str = DesignOption,
    layers: str = typer.Option(
        "", "--layers", metavar="LIST", help="Names or positions, or ranges a..b, with commas; default all."
    ),
    latency: int = typer.Option(None, "--latency", metavar="CYCLES", min=1, help="Read latency in place of the design's."),
    stress: int = typer.Option(
        None, "--stress", metavar="SEED", min=0, help="A memory that pauses, delays and reorders at random."
    ),
    waves: Path = typer.Option(None, "--waves", metavar="FILE", help="Write the RTL's waveforms (FST)."),
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    dim: list[str] = DimOption,
    bind: list[str] = BindOption,
    calibration: Path = CalibrationOption,
    seed: int = SeedOption,
    latency_hiding: bool = HidingOption,
    place: list[str] = PlaceOption,
    json: bool = JsonOption,
) -> int:
    """Run a model's programs on the RTL, cycle by cycle, and on the simulator; compare every byte and every layer's cycles.

    Exit code 1 when a byte differs, an instruction retires out of order, or cycles differ by more than 1 % in a layer or
    0.5 % in all. The RTL is built once for a design, which takes a minute or so, and kept.

    \b
    Examples:
      vdla cosim digits --design tiny
      vdla cosim resnet18 --layers 0..2 --waves resnet18.fst
      vdla cosim digits --design tiny --stress 7
    """
    from vdla.files import require_writable_file
    from vdla.flows.cosim import CosimOptions, cosimulate

    if waves is not None:
        require_writable_file(waves)
    options = compile_options(
        model, batch=batch, input_shape=input_shape, dim=dim, bind=bind, calibration=calibration, seed=seed,
        latency_hiding=latency_hiding, place=place,
    )  # fmt: skip
    with progress(quiet=json) as stage:
        report = cosimulate(model, design, options, CosimOptions(layers, latency, stress, waves), on_stage=stage)
    if json:
        print_json(report.json())
    else:
        say(cosim_text(report))
        if waves is not None:
            say(f"waves: {waves}")
    return 0 if report.bit_exact is not False and report.within_tolerance else 1


VERDICTS = {
    True: "every byte and the order of retirement are the same",
    False: "NOT the same",
    None: "nothing ran on the accelerator",
}


def cosim_text(report: CosimReport) -> str:
    """The per-layer table, the totals, and what differs."""
    columns = [("layer", "left"), ("simulator", "right"), ("RTL", "right"), ("difference", "right")]
    total = report.total
    lines = [table(columns, [_row(layer) for layer in [*report.layers, total]]), ""]
    lines.append(
        f"{report.model} on {report.design}: "
        + VERDICTS[report.bit_exact]
        + f"; RTL at {report.cycles_per_second / 1e6:.2f} M cycles/s"
    )
    if not report.timed:
        lines.append("cycles mean nothing with this memory")
    elif not report.within_tolerance:
        lines.append("cycles differ by more than 1 % in a layer or 0.5 % in all")
    return "\n".join([*lines, *(f"differs: {text}" for text in report.differences)])


def _row(layer: LayerCycles) -> list[str]:
    from vdla.report.run_report import LABEL_WIDTH, shortened  # heavy, and after the work

    name = shortened(layer.name, LABEL_WIDTH)
    return [name, f"{layer.sim_cycles:,}", f"{layer.rtl_cycles:,}", f"{100 * layer.difference:+.2f}%"]
