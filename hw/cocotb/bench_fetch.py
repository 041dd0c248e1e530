"""FETCH: programs of any length, dispatched whole and in order, each instruction to its unit; when the first ones come."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from bench import DESIGN, SEED, Bench, Promise, ReadMemory, beats_end, high

from vdla.isa import timing
from vdla.isa.definition import Opcode, Scratchpad, queue_of
from vdla.isa.layout import layout_of, new_columns

PROGRAM_AT = 3 << 12
INSTRUCTION_BYTES = 16


def random_program(rng: random.Random, length: int) -> np.ndarray:
    """COLUMNS[length]: of every unit, otherwise empty but for a number by which each is known."""
    records = new_columns(length, Opcode.LOAD)
    for k, f in enumerate(records):
        f["opcode"] = rng.choice([Opcode.LOAD, Opcode.STORE, Opcode.GEMM, Opcode.ALU, Opcode.FINISH])
        if f["opcode"] == Opcode.LOAD:
            f["buffer"] = rng.choice(list(Scratchpad))
        elif f["opcode"] == Opcode.STORE:
            f["buffer"] = Scratchpad.OUT
        if f["opcode"] in (Opcode.LOAD, Opcode.STORE):
            f["dram_base"] = k
        f["push_prev"] = k & 1
    return records


class Queues:
    """Takes what is dispatched, when it likes."""

    def __init__(self, dut, pauses: float, rng: random.Random) -> None:
        self.dut, self.pauses, self.rng = dut, pauses, rng
        self.taken: list[tuple[int, int, int]] = []  # cycle, queue, word
        self.promise = Promise("dispatch")

    def drive(self, cycle: int) -> None:
        self.dut.dispatch_ready.value = sum((self.rng.random() >= self.pauses) << k for k in range(3))

    def sample(self, cycle: int) -> None:
        valid, ready = int(self.dut.dispatch_valid.value), int(self.dut.dispatch_ready.value)
        assert valid in (0, 1, 2, 4), f"dispatched to several queues: {valid:03b}"
        word = int(self.dut.dispatch_insn.value) if valid else 0
        if self.promise.see(valid != 0, bool(valid & ready), (valid, word)):
            self.taken.append((cycle, valid.bit_length() - 1, word))


@cocotb.test()
@cocotb.parametrize(length=[1, 7, 8, 9, 40, 75], pauses=[0.0, 0.4], latency=[1, 30])
async def programs(dut, length, pauses, latency):
    rng = random.Random(f"{SEED} {length} {pauses} {latency}")
    columns = random_program(rng, length)
    words = layout_of(DESIGN).encode(columns)
    image = np.frombuffer(rng.randbytes(PROGRAM_AT), np.uint8)
    image = np.concatenate([image, words.view(np.uint8).ravel(), np.zeros(64, np.uint8)])
    memory, queues = ReadMemory(dut, image, latency, pauses, rng), Queues(dut, pauses, rng)
    bench = Bench(dut, [memory, queues])
    await bench.reset(halt=1, program_address=PROGRAM_AT, program_length=length)
    dut.halt.value = 0
    zero, limit = bench.cycle, bench.cycle + 400 * length + 2000
    while len(queues.taken) < length:
        await bench.step()
        assert bench.cycle < limit, f"{len(queues.taken)} of {length} dispatched (seed {SEED})"
        assert not high(dut.bad)
    expected = [(queue_of(Opcode(f["opcode"]), Scratchpad(f["buffer"])), int(w[0]) | int(w[1]) << 64)
                for f, w in zip(columns, words, strict=True)]  # fmt: skip
    assert [(queue, word) for _, queue, word in queues.taken] == expected
    asked = sum(beats for _, _, beats in memory.requests) * DESIGN.bus_bytes
    assert asked == -(-length * INSTRUCTION_BYTES // DESIGN.bus_bytes) * DESIGN.bus_bytes, "not exactly the program"
    if not pauses:
        first = min(length, timing.FETCH_BLOCK) * INSTRUCTION_BYTES
        over = beats_end([(PROGRAM_AT, first)], 0, latency, DESIGN.memory.outstanding)
        assert queues.taken[0][0] - zero == over + timing.FETCH_DECODE
    for _ in range(5):
        await bench.step()
    assert len(queues.taken) == length
    assert high(dut.all_dispatched)
    assert high(dut.quiet)


@cocotb.test()
async def an_instruction_that_does_not_exist_stops_it(dut):
    rng = random.Random(SEED)
    words = layout_of(DESIGN).encode(random_program(rng, 5))
    words[3, 0] |= np.uint64(7)  # no such opcode
    image = np.concatenate([np.zeros(PROGRAM_AT, np.uint8), words.view(np.uint8).ravel(), np.zeros(64, np.uint8)])
    memory, queues = ReadMemory(dut, image, 3, 0.0, rng), Queues(dut, 0.0, rng)
    bench = Bench(dut, [memory, queues])
    await bench.reset(halt=1, program_address=PROGRAM_AT, program_length=5)
    dut.halt.value = 0
    for _ in range(200):
        await bench.step()
    assert high(dut.bad)
    assert len(queues.taken) == 3
    assert int(dut.dispatched.value) == 3
