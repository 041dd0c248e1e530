"""COMPUTE: loads of uop and acc, GEMM and ALU with random loops against the ISA's semantics, and the contract's cycles."""

from __future__ import annotations

import random

import cocotb
import numpy as np
from bench import DESIGN, ROUNDS, SEED, Bench, Issue, ReadMemory, high, run_instruction

from vdla.isa import timing
from vdla.isa.definition import IMMEDIATE_ALU_OPS, AluOp, GemmMode, Opcode, Scratchpad
from vdla.isa.layout import UOP_COLUMNS, layout_of, new_columns
from vdla.isa.semantics import Machine, alu, gemm, load, new_machine
from vdla.sim import naive

ACC_AT, UOP_AT, DRAM = 0, 1 << 15, 1 << 16
PER_CHANNEL = (AluOp.REQUANTISE, AluOp.RESCALE)


class Operands:
    """The inp and wgt scratchpads: data a cycle after operand_valid."""

    def __init__(self, dut, machine: Machine) -> None:
        self.dut, self.machine, self.entries = dut, machine, None

    def drive(self, cycle: int) -> None:
        if self.entries is not None:
            inp, wgt = self.entries
            self.dut.inp_data.value = int.from_bytes(self.machine.inp[inp].tobytes(), "little")
            self.dut.wgt_data.value = int.from_bytes(self.machine.wgt[wgt].tobytes(), "little")

    def sample(self, cycle: int) -> None:
        valid = high(self.dut.operand_valid)
        self.entries = (int(self.dut.inp_entry.value), int(self.dut.wgt_entry.value)) if valid else None


