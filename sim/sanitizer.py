"""Finds what a program gets away with: races that no token orders, reads of what nobody wrote, accesses out of range.

Time plays no part. A vector clock for each instruction says how many instructions of each queue have surely finished when
it starts: those before it in its own queue, the producers of the tokens it pops, and all that these knew. Then the program
is walked in order with, for every SRAM entry and every piece of DRAM, the instruction that last wrote it and, for each
queue, the one that last read it. Two accesses of which one writes must be ordered, in program order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vdla.errors import RunError
from vdla.isa.definition import Buffer, depth, tile_bytes
from vdla.isa.program import Program
from vdla.sim import kernels
from vdla.sim.deadlock import deadlock_error
from vdla.sim.functional import describe, new_memories, raise_fault, shape_of
from vdla.sim.jit import jit
from vdla.sim.kernels import (
    ALU_MOV,
    ALU_REQUANTISE,
    BUF_INP,
    BUF_UOP,
    BUF_WGT,
    MODE_OVERWRITE,
    MODE_RESET,
    NO_FAULT,
    OP_ALU,
    OP_GEMM,
    OP_LOAD,
    OP_STORE,
    Memories,
    Shape,
)
from vdla.sim.timing import LOAD
from vdla.sim.work import units_of

RAW, WAR, WAW, UNWRITTEN = range(4)
HAZARDS = ("reads what", "overwrites what", "overwrites what", "reads")
NOBODY, HOST = -1, -2
MAX_FINDINGS = 100
MEMORIES = ("uop", "inp", "wgt", "acc", "DRAM")
UOP, INP, WGT, ACC, DRAM = range(5)


@dataclass(frozen=True, slots=True)
class Finding:
    """kind: RAW, WAR, WAW or UNWRITTEN. earlier, later: instructions (earlier is -1 for UNWRITTEN). index: an entry, or for
    DRAM a byte."""

    kind: int
    memory: str
    index: int
    earlier: int
    later: int
    text: str


class State(NamedTuple):
    """One index space over all memories: memory m begins at base[m]. Last access of each place, by instruction."""

    base: np.ndarray  #    int64[6]
    granule: int  #        bytes of one place of DRAM
    writer: np.ndarray  #  int32[places], or NOBODY or HOST
    reader: np.ndarray  #  int32[3, places], by queue
    queue: np.ndarray  #   int64[n]
    position: np.ndarray  # int64[n]: within its queue
    clocks: np.ndarray  #  int64[n, 3]
    found: np.ndarray  #   int64[MAX_FINDINGS, 4]: kind, place, earlier, later
    filled: np.ndarray  #  int64[1]: findings in `found`


def sanitize(program: Program, columns: np.ndarray) -> list[Finding]:
    """All findings, at most one of a kind for each pair of instructions and `MAX_FINDINGS` in all.

    Raises `RunError` on a deadlock of tokens, or an access outside a memory.
    """
    state = _new_state(program, columns)
    ordered = _order(columns, state.queue, state.position, state.clocks)
    if not ordered.all():
        raise deadlock_error(program, columns, state.queue + 1, ordered, np.ones(len(columns), bool), -1)
    memories, shape = new_memories(program.design, program.dram_image()), shape_of(program.design)
    instruction, memory, index = _walk(columns, state, memories, shape)
    if memory:
        raise_fault(program, columns, memories, instruction, memory, index)
    return [_finding(program, columns, state, row) for row in state.found[: state.filled[0]]]


def raise_or_warn(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Raise `RunError` on races and on reads of SRAM that nobody wrote; return the rest, reads of DRAM that nobody wrote
    (which is zero), as warnings."""
    faults = [f for f in findings if f.kind != UNWRITTEN or f.memory != "DRAM"]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise RunError("; ".join(f.text for f in faults[:3]) + more, where="sanitizer")
    return tuple(f.text for f in findings)


