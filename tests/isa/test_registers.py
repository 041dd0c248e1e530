"""The register map is consistent, and what is generated from it says the same."""

from __future__ import annotations

import re

import pytest

from vdla.device import UNITS
from vdla.isa.registers import FAULT_DOC, REGISTERS, Fault, Register, field_of, offset_of, registers_header, registers_manual

MACROS = dict(re.findall(r"^`define VDLA_(\w+) +(\S+)", registers_header("COMMAND"), re.MULTILINE))


def test_offsets_are_aligned_apart_and_within_twelve_bits() -> None:
    offsets = [register.offset for register in REGISTERS]
    assert len(set(offsets)) == len(offsets)
    assert all(offset % 4 == 0 and 0 <= offset < 1 << 12 for offset in offsets)
    assert len({register.name for register in REGISTERS}) == len(REGISTERS)


@pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)
def test_fields_fit_and_do_not_overlap(register: Register) -> None:
    taken = 0
    for field in register.fields:
        mask = ((1 << field.width) - 1) << field.lsb
        assert not taken & mask and mask < 1 << 32, field.name
        taken |= mask
    assert register.access in ("RW", "RO")
    assert 0 <= register.reset < 1 << 32


@pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)
def test_the_header_says_the_same(register: Register) -> None:
    assert int(MACROS[f"REG_{register.name}"].removeprefix("12'h"), 16) == register.offset == offset_of(register.name)
    for field in register.fields:
        assert field_of(register.name, field.name) == field
        assert int(MACROS[f"REG_{register.name}_{field.name}_LSB"]) == field.lsb
        assert int(MACROS[f"REG_{register.name}_{field.name}_WIDTH"]) == field.width


def test_every_fault_has_a_code_and_a_meaning() -> None:
    assert set(FAULT_DOC) == set(Fault)
    for fault in Fault:
        assert MACROS[f"FAULT_{fault.name}"] == f"4'd{fault.value}"
        assert fault.value < 1 << field_of("STATUS", "ERROR_CODE").width


def test_every_unit_has_its_counters() -> None:
    for unit in UNITS:
        for what in ("BUSY", "STALL", "INSTRUCTIONS"):
            offset_of(f"{unit.upper()}_{what}")


def test_the_manual_lists_every_register_field_and_fault() -> None:
    text = registers_manual("COMMAND")
    for register in REGISTERS:
        assert f"| 0x{register.offset:03x} | `{register.name}` | {register.access} |" in text
        assert all(f"`{field.name}`" in text for field in register.fields)
    assert all(f"| {fault.value} | `{fault.name}` |" in text for fault in Fault)
