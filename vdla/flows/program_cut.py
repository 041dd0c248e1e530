"""A stretch of a program as a program of its own: run some layers of a network on a slow device.

What the stretch finds in DRAM and in the SRAMs is taken from the simulator's state before it. DRAM becomes the new program's
image; a prologue loads the SRAMs from beside it. Tokens that came from before the stretch are not waited for, since what
they stood for has happened; tokens for after it are not pushed. So the stretch itself is the same instructions in the same
order, and takes the time it would take had the units stood still before it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vdla.arithmetic import round_up
from vdla.design import Design
from vdla.isa.definition import DMA_SIZE_BITS, Opcode, Scratchpad, tile_bytes
from vdla.isa.layout import COLUMNS, UOP_COLUMNS, layout_of, new_columns
from vdla.isa.program import LayerSpan, Program, Segment
from vdla.isa.tokens import FIFOS, pops_of, pushes_of, queues_of
from vdla.sim.functional import run_functional
from vdla.sim.kernels import Memories

PROLOGUE = "(state before)"
"""Name of the layer that loads the SRAMs."""

CHUNK = 1 << (DMA_SIZE_BITS - 1)
"""Entries one DMA of the prologue loads: a power of two that fits x_size."""


def cut(program: Program, dram: np.ndarray, first: int, last: int) -> Program:
    """The layers first … last (positions in `program.layers`) as a program. dram: uint8[dram_bytes], `program`'s before it
    runs, its inputs in place; not changed."""
    columns, layers = program.columns(), program.layers[first : last + 1]
    begin, end = layers[0].begin, layers[-1].end
    state = dram.copy()
    before = replace(program, words=program.words[:begin], layers=())
    memories = run_functional(before, columns[:begin], state)
    queues = queues_of(columns)
    body = _without_outside_tokens(columns, queues, begin, end)
    segments, loads = _sram_state(program, memories)
    prologue = _prologue(loads)
    epilogue = columns[:0] if body["opcode"][-1] == Opcode.FINISH else _epilogue()
    shift = len(prologue) - begin
    spans = tuple(replace(layer, begin=layer.begin + shift, end=layer.end + shift) for layer in layers)
    return Program(
        design=program.design,
        words=layout_of(program.design).encode(np.concatenate([prologue, body, epilogue])),
        dram_bytes=max(segment.address + len(segment.data) for segment in segments),
        segments=(Segment("dram", 0, state), *segments),
        outputs=layers[-1].outputs,
        layers=(LayerSpan(PROLOGUE, "prologue", 0, len(prologue)), *spans),
    )


def _without_outside_tokens(columns: np.ndarray, queues: np.ndarray, begin: int, end: int) -> np.ndarray:
    """COLUMNS[end - begin]: the instructions, with only the tokens whose push and pop are both among them."""
    body = columns[begin:end].copy()
    for fifo in FIFOS:
        pushes, pops = pushes_of(columns, queues, fifo), pops_of(columns, queues, fifo)
        pairs = min(len(pushes), len(pops))
        inside = np.zeros((2, len(columns)), bool)
        kept = (pushes[:pairs] >= begin) & (pops[:pairs] < end)
        inside[0, pushes[:pairs][kept]], inside[1, pops[:pairs][kept]] = True, True
        body[fifo.push][(queues[begin:end] == fifo.producer) & ~inside[0, begin:end]] = 0
        body[fifo.pop][(queues[begin:end] == fifo.consumer) & ~inside[1, begin:end]] = 0
    return body


def _sram_state(program: Program, memories: Memories) -> tuple[list[Segment], list[np.ndarray]]:
    """The contents of the SRAMs as segments after the program's DRAM, and the loads that bring them back."""
    design, address = program.design, program.dram_bytes
    segments, loads = [], []
    for buffer, data in _sram_bytes(design, memories).items():
        address = round_up(address, design.dram_alignment)
        segments.append(Segment(buffer.name.lower(), address, data))
        width = tile_bytes(design, buffer)
        entries = len(data) // width
        for base in range(0, entries, CHUNK):
            load = new_columns(1, Opcode.LOAD)
            load["buffer"], load["sram_base"], load["dram_base"] = buffer, base, address // width + base
            load["y_size"], load["x_size"] = 1, min(CHUNK, entries - base)
            loads.append(load)
        address += len(data)
    return segments, loads


def _sram_bytes(design: Design, memories: Memories) -> dict[Scratchpad, np.ndarray]:
    """uint8: each SRAM as a DMA would have read it. LOAD's buffers come first, so that COMPUTE's loads overlap them."""
    g = design.gemm
    uops = np.zeros(len(memories.uop), UOP_COLUMNS)
    for k, name in enumerate(UOP_COLUMNS.names or ()):
        uops[name] = memories.uop[:, k]
    wgt = memories.wgt.reshape(-1, g.block_in, g.block_out).transpose(0, 2, 1)
    arrays = {
        Scratchpad.WGT: wgt.astype(np.int8),
        Scratchpad.INP: memories.inp.astype(np.int8),
        Scratchpad.UOP: layout_of(design).encode_uops(uops),
        Scratchpad.ACC: memories.acc.astype(np.int32),
    }
    return {buffer: np.ascontiguousarray(a).reshape(-1).view(np.uint8) for buffer, a in arrays.items()}


def _prologue(loads: list[np.ndarray]) -> np.ndarray:
    """The loads, then an instruction that does nothing on COMPUTE, which waits for LOAD, and on STORE, which waits for it."""
    columns = np.concatenate([*loads, new_columns(1, Opcode.GEMM), _nothing(Opcode.STORE, Scratchpad.OUT)])
    queues = queues_of(columns)
    columns["push_next"][np.flatnonzero(queues == 0)[-1]] = 1
    columns["pop_prev"][-2], columns["push_next"][-2], columns["pop_prev"][-1] = 1, 1, 1
    return columns


def _epilogue() -> np.ndarray:
    """COLUMNS[3]: FINISH, when LOAD and STORE have come to their end too."""
    load, store, finish = (
        _nothing(Opcode.LOAD, Scratchpad.INP),
        _nothing(Opcode.STORE, Scratchpad.OUT),
        new_columns(1, Opcode.FINISH),
    )
    load["push_next"], store["push_prev"], finish["pop_prev"], finish["pop_next"] = 1, 1, 1, 1
    return np.concatenate([load, store, finish])


def _nothing(opcode: Opcode, buffer: Scratchpad) -> np.ndarray:
    """COLUMNS[1]: a transfer of no rows."""
    column = np.zeros(1, COLUMNS)
    column["opcode"], column["buffer"] = opcode, buffer
    return column
