"""Each unit's bench, under Icarus where it is installed and under Verilator.

Verilator compiles each unit for a quarter of a minute, so where Icarus runs the benches by default, it does so only with the
long tests.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import yaml

from vdla.design_file import load_design
from vdla.device import UNITS

BENCHES = Path(__file__).resolve().parents[2] / "hw" / "cocotb"


def _load_runner():
    """hw/cocotb is no package: its modules run inside simulators, with their folder on the path."""
    specification = importlib.util.spec_from_file_location("vdla_bench_runner", BENCHES / "runner.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


runner = _load_runner()
DEFAULT = "icarus" if runner.installed("icarus") else "verilator"
OTHER = [simulator for simulator in runner.SIMULATORS if simulator != DEFAULT and runner.installed(simulator)]


@pytest.mark.parametrize("unit", UNITS)
def test_bench(unit: str, tmp_path: Path) -> None:
    assert runner.run_bench(unit, DEFAULT, tmp_path, rounds=8) >= 3


@pytest.mark.parametrize("max_burst", [1, 16])
@pytest.mark.parametrize("unit", ["fetch", "load", "store"])
def test_bench_with_other_bursts(unit: str, max_burst: int, tmp_path: Path) -> None:
    """The benches cross idle buses with back-pressure; here with the shortest bursts and with ones longer than a row."""
    tiny = load_design("tiny")
    design = tmp_path / "design.yaml"
    design.write_text(yaml.safe_dump(tiny.varied(name="bursts", memory={"max_burst": max_burst}).to_dict()))
    assert runner.run_bench(unit, DEFAULT, tmp_path, design=str(design), rounds=4) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("simulator", OTHER)
@pytest.mark.parametrize("unit", UNITS)
def test_bench_in_the_other_simulator(unit: str, simulator: str, tmp_path: Path) -> None:
    assert runner.run_bench(unit, simulator, tmp_path, rounds=8) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("design", ["tiny", "pynq_z1"])
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("unit", UNITS)
def test_stress(unit: str, seed: int, design: str, tmp_path: Path) -> None:
    assert runner.run_bench(unit, DEFAULT, tmp_path, design=design, seed=seed, rounds=40) >= 3
