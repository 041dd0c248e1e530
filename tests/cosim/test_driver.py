"""The driver on registers that are a dictionary: what it writes to start, and what it makes of each fault."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.hw.driver import Driver, Job, unit_of_words
from vdla.isa.assembler import assemble, describe
from vdla.isa.layout import layout_of
from vdla.isa.program import LayerSpan, Program

TINY = load_design("tiny")
JOB = Job(0x12_3456_7000, 5, 9, 0x1_0000_1000, 0x2_0000_0001, 0x0123_4567_89AB_CDEF, 777)
TEXT = """
LOAD inp sram=0 dram=0 y=1 x=4 push_next
LOAD acc sram=0 dram=0 y=1 x=4
GEMM accumulate uop=0:1 loops=(1,1) dst=(0,0) src=(0,0) wgt=(0,0) pop_prev
STORE out sram=0 dram=0 y=1 x=4
FINISH
"""
PROGRAM = Program(TINY, layout_of(TINY).encode(assemble(TEXT, TINY)), 64, layers=(LayerSpan("conv1", "conv2d", 0, 4),))

# the register map again, written down from docs/registers.md
CONTROL, STATUS, ERROR_INFO, ERROR_INSTRUCTION = 0x00, 0x04, 0x08, 0x0C
IDLE, DONE, ERROR = 1, 4, 8


@dataclass
class FakeRegisters:
    """Remembers what is written; STATUS is what `statuses` say, one after the other, the last for ever."""

    values: dict[int, int] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=lambda: [IDLE])
    written: list[tuple[int, int]] = field(default_factory=list)

    def read(self, offset: int) -> int:
        if offset == STATUS:
            return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return {0x4C: 0x0001_0007, **self.values}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        self.written.append((offset, value))


def driver_of(registers: FakeRegisters) -> Driver:
    return Driver(registers, lambda: None)


def test_a_start_is_these_writes() -> None:
    registers = FakeRegisters()
    driver_of(registers).start(JOB)
    assert dict(registers.written[:-1]) == {
        0x10: 0x3456_7000, 0x14: 0x12, 0x18: 5, 0x1C: 9, 0x20: 0x1000, 0x24: 1, 0x28: 1, 0x2C: 2,
        0x30: 0x89AB_CDEF, 0x34: 0x0123_4567, 0x48: 777,
    }  # fmt: skip
    assert registers.written[-1] == (CONTROL, 0b101), "start last, with the interrupt enabled"


def test_a_run_waits_and_gives_the_counters() -> None:
    values = {0x40: 5, 0x44: 1, **{0x80 + 16 * unit + 4 * k: 100 * unit + k for unit in range(4) for k in range(3)}}
    registers = FakeRegisters(values, [IDLE, 2, 2, 2, DONE | IDLE])
    waits: list[None] = []
    counters = Driver(registers, lambda: waits.append(None)).run(JOB, PROGRAM)
    assert len(waits) == 3
    assert counters.cycles == (1 << 32) + 5
    assert (counters.busy["fetch"], counters.stalls["load"], counters.instructions["store"]) == (0, 101, 302)
    assert registers.written[-1] == (CONTROL, 8), "the interrupt is lowered"


def test_another_register_map_is_refused() -> None:
    with pytest.raises(RunError, match="another register map"):
        driver_of(FakeRegisters({0x4C: 0x0002_0000}))


def test_a_machine_that_is_not_idle_is_refused() -> None:
    with pytest.raises(RunError, match="not idle"):
        driver_of(FakeRegisters(statuses=[2])).start(JOB)


def test_a_reset_that_does_not_end_is_an_error() -> None:
    with pytest.raises(RunError, match="does not come to rest"):
        driver_of(FakeRegisters(statuses=[2])).reset()


def fault_text(code: int, unit: int = 0, instruction: int = 0, response: int = 0, **values: int) -> str:
    registers = FakeRegisters(
        {
            ERROR_INFO: unit | response << 8,
            ERROR_INSTRUCTION: instruction,
            0x40: 1234,
            **{int(k[1:], 16): v for k, v in values.items()},
        },
        [ERROR | code << 8],
    )
    with pytest.raises(RunError) as caught:
        driver_of(registers).end(PROGRAM)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("code", "unit", "number", "words"),
    [
        (4, 0, 3, ["BAD_INSTRUCTION", "cycle 1234", "FETCH, instruction 3 (STORE out", "of layer conv1"]),
        (5, 1, 0, ["BUS_READ", "SLVERR", "LOAD, instruction 0 (LOAD inp"]),
        (5, 2, 0, ["BUS_READ", "COMPUTE, instruction 1 (LOAD acc"]),
        (6, 3, 0, ["BUS_WRITE", "STORE, instruction 3 (STORE out"]),
        (7, 2, 1, ["SRAM_RANGE", "COMPUTE, instruction 2 (GEMM"]),
        (8, 1, 0, ["DRAM_RANGE", "LOAD, instruction 0"]),
        (10, 2, 2, ["TOKEN_OVERFLOW", "COMPUTE, instruction 4 (FINISH)"]),
        (4, 1, 99, ["BAD_INSTRUCTION", "LOAD, its instruction 99"]),
        (77, 1, 0, ["unknown fault 77"]),
    ],
)
def test_faults_in_words(code: int, unit: int, number: int, words: list[str]) -> None:
    text = fault_text(code, unit, number, response=2)
    for word in words:
        assert word in text, text


def test_a_deadlock_says_how_far_each_unit_got() -> None:
    text = fault_text(9, x98=0, xa8=1, xb8=1)
    assert "LOAD is before instruction 0 (LOAD inp" in text
    assert "COMPUTE is before instruction 2 (GEMM" in text
    assert "STORE has started all its 1 instructions" in text


def test_what_was_wrong_with_the_start() -> None:
    text = fault_text(1, x38=0x11, x3c=0x22, x30=0x33, x34=0x44)
    assert "program of design tiny, hash 0000004400000033" in text
    assert "on hardware of hash 0000002200000011, which is all that the hardware says of its design" in text
    assert "5 instructions, room for 4" in fault_text(2, x18=5, x1c=4)


def test_a_run_that_neither_ended_nor_failed() -> None:
    with pytest.raises(RunError, match="has not run a program to its end"):
        driver_of(FakeRegisters(statuses=[IDLE])).end(PROGRAM)


def test_units_of_words_that_are_no_instructions() -> None:
    assert unit_of_words(PROGRAM).tolist() == [1, 2, 2, 3, 2]
    odd = Program(TINY, np.array([[7, 0], [3, 1 << 63]], np.uint64), 64)
    assert unit_of_words(odd).tolist() == [0, 2]
    assert "bad opcode" in describe(odd, 0)
    assert "0x8000000000000000_0000000000000003" in describe(odd, 1)
