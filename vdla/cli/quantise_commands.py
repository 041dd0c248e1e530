"""`vdla quantize`."""

from __future__ import annotations

from dataclasses import replace
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
    SeedOption,
    ShapeOption,
    compile_options,
)  # fmt: skip

if TYPE_CHECKING:
    from vdla.flows.quantise import Quantisation


def quantize(
    model: str = ModelArgument,
    calibration: Path = CalibrationOption,
    batch: int = BatchOption,
    input_shape: list[str] = ShapeOption,
    dim: list[str] = DimOption,
    bind: list[str] = BindOption,
    method: str = typer.Option("best", "--method", help="best, mse, minmax, percentile or entropy: how ranges are chosen."),
    percentile: float = typer.Option(99.99, "--percentile", min=50, max=100, help="Of --method percentile."),
    bias_correction: bool = typer.Option(True, "--bias-correction/--no-bias-correction", help="Take mean errors into biases."),
    equalise: bool = typer.Option(
        False, "--equalise/--no-equalise", help="Scale channels between layers to fill their levels."
    ),
    budget: float = typer.Option(
        None, "--budget", metavar="DB", help="Leave the costliest layers in float until the outputs' signal to noise is this."
    ),
    report: bool = typer.Option(False, "--report", help="Ranges, saturation and signal to noise of every layer."),
    seed: int = SeedOption,
    json: bool = JsonOption,
) -> None:
    """Quantise a float model to int8 and say what that costs.

    \b
    Examples:
      vdla quantize digits --report
      vdla quantize model.onnx --calibration samples.npz --report
      vdla quantize model.onnx --calibration folder --method entropy --equalise
      vdla quantize model.onnx --calibration samples.npz --budget 30
    """
    import sys

    from vdla.compiler.quantise.histogram import Method
    from vdla.compiler.quantise.quantise import QuantiseOptions
    from vdla.errors import RunError
    from vdla.flows.quantise import quantise_model

    if method not in list(Method):
        raise RunError("no such method", where="--method", found=method, expected=", ".join(Method))
    options = compile_options(
        model, batch=batch, input_shape=input_shape, dim=dim, bind=bind, calibration=calibration, seed=seed
    )
    quantising = replace(
        QuantiseOptions(), method=Method(method), percentile=percentile, bias_correction=bias_correction, equalise=equalise,
        budget_db=budget,
    )  # fmt: skip
    with progress(quiet=json) as stage:
        found = quantise_model(model, options, quantising, on_stage=stage)
    for warning in found.warnings:
        print(f"vdla: warning: {warning}", file=sys.stderr)
    print_json(found.json()) if json else say(quantisation_text(found, layers=report))


def quantisation_text(found: Quantisation, layers: bool) -> str:
    """Layers where they are asked for, what other inputs do to ranges from noise, and a line for the whole."""
    from vdla.flows.quantise import SATURATES
    from vdla.text import shortened

    lines = []
    if layers:
        names = ("low", "high", "scale", "zero", "clipped", "weights", "SQNR dB")
        columns = [("layer", "left"), ("op", "left"), *((name, "right") for name in names)]
        rows = []
        for layer in found.layers:
            used = found.levels_used.get(layer.node)
            numbers = [f"{layer.low:.4g}", f"{layer.high:.4g}", f"{layer.scale:.3g}", str(layer.zero_point)]
            share = f"{used:.0%}" if used is not None else ""
            rows.append(
                [shortened(layer.source, 44), layer.op, *numbers, f"{layer.clipped:.2%}", share, f"{layer.sqnr_db:.1f}"]
            )
        lines += [table(columns, rows), ""]
    elif clipped := [layer for layer in found.layers if layer.clipped > SATURATES]:
        worst = max(clipped, key=lambda layer: layer.clipped)
        lines.append(f"{len(clipped)} layers saturate, most {worst.source}: {worst.clipped:.1%} of its values")
    for other in found.saturation:
        lines.append(
            f"inputs {other.inputs}: {other.sqnr_db:.1f} dB at the outputs; most beyond its range is {other.tensor}, "
            f"{other.clipped:.1%} of its values"
        )
    lines.append(
        f"{found.model}: {found.sqnr_db:.1f} dB of signal to noise at the outputs, on calibration inputs "
        f"({found.samples} samples, {found.method}); {len(found.left_in_float)} operators in float"
    )
    return "\n".join(lines)
