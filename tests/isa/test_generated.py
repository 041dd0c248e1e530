"""Generated files are up to date, and say what the layout says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vdla.design_file import load_design, shipped_designs
from vdla.generate import COMMAND, generated_files, main, stale_files, write_files
from vdla.isa import AluOp, Opcode, layout_of
from vdla.isa.definition import FIELDS, HEAD
from vdla.isa.emit_manual import manual, width_expression
from vdla.isa.emit_verilog import verilog_header

ROOT = Path(__file__).parents[2]


def test_committed_files_are_up_to_date() -> None:
    assert stale_files(ROOT) == [], f"run: {COMMAND}"


def test_check_names_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vdla.generate._checkout", lambda: tmp_path)
    assert main(["--check"]) == 1
    assert f"run: {COMMAND}" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_files_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "docs").write_text("a file where a folder should be")
    monkeypatch.setattr("vdla.generate._checkout", lambda: tmp_path)
    assert main([]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_writing_changes_only_what_is_stale(tmp_path: Path) -> None:
    assert write_files(tmp_path) == list(generated_files())
    (tmp_path / "docs/isa.md").write_text("old")
    assert write_files(tmp_path) == ["docs/isa.md"]
    assert write_files(tmp_path) == []


@pytest.mark.parametrize("text", generated_files().values(), ids=generated_files())
def test_files_open_with_their_command(text: str) -> None:
    assert COMMAND in text.splitlines()[0]


@pytest.mark.parametrize("name", shipped_designs())
def test_verilog_fields_are_those_of_the_layout(name: str) -> None:
    design = load_design(name)
    macros = dict(re.findall(r"^`define VDLA_(\w+) +(\S+)", verilog_header(design, COMMAND), re.MULTILINE))
    prefixes = {Opcode.LOAD: "DMA", Opcode.STORE: "DMA", Opcode.GEMM: "GEMM", Opcode.ALU: "ALU", Opcode.FINISH: "INSN"}
    for opcode, slices in layout_of(design).instructions.items():
        assert macros[f"OPCODE_{opcode.name}"] == f"3'd{opcode.value}"
        for place, s in enumerate(slices):
            if s.field.name == "reserved":
                continue
            prefix = "INSN" if place < len(HEAD) else prefixes[opcode]
            macro = {"gemm_mode": "GEMM_MODE", "alu_op": "ALU_OP"}.get(s.field.name, f"{prefix}_{s.field.name.upper()}")
            assert (macros[f"{macro}_LSB"], macros[f"{macro}_WIDTH"]) == (str(s.lsb), str(s.width))
            assert macros[f"{macro}_BITS"] == f"{s.lsb + s.width - 1}:{s.lsb}"
    for s in layout_of(design).uop[:3]:
        assert macros[f"UOP_{s.field.name.upper()}_LSB"] == str(s.lsb)
    assert macros["ALU_OP_REQUANTISE"] == f"4'd{AluOp.REQUANTISE}"
    assert macros["ACC_DEPTH"] == str(design.acc_depth)


def test_verilog_has_the_constants_of_the_timing_contract() -> None:
    """As docs/microarchitecture.md gives them."""
    macros = dict(re.findall(r"^`define VDLA_(\w+) +(\S+)", verilog_header(load_design("tiny"), COMMAND), re.MULTILINE))
    expected = {"FETCH_BLOCK": 8, "FETCH_BLOCKS": 2, "QUEUE_DEPTH": 32}
    expected |= {"GEMM_FILL": 10, "ALU_FILL": 7, "ALU_LONG_FILL": 16, "ALU_LONG_LATENCY": 12}
    assert {name: int(macros[name]) for name in expected} == expected


def test_no_macro_is_defined_twice() -> None:
    names = re.findall(r"^`define (\w+)", verilog_header(load_design("pynq_z1"), COMMAND), re.MULTILINE)
    assert len(names) == len(set(names))


def test_the_manual_names_every_field_and_operation() -> None:
    text = manual(load_design("pynq_z1"), COMMAND)
    for opcode, fields in FIELDS.items():
        assert f"## {opcode.name}\n" in text
        assert all(f"| `{field.name}` |" in text for field in fields)
    assert all(f"| {op.value} | `{op.name}` |" in text for op in AluOp)


def test_width_expressions_evaluate_to_the_widths() -> None:
    from vdla.isa import definition

    design = load_design("pynq_z1")
    for fields in FIELDS.values():
        for field in fields:
            assert eval(width_expression(field), {**vars(definition), "d": design}) == field.bits(design)
