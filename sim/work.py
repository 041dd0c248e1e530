"""How much work each instruction is, before any timing: steps, parameter fetches, padding, beats, bytes.

All of it follows from the instruction and, for REQUANTISE and RESCALE, from the micro-ops it runs over, which are read
from the program's initial DRAM image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.isa.definition import AluOp, Buffer, Opcode, queue_of, tile_bytes
from vdla.isa.program import Program
from vdla.sim import kernels
from vdla.sim.functional import new_memories, raise_fault, shape_of
from vdla.sim.jit import jit
from vdla.sim.kernels import ALU_REQUANTISE, BUF_UOP, NO_FAULT, OP_ALU, OP_LOAD, Memories, Shape
from vdla.sim.timing import DECODE, LOAD, alu_cycles, gemm_cycles


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


def units_of(columns: np.ndarray) -> np.ndarray:
    """int64[n]: the unit that runs each instruction, as in `timing`; `isa.definition.queue_of` for all at once."""
    units = np.zeros(len(columns), np.int64)
    for opcode in Opcode:
        for buffer in Buffer:
            units[(columns["opcode"] == opcode) & (columns["buffer"] == buffer)] = queue_of(opcode, buffer) + LOAD
    return units


def work_of(program: Program, columns: np.ndarray) -> Work:
    """Raises `RunError` when a micro-op load or an ALU instruction over parameters reaches outside a memory."""
    opcode, buffer = columns["opcode"], columns["buffer"]
    c = {name: columns[name].astype(np.int64) for name in columns.dtype.names or ()}
    steps = c["loop_outer"] * c["loop_inner"] * np.maximum(c["uop_end"] - c["uop_begin"], 0)
    tensor = (c["use_imm"] == 0) & (c["alu_op"] < AluOp.REQUANTISE)
    fetches = _parameter_fetches(program, columns)
    cycles = np.zeros(len(columns), np.int64)
    cycles[opcode == Opcode.FINISH] = DECODE
    gemm, alu = opcode == Opcode.GEMM, opcode == Opcode.ALU
    cycles[gemm] = gemm_cycles(steps[gemm])
    cycles[alu] = np.where(tensor[alu], alu_cycles(steps[alu], True, 0), alu_cycles(steps[alu], False, fetches[alu]))

    is_load, is_dma = opcode == Opcode.LOAD, (opcode == Opcode.LOAD) | (opcode == Opcode.STORE)
    tiles = np.where(is_dma, c["y_size"] * c["x_size"], 0)
    rows = c["y_pad_before"] + c["y_size"] + c["y_pad_after"]
    entries = rows * (c["x_pad_before"] + c["x_size"] + c["x_pad_after"])
    widths = np.array([tile_bytes(program.design, b) for b in Buffer], np.int64)
    return Work(cycles, steps, np.where(is_load, entries - tiles, 0), tiles * widths[buffer])


def _parameter_fetches(program: Program, columns: np.ndarray) -> np.ndarray:
    """int64[n]: steps of REQUANTISE and RESCALE whose src is not that of the step before (the first counts)."""
    per_channel = (columns["opcode"] == Opcode.ALU) & (columns["alu_op"] >= AluOp.REQUANTISE)
    fetches = np.zeros(len(columns), np.int64)
    if not per_channel.any():
        return fetches
    memories, shape = new_memories(program.design, program.dram_image()), shape_of(program.design)
    instruction, memory, index = _count_fetches(columns, memories, shape, fetches)
    if memory:
        raise_fault(program, columns, memories, instruction, memory, index)
    return fetches


@jit
def _count_fetches(columns: np.ndarray, memories: Memories, shape: Shape, fetches: np.ndarray) -> tuple[int, int, int]:
    for i in range(len(columns)):
        f = columns[i]
        loads_uops = f.opcode == OP_LOAD and f.buffer == BUF_UOP
        if not loads_uops and not (f.opcode == OP_ALU and f.alu_op >= ALU_REQUANTISE):
            continue
        memory, index = kernels.fault(f, memories, shape)
        if memory != NO_FAULT:
            return i, memory, index
        if loads_uops:
            kernels.load(f, memories, shape)
        else:
            fetches[i] = fetch_count(f, memories.uop)
    return -1, 0, 0


@jit
def fetch_count(f, uop: np.ndarray) -> int:
    """Changes of src along the steps, micro-ops innermost, plus one for the first step: without running over them all."""
    count, outer, inner = f.uop_end - f.uop_begin, np.int64(f.loop_outer), np.int64(f.loop_inner)
    if count <= 0 or outer == 0 or inner == 0:
        return 0
    within = 0
    for u in range(f.uop_begin + 1, f.uop_end):
        within += uop[u, 1] != uop[u - 1, 1]
    back = np.int64(uop[f.uop_begin, 1]) - uop[f.uop_end - 1, 1]  # from the last micro-op to the first
    at_inner = back + f.src_inner != 0
    at_outer = back + f.src_outer - (inner - 1) * f.src_inner != 0
    return 1 + within * outer * inner + at_inner * outer * (inner - 1) + at_outer * (outer - 1)
