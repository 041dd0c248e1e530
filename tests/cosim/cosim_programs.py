"""Random programs for the RTL, which end by storing every bit of the accumulators, and the memories they meet."""

from __future__ import annotations

import numpy as np
from random_programs import MEMORY_OF, Writer

from vdla.design import Design
from vdla.design_file import load_design
from vdla.device import UNITS
from vdla.hw.device import Execution, RtlDevice
from vdla.hw.simulation import MemoryModel
from vdla.isa.binding import bind_inputs
from vdla.isa.definition import AluOp, Opcode, Queue, Scratchpad, depth
from vdla.isa.layout import new_columns
from vdla.isa.program import Program
from vdla.sim.device import time_columns
from vdla.sim.functional import run_functional

NOTHING = np.zeros(0, np.int64)
BYTE_BITS = 8


class DumpingWriter(Writer):
    """Before FINISH, the accumulators' four bytes are stored in turn, so that DRAM shows what they hold."""

    def finish(self) -> None:
        self.zero_micro_op()
        for byte in range(4):
            self.store_all(byte)
            self.shift_all()
        super().finish()

    def zero_micro_op(self) -> None:
        """Padding makes micro-op 0 one whose indices are all 0."""
        record = new_columns(1, Opcode.LOAD)
        record["buffer"], record["y_pad_before"], record["x_pad_before"] = Scratchpad.UOP, 1, 1
        self.uop_sram[0] = 0
        self.emit(record, uop=(NOTHING, np.zeros(1, np.int64)))

    def store_all(self, byte: int) -> None:
        entries, width = np.arange(self.design.acc_depth), self.design.out_tile_bytes
        record = new_columns(1, Opcode.STORE)
        first = self.regions[MEMORY_OF[Scratchpad.ACC]] // width + byte * self.design.acc_depth
        record["buffer"], record["dram_base"], record["y_size"], record["x_size"] = Scratchpad.OUT, first, 1, len(entries)
        data = np.arange(first * width, (first + len(entries)) * width)
        self.emit(record, dram=(NOTHING, data), acc=(entries, NOTHING))

    def shift_all(self) -> None:
        half = depth(self.design, Scratchpad.ACC) // 2
        record = new_columns(1, Opcode.ALU)
        record["alu_op"], record["use_imm"], record["imm"] = AluOp.SHR, 1, BYTE_BITS
        record["uop_end"], record["loop_outer"], record["loop_inner"] = 1, 2, half
        record["dst_outer"], record["dst_inner"] = half, 1
        entries = np.arange(2 * half)
        self.emit(record, uop=(np.zeros(1, np.int64), NOTHING), acc=(entries, entries))


def random_program(design: Design, rng: np.random.Generator, length: int, scale: int = 1) -> Program:
    """About `length` random instructions, then the accumulators."""
    writer = DumpingWriter(design, rng, str(rng.choice(["exact", "exact", "serial"])), scale)
    writer.fill_srams()
    for _ in range(length):
        rng.choice([writer.load, writer.gemm, writer.alu, writer.store], p=[0.3, 0.25, 0.25, 0.2])()
    writer.finish()
    return writer.program()


def random_memory(rng: np.random.Generator) -> MemoryModel:
    """To the cycle with any latencies, or hostile: a little, or most of the time."""
    read, write = int(rng.integers(1, 80)), int(rng.integers(1, 40))
    if rng.random() < 0.4:
        return MemoryModel(read, write)
    pauses = int(rng.choice([30, 250, 600]))
    return MemoryModel(read, write, pauses, int(rng.integers(0, 150)), int(rng.integers(1 << 32)))


def separate_ports() -> Design:
    """`tiny` with a port for each unit, of 64 bits: two entries of inp in a beat."""
    memory = {"ports": "separate", "bus_bits": 64, "outstanding": 3, "max_burst": 8}
    return load_design("tiny").varied(name="tiny_separate", memory=memory)


def with_memory(design: Design, model: MemoryModel) -> Design:
    """`design` with the latencies of `model`: what the simulator's time is to be computed for."""
    return design.varied(memory={"read_latency": model.read_latency, "write_latency": model.write_latency})


def run_both(program: Program, inputs: dict[str, np.ndarray], model: MemoryModel) -> tuple[np.ndarray, Execution]:
    """The DRAM the simulator leaves, and what the RTL did."""
    columns, expected = program.columns(), bind_inputs(program, inputs)
    limit = 60 * time_columns(program, columns).cycles + 200_000
    execution = RtlDevice(program.design, memory=model, cycle_limit=limit).execute(program, expected)
    run_functional(program, columns, expected)
    return expected, execution


def assert_ordered(program: Program, execution: Execution, where: str) -> None:
    """Replays starts and retirements, counting tokens: every unit runs one instruction at a time, in order, and none starts
    without its tokens."""
    columns, tokens = program.columns(), dict.fromkeys([(0, 1), (1, 0), (1, 2), (2, 1)], 0)
    events = [(t, 0, i) for i, t in enumerate(execution.finish)] + [(t, 1, i) for i, t in enumerate(execution.start)]
    running: dict[Queue, int | None] = dict.fromkeys(Queue)
    last: dict[Queue, int] = dict.fromkeys(Queue, -1)
    assert (execution.start >= 0).all(), where
    for _, starts, i in sorted(events):
        queue, f = Queue(int(execution.unit[i]) - 1), columns[i]
        text = f"{where}: instruction {i} of {UNITS[execution.unit[i]]}"
        if not starts:
            assert running[queue] == i, f"{text} retires, but {running[queue]} runs"
            running[queue] = None
            for bit, other in (("push_prev", queue - 1), ("push_next", queue + 1)):
                if f[bit]:
                    tokens[int(queue), other] += 1
        else:
            assert running[queue] is None, f"{text} starts while {running[queue]} runs"
            assert i > last[queue], f"{text} starts after {last[queue]}"
            running[queue] = last[queue] = i
            for bit, other in (("pop_prev", queue - 1), ("pop_next", queue + 1)):
                if f[bit]:
                    tokens[other, int(queue)] -= 1
                    assert tokens[other, int(queue)] >= 0, f"{text} starts without its token"
    assert not any(value is not None for value in running.values()), where
