"""Area on Xilinx 7-series parts, by Yosys: LUT, FF, BRAM36 and DSP48E1, in all and by module.

The hierarchy is kept: each module is mapped once however often it is used, which is what makes this a matter of minutes. It
costs a few LUTs at the borders, so the figures are an upper bound of what a flattening tool reaches; Vivado also puts two
small functions in one LUT where Yosys counts two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from vdla.hw.synth.tools import YOSYS

STATISTICS = "stat.json"

LUTS = {
    **{f"LUT{inputs}": 1 for inputs in range(1, 7)},
    **{"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "INV": 0},  # an inverter disappears into what it drives
    **{"RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4},
    **{"RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM32M": 4, "RAM64M": 4},
}
"""LUTs that a cell takes; a LUT of a SLICEM is also 64 bits of RAM or a shift register of 32."""
BRAM36 = {"RAMB36E1": 1.0, "RAMB18E1": 0.5}
FLIP_FLOP = re.compile(r"FD[RSCP]E(_1)?|LD[CP]E")
DSP = {"DSP48E1": 1}


@dataclass(frozen=True, slots=True)
class Area:
    """Cells of a 7-series part. bram36: 36 Kbit blocks, halves counted as halves."""

    lut: int = 0
    ff: int = 0
    bram36: float = 0.0
    dsp: int = 0

    def __add__(self, other: Area) -> Area:
        return Area(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Area)))

    def __mul__(self, count: int) -> Area:
        return Area(*(getattr(self, f.name) * count for f in fields(Area)))


def synthesise(folder: Path, sources: list[str], top: str, parameters: Mapping[str, int]) -> dict[str, Area]:
    """Module → the area of all its instances without the modules in it, so that the sum is the area of `top`.

    folder: holds the Verilog files named in `sources` and the headers they include.
    """
    (folder / "xc7.ys").write_text(script(sources, top, parameters), encoding="utf-8")
    YOSYS.run(["-q", "xc7.ys"], folder)
    return area_by_module(json.loads((folder / STATISTICS).read_text(encoding="utf-8")), top)


def script(sources: list[str], top: str, parameters: Mapping[str, int]) -> str:
    """The recipe."""
    chosen = "".join(f" -chparam {name} {value}" for name, value in parameters.items())
    return "\n".join(
        [
            f"read_verilog -I. {' '.join(sources)}",
            f"hierarchy -check -top {top}{chosen}",
            # no pads: the memory ports of the shell stay inside the chip; the last label only repeats checks, slowly
            f"synth_xilinx -family xc7 -noiopad -top {top} -run begin:check",
            f"tee -q -o {STATISTICS} stat -json",
            "",
        ]
    )


def area_by_module(statistics: Mapping, top: str) -> dict[str, Area]:
    """From what `stat -json` says about each module."""
    modules = {_plain(name): cells["num_cells_by_type"] for name, cells in statistics["modules"].items()}
    counts = _instances(modules, _plain(top))
    areas: dict[str, Area] = {}
    for name, count in counts.items():
        module = _base_name(name)
        areas[module] = areas.get(module, Area()) + _own_area(modules[name]) * count
    return areas


def _instances(modules: Mapping[str, Mapping[str, int]], top: str) -> dict[str, int]:
    """How often each module is used below and including `top`."""
    counts: dict[str, int] = {}

    def visit(name: str, count: int) -> None:
        counts[name] = counts.get(name, 0) + count
        for cell, times in modules[name].items():
            if _plain(cell) in modules:
                visit(_plain(cell), count * times)

    visit(top, 1)
    return counts


def _own_area(cells: Mapping[str, int]) -> Area:
    return Area(
        sum(count * LUTS.get(cell, 0) for cell, count in cells.items()),
        sum(count for cell, count in cells.items() if FLIP_FLOP.fullmatch(cell)),
        sum(count * BRAM36.get(cell, 0.0) for cell, count in cells.items()),
        sum(count * DSP.get(cell, 0) for cell, count in cells.items()),
    )


def _plain(name: str) -> str:
    """Yosys puts a backslash before names that come from the source."""
    return name.removeprefix("\\")


def _base_name(name: str) -> str:
    """The module in the source: `$paramod$81c5…\\vdla_dot` and `$paramod\\vdla_fifo\\DEPTH=…` are vdla_dot and vdla_fifo."""
    found = re.match(r"\$paramod(?:\$[0-9a-f]+)?\\(\w+)", name)
    return found[1] if found else name
