"""The design's hash covers exactly what a program's words and addresses depend on; what differs is said key by key."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from vdla.design import Design, design_differences, key_differences, keys_of, value_text
from vdla.design_file import load_design
from vdla.errors import RunError, VdlaError
from vdla.flows.compilation import compile_to_model
from vdla.flows.synth import _kept
from vdla.hw.build import rtl_headers
from vdla.isa.assembler import assemble
from vdla.isa.binding import require_design
from vdla.isa.layout import layout_of
from vdla.isa.program import Program
from vdla.rules import Section, rules_of
from vdla.runtime.module import Module
from vdla.runtime.program_file import module_to_bytes, read_module, read_programs
from vdla.sim.device import Simulator
from vdla.sim.naive import NaiveSimulator
from vdla.zoo import sample_inputs

TINY = load_design("tiny")
BOARD = {"name": "pynq-z1", "part": "xc7z020clg400-1", "host": "cortex-a9"}
OUTSIDE: dict[str, Any] = {
    "name": "other",
    "about": "another question altogether?",
    "clock_mhz": 250.0,
    "memory.ports": "separate",
    "memory.read_latency": 77,
    "memory.write_latency": 1,
    "memory.outstanding": 7,
    **{f"board.{key}": BOARD for key in BOARD},
}
INSIDE: dict[str, tuple[Any, ...]] = {
    "gemm.batch": (2, 4),
    "gemm.block_in": (2, 8),  # and block_out with it, which must equal it
    "gemm.block_out": (1, 8),
    "sram.uop": (1024 - 8, 2048),
    "sram.inp": (1024 - 4, 2048),
    "sram.wgt": (2048 - 16, 4096),
    "sram.acc": (4096 - 16, 8192),
    "memory.bus_bits": (256,),  # in bursts of 4: 128 bytes
    "memory.max_burst": (32,),
}
ONE_VALUE = {f"types.{key}" for key in ("inp", "wgt", "acc", "out")}
"""Keys that accept one value only."""


def changed(key: str, value: Any) -> Design:
    section, _, name = key.rpartition(".")
    if section == "board":
        return TINY.varied(board=value)
    if section == "gemm" and name != "batch":
        return TINY.varied(gemm={"block_in": value, "block_out": value})
    return TINY.varied(**{section: {name: value}} if section else {name: value})


def machine(design: Design) -> tuple[object, ...]:
    """What words and addresses mean on the machine: every bit's place, a tile's bytes, an index' bound, the alignment."""
    layout = layout_of(design)
    slices = [[(s.field.name, s.lsb, s.width) for s in layout.instructions[opcode]] for opcode in layout.instructions]
    tiles = (design.inp_tile_bytes, design.wgt_tile_bytes, design.acc_tile_bytes, design.out_tile_bytes, design.uop_bytes)
    depths = (design.inp_depth, design.wgt_depth, design.acc_depth, design.uop_depth)
    return slices, [(s.field.name, s.lsb, s.width) for s in layout.uop], tiles, depths, design.dram_alignment


def test_every_key_is_inside_or_outside() -> None:
    keys = set()
    for name, (rule, _) in rules_of(Design).items():
        keys |= {f"{name}.{key}" for key in rules_of(rule.of)} if isinstance(rule, Section) else {name}
    assert keys == {*OUTSIDE, *INSIDE, *ONE_VALUE}


@pytest.mark.parametrize("key", OUTSIDE)
def test_a_key_outside_changes_neither_words_nor_addresses(key: str) -> None:
    other = changed(key, OUTSIDE[key])
    assert other != TINY
    assert machine(other) == machine(TINY)
    assert other.hash_hex == TINY.hash_hex
    assert design_differences(TINY, other) == ""
    assert (other.build_hash == TINY.build_hash) == (key in ("name", "about"))


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in INSIDE.items() for value in values])
def test_a_key_inside_changes_the_machine(key: str, value: Any) -> None:
    other = changed(key, value)
    assert machine(other) != machine(TINY)
    assert other.hash_hex != TINY.hash_hex
    assert other.build_hash != TINY.build_hash
    section, _, name = key.partition(".")
    old = getattr(getattr(TINY, section), name)
    old, value = (value_text(key, x) for x in (old, value))
    assert f"{key}: {old} here, {value} there" in design_differences(TINY, other)
    assert f"{key}: {value} here, {old} there" in design_differences(other, TINY)
    assert "clock" not in design_differences(TINY, other)
    (found,) = (d for d in key_differences(TINY, other) if d.key == key)
    assert (found.here, found.there) == (old, value)
    assert found.decides


def test_every_key_that_differs_is_named_and_no_other() -> None:
    for a, b in combinations([TINY, *(changed(key, value) for key, value in OUTSIDE.items())], 2):
        for here, there in ((a, b), (b, a)):
            expected = {key for key in {**keys_of(a), **keys_of(b)} if keys_of(a).get(key) != keys_of(b).get(key)}
            found = key_differences(here, there)
            assert {d.key for d in found} == expected
            assert not any(d.decides for d in found)


def test_sizes_are_said_as_files_have_them() -> None:
    texts = {1040: "1040B", 2048: "2KiB", 3 << 20: "3MiB", (1 << 20) + 1024: "1025KiB"}
    assert {size: value_text("sram.wgt", size) for size in texts} == texts
    assert value_text("memory.bus_bits", 1024) == "1024"


