"""Random programs on the simulator and on the RTL, over memories of random latency and back-pressure: every byte of DRAM, the
accumulators among them, and the order of retirement; cycles too, where the memory keeps the timing contract.

Random programs do what compiled ones do not, and two things cost the RTL cycles that the contract does not know: a step of a
long ALU operation (multiply, shift, requantise) waits for the result of a step just before that it reads, and padding waits
where data come to its bank of the SRAM in every cycle. So what each GEMM and ALU instruction takes is compared exactly but for
the long ones, and the whole to half a percent beyond what these two cost. Networks do neither (`test_cosim_networks`).

By default a few dozen; with VDLA_LONG, the counts of `docs/cosim.md`.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from cosim_programs import assert_ordered, random_memory, random_program, run_both, separate_ports, with_memory
from random_programs import random_inputs

from vdla.design import Design, load_design
from vdla.hw.device import Execution
from vdla.isa.definition import AluOp, Opcode
from vdla.isa.program import Program
from vdla.sim.device import time_columns

LONG = bool(os.environ.get("VDLA_LONG"))
BATCH = 10
TOLERANCE, SLACK = 0.005, 8
LONG_OPERATIONS = (AluOp.MUL, AluOp.SHL, AluOp.SHR, AluOp.REQUANTISE, AluOp.RESCALE)


def length_of(seed: int) -> int:
    """Mostly short; every tenth long enough to fill a command queue."""
    return 120 if seed % 10 == 9 else 5 + seed % 30


def run_seed(design: Design, seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    program, model = random_program(design, rng, length), random_memory(rng)
    where = f"{design.name}, seed {seed}, {model}"
    expected, execution = run_both(program, random_inputs(program, rng), model)
    np.testing.assert_array_equal(execution.dram, expected, err_msg=where)
    assert_ordered(program, execution, where)
    if not model.pauses:
        assert_cycles(program, with_memory(design, model), execution, where)


def assert_cycles(program: Program, timed: Design, execution: Execution, where: str) -> None:
    columns = program.columns()
    profile = time_columns(Program(timed, program.words, program.dram_bytes, program.segments), columns)
    takes, expected = execution.finish - execution.start, profile.finish - profile.start
    alu = columns["opcode"] == Opcode.ALU
    waits = alu & np.isin(columns["alu_op"], LONG_OPERATIONS)
    assert (takes[waits] >= expected[waits]).all(), where
    exact = (alu | np.isin(columns["opcode"], (Opcode.GEMM, Opcode.FINISH))) & ~waits
    np.testing.assert_array_equal(
        takes[exact], expected[exact], err_msg=f"{where}: cycles of instructions {np.flatnonzero(exact)}"
    )
    known = int((takes - expected)[waits].sum()) + pads(columns)
    found = int(execution.finish.max())
    allowed = known + max(SLACK, TOLERANCE * profile.cycles)
    assert abs(found - profile.cycles) <= allowed, f"{where}: simulator {profile.cycles}, RTL {found}, allowed {allowed}"


def pads(columns: np.ndarray) -> int:
    """Entries of padding that all loads write."""
    loads = columns[columns["opcode"] == Opcode.LOAD]
    rows = loads["y_pad_before"] + loads["y_size"] + loads["y_pad_after"]
    entries = rows * (loads["x_pad_before"] + loads["x_size"] + loads["x_pad_after"])
    return int((entries - loads["y_size"] * loads["x_size"]).sum())


@pytest.mark.parametrize("batch", range(200 if LONG else 4))
def test_tiny(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        run_seed(load_design("tiny"), seed, length_of(seed))


@pytest.mark.parametrize("batch", range(40 if LONG else 2))
def test_separate_ports(batch: int) -> None:
    for seed in range(100_000 + batch * BATCH, 100_000 + (batch + 1) * BATCH):
        run_seed(separate_ports(), seed, length_of(seed))


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(30))
def test_pynq_z1(batch: int) -> None:
    for seed in range(200_000 + batch * BATCH, 200_000 + (batch + 1) * BATCH):
        run_seed(load_design("pynq_z1"), seed, length_of(seed))
