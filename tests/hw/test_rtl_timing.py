"""The RTL against the semantics, byte for byte, and against the timing contract, cycle for cycle, one instruction at a time.

Programs are serial, so that what an instruction takes is its unit's doing alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from random_programs import Writer, random_inputs, random_program

from vdla.design import Design, load_design
from vdla.hw import build
from vdla.hw.device import RtlDevice
from vdla.isa.binding import bind_inputs
from vdla.isa.definition import AluOp, Buffer, GemmMode, Opcode, Queue
from vdla.isa.layout import UOP_COLUMNS, new_columns
from vdla.isa.program import Program
from vdla.isa.semantics import SEMANTICS, new_machine
from vdla.sim.device import Simulator
from vdla.sim.timing import ALU_FILL, DECODE, GEMM_FILL

LONG_OPERATIONS = (AluOp.MUL, AluOp.SHL, AluOp.SHR, AluOp.REQUANTISE, AluOp.RESCALE)
PADS = ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after")
PADDING_SLACK = 5
"""Cycles that padding and data of one LOAD may cost each other at the scratchpad."""


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two products of the GEMM core on one multiplier."""
    monkeypatch.setattr(build, "VERILATOR_FLAGS", (*build.VERILATOR_FLAGS, "-GPACKED_PRODUCTS=1"))


def wide_beats() -> Design:
    """Many tiles in a beat, and SRAMs of odd depths: the lanes of every scratchpad."""
    tiny = load_design("tiny")
    memory = tiny.memory.model_copy(update={"bus_bits": 128, "max_burst": 3, "outstanding": 3})
    gemm = tiny.gemm.model_copy(update={"block_in": 2, "block_out": 2})
    sram = tiny.sram.model_copy(update={"uop": 200, "inp": 42, "wgt": 36, "acc": 152})
    changed = tiny.model_copy(update={"name": "wide_beats", "memory": memory, "gemm": gemm, "sram": sram})
    return Design.model_validate(changed.model_dump())


def reference(program: Program, dram: np.ndarray) -> np.ndarray:
    machine = new_machine(program.design, dram.copy())
    for f in program.columns():
        SEMANTICS[Opcode(f["opcode"])](machine, f)
    return machine.dram


