"""A program in the terms of the checker's kernels: what each instruction does, and the state before the first.

Here the instruction set's definition meets the kernels, which know nothing of it. Imports Numba: import when needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.design import Design
from vdla.isa import checker_kernels as kernels
from vdla.isa.definition import (
    PER_CHANNEL_ALU_OPS,
    TABLE_ENTRIES,
    UOP_FIELDS,
    AluOp,
    GemmMode,
    Opcode,
    Queue,
    Scratchpad,
    depth,
    queue_of,
    tile_bytes,
)
from vdla.isa.layout import layout_of
from vdla.isa.program import Program

ACTIONS = {
    Opcode.LOAD: kernels.MOVE_IN,
    Opcode.STORE: kernels.MOVE_OUT,
    Opcode.GEMM: kernels.MULTIPLY,
    Opcode.ALU: kernels.VECTOR,
    Opcode.FINISH: kernels.NOTHING,
}
SRAM_OF = {kernels.UOP: Scratchpad.UOP, kernels.WGT: Scratchpad.WGT, kernels.INP: Scratchpad.INP, kernels.ACC: Scratchpad.ACC}
"""Memory → buffer; the table and DRAM have none."""
MEMORY_OF = {**{buffer: memory for memory, buffer in SRAM_OF.items()}, Scratchpad.OUT: kernels.ACC}


def steps_of(columns: np.ndarray, queue: np.ndarray, design: Design) -> np.ndarray:
    """COLUMNS[n] and their queues → kernels.STEPS[n]."""
    steps = np.zeros(len(columns), kernels.STEPS)
    for name in kernels.OPERANDS:
        steps[name] = columns[name]
    opcode, buffer = columns["opcode"], columns["buffer"]
    steps["action"] = _table(ACTIONS)[opcode]
    for op, action in ((AluOp.TABULATE, kernels.FILL_TABLE), (AluOp.LOOKUP, kernels.READ_TABLE)):
        steps["action"][(opcode == Opcode.ALU) & (columns["alu_op"] == op)] = action
    steps["queue"] = queue
    steps["memory"] = _table(MEMORY_OF)[buffer]
    steps["tile_bytes"] = _table({b: tile_bytes(design, b) for b in Scratchpad})[buffer]
    gemm, alu = opcode == Opcode.GEMM, opcode == Opcode.ALU
    per_channel = np.isin(columns["alu_op"], PER_CHANNEL_ALU_OPS)
    alu_src = np.where(per_channel, 2, columns["use_imm"] == 0)
    steps["src_tiles"] = np.select([gemm, alu], [columns["gemm_mode"] != GemmMode.RESET, alu_src], 0)
    alu_dst = columns["alu_op"] != AluOp.MOV
    steps["reads_dst"] = np.select([gemm, alu], [columns["gemm_mode"] == GemmMode.ACCUMULATE, alu_dst], 0)
    return steps


def _table(values: Mapping[Any, int]) -> np.ndarray:
    """int64[]: the value at each key."""
    table = np.zeros(max(values) + 1, np.int64)
    table[list(values)] = list(values.values())
    return table


def initial_state(program: Program, clock: np.ndarray) -> kernels.State:
    """Nothing touched yet; DRAM as the segments fill it. clock: int32[n, 3], see `Precedence`."""
    design, block = program.design, program.design.out_tile_bytes
    srams = [SRAM_OF[memory] for memory in sorted(SRAM_OF)]  # the table and DRAM are the last memories
    depths = np.array([*(depth(design, buffer) for buffer in srams), TABLE_ENTRIES], np.int64)
    widest = max(depth(design, buffer) * tile_bytes(design, buffer) for buffer in srams)
    entries = int(depths.sum()) + ceil_div(program.dram_bytes, block)
    image, known = _uop_image(program)
    slices = {s.field.name: s for s in layout_of(design).uop}
    return kernels.State(
        clock=clock,
        depth=depths,
        writer=np.array([*(queue_of(Opcode.LOAD, buffer) for buffer in srams), Queue.COMPUTE, Queue.STORE], np.int64),
        base=np.concatenate([[0], np.cumsum(depths)]),
        dram_bytes=int(program.dram_bytes),
        block_bytes=block,
        written=np.zeros(entries, np.int32),  # zero pages: untouched DRAM costs nothing
        read=np.zeros((len(Queue), entries), np.int32),
        uops=np.zeros((design.uop_depth, len(UOP_FIELDS)), np.int64),
        uop_known=np.zeros(design.uop_depth, np.uint8),
        image=image,
        image_known=known,
        uop_bytes=design.uop_bytes,
        uop_lsb=np.array([slices[f.name].lsb for f in UOP_FIELDS], np.int64),
        uop_width=np.array([slices[f.name].width for f in UOP_FIELDS], np.int64),
        entries=np.zeros(widest // block + int(depths.max()) + 2, np.int64),
        age=np.zeros(int(depths.max()) + 1, np.int64),
        faults=np.zeros((kernels.FAULTS_KEPT, 5), np.int64),
        fault_count=np.zeros(1, np.int64),
    )


def _uop_image(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """DRAM as uint32[], and which of its micro-ops a segment holds, uint8[micro-ops]."""
    size = program.design.uop_bytes
    count = ceil_div(program.dram_bytes, size)
    image, known = np.zeros(count * size, np.uint8), np.zeros(count, np.uint8)
    for segment in program.segments:
        end = segment.address + len(segment.data)
        image[segment.address : end] = segment.data
        known[ceil_div(segment.address, size) : end // size] = 1
    return image.view(np.uint32), known
