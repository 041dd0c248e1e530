"""The timing contract in numbers worked out by hand on the paper's design: what the RTL must show too.

8-byte beats, bursts of 16, 8 outstanding, read latency 40, write latency 20, one shared port. A program of two
instructions is a fetch of 4 beats: requested at 0, ready at 40, over at 44, decoded at 45; the first instruction is
dispatched at 45 and can start at 46.
"""

from __future__ import annotations

import numpy as np
import pytest

from vdla.design_file import load_design
from vdla.device import Profile
from vdla.isa.definition import AluOp, GemmMode, Opcode, Scratchpad
from vdla.isa.layout import layout_of, new_columns
from vdla.isa.program import Program
from vdla.isa.timing import instruction_overhead
from vdla.sim import NaiveSimulator, Simulator

DESIGN = load_design("pynq_z1")
FIRST = 46
LOOPS_14_BY_14 = {"uop_end": 1, "loop_outer": 14, "loop_inner": 14}


def instruction(opcode: Opcode, **fields: int) -> np.ndarray:
    record = new_columns(1, opcode)
    for name, value in fields.items():
        record[name] = value
    return record


def profile_of(*records: np.ndarray) -> Profile:
    columns = np.concatenate([*records, new_columns(1, Opcode.FINISH)])
    program = Program(DESIGN, layout_of(DESIGN).encode(columns), 1 << 16)
    slow, fast = NaiveSimulator(DESIGN).run(program, {}).profile, Simulator(DESIGN).timing_only(program)
    assert slow is not None
    np.testing.assert_array_equal(slow.finish, fast.finish)
    return fast


def cycles_of(record: np.ndarray) -> int:
    """Start to finish of one instruction on an idle machine."""
    profile = profile_of(record)
    assert profile.start[0] == FIRST
    return int(profile.finish[0] - profile.start[0])


def test_finish_alone() -> None:
    profile = profile_of()  # 2 beats: ready 40, over 42, decoded 43, dispatched 43
    assert (profile.start[0], profile.finish[0], profile.cycles) == (44, 48, 48)


@pytest.mark.parametrize("mode", list(GemmMode))
def test_gemm(mode: GemmMode) -> None:
    assert cycles_of(instruction(Opcode.GEMM, gemm_mode=mode, **LOOPS_14_BY_14)) == 4 + 196 + 10


def alu_cycles(op: AluOp, **fields: int) -> int:
    return cycles_of(instruction(Opcode.ALU, alu_op=op, **LOOPS_14_BY_14, **fields))


def test_alu_on_different_tiles() -> None:
    each_its_own = {"dst_outer": 14, "dst_inner": 1}
    assert alu_cycles(AluOp.ADD, use_imm=1, **each_its_own) == 4 + 196 + 7
    assert alu_cycles(AluOp.ADD, src_outer=14, src_inner=1, **each_its_own) == 4 + 2 * 196 + 7
    assert alu_cycles(AluOp.MUL, use_imm=1, **each_its_own) == 4 + 196 + 16
    assert alu_cycles(AluOp.LOOKUP, use_imm=1, **each_its_own) == 4 + 196 + 7
    assert alu_cycles(AluOp.TABULATE, use_imm=1, dst_inner=1) == 4 + 196 + 7
    parameters_each_step = {"src_inner": 100}
    assert alu_cycles(AluOp.RESCALE, **parameters_each_step, **each_its_own) == 4 + 3 * 196 + 16


def test_alu_on_one_tile_waits_for_it() -> None:
    assert alu_cycles(AluOp.ADD, use_imm=1) == 4 + (1 + 195 * 2) + 7
    assert alu_cycles(AluOp.ADD) == 4 + (2 + 195 * 3) + 7
    assert alu_cycles(AluOp.MUL, use_imm=1) == 4 + (1 + 195 * 12) + 16


def test_parameters_that_a_step_writes_are_read_again() -> None:
    """acc[0] and acc[1] are read in cycles 0 and 1, and tile 0 issues in 2; so acc[0] again in 14 and acc[1] in 15, and tile 1
    issues in 16; then acc[0] in 17 and acc[1] in 28, and tile 2 issues in 29. The other 193 follow one a cycle."""
    assert alu_cycles(AluOp.REQUANTISE, dst_outer=14, dst_inner=1) == 4 + (30 + 193) + 16


