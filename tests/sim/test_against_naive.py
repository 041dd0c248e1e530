"""The fast simulator against its naive twin on random programs: every memory and every start and finish.

By default 160 programs; `VDLA_RANDOM_PROGRAMS=1000` (or more) runs as many as it says.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from random_programs import random_design, random_inputs, random_program

from vdla.isa.binding import bind_inputs
from vdla.isa.program import Program
from vdla.sim import naive
from vdla.sim.device import schedule_program
from vdla.sim.functional import run_functional
from vdla.sim.kernels import Memories
from vdla.sim.naive_timing import NaiveMachine

COUNT = int(os.environ.get("VDLA_RANDOM_PROGRAMS", "160"))
BATCH = 20


def compare(program: Program, inputs: dict[str, np.ndarray], where: str) -> None:
    columns = program.columns()
    slow_dram, fast_dram = bind_inputs(program, inputs), bind_inputs(program, inputs)
    slow, cycles = naive.execute(program, columns, slow_dram)
    fast = run_functional(program, columns, fast_dram)
    compare_memories(slow, fast, where)

    machine = NaiveMachine(columns, cycles, program.design)
    assert machine.run(), f"{where}: the naive machine is stuck"
    _, schedule = schedule_program(program, columns)
    np.testing.assert_array_equal(schedule.times["start"], machine.start, err_msg=f"{where}: start")
    np.testing.assert_array_equal(schedule.times["finish"], machine.finish, err_msg=f"{where}: finish")


def compare_memories(slow: naive.Machine, fast: Memories, where: str) -> None:
    g = slow.design.gemm
    pairs = {
        "dram": (slow.dram, fast.dram),
        "uop": (slow.uop, fast.uop),
        "inp": (slow.inp, fast.inp.reshape(slow.inp.shape)),
        "wgt": (slow.wgt, fast.wgt.reshape(-1, g.block_in, g.block_out).transpose(0, 2, 1)),
        "acc": (slow.acc, fast.acc.reshape(slow.acc.shape)),
    }
    for name, (expected, found) in pairs.items():
        np.testing.assert_array_equal(found, expected, err_msg=f"{where}: {name}")


def length_of(seed: int) -> int:
    """Mostly short; every tenth long enough to fill a command queue."""
    return 150 if seed % 10 == 9 else 5 + seed % 40


@pytest.mark.parametrize("batch", range(-(-COUNT // BATCH)))
def test_same_memories_and_times(batch: int) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        rng = np.random.default_rng(seed)
        design = random_design(rng)
        program = random_program(design, rng, length_of(seed), str(rng.choice(["exact", "exact", "serial"])))
        compare(program, random_inputs(program, rng), f"seed {seed}")
