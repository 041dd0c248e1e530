"""Laws of the whole path over random designs and random networks: bounds, monotonicity, conservation, determinism.

`VDLA_LONG=1` runs hundreds of seeds.
"""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from harness import checked_run
from random_models import Network, model_of, random_model

from vdla.design import BUS_PORTS, Design
from vdla.design_file import design_from_dict
from vdla.errors import VdlaError
from vdla.flows.run import Run
from vdla.isa.definition import Opcode, Scratchpad, tile_bytes
from vdla.isa.program import Program
from vdla.sim import Simulator
from vdla.sim.device import timeline_of_program
from vdla.sim.timing_engine import timeline_of

SEEDS = range(200 if os.environ.get("VDLA_LONG") else 8)
TOLERANCE, STARTING = 0.01, 20
"""1 %, and for the shortest programs a few cycles: one transfer moved past another."""


def any_design(rng: np.random.Generator) -> Design:
    """Blocks of 4 to 32, batches of 1 to 4, SRAMs of 64 tiles and up, any memory."""
    while True:
        block, batch = int(rng.choice([4, 8, 16, 32])), int(rng.choice([1, 1, 1, 2, 4]))
        depths = {name: int(rng.integers(64, 1024)) for name in ("inp", "wgt", "acc")}
        data = {
            "name": "any",
            "about": "a design drawn at random",
            "clock_mhz": 100,
            "gemm": {"batch": batch, "block_in": block, "block_out": block},
            "sram": {
                "uop": 8 * int(rng.integers(32, 1024)),
                "inp": depths["inp"] * batch * block,
                "wgt": depths["wgt"] * block * block,
                "acc": depths["acc"] * batch * block * 4,
            },
            "memory": {
                "bus_bits": int(rng.choice([32, 64, 128, 256])),
                "ports": str(rng.choice(["shared", "separate"])),
                "read_latency": int(rng.integers(1, 100)),
                "write_latency": int(rng.integers(1, 60)),
                "max_burst": 1 << int(rng.integers(0, 6)),
                "outstanding": int(rng.integers(1, 17)),
            },
        }
        try:
            return design_from_dict(data, "any")
        except VdlaError:
            continue


def any_run(seed: int) -> tuple[Run, str]:
    design = any_design(np.random.default_rng(10_000 + seed))
    where = f"seed {seed}"
    return checked_run(random_model(seed), design, where, seed=seed, latency_hiding=seed % 6 != 5), where


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed{seed}")
def any_model(request: pytest.FixtureRequest) -> tuple[Run, str]:
    """One of the runs, with its seed for messages; `checked_run` has asserted bits and the network's bound."""
    return any_run(request.param)


def cycles_on(program: Program, design: Design) -> int:
    """Cycles of the same instructions under another memory section."""
    columns = program.columns()
    work, _ = timeline_of_program(program, columns)
    return timeline_of(columns, work, design).cycles


