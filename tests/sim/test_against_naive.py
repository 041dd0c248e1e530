"""The fast simulator against its naive twin on random programs: every memory, every start and finish, and every wait.

By default 160 programs; `VDLA_RANDOM_PROGRAMS=1000` (or more) runs as many as it says.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter

import numpy as np
import pytest
from random_programs import random_design, random_inputs, random_program

from vdla.device import STALLS
from vdla.isa.binding import bind_inputs
from vdla.isa.program import LayerSpan, Program
from vdla.profile import Account, account_of_fetch, account_of_units
from vdla.sim import naive
from vdla.sim.device import Simulator, timeline_of_program
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
    _, timeline = timeline_of_program(program, columns)
    np.testing.assert_array_equal(timeline.times["start"], machine.start, err_msg=f"{where}: start")
    np.testing.assert_array_equal(timeline.times["finish"], machine.finish, err_msg=f"{where}: finish")
    units = account_of_units(columns, program.design, timeline.events)
    compare_accounts(units, machine.accounts, f"{where}: what the units did")
    compare_accounts(account_of_fetch(timeline.events), machine.fetch_accounts, f"{where}: what FETCH did")


def compare_accounts(fast: Account, slow: list[Counter[str]], where: str) -> None:
    """Of each instruction, cause by cause."""
    np.testing.assert_array_equal(fast.busy, [account["busy"] for account in slow], err_msg=f"{where}: busy")
    for cause, cycles in zip(STALLS, fast.stalls, strict=True):
        np.testing.assert_array_equal(cycles, [account[cause] for account in slow], err_msg=f"{where}: {cause}")


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


@pytest.mark.parametrize("seed", range(500, 520))
def test_same_profiles(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(random_design(rng), rng, length_of(seed), "exact")
    n = len(program.words)
    cuts = [0, *sorted(rng.integers(0, n + 1, 2).tolist()), n]
    layers = tuple(LayerSpan(f"layer {k}", "random", a, b) for k, (a, b) in enumerate(itertools.pairwise(cuts)))
    program = dataclasses.replace(program, layers=layers)
    slow = naive.NaiveSimulator(program.design).run(program, random_inputs(program, rng)).profile
    fast = Simulator(program.design).timing_only(program)
    assert slow is not None
    assert (slow.cycles, slow.units) == (fast.cycles, fast.units), f"seed {seed}"
    assert slow.layers == fast.layers, f"seed {seed}"
