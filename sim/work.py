"""How much work each instruction is, before any timing: steps, reads of acc, padding, bytes.

All of it follows from the instruction and, for the ALU, from the micro-ops it runs over, which are read from the program's
initial DRAM image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.isa.definition import Opcode
from vdla.isa.program import Program
from vdla.isa.timing import ALU_LATENCY, ALU_LONG_LATENCY, DECODE, LONG_ALU_OPS, alu_cycles, gemm_cycles
from vdla.isa.transfers import padded_entries, tile_widths, tiles_moved
from vdla.jit import jit
from vdla.sim import kernels
from vdla.sim.functional import new_memories, raise_fault, shape_of
from vdla.sim.kernels import BUF_UOP, NO_FAULT, OP_ALU, OP_LOAD, PER_CHANNEL, Memories, Shape


@dataclass(frozen=True, slots=True)
class Work:
    """One entry for each instruction, int64[n].

    cycles: start to finish of what does not touch the bus, else 0. steps: micro-op steps. pads: padding entries.
    bytes: DRAM bytes moved; a transfer with none never asks for the bus.
    """

    cycles: np.ndarray
    steps: np.ndarray
    pads: np.ndarray
    bytes: np.ndarray


def work_of(program: Program, columns: np.ndarray) -> Work:
    """Raises `RunError` when a micro-op load or an ALU instruction reaches outside a memory."""
    opcode = columns["opcode"]
    c = {name: columns[name].astype(np.int64) for name in ("loop_outer", "loop_inner", "uop_begin", "uop_end")}
    steps = c["loop_outer"] * c["loop_inner"] * np.maximum(c["uop_end"] - c["uop_begin"], 0)
    long = np.isin(columns["alu_op"], LONG_ALU_OPS)
    cycles = np.zeros(len(columns), np.int64)
    cycles[opcode == Opcode.FINISH] = DECODE
    gemm, alu = opcode == Opcode.GEMM, opcode == Opcode.ALU
    cycles[gemm] = gemm_cycles(steps[gemm])
    reads = _read_cycles(program, columns, np.where(long, ALU_LONG_LATENCY, ALU_LATENCY))[alu]
    cycles[alu] = alu_cycles(reads, long[alu])

    return Work(cycles, steps, padded_entries(columns), tiles_moved(columns) * tile_widths(columns, program.design))


def _read_cycles(program: Program, columns: np.ndarray, latency: np.ndarray) -> np.ndarray:
    """int64[n]: what the reads of acc take in each ALU instruction. latency: that of each, in cycles."""
    cycles = np.zeros(len(columns), np.int64)
    if not (columns["opcode"] == Opcode.ALU).any():
        return cycles
    memories, shape = new_memories(program.design, program.dram_image()), shape_of(program.design)
    instruction, memory, index = _walk(columns, memories, shape, latency, cycles)
    if memory:
        raise_fault(program, memories, instruction, memory, index)
    return cycles


@jit
def _walk(
    columns: np.ndarray, memories: Memories, shape: Shape, latency: np.ndarray, cycles: np.ndarray
) -> tuple[int, int, int]:
    """Load the micro-ops and time the ALU's reads. Returns (instruction, memory, index) of a fault, else (-1, 0, 0)."""
    time = np.int64(0)
    free = np.zeros(len(memories.acc) + 1, np.int64)
    for i in range(len(columns)):
        f = columns[i]
        loads_uops = f.opcode == OP_LOAD and f.buffer == BUF_UOP
        if not loads_uops and f.opcode != OP_ALU:
            continue
        memory, index = kernels.fault(f, memories, shape)
        if memory != NO_FAULT:
            return i, memory, index
        if loads_uops:
            kernels.load(f, memories, shape)
        else:
            end = time_reads(f, memories.uop, latency[i], free, time)
            cycles[i], time = end - time, end + latency[i]
    return -1, 0, 0


@jit
def time_reads(f, uop: np.ndarray, latency: int, free: np.ndarray, time: int) -> int:
    """When the reads of an ALU instruction are over that may begin at `time`.

    free: int64[acc depth + 1], when each entry may next be read; kept from instruction to instruction, as times only grow.
    """
    per_channel = f.alu_op in PER_CHANNEL
    tensor = not per_channel and f.use_imm == 0
    held = -1  # the src whose parameters are there
    for outer in range(f.loop_outer):
        for inner in range(f.loop_inner):
            dst_offset = outer * np.int64(f.dst_outer) + inner * np.int64(f.dst_inner)
            src_offset = outer * np.int64(f.src_outer) + inner * np.int64(f.src_inner)
            for u in range(f.uop_begin, f.uop_end):
                dst, src = uop[u, 0] + dst_offset, uop[u, 1] + src_offset
                if tensor:
                    time = max(time, free[src]) + 1
                elif per_channel:
                    if src != held:
                        time = max(time, free[src]) + 1
                        time = max(time, free[src + 1]) + 1
                    held = -1 if dst == src or dst == src + 1 else src
                time = max(time, free[dst])
                free[dst] = time + latency
                time += 1
    return time