def test_better_memory_is_never_slower(any_model: tuple[Run, str]) -> None:
    run, where = any_model
    design = run.model.design
    m = design.memory
    better: dict[str, dict[str, object]] = {
        "twice the bus": {"bus_bits": min(1024, 2 * m.bus_bits)},
        "twice the outstanding": {"outstanding": 2 * m.outstanding},
        "twice the burst": {"max_burst": 2 * m.max_burst},
        "half the read latency": {"read_latency": max(1, m.read_latency // 2)},
        "half the write latency": {"write_latency": max(1, m.write_latency // 2)},
        "separate ports": {"ports": "separate"},
    }
    for program in run.model.programs:
        base = cycles_on(program, design)
        for name, change in better.items():
            found = cycles_on(program, design.varied(memory=change))
            assert found <= base * (1 + TOLERANCE) + STARTING, f"{where}, {name}: {base} → {found} cycles"


def test_macs_are_conserved(any_model: tuple[Run, str]) -> None:
    """Graph, layer and report count the same useful products, and the GEMM core executes no fewer."""
    run, where = any_model
    graph = run.model.quantised
    reports = {layer.name: layer for layer in run.report.layers if layer.target == "vdla"}
    spans = {span.name: span for program in run.model.programs for span in program.layers}
    assert set(spans) == set(reports), where
    for node in graph.nodes:
        if node.name not in spans:
            continue
        expected = 0
        if node.op in ("qconv2d", "qdense"):
            n, o, *size = graph.type_of(node.outputs[0]).shape
            _, *window = graph.type_of(node.inputs[1]).shape
            expected = n * o * int(np.prod(size)) * int(np.prod(window))
        span = spans[node.name]
        assert reports[node.name].macs == span.macs == expected, f"{where}: {node.name}"
        assert span.macs <= span.gemm_uops * run.model.design.macs_per_cycle, f"{where}: {node.name}"
    assert sum(span.macs for span in spans.values()) <= run.report.cycles * run.model.design.macs_per_cycle, where


def test_bytes_are_conserved(any_model: tuple[Run, str]) -> None:
    """What DMA instructions say they move, what the profile says was moved, layer by layer and in all."""
    run, where = any_model
    design = run.model.design
    for program, profile in zip(run.model.programs, run.result.profiles, strict=True):
        columns = program.columns()
        sizes = np.array([tile_bytes(design, b) for b in Scratchpad])[columns["buffer"]]
        moved = columns["y_size"].astype(np.int64) * columns["x_size"] * sizes
        moved[~np.isin(columns["opcode"], (Opcode.LOAD, Opcode.STORE))] = 0
        for span, layer in zip(program.layers, profile.layers, strict=True):
            expected = int(moved[span.begin : span.end].sum()) + 16 * (span.end - span.begin)
            assert sum(layer.dram_bytes.values()) == expected, f"{where}: {span.name}"
            least = sum(slot.bytes for slot in span.outputs)
            assert layer.dram_bytes["store"] >= least, f"{where}: {span.name} stores less than its output"
        total = sum(sum(layer.dram_bytes.values()) for layer in profile.layers)
        assert total == int(moved.sum()) + 16 * len(columns), where
        assert total <= profile.cycles * design.bytes_per_cycle, where


def test_cycles_are_accounted_for(any_model: tuple[Run, str]) -> None:
    """Layers' cycles sum to the total; every unit is busy, stalled or idle in each of them."""
    run, where = any_model
    assert sum(layer.cycles for layer in run.report.layers) == run.report.cycles == run.result.cycles, where
    for program, profile in zip(run.model.programs, run.result.profiles, strict=True):
        assert [s.end for s in program.layers[:-1]] == [s.begin for s in program.layers[1:]], where
        assert all(a <= b for a, b in pairwise(np.maximum.accumulate(profile.finish).tolist()))
        for unit in BUS_PORTS:
            whole = profile.units[unit]
            assert whole.busy == sum(layer.units[unit].busy for layer in profile.layers), f"{where}: {unit}"
            stalled = sum(whole.stalls.values())
            assert stalled == sum(sum(layer.units[unit].stalls.values()) for layer in profile.layers), f"{where}: {unit}"
            assert whole.busy + stalled <= profile.cycles, f"{where}: {unit}"
        compute = profile.units["compute"]  # runs FINISH, so it has no idle tail
        assert compute.busy + sum(compute.stalls.values()) == profile.cycles, where


def test_the_same_inputs_twice(any_model: tuple[Run, str]) -> None:
    run, where = any_model
    again = run.module.run(run.inputs)
    assert again.cycles == run.result.cycles, where
    for name, value in run.result.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], value, err_msg=f"{where}: {name}")
    for first, second in zip(run.result.profiles, again.profiles, strict=True):
        np.testing.assert_array_equal(first.finish, second.finish, err_msg=where)


LAYERS = ("conv", "pointwise", "depthwise", "residual")


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("seed", range(3))
def test_recompiled_for_a_better_machine(seed: int, layer: str) -> None:
    """More SRAM or bandwidth, and a compiler free to use it: tilings are ranked by an estimate, so 15 % is let pass."""
    rng = np.random.default_rng(seed)
    net = Network(rng)
    x = net.conv(net.input(1, 8, 14, 14), 32, (3, 3))
    y = net.conv(x, 32, (1, 1) if layer == "pointwise" else (3, 3), groups=32 if layer == "depthwise" else 1)
    net.outputs.append(net.same("Add", y, x) if layer == "residual" else y)
    model, design = model_of(net, layer), any_design(rng)
    base = checked_run(model, design, layer).report.cycles
    sram = {name: 2 * getattr(design.sram, name) for name in ("uop", "inp", "wgt", "acc")}
    changes = {
        "twice the SRAM": {"sram": sram},
        "twice the bus": {"memory": {"bus_bits": 2 * design.memory.bus_bits}},
    }
    for name, change in changes.items():
        found = checked_run(model, design.varied(**change), layer).report.cycles
        assert found <= 1.15 * base, f"seed {seed}, {layer}, {name}: {base} → {found} cycles"


def test_the_simulator_refuses_a_program_for_another_design() -> None:
    run, _ = any_run(0)
    uop = run.model.design.sram.uop
    other = run.model.design.varied(sram={"uop": 2 * uop})
    with pytest.raises(VdlaError, match="sram.uop: .* in the program, .* in the design"):
        Simulator(other).timing_only(run.model.programs[0])
