"""What the hardware refuses: it stops, its registers say why, the driver says it in words, and after a reset it runs again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from cosim_programs import random_program
from random_programs import random_inputs

from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.hw.device import RtlDevice, RtlMachine, job_of, memory_image
from vdla.hw.driver import Job
from vdla.hw.simulation import BUS_BASE, BusFault, MemoryModel, Response
from vdla.isa.binding import bind_inputs
from vdla.isa.definition import Opcode, Scratchpad
from vdla.isa.layout import layout_of
from vdla.isa.program import Program
from vdla.sim.functional import run_functional

TINY = load_design("tiny")
WATCHDOG = 3000


def good_program(seed: int = 1) -> tuple[Program, np.ndarray]:
    rng = np.random.default_rng(seed)
    program = random_program(TINY, rng, 12)
    return program, bind_inputs(program, random_inputs(program, rng))


def edited(program: Program, edit: Callable[[np.ndarray], object]) -> Program:
    """`program` after `edit` has changed its columns in place."""
    columns = program.columns()
    edit(columns)
    return replace(program, words=layout_of(TINY).encode(columns))


def refuse_and_recover(bad: Program, model: MemoryModel | None = None, **job: int) -> str:
    """The words in which the hardware refuses `bad`. Then it is reset, and must run a good program to the right end."""
    good, dram = good_program()
    memory = memory_image(good, dram, TINY)
    with RtlDevice(TINY, memory=model, cycle_limit=500_000).machine(bad, np.zeros(len(memory), np.uint8)) as machine:
        machine.simulation.memory[len(memory_image(bad, dram[:1], TINY)) :] = 0
        machine.load(bad, dram if bad.dram_bytes == good.dram_bytes else np.zeros(bad.dram_bytes, np.uint8))
        with pytest.raises(RunError) as caught:
            machine.run(job=replace(job_of(bad), watchdog=WATCHDOG, **job))
        status = machine.driver.status()
        assert status.error
        assert not status.running
        machine.driver.reset()
        machine.simulation.configure(MemoryModel())
        machine.load(good, dram)
        require_good(machine, good, dram)
    return str(caught.value)


def require_good(machine: RtlMachine, good: Program, dram: np.ndarray) -> None:
    expected = dram.copy()
    run_functional(good, good.columns(), expected)
    np.testing.assert_array_equal(machine.run().dram, expected)


def with_bits(program: Program, instruction: int, lsb: int, width: int, value: int) -> Program:
    words = program.words.copy()
    mask = np.uint64(((1 << width) - 1) << lsb)
    words[instruction, 0] = words[instruction, 0] & ~mask | np.uint64(value << lsb)
    return replace(program, words=words)


@pytest.mark.parametrize("opcode", [5, 6, 7])
def test_bad_opcode(opcode: int) -> None:
    program, _ = good_program()
    text = refuse_and_recover(with_bits(program, 6, 0, 3, opcode))
    assert "BAD_INSTRUCTION" in text
    assert "instruction 6 " in text
    assert "bad opcode" in text


def test_bad_buffer() -> None:
    program, _ = good_program()
    load = int(np.flatnonzero(program.columns()["opcode"] == Opcode.LOAD)[2])
    buffer = next(s for s in layout_of(TINY).instructions[Opcode.LOAD] if s.field.name == "buffer")
    assert "BAD_INSTRUCTION" in refuse_and_recover(with_bits(program, load, buffer.lsb, buffer.width, 6))


def test_the_fetch_is_refused() -> None:
    program, _ = good_program()
    text = refuse_and_recover(program, MemoryModel(fault=BusFault(0, 16, Response.SLVERR)))
    assert "BUS_READ" in text
    assert "SLVERR" in text
    assert "FETCH" in text


@pytest.mark.parametrize("response", list(Response))
def test_a_load_is_refused(response: Response) -> None:
    program, dram = good_program()
    offset = len(memory_image(program, dram[:1], TINY)) - 4096
    text = refuse_and_recover(program, MemoryModel(fault=BusFault(offset, offset + len(dram), response, writes=False)))
    assert "BUS_READ" in text
    assert response.name in text
    assert "instruction 0 " in text or "instruction 1 " in text


@pytest.mark.parametrize("response", list(Response))
def test_a_store_is_refused(response: Response) -> None:
    program, dram = good_program()
    offset = len(memory_image(program, dram[:1], TINY)) - 4096
    first = int(np.flatnonzero(program.columns()["opcode"] == Opcode.STORE)[0])
    text = refuse_and_recover(program, MemoryModel(fault=BusFault(offset, offset + len(dram), response, reads=False)))
    assert "BUS_WRITE" in text
    assert response.name in text
    assert f"instruction {first} " in text or "STORE" in text


def test_memory_that_is_not_there() -> None:
    program, _ = good_program()
    assert "DECERR" in refuse_and_recover(program, program_address=BUS_BASE + (1 << 30))


def test_longer_than_its_buffer() -> None:
    program, _ = good_program()
    text = refuse_and_recover(program, capacity=len(program.words) - 1)
    assert "PROGRAM_LENGTH" in text
    assert f"{len(program.words)} instructions, room for {len(program.words) - 1}" in text


def test_empty() -> None:
    program, _ = good_program()
    assert "PROGRAM_LENGTH" in refuse_and_recover(program, length=0)


def test_no_finish() -> None:
    program, _ = good_program()
    assert "PROGRAM_END" in refuse_and_recover(program, length=8)


def test_another_design() -> None:
    program, _ = good_program()
    text = refuse_and_recover(program, design_hash=0x0123_4567_89AB_CDEF)
    assert "HASH_MISMATCH" in text
    assert TINY.hash_hex in text
    assert "0123456789abcdef" in text


def test_outside_an_sram() -> None:
    program, _ = good_program()
    columns = program.columns()
    wgt = int(np.flatnonzero((columns["opcode"] == Opcode.LOAD) & (columns["buffer"] == Scratchpad.WGT))[0])
    text = refuse_and_recover(edited(program, lambda c: c["sram_base"].__setitem__(wgt, 1)))
    assert "SRAM_RANGE" in text
    assert f"instruction {wgt} " in text


def test_outside_dram() -> None:
    program, _ = good_program()
    assert "DRAM_RANGE" in refuse_and_recover(program, dram_bytes=4096)


def test_deadlock() -> None:
    program, _ = good_program()
    gemm = int(np.flatnonzero(program.columns()["opcode"] == Opcode.GEMM)[0])

    def wait_for_nobody(columns: np.ndarray) -> None:
        columns["push_prev"][columns["opcode"] == Opcode.STORE] = 0
        columns["pop_next"][gemm] = 1

    text = refuse_and_recover(edited(program, wait_for_nobody))
    assert "DEADLOCK" in text
    assert f"COMPUTE is before instruction {gemm} " in text


def test_a_second_start_needs_no_reset() -> None:
    """After a run that ended well the next one starts as it is."""
    good, dram = good_program()
    with RtlDevice(TINY).machine(good, dram) as machine:
        for _ in range(3):
            machine.load(good, dram)
            require_good(machine, good, dram)


def test_a_start_while_it_runs_is_refused() -> None:
    good, dram = good_program()
    with RtlDevice(TINY).machine(good, dram) as machine:
        machine.driver.start(job_of(good))
        with pytest.raises(RunError, match="not idle"):
            machine.driver.start(job_of(good))


def test_reset_while_it_runs() -> None:
    good, dram = good_program()
    for cycles in range(50, 1500, 97):
        with RtlDevice(TINY, memory=MemoryModel(pauses=300, seed=cycles)).machine(good, dram) as machine:
            machine.driver.start(job_of(good))
            machine.simulation.run(cycles)
            machine.driver.reset()
            machine.load(good, dram)
            require_good(machine, good, dram)


def test_a_program_of_another_design_does_not_reach_the_hardware() -> None:
    program, _ = good_program()
    with pytest.raises(RunError, match="another design"):
        RtlDevice(load_design("pynq_z1")).run(program, {})


def test_the_job_says_where_things_are() -> None:
    program, dram = good_program()
    job: Job = job_of(program)
    image = memory_image(program, dram, TINY)
    begin = job.dram_base - job.program_address
    np.testing.assert_array_equal(image[begin : begin + len(dram)], dram)
    np.testing.assert_array_equal(image[: 16 * job.length].view(np.uint64).reshape(-1, 2), program.words)
    assert job.dram_base % 4096 == job.program_address % 4096 == 0
