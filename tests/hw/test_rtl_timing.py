"""The RTL against the semantics, byte for byte, and against the timing contract, cycle for cycle, one instruction at a time.

Programs are serial, so that what an instruction takes is its unit's doing alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from random_programs import Writer, random_inputs, random_program

from vdla.design import Design
from vdla.design_file import load_design
from vdla.hw import build
from vdla.hw.device import RtlDevice
from vdla.isa.binding import bind_inputs
from vdla.isa.definition import IMMEDIATE_ALU_OPS, AluOp, GemmMode, Opcode, Queue, Scratchpad
from vdla.isa.layout import UOP_COLUMNS, new_columns
from vdla.isa.program import Program
from vdla.isa.semantics import SEMANTICS, new_machine, pack_scale
from vdla.isa.timing import ALU_FILL, ALU_LONG_FILL, DECODE, GEMM_FILL, LONG_ALU_OPS
from vdla.sim.device import Simulator
from vdla.sim.naive import read_cycles


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two products of the GEMM core on one multiplier."""
    monkeypatch.setattr(build, "VERILATOR_FLAGS", (*build.VERILATOR_FLAGS, "-GPACKED_PRODUCTS=1"))


def wide_beats() -> Design:
    """Many tiles in a beat, and SRAMs of odd depths: the lanes of every scratchpad."""
    memory = {"bus_bits": 128, "max_burst": 4, "outstanding": 3}
    gemm, sram = {"block_in": 2, "block_out": 2}, {"uop": 200, "inp": 42, "wgt": 36, "acc": 152}
    return load_design("tiny").varied(name="wide_beats", memory=memory, gemm=gemm, sram=sram)


def reference(program: Program, dram: np.ndarray) -> np.ndarray:
    machine = new_machine(program.design, dram.copy())
    for f in program.columns():
        SEMANTICS[Opcode(f["opcode"])](machine, f)
    return machine.dram