def test_load_streams_a_beat_a_cycle() -> None:
    """14 rows of 28 beats, cut at multiples of 16 beats into bursts of 4 to 16: 8 in flight cover the latency."""
    tile = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=14, x_size=14, x_stride=14)
    assert cycles_of(tile) == 4 + 40 + 14 * 28 + 2


def test_load_of_short_rows_is_bound_by_outstanding_bursts() -> None:
    """20 bursts of 2 beats, 8 at a time: the first is over at 46, the 9th is requested then and over at 88, the 17th at
    130, and the 20th 3 bursts later."""
    column = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=20, x_size=1, x_stride=16)
    assert cycles_of(column) == 130 + 3 * 2 + 2


def test_bursts_stop_at_multiples_of_the_longest() -> None:
    """From 4 beats before one: bursts of 4, 16 and 12 beats stream as one."""
    row = instruction(Opcode.LOAD, buffer=Scratchpad.INP, dram_base=254, y_size=1, x_size=16)
    assert cycles_of(row) == 4 + 40 + 32 + 2


def test_rows_take_whole_beats() -> None:
    """Micro-ops are 4 bytes: 3 of them from the middle of a beat are 2 beats."""
    assert cycles_of(instruction(Opcode.LOAD, buffer=Scratchpad.UOP, dram_base=1, y_size=1, x_size=3)) == 4 + 40 + 2 + 2


def test_padding_is_an_entry_a_cycle_while_no_beat_is_written() -> None:
    only_padding = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_pad_before=10, x_pad_before=10)
    assert cycles_of(only_padding) == 4 + 100
    hidden = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=1, x_size=2, x_stride=2, y_pad_before=10)
    assert cycles_of(hidden) == 4 + 40 + 4 + 2
    longer_than_the_data = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=1, x_size=10, x_stride=2, y_pad_before=10)
    assert cycles_of(longer_than_the_data) == 4 + 100 + 20


def test_store_retires_with_its_last_response() -> None:
    row = instruction(Opcode.STORE, buffer=Scratchpad.OUT, y_size=2, x_size=8, x_stride=8)
    assert cycles_of(row) == 4 + 2 + 32 + 20


def test_a_token_takes_a_cycle() -> None:
    load = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=1, x_size=1, push_next=1)
    gemm = instruction(Opcode.GEMM, pop_prev=1, **LOOPS_14_BY_14)
    profile = profile_of(load, gemm)
    assert profile.start[1] == profile.finish[0] + 1


def test_instructions_of_one_unit_follow_at_once() -> None:
    gemm = instruction(Opcode.GEMM, **LOOPS_14_BY_14)
    profile = profile_of(gemm, gemm, gemm)
    assert (profile.start[1:] == profile.finish[:-1]).all()


def test_what_an_instruction_costs_beside_its_work() -> None:
    """From its start to its finish."""
    gemm, steps = instruction(Opcode.GEMM, **LOOPS_14_BY_14), 14 * 14
    assert cycles_of(gemm) == steps + instruction_overhead(Opcode.GEMM) == steps + 14
    for op in (AluOp.ADD, AluOp.MUL):
        alu = instruction(Opcode.ALU, alu_op=op, use_imm=1, dst_outer=14, dst_inner=1, **LOOPS_14_BY_14)
        assert cycles_of(alu) == steps + instruction_overhead(Opcode.ALU, op)
    load = instruction(Opcode.LOAD, buffer=Scratchpad.INP, y_size=1, x_size=16)
    assert cycles_of(load) == 40 + 32 + instruction_overhead(Opcode.LOAD)
    store = instruction(Opcode.STORE, buffer=Scratchpad.OUT, y_size=1, x_size=16)
    assert cycles_of(store) == 32 + 20 + instruction_overhead(Opcode.STORE)
    assert cycles_of(instruction(Opcode.FINISH)) == instruction_overhead(Opcode.FINISH)
