"""Encoder and decoder: every design, every field, the whole 128 bits."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from isa_programs import random_columns, random_design, unused_fields

from vdla.design import Design
from vdla.design_file import load_design, shipped_designs
from vdla.errors import IsaError
from vdla.isa import COLUMNS, UOP_COLUMNS, Opcode, layout_of, new_columns
from vdla.isa.layout_text import layout_text

GOLDEN = Path(__file__).parent / "golden"
SEEDS = range(20)


def designs() -> list[Design]:
    return [load_design(name) for name in shipped_designs()]


@pytest.mark.parametrize("design", designs(), ids=lambda d: d.name)
def test_round_trip_of_shipped_designs(design: Design) -> None:
    columns = random_columns(np.random.default_rng(1), design, 200)
    layout = layout_of(design)
    assert np.array_equal(layout.decode(layout.encode(columns)), columns)


@pytest.mark.parametrize("seed", SEEDS)
def test_round_trip_of_random_designs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = random_design(rng)
    columns, layout = random_columns(rng, design, 50), layout_of(design)
    assert np.array_equal(layout.decode(layout.encode(columns)), columns), f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_fields_lie_where_the_slices_say(seed: int) -> None:
    """Against Python's own integers: each word is the sum of its fields shifted into place."""
    rng = np.random.default_rng(seed)
    design = random_design(rng)
    columns, layout = random_columns(rng, design, 20), layout_of(design)
    for record, (low, high) in zip(columns, layout.encode(columns), strict=True):
        expected = 0
        for s in layout.instructions[Opcode(int(record["opcode"]))]:
            if s.field.name != "reserved":
                expected |= (int(record[s.field.name]) % (1 << s.width)) << s.lsb
        assert int(low) | int(high) << 64 == expected, f"seed {seed}"


@pytest.mark.parametrize("seed", SEEDS)
def test_micro_ops_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layout = layout_of(random_design(rng))
    uops = np.zeros(40, UOP_COLUMNS)
    for s in layout.uop[: len(UOP_COLUMNS)]:
        uops[s.field.name] = rng.integers(0, s.range[1] + 1, len(uops))
    words = layout.encode_uops(uops)
    assert words.dtype.itemsize == layout.design.uop_bytes
    assert np.array_equal(layout.decode_uops(words), uops), f"seed {seed}"


@pytest.mark.parametrize("opcode", Opcode)
def test_a_value_just_too_large_is_refused(opcode: Opcode) -> None:
    layout = layout_of(load_design("pynq_z1"))
    for s in layout.instructions[opcode]:
        if s.field.name in ("reserved", "opcode") or s.width > 30:
            continue
        for value in (s.range[0] - 1, s.range[1] + 1):
            columns = new_columns(1, opcode)
            if opcode in (Opcode.LOAD, Opcode.STORE):
                columns["buffer"] = 4
            columns[s.field.name] = value
            with pytest.raises(IsaError, match=rf"instruction 0: {opcode.name} field {s.field.name}; found {value}; expected"):
                layout.encode(columns)


@pytest.mark.parametrize("opcode", Opcode)
def test_a_column_without_a_field_must_be_zero(opcode: Opcode) -> None:
    layout = layout_of(load_design("tiny"))
    for name in unused_fields(opcode):
        columns = new_columns(2, opcode)
        if opcode == Opcode.STORE:
            columns["buffer"] = 4
        columns[name][1] = 1
        with pytest.raises(IsaError, match=f"instruction 1: {opcode.name} has no field {name}; found 1"):
            layout.encode(columns)


@pytest.mark.parametrize(
    ("opcode", "low", "message"),
    [
        (5, 0, "instruction 0: bad opcode; found 5"),
        (7, 0, "bad opcode; found 7"),
        (Opcode.LOAD, 5 << 7, "LOAD field buffer; found 5"),
        (Opcode.STORE, 2 << 7, "STORE field buffer; found 2; expected OUT"),
        (Opcode.GEMM, 3 << 7, "GEMM field gemm_mode; found 3"),
        (Opcode.ALU, 15 << 7, "ALU field alu_op; found 15"),
        (Opcode.FINISH, 1 << 40, "FINISH field reserved"),
    ],
)
def test_bad_words_are_refused(opcode: int, low: int, message: str) -> None:
    words = np.array([[opcode | low, 0]], np.uint64)
    with pytest.raises(IsaError, match=message):
        layout_of(load_design("pynq_z1")).decode(words)


def test_every_reserved_bit_is_noticed() -> None:
    layout = layout_of(load_design("tiny"))
    for opcode, slices in layout.instructions.items():
        for bit in (b for s in slices if s.field.name == "reserved" for b in range(s.lsb, s.lsb + s.width)):
            word = int(opcode) | (4 << 7 if opcode == Opcode.STORE else 0) | 1 << bit
            with pytest.raises(IsaError, match=f"{opcode.name} field reserved"):
                layout.decode(np.array([[word & (1 << 64) - 1, word >> 64]], np.uint64))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_words_decode_or_are_refused(seed: int) -> None:
    """What decodes encodes to the same bits."""
    layout = layout_of(load_design("tiny"))
    for words in np.random.default_rng(seed).integers(0, 1 << 64, (200, 1, 2), np.uint64):
        try:
            columns = layout.decode(words)
        except IsaError:
            continue
        assert np.array_equal(layout.encode(columns), words), f"seed {seed}"


def test_columns_hold_every_field_of_every_design() -> None:
    """No field is wider than its column."""
    smallest = replace(random_design(np.random.default_rng(0)), sram=load_design("tiny").sram)
    for design in [*designs(), smallest]:
        for slices in layout_of(design).instructions.values():
            for s in slices:
                if s.field.name != "reserved":
                    assert s.range[1] <= np.iinfo(COLUMNS[s.field.name]).max, f"{design.name} {s.field.name}"


def test_the_tiny_layout_is_as_it_was() -> None:
    """A change of bit positions breaks every saved program: it must be seen in review. UPDATE_GOLDEN=1 rewrites the file."""
    path = GOLDEN / "tiny_layout.txt"
    text = layout_text(load_design("tiny"))
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
