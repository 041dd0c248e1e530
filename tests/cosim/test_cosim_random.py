"""Random programs on the simulator and on the RTL, over memories of random latency and back-pressure: every byte of DRAM, the
accumulators among them, and the order of retirement; cycles too, where the memory keeps the timing contract.

What each GEMM, ALU and FINISH instruction takes is compared exactly, and so is the whole with a port for each unit. On a
shared port the second of two read requests in one cycle is a cycle later in the RTL (sim/timing.py, BUS), so there the whole
is compared to half a percent.

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
from vdla.isa.definition import Opcode
from vdla.isa.program import Program
from vdla.sim.device import time_columns

LONG = bool(os.environ.get("VDLA_LONG"))
BATCH = 10
TOLERANCE, SLACK = 0.005, 8


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
    fixed = np.isin(columns["opcode"], (Opcode.ALU, Opcode.GEMM, Opcode.FINISH))
    np.testing.assert_array_equal(takes[fixed], expected[fixed], err_msg=f"{where}: cycles of {np.flatnonzero(fixed)}")
    if timed.memory.ports == "separate":
        np.testing.assert_array_equal(execution.finish, profile.finish, err_msg=where)
    found, allowed = int(execution.finish.max()), max(SLACK, TOLERANCE * profile.cycles)
    assert abs(found - profile.cycles) <= allowed, f"{where}: simulator {profile.cycles}, RTL {found}, allowed {allowed}"


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
