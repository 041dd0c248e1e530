"""`vdla synth`: what a design's RTL costs on an FPGA, and how fast it would run. Results are kept, since they take minutes."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vdla.design import Design
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.files import cache_folder, keep
from vdla.hw.build import RTL, TOP, rtl_headers, rtl_sources
from vdla.hw.synth import ecp5, xilinx
from vdla.hw.synth.parts import ECP5_85K, part_of
from vdla.hw.synth.tools import NEXTPNR, YOSYS, Tool

TARGETS = ("xc7", "ecp5")
MACS_MAX = 4096
"""Above it, synthesis in the WebAssembly build would take hours or more memory than its 4 GB."""
PACKED = {"PACKED_PRODUCTS": 1}  # two products a DSP48; an ECP5's 18x18 multiplier has no room for two


@dataclass(frozen=True, slots=True)
class SynthesisReport:
    """xc7, ecp5: as in `vdla synth --json`; None when not asked for."""

    design: str
    design_hash: str
    build_hash: str
    xc7: Mapping[str, Any] | None
    ecp5: Mapping[str, Any] | None
    cached: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        return {
            "design": self.design,
            "design_hash": self.design_hash,
            "build_hash": self.build_hash,
            "xc7": self.xc7,
            "ecp5": self.ecp5,
            "cached": list(self.cached),
        }


def synthesise(
    design: str | Path | Design, targets: tuple[str, ...] = TARGETS, on_stage: Callable[[str], None] = lambda stage: None
) -> SynthesisReport:
    """Area on Xilinx 7-series, and area and place-and-route clock on an ECP5-85k.

    Raises `RunError` when a tool is missing or fails, or the design is too large to try.
    """
    loaded = load_design(design)
    if loaded.macs_per_cycle > MACS_MAX:
        raise RunError(
            "the GEMM core is too large to synthesise here",
            where=f"design {loaded.name}",
            found=f"{loaded.macs_per_cycle:,} MAC a cycle",
            expected=f"at most {MACS_MAX:,}",
            hint="vdla synth --vivado DIR",
        )
    sources = _sources(loaded)
    results: dict[str, Mapping[str, Any]] = {}
    cached = []
    for target in targets:
        tools = (YOSYS,) if target == "xc7" else (YOSYS, NEXTPNR)
        kept = _kept(target, loaded, sources, tools)
        if kept is not None and kept.exists():
            results[target] = json.loads(kept.read_text(encoding="utf-8"))
            cached.append(target)
            continue
        results[target] = _run(loaded, target, sources, on_stage) | {"tools": {tool.name: tool.version for tool in tools}}
        if kept is not None:
            keep(kept, json.dumps(results[target]).encode())
    hashes = loaded.hash_hex, loaded.build_hash
    return SynthesisReport(loaded.name, *hashes, results.get("xc7"), results.get("ecp5"), tuple(cached))


def _sources(design: Design) -> dict[str, str]:
    """Name → text of the RTL and its headers for `design`."""
    files = [*rtl_sources(), *sorted(RTL.glob("*.vh"))]
    return {path.name: path.read_text(encoding="utf-8") for path in files} | rtl_headers(design)


def _kept(target: str, design: Design, sources: Mapping[str, str], tools: tuple[Tool, ...]) -> Path | None:
    """Where the result for these sources, tools and recipes is kept, on the part and at the clock of `design`."""
    folder = cache_folder("synth")
    if folder is None:
        return None
    digest = hashlib.sha256(target.encode())
    recipe = [Path(__file__), *sorted(Path(xilinx.__file__).parent.glob("*.py"))]
    recipes = [path.read_text(encoding="utf-8") for path in recipe]
    for text in [design.build_hash, *sources.values(), *(tool.version for tool in tools), *recipes]:
        digest.update(f"{len(text)}\0{text}".encode())
    return folder / f"{digest.hexdigest()[:24]}.json"


def _run(design: Design, target: str, sources: Mapping[str, str], on_stage: Callable[[str], None]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="vdla-synth-") as name:
        folder = Path(name)
        for file, text in sources.items():
            (folder / file).write_text(text, encoding="utf-8")
        verilog = [file for file in sources if file.endswith(".v")]
        if target == "xc7":
            on_stage("Yosys for Xilinx 7-series, some minutes …")
            return _xc7(design, xilinx.synthesise(folder, verilog, TOP, PACKED))
        refused = ecp5.why_not(8 * sum(asdict(design.sram).values()), design.macs_per_cycle)
        if refused:
            return _ecp5(design, None, refused)
        on_stage("Yosys and nextpnr for ECP5, some minutes …")
        return _ecp5(design, ecp5.place_and_route(folder, verilog, TOP, target_mhz=design.clock_mhz))


def _xc7(design: Design, areas: Mapping[str, xilinx.Area]) -> dict[str, Any]:
    total, part = sum(areas.values(), xilinx.Area()), part_of(design)
    used = part.fractions(**asdict(total)) if part else {}
    modules = sorted(areas.items(), key=lambda item: -item[1].lut)
    return {
        **asdict(total),
        "part": part.name if part else None,
        "used": used,
        "fits": all(share <= 1 for share in used.values()) if part else None,
        "modules": [{"name": name, **asdict(area)} for name, area in modules],
    }


def _ecp5(design: Design, placed: ecp5.Placement | None, why_not: str = "") -> dict[str, Any]:
    figures = asdict(placed) if placed else dict.fromkeys(("lut", "ff", "bram", "dsp", "fmax_mhz", "critical_path"))
    return {"part": ECP5_85K.name, **figures, "target_mhz": design.clock_mhz, "why_not": why_not}
