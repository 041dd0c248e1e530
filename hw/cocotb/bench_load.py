"""LOAD: random transfers with padding, against the ISA's semantics, and the cycles of the timing contract."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from bench import DESIGN, ROUNDS, SEED, Bench, Issue, ReadMemory, beats_end, run_instruction

from vdla.isa import timing
from vdla.isa.definition import Opcode, Scratchpad, depth, tile_bytes
from vdla.isa.layout import new_columns
from vdla.isa.semantics import load, new_machine

ONE_ROW = 128  # tiles, at most
DRAM = max(1 << 15, 4 * ONE_ROW * max(DESIGN.inp_tile_bytes, DESIGN.wgt_tile_bytes))


def random_load(rng: random.Random) -> np.ndarray:
    """Something that fits its SRAM and the DRAM: rows and padding of any shape, none at all too."""
    record = new_columns(1, Opcode.LOAD)
    f = record[0]
    f["buffer"] = rng.choice([Scratchpad.INP, Scratchpad.WGT])
    room = depth(DESIGN, Scratchpad(f["buffer"]))
    while True:
        for name in ("x_pad_before", "x_pad_after", "y_pad_before", "y_pad_after"):
            f[name] = rng.choice([0, 0, 1, 2, 3])
        f["x_size"], f["y_size"] = rng.randint(0, 12), rng.randint(0, 5)
        if rng.random() < 0.2:
            f["x_size"], f["y_size"] = rng.randint(1, min(room, ONE_ROW)), 1
        used = _rows(f) * _columns(f)
        if used <= room:
            break
    f["sram_base"] = rng.randint(0, room - max(int(used), 1))
    f["x_stride"] = f["x_size"] + rng.choice([0, 0, 1, 5, 60])
    span = int(f["y_size"]) * int(f["x_stride"]) + int(f["x_size"])
    f["dram_base"] = rng.randint(0, DRAM // tile_bytes(DESIGN, Scratchpad(f["buffer"])) - span - 1)
    f["pad_value"] = rng.randint(-128, 127)
    return record


def _rows(f: np.void) -> int:
    return int(f["y_pad_before"]) + int(f["y_size"]) + int(f["y_pad_after"])


def _columns(f: np.void) -> int:
    return int(f["x_pad_before"]) + int(f["x_size"]) + int(f["x_pad_after"])


def contract_cycles(f: np.void, latency: int) -> int:
    """Start to finish, from `vdla.isa.timing`."""
    width = tile_bytes(DESIGN, Scratchpad(f["buffer"]))
    data = int(f["x_size"]) * int(f["y_size"])
    rows = [((int(f["dram_base"]) + y * int(f["x_stride"])) * width, int(f["x_size"]) * width) for y in range(int(f["y_size"]))]
    over = beats_end(rows, timing.DECODE, latency, DESIGN.memory.outstanding) if data else 0
    beats = sum(timing.end_beat(*row, DESIGN.bus_bytes) - timing.first_beat(row[0], DESIGN.bus_bytes) for row in rows if data)
    return timing.load_finish(0, over, beats, _rows(f) * _columns(f) - data)


async def check_scratchpads(bench: Bench, machine) -> None:
    """Every entry of inp and wgt, through the port that COMPUTE reads."""
    dut = bench.dut
    for memory, entry_port, data_port in (
        (machine.inp, dut.inp_entry, dut.inp_data),
        (machine.wgt, dut.wgt_entry, dut.wgt_data),
    ):
        for entry, tile in enumerate(memory):
            dut.rd_valid.value, dut.inp_entry.value, dut.wgt_entry.value = 1, 0, 0
            entry_port.value = entry
            await bench.step()
            dut.rd_valid.value = 0
            await bench.step()
            found = int(data_port.value).to_bytes(tile.nbytes, "little")
            assert found == tile.tobytes(), f"entry {entry}: {found.hex()} is not {tile.tobytes().hex()} (seed {SEED})"


async def stress(dut, latency: int, pauses: float) -> None:
    rng = random.Random(f"{SEED} {latency} {pauses}")
    machine = new_machine(DESIGN, np.frombuffer(rng.randbytes(DRAM), np.uint8).copy())
    issue, memory = Issue(dut), ReadMemory(dut, machine.dram, latency, pauses, rng)
    bench = Bench(dut, [issue, memory])
    await bench.reset(halt=0, insn=0, rd_valid=0, inp_entry=0, wgt_entry=0, dram_base=0, dram_end=DRAM)
    for buffer in (Scratchpad.INP, Scratchpad.WGT):  # no entry undefined: a column of padding, of no data
        record = new_columns(1, Opcode.LOAD)
        record["buffer"], record["x_pad_before"], record["y_size"] = buffer, 1, depth(DESIGN, buffer)
        record["pad_value"] = rng.randint(-128, 127)
        load(machine, record[0])
        await run_instruction(bench, issue, record)
    for _ in range(ROUNDS):
        record = random_load(rng)
        load(machine, record[0])
        cycles = await run_instruction(bench, issue, record)
        least = contract_cycles(record[0], latency)
        assert cycles == least if not pauses else cycles >= least, f"{cycles} cycles, contract {least}: {record} (seed {SEED})"
        for _ in range(rng.choice([0, 0, 1, 3])):
            await bench.step()
    assert not memory.bursts
    assert int(dut.quiet.value) == 1
    await check_scratchpads(bench, machine)


@cocotb.test()
@cocotb.parametrize(latency=[1, 12, 40], pauses=[0.0, 0.3, 0.8])
async def transfers(dut, latency, pauses):
    await stress(dut, latency, pauses)
