"""STORE: random transfers, the bytes they write and no others, and the cycles of the timing contract."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from bench import DESIGN, ROUNDS, SEED, Bench, Issue, WriteMemory, beats_end, high, run_instruction

from vdla.isa import timing
from vdla.isa.definition import Opcode, Scratchpad, tile_bytes
from vdla.isa.layout import new_columns
from vdla.isa.semantics import new_machine, store

WIDTH = tile_bytes(DESIGN, Scratchpad.OUT)
DRAM = max(1 << 15, 4 * DESIGN.acc_depth * WIDTH)


class Mirror:
    """The narrow copy of acc: the tiles from rd_entry on, a cycle after rd_valid."""

    def __init__(self, dut, acc: np.ndarray) -> None:
        self.dut, self.tiles = dut, acc.astype(np.uint8).reshape(len(acc), -1)
        self.lanes = max(1, DESIGN.bus_bytes // WIDTH)
        self.entry = None

    def drive(self, cycle: int) -> None:
        if self.entry is not None:
            entries = (self.entry + np.arange(self.lanes)) % (1 << len(self.dut.rd_entry))
            entries = np.minimum(entries, len(self.tiles) - 1)  # lanes outside acc may hold anything
            self.dut.rd_data.value = int.from_bytes(self.tiles[entries].tobytes(), "little")

    def sample(self, cycle: int) -> None:
        self.entry = int(self.dut.rd_entry.value) if high(self.dut.rd_valid) else None


def random_store(rng: random.Random) -> np.ndarray:
    record = new_columns(1, Opcode.STORE)
    f = record[0]
    f["buffer"] = Scratchpad.OUT
    f["y_size"] = rng.randint(0, 5)
    f["x_size"] = rng.randint(0, min(14, DESIGN.acc_depth // max(1, int(f["y_size"]))))
    if rng.random() < 0.2:
        f["x_size"], f["y_size"] = rng.randint(1, DESIGN.acc_depth), 1
    used = int(f["x_size"]) * int(f["y_size"])
    f["sram_base"] = rng.randint(0, DESIGN.acc_depth - max(used, 1))
    f["x_stride"] = f["x_size"] + rng.choice([0, 0, 1, 7, 200])
    span = int(f["y_size"]) * int(f["x_stride"]) + int(f["x_size"])
    f["dram_base"] = rng.randint(0, DRAM // WIDTH - span - 1)
    return record


def contract_cycles(f: np.void, latency: int) -> int:
    rows = [((int(f["dram_base"]) + y * int(f["x_stride"])) * WIDTH, int(f["x_size"]) * WIDTH) for y in range(int(f["y_size"]))]
    over = beats_end(rows, timing.DECODE, timing.WRITE_SETUP, None) if f["x_size"] and f["y_size"] else 0
    return timing.store_finish(0, over, latency)


@cocotb.test()
@cocotb.parametrize(latency=[1, 6, 20], pauses=[0.0, 0.3, 0.8])
async def transfers(dut, latency, pauses):
    rng = random.Random(f"{SEED} {latency} {pauses}")
    machine = new_machine(DESIGN, np.frombuffer(rng.randbytes(DRAM), np.uint8).copy())
    machine.acc[:] = np.random.default_rng(SEED).integers(-(2**31), 2**31, machine.acc.shape)
    issue, memory = Issue(dut), WriteMemory(dut, machine.dram.copy(), latency, pauses, rng)
    bench = Bench(dut, [issue, memory, Mirror(dut, machine.acc)])
    await bench.reset(halt=0, insn=0, rd_data=0, dram_base=0, dram_end=DRAM)
    for _ in range(ROUNDS):
        record = random_store(rng)
        store(machine, record[0])
        cycles = await run_instruction(bench, issue, record)
        least = contract_cycles(record[0], latency)
        assert cycles == least if not pauses else cycles >= least, f"{cycles} cycles, contract {least}: {record} (seed {SEED})"
        wrong = np.flatnonzero(machine.dram != memory.image)
        assert not len(wrong), f"byte {wrong[0]:#x} after {record} (seed {SEED})"
    assert not memory.bursts
    assert not memory.answers
