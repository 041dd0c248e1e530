"""Where the cycles went, as the RTL's trace tells and as the simulator says: unit by unit, cause by cause, layer by layer.

And as the machine's own counters say, which know nothing of either.
"""

from __future__ import annotations

import numpy as np
import pytest
from cosim_programs import random_program, separate_ports
from random_programs import random_inputs
from test_cosim_random import length_of

from vdla.design import Design
from vdla.design_file import load_design
from vdla.device import STALLS, UNITS, Profile
from vdla.flows.compilation import CompileOptions, compile_to_model
from vdla.flows.run import default_inputs
from vdla.hw.device import Execution, RtlDevice
from vdla.hw.trace import events_of
from vdla.isa.binding import bind_inputs
from vdla.isa.definition import Queue, unit_of
from vdla.profile import profile_of
from vdla.runtime.module import Module
from vdla.sim.device import Simulator, time_columns


def require_same(found: Profile, expected: Profile, where: str) -> None:
    assert found.cycles == expected.cycles, where
    assert found.units == expected.units, where
    assert found.layers == expected.layers, where
    np.testing.assert_array_equal(found.start, expected.start, err_msg=where)
    np.testing.assert_array_equal(found.finish, expected.finish, err_msg=where)


def require_counted(profile: Profile, execution: Execution, where: str) -> None:
    """The counters of registers.md. A unit is busy, to itself, from the cycle after an instruction starts."""
    counters = execution.counters
    assert counters.cycles == profile.cycles, where
    token_stalls = [cause for cause in STALLS if cause.startswith("token")]
    for u in map(unit_of, Queue):
        name, mine = UNITS[u], execution.unit == u
        busy = int((profile.finish - profile.start)[mine].sum())
        assert counters.instructions[name] == mine.sum(), (where, name)
        assert counters.busy[name] == busy - mine.sum(), (where, name)
        assert counters.stalls[name] == sum(profile.units[name].stalls[cause] for cause in token_stalls), (where, name)
    fetch = profile.units["fetch"]
    assert counters.instructions["fetch"] == counters.busy["fetch"] == fetch.busy == len(profile.start), where
    assert counters.stalls["fetch"] == fetch.stalls["queue"], where


def run_seed(design: Design, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(design, rng, length_of(seed))
    columns, where = program.columns(), f"{design.name}, seed {seed}"
    execution = RtlDevice(design).execute(program, bind_inputs(program, random_inputs(program, rng)))
    profile = profile_of(program, columns, events_of(execution.trace, columns))
    require_same(profile, time_columns(program, columns), where)
    require_counted(profile, execution, where)


@pytest.mark.parametrize("seed", range(300_000, 300_020))
def test_one_port_for_all(seed: int) -> None:
    run_seed(load_design("tiny"), seed)


@pytest.mark.parametrize("seed", range(310_000, 310_020))
def test_a_port_for_each_unit(seed: int) -> None:
    run_seed(separate_ports(), seed)


def test_a_network() -> None:
    design = load_design("tiny")
    compiled = compile_to_model("digits", design)
    inputs = default_inputs("digits", compiled, CompileOptions())
    expected = Module(compiled, Simulator(design)).run(inputs).profiles
    found = Module(compiled, RtlDevice(design)).run(inputs).profiles
    assert len(found) == len(expected) > 0
    for k, (rtl, sim) in enumerate(zip(found, expected, strict=True)):
        require_same(rtl, sim, f"program {k}")
        assert {layer.name for layer in rtl.layers} >= {"conv1", "fc"}