def random_loops(rng: random.Random, f: np.void, machine: Machine, limits: dict[str, int]) -> None:
    """Two loops over a few micro-ops whose indices stay below `limits`."""
    f["uop_begin"] = rng.randint(0, 8)
    f["uop_end"] = f["uop_begin"] + rng.choice([0, 1, 1, 2, 4])
    f["loop_outer"], f["loop_inner"] = rng.randint(1, 4), rng.randint(1, 6)
    for name, limit in limits.items():
        column = ("dst", "src", "wgt").index(name)
        used = machine.uop[int(f["uop_begin"]) : int(f["uop_end"]), column]
        room = limit - 1 - int(used.max(initial=0))
        f[f"{name}_outer"] = rng.randint(0, room // (2 * int(f["loop_outer"])))
        f[f"{name}_inner"] = rng.randint(0, room // (2 * int(f["loop_inner"])))


def random_step(rng: random.Random, machine: Machine) -> np.ndarray:
    record = new_columns(1, rng.choice([Opcode.GEMM, Opcode.ALU]))
    f = record[0]
    if f["opcode"] == Opcode.GEMM:
        f["gemm_mode"] = rng.choice(list(GemmMode))
        random_loops(rng, f, machine, {"dst": DESIGN.acc_depth, "src": DESIGN.inp_depth, "wgt": DESIGN.wgt_depth})
        return record
    op = rng.choice(list(AluOp))
    f["alu_op"] = op
    f["use_imm"] = op in (*PER_CHANNEL, *IMMEDIATE_ALU_OPS) or rng.random() < 0.5
    f["imm"] = rng.randint(-(2**15), 2**15 - 1) if f["use_imm"] else 0
    if op == AluOp.RESCALE:
        f["imm"] = 0
    if op in PER_CHANNEL:
        f["use_imm"] = 0
    random_loops(rng, f, machine, {"dst": DESIGN.acc_depth, "src": DESIGN.acc_depth - 1})
    return record


def steps_of(f: np.void, machine: Machine) -> list[tuple[int, int]]:
    """(dst, src) of each step."""
    return [
        (
            int(machine.uop[u][0]) + o * int(f["dst_outer"]) + i * int(f["dst_inner"]),
            int(machine.uop[u][1]) + o * int(f["src_outer"]) + i * int(f["src_inner"]),
        )
        for o in range(int(f["loop_outer"]))
        for i in range(int(f["loop_inner"]))
        for u in range(int(f["uop_begin"]), int(f["uop_end"]))
    ]


def contract_cycles(f: np.void, steps: list[tuple[int, int]]) -> int:
    if f["opcode"] == Opcode.GEMM:
        return timing.gemm_cycles(len(steps))
    return timing.alu_cycles(naive.read_cycles(f, steps), f["alu_op"] in timing.LONG_ALU_OPS)


def check_acc(dut, machine: Machine, what: object) -> None:
    """Every entry of acc, in its banks."""
    banks = max(1, DESIGN.bus_bytes // DESIGN.out_tile_bytes)
    for entry, tile in enumerate(machine.acc):
        word = dut.acc.bank[entry % banks].ram.memory[entry // banks].value
        found = np.frombuffer(int(word).to_bytes(tile.nbytes, "little"), np.int32)
        assert np.array_equal(found, tile.ravel()), f"acc {entry}: {found} is not {tile.ravel()} after {what} (seed {SEED})"


async def fill(bench: Bench, issue: Issue, machine: Machine) -> None:
    """uop and acc whole, from DRAM."""
    for buffer, count, address in (
        (Scratchpad.ACC, DESIGN.acc_depth, ACC_AT // DESIGN.acc_tile_bytes),
        (Scratchpad.UOP, 16, UOP_AT // DESIGN.uop_bytes),
    ):
        record = new_columns(1, Opcode.LOAD)
        f = record[0]
        f["buffer"], f["x_size"], f["y_size"], f["dram_base"] = buffer, count, 1, address
        load(machine, f)
        await run_instruction(bench, issue, record)


async def stress(dut, pauses: float, rounds: int) -> None:
    rng, numbers = random.Random(f"{SEED} {pauses}"), np.random.default_rng(SEED)
    machine = new_machine(DESIGN, np.frombuffer(rng.randbytes(DRAM), np.uint8).copy())
    machine.inp[:] = numbers.integers(-128, 128, machine.inp.shape)
    machine.wgt[:] = numbers.integers(-128, 128, machine.wgt.shape)
    uops = np.zeros(16, UOP_COLUMNS)
    for name, limit in (
        ("dst", DESIGN.acc_depth),
        ("src", min(DESIGN.inp_depth, DESIGN.acc_depth - 1)),
        ("wgt", DESIGN.wgt_depth),
    ):
        uops[name] = numbers.integers(0, limit // 2, len(uops))
    words = layout_of(DESIGN).encode_uops(uops)
    image = np.frombuffer(b"".join(int(w).to_bytes(DESIGN.uop_bytes, "little") for w in words.ravel()), np.uint8)
    machine.dram[UOP_AT : UOP_AT + len(image)] = image
    issue, memory = Issue(dut), ReadMemory(dut, machine.dram, DESIGN.memory.read_latency, pauses, rng)
    bench = Bench(dut, [issue, memory, Operands(dut, machine)])
    ports = {"inp_data": 0, "wgt_data": 0, "mirror_valid": 0, "mirror_entry": 0, "dram_base": 0, "dram_end": DRAM}
    await bench.reset(halt=0, insn=0, **ports)
    await fill(bench, issue, machine)
    check_acc(dut, machine, "the loads")
    for _ in range(rounds):
        record = random_step(rng, machine)
        f, steps = record[0], steps_of(record[0], machine)
        contract = contract_cycles(f, steps)
        (gemm if f["opcode"] == Opcode.GEMM else alu)(machine, f)
        cycles = await run_instruction(bench, issue, record)
        assert cycles == contract, f"{cycles} cycles, contract {contract}: {record} (seed {SEED})"
        check_acc(dut, machine, record)


@cocotb.test()
async def one_micro_op_a_cycle_to_one_accumulator(dut):
    """The worst sequence for forwarding: every step of a GEMM adds to the same tile."""
    rng, numbers = random.Random(SEED), np.random.default_rng(SEED)
    machine = new_machine(DESIGN, np.zeros(DRAM, np.uint8))
    machine.inp[:] = numbers.integers(-128, 128, machine.inp.shape)
    machine.wgt[:] = numbers.integers(-128, 128, machine.wgt.shape)
    issue = Issue(dut)
    bench = Bench(dut, [issue, ReadMemory(dut, machine.dram, 1, 0.0, rng), Operands(dut, machine)])
    ports = {"inp_data": 0, "wgt_data": 0, "mirror_valid": 0, "mirror_entry": 0, "dram_base": 0, "dram_end": DRAM}
    await bench.reset(halt=0, insn=0, **ports)
    await fill(bench, issue, machine)  # micro-op 0: all indices 0
    for steps in (1, 2, 3, 100):
        record = new_columns(1, Opcode.GEMM)
        f = record[0]
        f["uop_end"], f["loop_outer"], f["loop_inner"], f["src_inner"], f["wgt_inner"] = 1, 1, steps, 1, 1
        gemm(machine, f)
        assert await run_instruction(bench, issue, record) == timing.gemm_cycles(steps)
        check_acc(dut, machine, record)


@cocotb.test()
@cocotb.parametrize(pauses=[0.0, 0.5])
async def random_steps(dut, pauses):
    await stress(dut, pauses, 5 * ROUNDS)
