"""Writes a folder from which Vivado builds a bitstream: the RTL, its headers for the design, the constraints and the script."""

from __future__ import annotations

from pathlib import Path

from vdla.design import Design
from vdla.errors import RunError
from vdla.files import require_writable_folder, write_file
from vdla.hw.build import RTL, rtl_headers, rtl_sources

TEMPLATES = Path(__file__).resolve().parent

BOARDS = {"pynq-z1": "zynq7.tcl", "pynq-z2": "zynq7.tcl", "kv260": "zynqmp.tcl"}
"""Board → the script that puts its processing system in the block design."""
HP_PORTS = 4
"""High-performance ports of either processing system into its DRAM."""


def write_project(design: Design, folder: Path) -> list[Path]:
    """The files written. Raises `RunError` for a design without a board that the scripts know."""
    board = design.board
    if board is None or board.name not in BOARDS:
        raise RunError(
            "no Vivado script for this design's board",
            where=f"design {design.name}",
            found=board.name if board else None,
            expected=" or ".join(BOARDS),
            hint="board: {name: pynq-z1, part: xc7z020clg400-1, host: cortex-a9}",
        )
    require_writable_folder(folder)
    rtl = {path.name: path.read_text(encoding="utf-8") for path in [*rtl_sources(), *sorted(RTL.glob("*.vh"))]}
    files = {f"rtl/{name}": text for name, text in (rtl | rtl_headers(design)).items()}
    for name in ("build.tcl", BOARDS[board.name]):
        files["processor.tcl" if name != "build.tcl" else name] = (TEMPLATES / name).read_text(encoding="utf-8")
    files["settings.tcl"] = settings(design)
    files["constraints.xdc"] = CONSTRAINTS
    return [write_file(folder / name, text) for name, text in files.items()]


def settings(design: Design) -> str:
    """What the scripts need to know of the design, as Tcl variables."""
    assert design.board is not None
    masters = (
        ["m_axi"] if design.memory.ports == "shared" else [f"m_axi_{unit}" for unit in ("fetch", "load", "compute", "store")]
    )
    values = {
        "design_name": design.name,
        "design_hash": design.hash_hex,
        "part": design.board.part,
        "clock_mhz": f"{design.clock_mhz:g}",
        "bus_bits": str(design.memory.bus_bits),
        "masters": "{" + " ".join(masters) + "}",
    }
    lines = [f"# Of design {design.name}; written by: vdla synth --design {design.name} --vivado DIR"]
    return "\n".join(lines + [f"set {name} {value}" for name, value in values.items()]) + "\n"


CONSTRAINTS = """\
# Everything is inside the chip and in one clock domain, the processing system's FCLK/PL0 clock, which Vivado constrains from
# the block design. The reset is registered once in vdla_shell, so its path in need not meet timing.
set_false_path -to [get_pins -hierarchical -filter {NAME =~ */vdla/inst/rst_reg/D}]
"""
