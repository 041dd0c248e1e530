"""The sanitizer: silent on correct programs, and loud on every token removed that mattered."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from random_programs import random_design, random_inputs, random_program

from vdla.errors import RunError
from vdla.isa.definition import AluOp, Opcode, Scratchpad, queue_of
from vdla.isa.layout import layout_of
from vdla.isa.program import Program
from vdla.sim import Simulator
from vdla.sim.sanitizer import RAW, UNWRITTEN, sanitize

TOKEN_BITS = ("pop_prev", "pop_next", "push_prev", "push_next")


def changed(program: Program, row: int, **fields: int) -> Program:
    columns = program.columns()
    for name, value in fields.items():
        columns[name][row] = value
    return dataclasses.replace(program, words=layout_of(program.design).encode(columns))


@pytest.mark.parametrize("seed", range(30))
def test_silent_on_correct_programs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(random_design(rng), rng, 40, "exact")
    assert sanitize(program, program.columns()) == [], f"seed {seed}"


@pytest.mark.parametrize("seed", range(12))
def test_every_missing_token_is_found(seed: int) -> None:
    """The generator's tokens are minimal, so to clear one push and its pop leaves a race; to clear one of them alone
    leaves a deadlock or moves every later token of its FIFO."""
    rng = np.random.default_rng(seed)
    program = random_program(random_design(rng), rng, 30, "exact")
    columns = program.columns()
    fifos = (
        (0, 1, "push_next", "pop_prev"),
        (1, 0, "push_prev", "pop_next"),
        (1, 2, "push_next", "pop_prev"),
        (2, 1, "push_prev", "pop_next"),
    )
    queue = np.array([queue_of(Opcode(f["opcode"]), Scratchpad(f["buffer"])) for f in columns])
    missed = 0
    for a, b, push, pop in fifos:
        producers = np.flatnonzero((queue == a) & (columns[push] == 1))
        consumers = np.flatnonzero((queue == b) & (columns[pop] == 1))
        for p, c in zip(producers, consumers, strict=True):
            if columns["opcode"][c] == Opcode.FINISH:
                continue  # FINISH touches nothing: its tokens order no data
            mutant = changed(changed(program, int(p), **{push: 0}), int(c), **{pop: 0})
            missed += not sanitize(mutant, mutant.columns())
    assert missed == 0, f"seed {seed}: {missed} mutants not found"


def test_messages_name_instruction_and_layer() -> None:
    rng = np.random.default_rng(1)
    program = random_program(random_design(rng), rng, 30, "exact")
    columns = program.columns()
    cleared = columns.copy()
    for bit in TOKEN_BITS:
        cleared[bit] = 0
    mutant = dataclasses.replace(program, words=layout_of(program.design).encode(cleared))
    with pytest.raises(RunError, match=r"sanitizer: instruction \d+ \(.* of layer layer\d .* and no token orders them"):
        Simulator(program.design, sanitize=True).run(mutant, random_inputs(program, rng))
    assert RAW in {f.kind for f in sanitize(mutant, cleared)}


def test_unwritten_sram_is_an_error() -> None:
    rng = np.random.default_rng(2)
    program = random_program(random_design(rng), rng, 40, "exact")
    mutant = changed(program, 3, y_size=0)  # the load that fills acc
    findings = sanitize(mutant, mutant.columns())
    assert {(f.kind, f.memory) for f in findings} == {(UNWRITTEN, "acc")}
    with pytest.raises(RunError, match="which nobody wrote"):
        Simulator(program.design, sanitize=True).run(mutant, random_inputs(program, rng))


@pytest.mark.parametrize("entries", [0, 255])
def test_a_table_that_nobody_filled_is_an_error(entries: int) -> None:
    """A LOOKUP reads all of it. The first TABULATE fills fewer entries, and the others none."""
    rng = np.random.default_rng(5)
    program = random_program(random_design(rng), rng, 60, "exact")
    columns = program.columns()
    first, *others = np.flatnonzero((columns["opcode"] == Opcode.ALU) & (columns["alu_op"] == AluOp.TABULATE))
    columns["alu_op"][others] = AluOp.ADD
    columns["loop_outer"][first], columns["loop_inner"][first] = (15, 17) if entries else (0, 0)
    columns["alu_op"][np.flatnonzero(columns["alu_op"] == AluOp.CLIP)[0]] = AluOp.LOOKUP
    mutant = dataclasses.replace(program, words=layout_of(program.design).encode(columns))
    missing = (columns["imm"][first] + entries) % 256 if entries else 0
    found = [f for f in sanitize(mutant, mutant.columns()) if f.memory == "table"]
    assert found
    assert {(f.kind, f.index) for f in found} == {(UNWRITTEN, missing)}


def test_unwritten_dram_is_a_warning() -> None:
    rng = np.random.default_rng(3)
    program = random_program(random_design(rng), rng, 40, "exact")
    bare = dataclasses.replace(program, segments=tuple(s for s in program.segments if s.name != "wgt"))
    result = Simulator(program.design, sanitize=True).run(bare, random_inputs(program, rng), timing=False)
    assert result.warnings
    assert all("reads DRAM[" in w for w in result.warnings)


def test_deadlock_and_range() -> None:
    rng = np.random.default_rng(4)
    program = random_program(random_design(rng), rng, 30, "exact")
    producer = int(np.flatnonzero(program.columns()["push_next"])[0])
    mutant = changed(program, producer, push_next=0)
    with pytest.raises(RunError, match=r"deadlock: .* waits for token \d+ from \w+ at instruction \d+ \("):
        sanitize(mutant, mutant.columns())
    beyond = changed(program, 2, dram_base=(1 << 32) - 1)
    with pytest.raises(RunError, match=r"instruction 2 \(LOAD inp .*access outside DRAM"):
        sanitize(beyond, beyond.columns())