def test_bursts_count_by_the_alignment_only() -> None:
    """A beat of twice the bits in bursts of half the beats; and bursts shorter than the largest tile."""
    longer = TINY.varied(memory={"bus_bits": 256})
    same = TINY.varied(memory={"bus_bits": 512, "max_burst": 2})
    assert longer.hash_hex == same.hash_hex
    assert TINY.varied(memory={"max_burst": 1}).hash_hex == TINY.hash_hex
    assert design_differences(TINY, longer) == "dram_alignment: 64 here, 128 there, memory.bus_bits: 32 here, 256 there"


def test_equal_hashes_are_equal_machines() -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    designs = [d for d in (drawn(rng) for _ in range(90)) if d is not None]
    found = [(d, d.hash_hex, machine(d)) for d in designs]
    assert 1 < len({hash_hex for _, hash_hex, _ in found}) < len(found), f"seed {seed}: all or none alike"
    for (a, hash_a, machine_a), (b, hash_b, machine_b) in combinations(found, 2):
        assert (hash_a == hash_b) == (machine_a == machine_b) == (not design_differences(a, b)), f"seed {seed}"


def drawn(rng: np.random.Generator) -> Design | None:
    """From few values, so that some are alike; None when they contradict one another."""

    def one(*values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    block = one(2, 4)
    try:
        return TINY.varied(
            clock_mhz=one(50, 100),
            gemm={"batch": one(1, 2), "block_in": block, "block_out": block},
            sram={"uop": one(64, 1024), "wgt": one(1024, 1040)},
            memory={"bus_bits": one(32, 64, 1024), "max_burst": one(2, 16), "read_latency": one(5, 50)},
        )
    except VdlaError:
        return None


# -- where two designs meet ----------------------------------------------------------------------------------------------


@cache
def digits() -> Any:
    return compile_to_model("digits", TINY)


FASTER = TINY.varied(name="faster", clock_mhz=400, memory={"read_latency": 60, "ports": "separate"})


def test_programs_run_on_a_machine_of_another_clock_and_memory() -> None:
    """The same bits, in the machine's own time."""
    inputs = sample_inputs("digits", 1, 0)
    at_home, abroad = (Module(digits(), Simulator(design)).run(inputs) for design in (TINY, FASTER))
    for name, value in at_home.outputs.items():
        assert np.array_equal(abroad.outputs[name], value)
    assert abroad.cycles != at_home.cycles
    compiled_there = [replace(program, design=FASTER) for program in digits().programs]
    assert abroad.cycles == sum(Simulator(FASTER).timing_only(program).cycles for program in compiled_there)
    assert abroad.programs[0].design == FASTER
    assert last_microsecond(abroad.trace()) == pytest.approx(abroad.cycles / 400, rel=0.01)


def last_microsecond(trace: str) -> float:
    ends = re.findall(r'"ts":([\d.e-]+),"dur":([\d.e-]+)', trace)
    return max(float(begin) + float(duration) for begin, duration in ends)


def test_the_naive_simulator_keeps_its_own_time_too() -> None:
    columns = assemble("LOAD inp sram=0 dram=0 y=1 x=4\nFINISH", TINY)
    program = Program(TINY, layout_of(TINY).encode(columns), 64)
    times = [NaiveSimulator(design).run(program, {}).profile for design in (TINY, FASTER)]
    fast = [Simulator(design).run(program, {}).profile for design in (TINY, FASTER)]
    assert [t.cycles for t in times if t] == [t.cycles for t in fast if t]
    assert times[0] is not None and times[1] is not None and times[0].cycles != times[1].cycles


def test_a_saved_module_runs_there(tmp_path: Any) -> None:
    path = tmp_path / "digits.vdla"
    path.write_bytes(module_to_bytes(digits()))
    assert Module(read_module(path), Simulator(FASTER)).run(sample_inputs("digits", 1, 0)).cycles > 0
    assert read_programs(path)[0].design == TINY


def test_a_refusal_names_the_keys() -> None:
    larger = TINY.varied(name="larger", sram={"wgt": 4096})
    words = "design larger: the {0} was built for another design, tiny: sram.wgt: 2KiB in the {0}, 4KiB in the design; try: "
    for what, meet in (
        ("program", lambda: require_design(digits().programs[0], larger)),
        ("program", lambda: Simulator(larger).timing_only(digits().programs[0])),
        ("module", lambda: Module(digits(), Simulator(larger))),
    ):
        with pytest.raises(RunError) as caught:
            meet()
        assert str(caught.value).startswith(words.format(what))


# -- caches that depend on more than the hash ----------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"ports": "separate"}, {"outstanding": 7}, {"bus_bits": 64}, {"max_burst": 2}])
def test_the_rtl_is_keyed_by_all_it_is_built_from(change: dict[str, Any]) -> None:
    """The library's key is its sources, and what of the memory is built in is in the header."""
    other = TINY.varied(memory=change)
    assert other.hash_hex == TINY.hash_hex
    assert rtl_headers(other) != rtl_headers(TINY)


@pytest.mark.parametrize("change", [{"clock_mhz": 50}, {"board": BOARD}])
def test_synthesis_is_keyed_by_clock_and_part(change: dict[str, Any], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDLA_CACHE", str(tmp_path))
    other = TINY.varied(**change)
    assert other.hash_hex == TINY.hash_hex
    assert _kept("ecp5", other, {}, ()) != _kept("ecp5", TINY, {}, ())
    assert _kept("ecp5", TINY.varied(name="same"), {}, ()) == _kept("ecp5", TINY, {}, ())
