"""The simulators as devices: agreement, refusals, observers, deadlock, trace."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from random_programs import random_design, random_inputs, random_program

from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.isa.definition import Scratchpad, tile_bytes
from vdla.isa.layout import layout_of
from vdla.isa.program import LayerSpan, Program
from vdla.sim import NaiveSimulator, Simulator, kernels
from vdla.sim.functional import shape_of
from vdla.sim.trace import trace_json


def example(seed: int, length: int = 30, style: str = "exact") -> tuple[Program, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    program = random_program(random_design(rng), rng, length, style)
    return program, random_inputs(program, rng)


def with_columns(program: Program, columns: np.ndarray) -> Program:
    return dataclasses.replace(program, words=layout_of(program.design).encode(columns))


@pytest.mark.parametrize("seed", range(5))
def test_naive_and_fast_agree_as_devices(seed: int) -> None:
    program, inputs = example(seed)
    seen: dict[str, list[bytes]] = {"naive": [], "fast": []}

    def observer(key: str):
        return lambda layer, dram: seen[key].append(layer.name.encode() + dram.tobytes())

    slow = NaiveSimulator(program.design).run(program, inputs, observe=observer("naive"))
    fast = Simulator(program.design).run(program, inputs, observe=observer("fast"))
    assert slow.profile is not None
    assert fast.profile is not None
    assert slow.profile.cycles == fast.profile.cycles
    assert [x.cycles for x in slow.profile.layers] == [x.cycles for x in fast.profile.layers]
    np.testing.assert_array_equal(slow.outputs["y"], fast.outputs["y"])
    assert seen["naive"] == seen["fast"]
    assert len(seen["fast"]) == len(program.layers)


def test_halves_run_alone() -> None:
    program, inputs = example(7)
    simulator = Simulator(program.design)
    assert simulator.functional_only(program, inputs).profile is None
    both = simulator.run(program, inputs)
    assert both.profile is not None
    assert both.profile.cycles == simulator.timing_only(program).cycles


def test_observer_sees_read_only_memory() -> None:
    program, inputs = example(8)

    def spoil(layer: LayerSpan, dram: np.ndarray) -> None:
        dram[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        Simulator(program.design).run(program, inputs, observe=spoil)


@pytest.mark.parametrize("device", [Simulator, NaiveSimulator])
def test_refusals_name_what_was_expected(device: type) -> None:
    program, inputs = example(9)
    x = inputs["x"]
    runs = {
        r"missing input x.*expected x: int8\[": {},
        r"unknown input z.*expected x: int8": {"x": x, "z": x},
        r"input x: wrong shape or type.*int8\[3\]": {"x": x[:3]},
        r"input x: wrong shape or type.*found 'int32": {"x": x.astype(np.int32)},
    }
    for message, wrong in runs.items():
        with pytest.raises(RunError, match=message):
            device(program.design).run(program, wrong)
    with pytest.raises(RunError, match="built for another design.*compile it for tiny"):
        device(load_design("tiny")).run(program, inputs)


@pytest.mark.parametrize("seed", range(8))
def test_same_refusal_of_an_access_outside(seed: int) -> None:
    """Both simulators stop at the same instruction, for the same memory."""
    program, inputs = example(seed)
    columns, rng = program.columns(), np.random.default_rng(seed)
    victims = np.flatnonzero(
        (columns["opcode"] == 2) & (columns["loop_outer"] > 0) & (columns["uop_end"] > columns["uop_begin"])
    )
    row = int(rng.choice(victims))
    columns["gemm_mode"][row] = 0
    columns["uop_end"][row] = min(columns["uop_end"][row], program.design.uop_depth)
    columns["loop_outer"][row] = 200
    columns[str(rng.choice(["dst_outer", "src_outer", "wgt_outer"]))][row] = 3
    broken = with_columns(program, columns)
    messages = []
    for device in (Simulator(program.design), NaiveSimulator(program.design)):
        with pytest.raises(RunError) as caught:
            device.run(broken, inputs, timing=False)
        messages.append((caught.value.where, caught.value.what))
    assert messages[0][0] == messages[1][0], f"seed {seed}"
    assert f"instruction {row} (GEMM" in messages[0][0], f"seed {seed}"


def test_deadlock_says_who_waits_for_what() -> None:
    program, inputs = example(11)
    columns = program.columns()
    columns["pop_prev"][-1] = 1 - columns["pop_prev"][-1]
    columns["pop_next"][-1] = 1
    broken = with_columns(program, columns)
    with pytest.raises(RunError, match=r"deadlock: LOAD .*; COMPUTE waits for token \d+ from \w+ at instruction \d+ \(FINISH"):
        Simulator(program.design).run(broken, inputs)
    with pytest.raises(RunError, match="deadlock"):
        NaiveSimulator(program.design).run(broken, inputs)


def test_deadlock_of_a_full_queue_names_fetch() -> None:
    program, _ = example(12)
    columns = program.columns()
    waiting = np.repeat(columns[-1:], 50)
    waiting["pop_next"], waiting["pop_prev"] = 1, 0
    broken = with_columns(program, np.concatenate([waiting, columns]))
    broken = dataclasses.replace(broken, layers=())
    with pytest.raises(RunError, match=r"FETCH waits for room in the queue of COMPUTE \(32 deep\)"):
        Simulator(program.design).timing_only(broken)


def test_tile_bytes_agree_with_the_definition() -> None:
    for name in ("tiny", "pynq_z1", "datacenter"):
        design = load_design(name)
        for buffer in Scratchpad:
            assert kernels.tile_bytes(int(buffer), shape_of(design)) == tile_bytes(design, buffer)


def test_trace_is_json_with_a_track_for_each_unit() -> None:
    program, _ = example(13)
    profile = Simulator(program.design).timing_only(program)
    events = json.loads(trace_json([(program, profile)]))["traceEvents"]
    names = {e["args"]["name"] for e in events if e["ph"] == "M"}
    assert names == {"fetch", "load", "compute", "store", "layers"}
    instructions = [e for e in events if e["ph"] == "X" and "instruction" in e["args"]]
    assert sorted(e["args"]["instruction"] for e in instructions) == list(range(len(program.words)))
    layers = [e for e in events if e["ph"] == "X" and e["tid"] == 4]
    end = max(e["ts"] + e["dur"] for e in instructions)
    assert [e["name"] for e in layers] == [layer.name for layer in program.layers]
    assert layers[-1]["ts"] + layers[-1]["dur"] == pytest.approx(end)
    for track in range(4):
        spans = sorted((e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X" and e["tid"] == track)
        assert all(a[1] <= b[0] + 1e-9 for a, b in zip(spans, spans[1:], strict=False)), f"track {track} overlaps itself"
    assert any(e["ph"] == "C" for e in events)


def test_trace_of_two_programs_is_one_after_the_other() -> None:
    program, _ = example(14)
    profile = Simulator(program.design).timing_only(program)
    events = json.loads(trace_json([(program, profile)] * 2))["traceEvents"]
    first, second = ([e for e in events if e["ph"] == "X" and e["pid"] == pid] for pid in (1, 2))
    assert min(e["ts"] for e in second) >= max(e["ts"] + e["dur"] for e in first) - 1e-9
    assert [e["args"] for e in first] == [e["args"] for e in second]


def test_empty_program() -> None:
    design = load_design("tiny")
    program = Program(design, np.zeros((0, 2), np.uint64), 64)
    result = Simulator(design).run(program, {})
    assert result.outputs == {}
    assert result.profile is not None
    assert result.profile.cycles == 0