def _new_state(program: Program, columns: np.ndarray) -> State:
    design, n = program.design, len(columns)
    granule = min(tile_bytes(design, b) for b in Buffer)
    sizes = [depth(design, b) for b in (Buffer.UOP, Buffer.INP, Buffer.WGT, Buffer.ACC)] + [-(-program.dram_bytes // granule)]
    base = np.cumsum([0, *sizes])
    writer = np.full(base[-1], NOBODY, np.int32)
    filled = [(s.address, len(s.data)) for s in program.segments] + [(s.address, s.bytes) for s in program.inputs]
    for address, size in filled:
        writer[base[DRAM] + address // granule : base[DRAM] - (-(address + size) // granule)] = HOST
    queue = units_of(columns) - LOAD
    position = np.zeros(n, np.int64)
    for q in range(3):
        position[queue == q] = np.arange((queue == q).sum())
    reader = np.full((3, base[-1]), NOBODY, np.int32)
    clocks, found = np.zeros((n, 3), np.int64), np.zeros((MAX_FINDINGS, 4), np.int64)
    return State(base, granule, writer, reader, queue, position, clocks, found, np.zeros(1, np.int64))


def _finding(program: Program, columns: np.ndarray, state: State, row: np.ndarray) -> Finding:
    kind, place, earlier, later = (int(v) for v in row)
    memory = int(np.searchsorted(state.base, place, side="right")) - 1
    index = (place - int(state.base[memory])) * (state.granule if memory == DRAM else 1)
    where = f"{MEMORIES[memory]}[{index}]"
    by = describe(program, columns, later)
    if kind == UNWRITTEN:
        text = f"{by} reads {where}, which nobody wrote"
    else:
        deed = "reads" if kind == WAR else "writes"
        text = f"{by} {HAZARDS[kind]} {describe(program, columns, earlier)} {deed}, {where}, and no token orders them"
    return Finding(kind, MEMORIES[memory], index, earlier if kind != UNWRITTEN else -1, later, text)


# -- order -----------------------------------------------------------------------------------------------------------------
@jit
def _order(columns: np.ndarray, queue: np.ndarray, position: np.ndarray, clocks: np.ndarray) -> np.ndarray:
    """Fill `clocks`; bool[n]: the instructions that can ever start. The kth push meets the kth pop."""
    n = len(columns)
    members, counts = np.zeros((3, n), np.int64), np.zeros(3, np.int64)
    for i in range(n):
        members[queue[i], counts[queue[i]]] = i
        counts[queue[i]] += 1
    producers = np.zeros((5, 2, n), np.int64)  # [queue + 1, side pushed to, k]; queues 0 and 4 do not exist
    pushed, popped = np.zeros((5, 2), np.int64), np.zeros((5, 2), np.int64)
    done, ordered = np.zeros(3, np.int64), np.zeros(n, np.bool_)
    progress = True
    while progress:
        progress = False
        for q in range(3):
            while done[q] < counts[q]:
                i = members[q, done[q]]
                f = columns[i]
                if f.pop_prev and popped[q, 1] == pushed[q, 1] or f.pop_next and popped[q + 2, 0] == pushed[q + 2, 0]:
                    break
                if done[q] > 0:
                    _learn(clocks, queue, position, i, members[q, done[q] - 1])
                if f.pop_prev:
                    _learn(clocks, queue, position, i, producers[q, 1, popped[q, 1]])
                    popped[q, 1] += 1
                if f.pop_next:
                    _learn(clocks, queue, position, i, producers[q + 2, 0, popped[q + 2, 0]])
                    popped[q + 2, 0] += 1
                if f.push_prev:
                    producers[q + 1, 0, pushed[q + 1, 0]] = i
                    pushed[q + 1, 0] += 1
                if f.push_next:
                    producers[q + 1, 1, pushed[q + 1, 1]] = i
                    pushed[q + 1, 1] += 1
                ordered[i] = True
                done[q] += 1
                progress = True
    return ordered


@jit
def _learn(clocks: np.ndarray, queue: np.ndarray, position: np.ndarray, i: int, finished: int) -> None:
    """Instruction `i` starts after `finished`, and after all that came before that."""
    for q in range(3):
        clocks[i, q] = max(clocks[i, q], clocks[finished, q])
    clocks[i, queue[finished]] = max(clocks[i, queue[finished]], position[finished] + 1)


# -- accesses --------------------------------------------------------------------------------------------------------------
@jit
def _report(s: State, kind: int, place: int, earlier: int, later: int) -> None:
    """Note a finding unless the same pair was just noted."""
    k = s.filled[0]
    for j in range(max(0, k - 8), k):
        if s.found[j, 0] == kind and s.found[j, 2] == earlier and s.found[j, 3] == later:
            return
    if k < len(s.found):
        s.found[k, 0], s.found[k, 1], s.found[k, 2], s.found[k, 3] = kind, place, earlier, later
        s.filled[0] += 1


@jit
def _ordered(s: State, earlier: int, later: int) -> bool:
    return earlier == later or s.clocks[later, s.queue[earlier]] > s.position[earlier]


@jit
def _read(s: State, place: int, i: int) -> None:
    writer = s.writer[place]
    if writer == NOBODY:
        _report(s, UNWRITTEN, place, NOBODY, i)
    elif writer != HOST and not _ordered(s, writer, i):
        _report(s, RAW, place, writer, i)
    s.reader[s.queue[i], place] = i


@jit
def _write(s: State, place: int, i: int) -> None:
    writer = s.writer[place]
    if writer >= 0 and not _ordered(s, writer, i):
        _report(s, WAW, place, writer, i)
    for q in range(3):
        reader = s.reader[q, place]
        if reader >= 0 and not _ordered(s, reader, i):
            _report(s, WAR, place, reader, i)
        s.reader[q, place] = NOBODY
    s.writer[place] = i


@jit
def _walk(columns: np.ndarray, s: State, memories: Memories, shape: Shape) -> tuple[int, int, int]:
    """Every access of every instruction, in program order. Returns as `kernels.run` does."""
    for i in range(len(columns)):
        f = columns[i]
        memory, index = kernels.fault(f, memories, shape)
        if memory != NO_FAULT:
            return i, memory, index
        if f.opcode == OP_LOAD or f.opcode == OP_STORE:
            _walk_dma(f, s, shape, i)
        elif f.opcode == OP_GEMM or f.opcode == OP_ALU:
            _walk_compute(f, s, memories, i)
        if f.opcode == OP_LOAD and f.buffer == BUF_UOP:
            kernels.load(f, memories, shape)
    return -1, 0, 0


@jit
def _walk_dma(f, s: State, shape: Shape, i: int) -> None:
    pieces = kernels.tile_bytes(f.buffer, shape) // s.granule
    for y in range(f.y_size):
        first = s.base[DRAM] + (f.dram_base + np.int64(y) * f.x_stride) * pieces
        for place in range(first, first + np.int64(f.x_size) * pieces):
            if f.opcode == OP_LOAD:
                _read(s, place, i)
            else:
                _write(s, place, i)
    if f.opcode == OP_STORE:
        for k in range(np.int64(f.y_size) * f.x_size):
            _read(s, s.base[ACC] + f.sram_base + k, i)
        return
    memory = UOP if f.buffer == BUF_UOP else INP if f.buffer == BUF_INP else WGT if f.buffer == BUF_WGT else ACC
    rows, columns = f.y_pad_before + f.y_size + f.y_pad_after, f.x_pad_before + f.x_size + f.x_pad_after
    for k in range(np.int64(rows) * columns):
        _write(s, s.base[memory] + f.sram_base + k, i)


@jit
def _walk_compute(f, s: State, memories: Memories, i: int) -> None:
    if f.loop_outer == 0 or f.loop_inner == 0:
        return
    is_gemm = f.opcode == OP_GEMM
    multiplies = is_gemm and f.gemm_mode != MODE_RESET
    reads_dst = multiplies and f.gemm_mode != MODE_OVERWRITE if is_gemm else f.alu_op != ALU_MOV
    parameters = not is_gemm and f.alu_op >= ALU_REQUANTISE
    reads_src = not is_gemm and (parameters or not f.use_imm)
    for u in range(f.uop_begin, f.uop_end):
        _read(s, s.base[UOP] + u, i)
    for outer in range(f.loop_outer):
        for inner in range(f.loop_inner):
            for u in range(f.uop_begin, f.uop_end):
                dst = s.base[ACC] + memories.uop[u, 0] + np.int64(outer) * f.dst_outer + np.int64(inner) * f.dst_inner
                src = memories.uop[u, 1] + np.int64(outer) * f.src_outer + np.int64(inner) * f.src_inner
                if multiplies:
                    wgt = memories.uop[u, 2] + np.int64(outer) * f.wgt_outer + np.int64(inner) * f.wgt_inner
                    _read(s, s.base[INP] + src, i)
                    _read(s, s.base[WGT] + wgt, i)
                if reads_src:
                    _read(s, s.base[ACC] + src, i)
                if parameters:
                    _read(s, s.base[ACC] + src + 1, i)
                if reads_dst:
                    _read(s, dst, i)
                _write(s, dst, i)
