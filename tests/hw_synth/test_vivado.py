"""The folder for Vivado holds what the scripts name. Vivado itself is not run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vdla.cli.main import main
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.hw.vivado.project import settings, write_project
from vdla.hw.vivado.pynq_board import MmioRegisters, PynqMachine


@pytest.mark.parametrize(("design", "masters"), [("pynq_z1", 1), ("zynq_4port", 4), ("kv260", 4)])
def test_a_folder_for_each_board(design: str, masters: int, tmp_path: Path) -> None:
    written = write_project(load_design(design), tmp_path)
    assert {"build.tcl", "settings.tcl", "processor.tcl", "constraints.xdc"} <= {path.name for path in written}
    build = (tmp_path / "build.tcl").read_text()
    for name in re.findall(r"\$here/([\w./]+\.(?:tcl|xdc))", build):
        assert (tmp_path / name).is_file(), name
    names = (tmp_path / "settings.tcl").read_text()
    assert len(re.search(r"set masters \{(.*)\}", names)[1].split()) == masters
    shell = (tmp_path / "rtl" / "vdla_shell.v").read_text()
    for master in re.search(r"set masters \{(.*)\}", names)[1].split():
        assert f" {master}_arvalid" in shell or f" {master}_awvalid" in shell
    used = set(re.findall(r"\$(\w+)", build)) - {"here", "from", "to", "name", "master", "memory"}
    defined = set(re.findall(r"^set (\w+)", names + build + (tmp_path / "processor.tcl").read_text(), re.M))
    assert used - {"_path"} <= defined
    assert (
        f"VDLA_DESIGN_HASH                  64'h{load_design(design).hash_hex}"
        in (tmp_path / "rtl" / "vdla_isa.vh").read_text()
    )


def test_braces_balance(tmp_path: Path) -> None:
    for design in ("pynq_z1", "kv260"):
        for path in write_project(load_design(design), tmp_path / design):
            if path.suffix == ".tcl":
                text = path.read_text()
                assert text.count("{") == text.count("}"), path
                assert text.count("[") == text.count("]"), path


def test_settings_name_part_and_clock() -> None:
    text = settings(load_design("pynq_z1"))
    assert "set part xc7z020clg400-1\n" in text
    assert "set clock_mhz 100\n" in text


def test_the_command_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "--design", "pynq_z1", "--vivado", str(tmp_path / "project")]) == 0
    assert "vivado -mode batch -source build.tcl" in capsys.readouterr().out
    assert (tmp_path / "project" / "rtl" / "vdla_core.v").is_file()


def test_a_board_needs_pynq() -> None:
    with pytest.raises(RunError, match="needs pynq.*on the board"):
        PynqMachine("pynq_z1.bit")


def test_registers_are_pynqs() -> None:
    class Mmio:
        def __init__(self) -> None:
            self.words = {4: 1}

        def read(self, offset: int) -> int:
            return self.words[offset]

        def write(self, offset: int, value: int) -> None:
            self.words[offset] = value

    registers = MmioRegisters(Mmio())
    registers.write(8, 5)
    assert (registers.read(4), registers.read(8)) == (1, 5)
