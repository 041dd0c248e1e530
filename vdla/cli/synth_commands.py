"""`vdla synth`: area and clock on FPGAs, and the scripts for Vivado."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vdla.cli.console import print_json, progress, say, table
from vdla.cli.isa_commands import DesignOption
from vdla.cli.model_options import JsonOption

if TYPE_CHECKING:
    from vdla.flows.synth import SynthesisReport

MODULES_SHOWN = 8


def synth(
    design: str = DesignOption,
    target: str = typer.Option("", "--target", metavar="xc7|ecp5", help="One of the two; default both."),
    vivado: Path = typer.Option(None, "--vivado", metavar="DIR", help="Instead, write the sources and scripts for Vivado."),
    json: bool = JsonOption,
) -> None:
    """Synthesise a design's RTL: area on Xilinx 7-series (Yosys), area and place-and-route clock on ECP5 (nextpnr).

    The tools come from PyPI (pip install 'vdla[synth]'). A first run takes minutes; results are kept.

    \b
    Examples:
      vdla synth --design pynq_z1
      vdla synth --design tiny --target ecp5 --json
      vdla synth --design pynq_z1 --vivado build/pynq_z1
    """
    from vdla.errors import VdlaError
    from vdla.flows.synth import TARGETS, synthesise

    if target and target not in TARGETS:
        raise VdlaError("no such target", where="--target", found=target, expected=" or ".join(TARGETS))
    if vivado is not None:
        return _write_vivado(design, vivado, json)
    with progress(quiet=json) as stage:
        report = synthesise(design, (target,) if target else TARGETS, on_stage=stage)
    if json:
        return print_json(report.json())
    return say(synthesis_text(report))


def _write_vivado(design: str, folder: Path, json: bool) -> None:
    from vdla.design_file import load_design
    from vdla.hw.vivado.project import write_project

    loaded = load_design(design)
    written = write_project(loaded, folder)
    if json:
        return print_json({"design": loaded.name, "vivado": str(folder), "files": [str(path) for path in written]})
    return say(f"{len(written)} files in {folder}; run: vivado -mode batch -source build.tcl, in that folder")


def synthesis_text(report: SynthesisReport) -> str:
    """What was used of what there is, by module, and the clock."""
    parts = []
    if report.xc7 is not None:
        parts.append(_xc7_text(report.design, report.xc7))
    if report.ecp5 is not None:
        parts.append(_ecp5_text(report.design, report.ecp5))
    if report.cached:
        parts.append(f"from the cache: {', '.join(report.cached)}")
    return "\n\n".join(parts)


def _xc7_text(design: str, xc7: Any) -> str:
    keys = ("lut", "ff", "bram36", "dsp")
    columns = [("module", "left"), *((heading, "right") for heading in ("LUT", "FF", "BRAM36", "DSP"))]
    rows = [[module["name"], *(f"{module[key]:,}" for key in keys)] for module in xc7["modules"][:MODULES_SHOWN]]
    rest = xc7["modules"][MODULES_SHOWN:]
    if rest:
        rows.append([f"{len(rest)} others", *(f"{sum(module[key] for module in rest):,}" for key in keys)])
    rows.append(["all", *(f"{xc7[key]:,}" for key in keys)])
    if xc7["part"]:
        rows.append([f"of {xc7['part']}", *(f"{100 * xc7['used'][key]:.0f}%" for key in keys)])
    verdict = {True: f"fits {xc7['part']}", False: f"does NOT fit {xc7['part']}", None: "the part is not in the table"}
    return f"{design} on Xilinx 7-series: {verdict[xc7['fits']]}\n\n{table(columns, rows)}"


def _ecp5_text(design: str, ecp5: Any) -> str:
    if ecp5["why_not"]:
        return f"{design} does not fit an {ecp5['part']}: {ecp5['why_not']}"
    path = ecp5["critical_path"]
    return (
        f"{design} on {ecp5['part']}: {ecp5['fmax_mhz']:.1f} MHz placed and routed "
        f"(the design's clock: {ecp5['target_mhz']:g} MHz)\n"
        f"  {ecp5['lut']:,} LUT, {ecp5['ff']:,} FF, {ecp5['bram']} block RAMs, {ecp5['dsp']} multipliers\n"
        f"  critical path: {path['start']} → {path['end']}, {path['logic_ns']:.1f} ns of logic and "
        f"{path['routing_ns']:.1f} ns of routing\n"
        f"  through: {', '.join(path['through'])}"
    )