def check(design: Design, seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = random_program(design, rng, length=40, style="serial")
    inputs = random_inputs(program, rng)
    dram, where = bind_inputs(program, inputs), f"{design.name}, seed {seed}"
    execution = RtlDevice(design).execute(program, dram)
    np.testing.assert_array_equal(execution.dram, reference(program, dram), err_msg=where)
    profile = Simulator(design).timing_only(program)
    late = (execution.finish - execution.start) - (profile.finish - profile.start)
    assert execution.counters.cycles == execution.finish.max(), where
    assert (late == 0).all(), f"{where}: instructions {np.flatnonzero(late)} by {late[late != 0]}"


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


def cycles_of(micro_ops: list[tuple[int, int, int]], record: np.ndarray, acc: np.ndarray | None = None) -> int:
    """Start to finish of `record`, which runs `micro_ops` (dst, src, wgt) from a full scratchpad; the result is checked.

    acc: int32[entries, lanes], what the first accumulators hold; the others are random.
    """
    design = load_design("tiny")
    writer = Writer(design, np.random.default_rng(0), "serial", 1)
    writer.uop_table[: len(micro_ops)] = np.array(micro_ops, UOP_COLUMNS)
    writer.fill_srams()
    writer.records[0]["dram_base"] = 0
    writer.records[3]["dram_base"] = writer.regions["acc"] // design.acc_tile_bytes
    record["uop_end"] = len(micro_ops)
    record["loop_outer"] = np.maximum(record["loop_outer"], 1)
    record["loop_inner"] = np.maximum(record["loop_inner"], 1)
    place = len(writer.records)
    everything = np.arange(design.acc_depth)
    writer.emit(record, acc=(everything, everything), uop=(np.arange(len(micro_ops)), np.zeros(0, np.int64)))
    store = new_columns(1, Opcode.STORE)
    store["buffer"], store["y_size"], store["x_size"] = Scratchpad.OUT, 1, 64
    store["dram_base"] = writer.regions["out"] // design.out_tile_bytes
    writer.emit(store, acc=(everything[:64], np.zeros(0, np.int64)))
    writer.finish()
    program = writer.program()
    assert writer.queues[place] == Queue.COMPUTE
    dram = bind_inputs(program, random_inputs(program, np.random.default_rng(1)))
    if acc is not None:
        start = writer.regions["acc"]
        dram[start : start + acc.nbytes] = acc.view(np.uint8).ravel()
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


def alu_cycles(steps: list[tuple[int, int]], record: np.ndarray) -> int:
    """What the contract says of the steps (dst, src)."""
    fill = ALU_LONG_FILL if AluOp(record["alu_op"][0]) in LONG_ALU_OPS else ALU_FILL
    return DECODE + read_cycles(record[0], steps) + fill


@pytest.mark.parametrize("use_imm", [0, 1])
@pytest.mark.parametrize("distance", [*range(1, 7), 9, 10, 11, 13])
@pytest.mark.parametrize("op", AluOp)
def test_alu_sees_every_write_before_and_waits_no_longer_than_it_must(op: AluOp, distance: int, use_imm: int) -> None:
    """Every tile comes again after `distance` steps, as dst and as src: from a stage of the pipeline or the scratchpad."""
    micro_ops = [(k, k + 1, 0) for k in range(distance)]
    imm = {AluOp.SHL: 3, AluOp.SHR: 3, AluOp.REQUANTISE: 0x7F80}.get(op, 0x40C0)
    record = alu(op, use_imm=int(use_imm or op in IMMEDIATE_ALU_OPS), imm=imm, loop_outer=2, loop_inner=2)
    steps = [(dst, src) for dst, src, _ in micro_ops] * 4
    assert cycles_of(micro_ops, record) == alu_cycles(steps, record)


def test_what_the_operations_take() -> None:
    """The same in numbers: on different tiles, on one tile, and when the parameters change."""
    apart = [(k, 60, 0) for k in range(16)]
    assert cycles_of(apart, alu(AluOp.ADD, use_imm=1)) == DECODE + 16 + ALU_FILL
    assert cycles_of(apart, alu(AluOp.ADD)) == DECODE + 2 * 16 + ALU_FILL
    assert cycles_of(apart, alu(AluOp.MUL, use_imm=1, imm=3)) == DECODE + 16 + ALU_LONG_FILL
    assert cycles_of(apart, alu(AluOp.RESCALE)) == DECODE + 2 + 16 + ALU_LONG_FILL
    assert cycles_of(apart, alu(AluOp.LOOKUP, use_imm=1)) == DECODE + 16 + ALU_FILL
    assert cycles_of(apart, alu(AluOp.TABULATE, use_imm=1, loop_outer=16)) == DECODE + 256 + ALU_FILL
    once_more = [(0, 60, 0), (0, 60, 0)]
    assert cycles_of(once_more, alu(AluOp.ADD, use_imm=1)) == DECODE + 3 + ALU_FILL
    assert cycles_of(once_more, alu(AluOp.MUL, use_imm=1, imm=-3)) == DECODE + 13 + ALU_LONG_FILL
    changing = [(0, 60, 0), (1, 60, 0), (2, 62, 0), (3, 60, 0)]
    assert cycles_of(changing, alu(AluOp.REQUANTISE, imm=0x7F80)) == DECODE + 4 + 3 * 2 + ALU_LONG_FILL


def test_parameters_that_a_step_writes_are_fetched_again() -> None:
    record = alu(AluOp.RESCALE)
    micro_ops = [(60, 60, 0), (1, 60, 0), (61, 60, 0), (2, 60, 0), (3, 60, 0)]
    assert cycles_of(micro_ops, record) == alu_cycles([(dst, src) for dst, src, _ in micro_ops], record)


def test_nothing_to_do_takes_the_fixed_cycles() -> None:
    assert cycles_of([], gemm(GemmMode.ACCUMULATE)) == DECODE + GEMM_FILL
    assert cycles_of([], alu(AluOp.MIN)) == DECODE + ALU_FILL


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("op", [AluOp.SHR, AluOp.RESCALE, AluOp.REQUANTISE])
def test_ties_at_every_shift(op: AluOp, seed: int) -> None:
    """64 tiles, a shift each; half of the elements are, after scaling, half way between two whole numbers or next to that."""
    rng = np.random.default_rng(seed)
    shift = np.arange(64)[:, None] % (32 if op == AluOp.SHR else 64)
    half = np.int64(1) << np.clip(shift - (1 if op == AluOp.SHR else 19), 0, 30)
    near = rng.integers(-40, 40, (64, 4)) * half + rng.choice([0, 0, 0, 1, -1], (64, 4))
    x = np.where(rng.random((64, 4)) < 0.5, near, rng.integers(-(2**31), 2**31, (64, 4))).astype(np.int32)
    if op == AluOp.SHR:
        parameters = np.broadcast_to(shift, x.shape).astype(np.int32)
    else:
        fraction = rng.choice([0, 0, 1 << 17, (1 << 18) - 1, int(rng.integers(1 << 18))], x.shape)
        words = pack_scale((1 << 18) + fraction, np.broadcast_to(shift, x.shape), rng.integers(-128, 128, x.shape))
        bias = rng.choice([0, 0, 2**31 - 1, -3], x.shape).astype(np.int32)
        parameters = np.stack([bias, words], axis=1).reshape(128, 4)
    apart = len(parameters) // 64
    micro_ops = [(k, 64 + apart * k, 0) for k in range(64)]
    record = alu(op, imm=0x7F80 if op == AluOp.REQUANTISE else 0)
    steps = [(dst, src) for dst, src, _ in micro_ops]
    assert cycles_of(micro_ops, record, np.concatenate([x, parameters])) == alu_cycles(steps, record)