def check(design: Design, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(design, rng, length=40, style="serial")
    inputs = random_inputs(program, rng)
    dram, columns, where = bind_inputs(program, inputs), program.columns(), f"{design.name}, seed {seed}"
    execution = RtlDevice(design).execute(program, dram)
    np.testing.assert_array_equal(execution.dram, reference(program, dram), err_msg=where)
    profile = Simulator(design).timing_only(program)
    late = (execution.finish - execution.start) - (profile.finish - profile.start)
    waits = (columns["opcode"] == Opcode.ALU) & np.isin(columns["alu_op"], LONG_OPERATIONS)
    pads = np.any([columns[name] > 0 for name in PADS], axis=0)
    assert (late[~waits & ~pads] == 0).all(), f"{where}: instructions {np.flatnonzero((late != 0) & ~waits & ~pads)}"
    assert (late[waits | pads] >= 0).all() and (late[pads] <= PADDING_SLACK).all(), where


@pytest.mark.parametrize("seed", range(20))
def test_plain_products(seed: int) -> None:
    check(load_design("tiny"), seed)


@pytest.mark.parametrize("seed", range(20, 35))
def test_packed_products_and_many_tiles_in_a_beat(seed: int, packed: None) -> None:
    check(wide_beats(), seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
@pytest.mark.parametrize("seed", range(35, 40))
def test_packed_products(name: str, seed: int, packed: None) -> None:
    check(load_design(name), seed)


# -- one instruction each ----------------------------------------------------------------------------------------------------


def cycles_of(micro_ops: list[tuple[int, int, int]], record: np.ndarray) -> int:
    """Start to finish of `record`, which runs `micro_ops` (dst, src, wgt) from a full scratchpad; the result is checked."""
    design = load_design("tiny")
    writer = Writer(design, np.random.default_rng(0), "serial", 1)
    writer.uop_table[: len(micro_ops)] = np.array(micro_ops, UOP_COLUMNS)
    writer.fill_srams()
    writer.records[0]["dram_base"] = 0
    record["uop_end"] = len(micro_ops)
    record["loop_outer"] = np.maximum(record["loop_outer"], 1)
    record["loop_inner"] = np.maximum(record["loop_inner"], 1)
    place = len(writer.records)
    everything = np.arange(design.acc_depth)
    writer.emit(record, acc=(everything, everything), uop=(np.arange(len(micro_ops)), np.zeros(0, np.int64)))
    store = new_columns(1, Opcode.STORE)
    store["buffer"], store["y_size"], store["x_size"] = Buffer.OUT, 1, 64
    store["dram_base"] = writer.regions["out"] // design.out_tile_bytes
    writer.emit(store, acc=(everything[:64], np.zeros(0, np.int64)))
    writer.finish()
    program = writer.program()
    assert writer.queues[place] == Queue.COMPUTE
    dram = bind_inputs(program, random_inputs(program, np.random.default_rng(1)))
    execution = RtlDevice(design).execute(program, dram)
    np.testing.assert_array_equal(execution.dram, reference(program, dram))
    return int(execution.finish[place] - execution.start[place])


def gemm(mode: GemmMode, **loops: int) -> np.ndarray:
    record = new_columns(1, Opcode.GEMM)
    record["gemm_mode"] = mode
    for name, value in loops.items():
        record[name] = value
    return record


def alu(op: AluOp, **fields: int) -> np.ndarray:
    record = new_columns(1, Opcode.ALU)
    record["alu_op"] = op
    for name, value in fields.items():
        record[name] = value
    return record


@pytest.mark.parametrize("distance", range(1, 6))
@pytest.mark.parametrize("mode", GemmMode)
def test_gemm_takes_a_cycle_a_step_whatever_the_accumulators(mode: GemmMode, distance: int) -> None:
    """Every accumulator comes again after `distance` steps: from the adder, the register behind it, or the scratchpad."""
    micro_ops = [(k, k + 1, k + 2) for k in range(distance)]
    steps = distance * 4 * 5
    assert cycles_of(micro_ops, gemm(mode, loop_outer=4, loop_inner=5, src_inner=1)) == DECODE + steps + GEMM_FILL


@pytest.mark.parametrize("distance", range(1, 5))
@pytest.mark.parametrize("op", sorted(set(AluOp) - set(LONG_OPERATIONS)))
def test_short_operations_forward(op: AluOp, distance: int) -> None:
    micro_ops = [(k, k + 1, 0) for k in range(distance)]
    steps = distance * 12
    assert cycles_of(micro_ops, alu(op, use_imm=1, imm=0x40C0, loop_outer=3, loop_inner=4)) == DECODE + steps + ALU_FILL
    if op != AluOp.CLIP:
        assert cycles_of(micro_ops, alu(op, loop_outer=3, loop_inner=4)) == DECODE + 2 * steps + ALU_FILL


@pytest.mark.parametrize("op", LONG_OPERATIONS)
def test_long_operations_take_a_cycle_a_step_on_different_tiles(op: AluOp) -> None:
    per_channel = op in (AluOp.REQUANTISE, AluOp.RESCALE)
    fields = {"loop_outer": 2, "loop_inner": 8, "dst_outer": 16, "dst_inner": 1, "imm": 0x7F80 if per_channel else 3}
    cycles = cycles_of([(0, 60, 0), (8, 60, 0)], alu(op, use_imm=int(not per_channel), **fields))
    assert cycles == DECODE + 32 + 2 * per_channel + ALU_FILL


def test_parameters_are_fetched_when_src_changes() -> None:
    micro_ops = [(0, 60, 0), (1, 60, 0), (2, 62, 0), (3, 60, 0)]
    assert cycles_of(micro_ops, alu(AluOp.REQUANTISE, imm=0x7F80)) == DECODE + 4 + 3 * 2 + ALU_FILL


def test_a_long_operation_waits_for_the_tile_it_reads() -> None:
    """Seven cycles after its read, a step writes; the next to read the tile does so a cycle later."""
    assert cycles_of([(0, 0, 0), (0, 0, 0)], alu(AluOp.MUL, use_imm=1, imm=-3)) == DECODE + 9 + ALU_FILL


def test_parameters_that_a_step_writes_are_fetched_again() -> None:
    cycles_of([(60, 60, 0), (1, 60, 0), (61, 60, 0), (2, 60, 0)], alu(AluOp.RESCALE))


def test_nothing_to_do_takes_the_fixed_cycles() -> None:
    assert cycles_of([], gemm(GemmMode.ACCUMULATE)) == DECODE + GEMM_FILL
    assert cycles_of([], alu(AluOp.MIN)) == DECODE + ALU_FILL
