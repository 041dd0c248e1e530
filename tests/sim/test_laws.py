"""Laws a model of a machine must obey, over random designs and random programs whose units overlap."""

from __future__ import annotations

import numpy as np
import pytest
from random_programs import random_design, random_inputs, random_program

from vdla.design import BUS_PORTS, Design
from vdla.device import STALLS, Profile
from vdla.isa.program import Program
from vdla.sim import Simulator
from vdla.sim.device import timeline_of_program
from vdla.sim.timing_engine import timeline_of

SEEDS = range(40)
LENGTH, SCALE = 240, 2
"""Long enough that one transfer moved past another is not 1 % of the program."""

TOLERANCE = 0.01


def cycles(program: Program, design: Design) -> int:
    """Cycles of `program` on a design that differs in its memory only."""
    columns = program.columns()
    work, _ = timeline_of_program(program, columns)
    return timeline_of(columns, work, design).cycles


def better_memories(design: Design) -> dict[str, dict[str, object]]:
    m = design.memory
    return {
        "twice the bus": {"bus_bits": 2 * m.bus_bits},
        "one more outstanding": {"outstanding": m.outstanding + 1},
        "twice the outstanding": {"outstanding": 2 * m.outstanding},
        "twice the burst": {"max_burst": 2 * m.max_burst},
        "less read latency": {"read_latency": max(1, m.read_latency - 1)},
        "half the read latency": {"read_latency": max(1, m.read_latency // 2)},
        "half the write latency": {"write_latency": max(1, m.write_latency // 2)},
        "separate ports": {"ports": "separate"},
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_better_memory_is_never_slower(seed: int) -> None:
    rng = np.random.default_rng(seed)
    design = random_design(rng)
    program = random_program(design, rng, LENGTH, scale=SCALE)
    base = cycles(program, design)
    for name, change in better_memories(design).items():
        better = design.varied(memory=change)
        found = cycles(program, better)
        assert found <= base * (1 + TOLERANCE), f"seed {seed}, {name}: {base} → {found} cycles"


@pytest.mark.parametrize("seed", range(30))
def test_never_below_the_roofline(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    program = random_program(random_design(rng), rng, 60, scale=SCALE)
    work, timeline = timeline_of_program(program, program.columns())
    gemm = int(work.steps[program.columns()["opcode"] == 2].sum())
    moved = int(work.bytes.sum()) + 16 * len(program.words)
    assert timeline.cycles >= max(gemm, moved / program.design.bytes_per_cycle), f"seed {seed}"


@pytest.mark.parametrize("seed", range(30))
def test_every_cycle_is_accounted_for(seed: int) -> None:
    rng = np.random.default_rng(2000 + seed)
    program = random_program(random_design(rng), rng, 60)
    profile = Simulator(program.design).timing_only(program)
    check_accounts(profile, f"seed {seed}")
    fetched = sum(layer.dram_bytes["fetch"] for layer in profile.layers)
    assert fetched == 16 * len(program.words), f"seed {seed}"


def check_accounts(profile: Profile, where: str) -> None:
    assert sum(layer.cycles for layer in profile.layers) == profile.cycles, where
    assert set(profile.units) == set(BUS_PORTS), where
    for name, unit in profile.units.items():
        assert min(unit.busy, *unit.stalls.values()) >= 0, f"{where}: {name}"
        assert set(unit.stalls) == set(STALLS), f"{where}: {name}"
        assert unit.busy + sum(unit.stalls.values()) <= profile.cycles, f"{where}: {name}"
        assert unit.busy == sum(layer.units[name].busy for layer in profile.layers), f"{where}: {name}"
        for stall in STALLS:
            assert unit.stalls[stall] == sum(layer.units[name].stalls[stall] for layer in profile.layers), (
                f"{where}: {name} {stall}"
            )


@pytest.mark.parametrize("seed", range(10))
def test_a_unit_that_runs_last_has_no_idle_tail(seed: int) -> None:
    """COMPUTE runs FINISH, which waits for all: its busy and stalled cycles are all the cycles there are."""
    rng = np.random.default_rng(3000 + seed)
    program = random_program(random_design(rng), rng, 40)
    profile = Simulator(program.design).timing_only(program)
    compute = profile.units["compute"]
    assert compute.busy + sum(compute.stalls.values()) == profile.cycles, f"seed {seed}"


@pytest.mark.parametrize("seed", range(5))
def test_deterministic(seed: int) -> None:
    rng = np.random.default_rng(4000 + seed)
    program = random_program(random_design(rng), rng, 60)
    inputs = random_inputs(program, rng)
    first, second = (Simulator(program.design).run(program, inputs) for _ in range(2))
    assert first.profile is not None
    assert second.profile is not None
    np.testing.assert_array_equal(first.profile.finish, second.profile.finish, err_msg=f"seed {seed}")
    assert first.profile.units == second.profile.units, f"seed {seed}"
    assert first.profile.layers == second.profile.layers, f"seed {seed}"
    np.testing.assert_array_equal(first.outputs["y"], second.outputs["y"], err_msg=f"seed {seed}")


@pytest.mark.parametrize("seed", range(10))
def test_tokens_only_cost(seed: int) -> None:
    """The same instructions in a strict chain are never faster than with the tokens they need (beyond 1 %)."""
    lengths = {}
    for style in ("exact", "serial"):
        rng = np.random.default_rng(5000 + seed)
        design = random_design(rng)
        program = random_program(design, rng, 120, style)
        lengths[style] = cycles(program, design)
    assert lengths["exact"] <= lengths["serial"] * (1 + TOLERANCE), f"seed {seed}: {lengths}"
