"""Random programs on the simulator and on the RTL, over memories of random latency and back-pressure: every byte of DRAM, the
accumulators among them, and the order of retirement; cycles too, where the memory keeps the timing contract.

Where the memory keeps the timing contract, every instruction starts and finishes in the simulator's cycle, too.

By default a few dozen; with VDLA_LONG, the counts of `docs/cosim.md`.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from cosim_programs import assert_ordered, random_memory, random_program, run_both, separate_ports, with_memory
from random_programs import random_inputs

from vdla.design import Design
from vdla.design_file import load_design
from vdla.hw.device import Execution
from vdla.isa.program import Program
from vdla.sim.device import time_columns

LONG = bool(os.environ.get("VDLA_LONG"))
BATCH = 10


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
    np.testing.assert_array_equal(execution.start, profile.start, err_msg=f"{where}: start")
    np.testing.assert_array_equal(execution.finish, profile.finish, err_msg=f"{where}: finish")
    assert execution.counters.cycles == profile.cycles, where


@pytest.mark.parametrize("batch", range(200 if LONG else 4))
def test_tiny(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        run_seed(load_design("tiny"), seed, length_of(seed))


@pytest.mark.parametrize("batch", range(40 if LONG else 2))
def test_separate_ports(batch: int) -> None:
    for seed in range(100_000 + batch * BATCH, 100_000 + (batch + 1) * BATCH):
        run_seed(separate_ports(), seed, length_of(seed))


@pytest.mark.parametrize("batch", range(30 if LONG else 3))
def test_pynq_z1(batch: int) -> None:
    for seed in range(200_000 + batch * BATCH, 200_000 + (batch + 1) * BATCH):
        run_seed(load_design("pynq_z1"), seed, length_of(seed))
