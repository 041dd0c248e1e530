"""The functional half: runs a decoded program bit-exactly, in program order, over the kernels."""

from __future__ import annotations

import numpy as np

from vdla.design import Design
from vdla.device import Observer
from vdla.errors import RunError
from vdla.isa.assembler import describe
from vdla.isa.definition import TABLE_ENTRIES
from vdla.isa.program import LayerSpan, Program
from vdla.sim import kernels
from vdla.sim.kernels import FAULT_MEMORIES, Memories, Shape


def shape_of(design: Design) -> Shape:
    g = design.gemm
    bits = (design.acc_index_bits, design.source_index_bits, design.wgt_index_bits)
    return Shape(g.batch, g.block_in, g.block_out, design.uop_bytes, *bits)


def new_memories(design: Design, dram: np.ndarray) -> Memories:
    """SRAMs and table as after reset (zero; see `isa.semantics.new_machine`) beside `dram`, uint8[bytes], used in place."""
    g = design.gemm
    return Memories(
        dram,
        dram[: len(dram) // 4 * 4].view(np.int32),
        np.zeros((design.uop_depth, 3), np.int32),
        np.zeros((design.inp_depth, g.batch * g.block_in), np.int32),
        np.zeros((design.wgt_depth, g.block_in * g.block_out), np.int8),
        np.zeros((design.acc_depth, g.batch * g.block_out), np.int32),
        np.zeros(TABLE_ENTRIES, np.int32),
    )


def run_functional(program: Program, columns: np.ndarray, dram: np.ndarray, observe: Observer | None = None) -> Memories:
    """Execute `program` on `dram` (uint8, in place); returns the final memories.

    Program order is one of the orders a correctly synchronised program allows, and all of them give the same result.
    Raises `RunError` on an access outside a memory, naming the instruction and its layer.
    """
    memories, shape = new_memories(program.design, dram), shape_of(program.design)
    for begin, end, layer in _stretches(program, len(columns)):
        instruction, memory, index = kernels.run(columns, begin, end, memories, shape)
        if memory:
            raise_fault(program, memories, instruction, memory, index)
        if observe is not None and layer is not None:
            observe(layer, _read_only(dram))
    return memories


def _stretches(program: Program, count: int) -> list[tuple[int, int, LayerSpan | None]]:
    """The layers, and what lies outside them, as [begin, end) runs that cover the program in order."""
    runs: list[tuple[int, int, LayerSpan | None]] = []
    position = 0
    for layer in program.layers:
        if position < layer.begin:
            runs.append((position, layer.begin, None))
        runs.append((layer.begin, layer.end, layer))
        position = layer.end
    if position < count:
        runs.append((position, count, None))
    return runs


def _read_only(dram: np.ndarray) -> np.ndarray:
    view = dram.view()
    view.flags.writeable = False
    return view


def raise_fault(program: Program, memories: Memories, instruction: int, memory: int, index: int) -> None:
    """Raise the `RunError` of an access outside `memory` (a FAULT_* number)."""
    size = len((memories.dram, memories.uop, memories.inp, memories.wgt, memories.acc)[memory - 1])
    raise RunError(
        f"access outside {FAULT_MEMORIES[memory]}",
        where=describe(program, instruction),
        found=int(index),
        expected=f"0..{size - 1}",
    )
