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

from vdla.arithmetic import ceil_div
from vdla.errors import RunError
from vdla.isa.assembler import describe
from vdla.isa.definition import TABLE_ENTRIES, Scratchpad, depth, tile_bytes
from vdla.isa.program import Program
from vdla.isa.tokens import queues_of, units_of
from vdla.jit import jit
from vdla.sim import kernels
from vdla.sim.deadlock import deadlock_error
from vdla.sim.functional import new_memories, raise_fault, shape_of
from vdla.sim.kernels import (
    ALU_LOOKUP,
    ALU_MOV,
    ALU_TABULATE,
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
    PER_CHANNEL,
    Memories,
    Shape,
)

RAW, WAR, WAW, UNWRITTEN = range(4)
HAZARDS = ("reads what", "overwrites what", "overwrites what", "reads")
NOBODY, HOST = -1, -2
MAX_FINDINGS = 100
MEMORIES = ("uop", "inp", "wgt", "acc", "table", "DRAM")
UOP, INP, WGT, ACC, TABLE, DRAM = range(6)
WRITER = 3
"""Column of `State.last`; those before it are the readers by queue."""


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


ORDER = np.dtype([("queue", np.int64), ("position", np.int64), ("clock", np.int64, 3)])
"""Of each instruction: its queue, its place in it, and how many instructions of each queue have finished when it starts."""


class State(NamedTuple):
    """One index space over all memories: memory m begins at base[m]."""

    base: np.ndarray  #    int64[7]
    granule: int  #        bytes of one place of DRAM
    last: np.ndarray  #    int32[places, 4]: last reader of each queue, and last writer; an instruction, NOBODY or HOST
    order: np.ndarray  #   ORDER[n]
    found: np.ndarray  #   int64[MAX_FINDINGS, 4]: kind, place, earlier, later
    filled: np.ndarray  #  int64[1]: findings in `found`


def sanitize(program: Program, columns: np.ndarray) -> list[Finding]:
    """All findings, at most one of a kind for each pair of instructions and `MAX_FINDINGS` in all.

    Raises `RunError` on a deadlock of tokens, or an access outside a memory.
    """
    state = _new_state(program, columns)
    ordered = _order(columns, state.order)
    if not ordered.all():
        raise deadlock_error(program, columns, units_of(columns), ordered, np.ones(len(columns), bool))
    memories, shape = new_memories(program.design, program.dram_image()), shape_of(program.design)
    instruction, memory, index = _walk(columns, state, memories, shape)
    if memory:
        raise_fault(program, memories, instruction, memory, index)
    return [_finding(program, state, row) for row in state.found[: state.filled[0]]]


def raise_or_warn(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Raise `RunError` on races and on reads of SRAM that nobody wrote; return the rest, reads of DRAM that nobody wrote
    (which is zero), as warnings."""
    faults = [f for f in findings if f.kind != UNWRITTEN or f.memory != "DRAM"]
    if faults:
        more = f" (and {len(faults) - 3} more)" if len(faults) > 3 else ""
        raise RunError("; ".join(f.text for f in faults[:3]) + more, where="sanitizer")
    return tuple(f.text for f in findings)


def _new_state(program: Program, columns: np.ndarray) -> State:
    design = program.design
    granule = min(tile_bytes(design, b) for b in Scratchpad)
    depths = [depth(design, b) for b in (Scratchpad.UOP, Scratchpad.INP, Scratchpad.WGT, Scratchpad.ACC)]
    sizes = [*depths, TABLE_ENTRIES, ceil_div(program.dram_bytes, granule)]
    base = np.cumsum([0, *sizes])
    last = np.full((base[-1], 4), NOBODY, np.int32)
    filled = [(s.address, len(s.data)) for s in program.segments] + [(s.address, s.bytes) for s in program.inputs]
    for address, size in filled:
        last[base[DRAM] + address // granule : base[DRAM] + ceil_div(address + size, granule), WRITER] = HOST
    order = np.zeros(len(columns), ORDER)
    order["queue"] = queues_of(columns)
    for q in range(3):
        mine = order["queue"] == q
        order["position"][mine] = np.arange(mine.sum())
    return State(base, granule, last, order, np.zeros((MAX_FINDINGS, 4), np.int64), np.zeros(1, np.int64))


def _finding(program: Program, state: State, row: np.ndarray) -> Finding:
    kind, place, earlier, later = (int(v) for v in row)
    memory = int(np.searchsorted(state.base, place, side="right")) - 1
    index = (place - int(state.base[memory])) * (state.granule if memory == DRAM else 1)
    where = f"{MEMORIES[memory]}[{index}]"
    by = describe(program, later)
    if kind == UNWRITTEN:
        text = f"{by} reads {where}, which nobody wrote"
    else:
        deed = "reads" if kind == WAR else "writes"
        text = f"{by} {HAZARDS[kind]} {describe(program, earlier)} {deed}, {where}, and no token orders them"
    return Finding(kind, MEMORIES[memory], index, earlier if kind != UNWRITTEN else -1, later, text)


# -- order -----------------------------------------------------------------------------------------------------------------
@jit
def _order(columns: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Fill the clocks; bool[n]: the instructions that can ever start. The kth push meets the kth pop."""
    n = len(columns)
    members, counts = np.zeros((3, n), np.int64), np.zeros(3, np.int64)
    for i in range(n):
        q = order[i].queue
        members[q, counts[q]] = i
        counts[q] += 1
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
                    _learn(order, i, members[q, done[q] - 1])
                if f.pop_prev:
                    _learn(order, i, producers[q, 1, popped[q, 1]])
                    popped[q, 1] += 1
                if f.pop_next:
                    _learn(order, i, producers[q + 2, 0, popped[q + 2, 0]])
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
def _learn(order: np.ndarray, i: int, finished: int) -> None:
    """Instruction `i` starts after `finished`, and after all that came before that."""
    mine, other = order[i], order[finished]
    for q in range(3):
        mine.clock[q] = max(mine.clock[q], other.clock[q])
    mine.clock[other.queue] = max(mine.clock[other.queue], other.position + 1)


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
def _ordered(order: np.ndarray, earlier: int, later: int) -> bool:
    return order[later].clock[order[earlier].queue] > order[earlier].position


@jit
def _reads(last: np.ndarray, order: np.ndarray, place: int, i: int) -> bool:
    """Note that `i` reads `place`; False when it must not. Only the first of many reads by one instruction costs."""
    writer, q = last[place, WRITER], order[i].queue
    if writer == i or last[place, q] == i:
        return True
    last[place, q] = i
    return writer == HOST or (writer >= 0 and _ordered(order, writer, i))


@jit
def _writes(last: np.ndarray, order: np.ndarray, place: int, i: int) -> bool:
    """Note that `i` writes `place`; False, and nothing noted, when it must not."""
    writer = last[place, WRITER]
    if writer == i:
        return True
    if writer >= 0 and not _ordered(order, writer, i):
        return False
    for q in range(3):
        if last[place, q] >= 0 and last[place, q] != i and not _ordered(order, last[place, q], i):
            return False
    last[place, 0], last[place, 1], last[place, 2], last[place, WRITER] = NOBODY, NOBODY, NOBODY, i
    return True


@jit
def _report_read(s: State, place: int, i: int) -> None:
    writer = s.last[place, WRITER]
    _report(s, UNWRITTEN if writer == NOBODY else RAW, place, writer, i)


@jit
def _report_write(s: State, place: int, i: int) -> None:
    """Report everyone who is not before this write, then note it."""
    for k in range(4):
        earlier = s.last[place, k]
        if earlier >= 0 and earlier != i and not _ordered(s.order, earlier, i):
            _report(s, WAW if k == WRITER else WAR, place, earlier, i)
        s.last[place, k] = i if k == WRITER else NOBODY


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
    loads = f.opcode == OP_LOAD
    for y in range(f.y_size):
        first = s.base[DRAM] + (f.dram_base + np.int64(y) * f.x_stride) * pieces
        _walk_places(s, first, np.int64(f.x_size) * pieces, not loads, i)
    if loads:
        memory = UOP if f.buffer == BUF_UOP else INP if f.buffer == BUF_INP else WGT if f.buffer == BUF_WGT else ACC
        rows, columns = f.y_pad_before + f.y_size + f.y_pad_after, f.x_pad_before + f.x_size + f.x_pad_after
        _walk_places(s, s.base[memory] + f.sram_base, np.int64(rows) * columns, True, i)
    else:
        _walk_places(s, s.base[ACC] + f.sram_base, np.int64(f.y_size) * f.x_size, False, i)


@jit
def _walk_places(s: State, first: int, count: int, writes: bool, i: int) -> None:
    """`count` places in a row."""
    last, order = s.last, s.order
    for place in range(first, first + count):
        if writes:
            if not _writes(last, order, place, i):
                _report_write(s, place, i)
        elif not _reads(last, order, place, i):
            _report_read(s, place, i)


@jit
def _walk_compute(f, s: State, memories: Memories, i: int) -> None:
    if f.loop_outer == 0 or f.loop_inner == 0 or f.uop_begin >= f.uop_end:
        return
    last, order, uop = s.last, s.order, memories.uop
    is_gemm = f.opcode == OP_GEMM
    multiplies = is_gemm and f.gemm_mode != MODE_RESET
    reads_dst = multiplies and f.gemm_mode != MODE_OVERWRITE if is_gemm else f.alu_op != ALU_MOV
    parameters = not is_gemm and f.alu_op in PER_CHANNEL
    reads_src = not is_gemm and (parameters or not f.use_imm)
    acc, inp, wgt = s.base[ACC], s.base[INP], s.base[WGT]
    _walk_places(s, s.base[UOP] + f.uop_begin, np.int64(f.uop_end - f.uop_begin), False, i)
    if not is_gemm and f.alu_op == ALU_LOOKUP:
        _walk_places(s, s.base[TABLE], TABLE_ENTRIES, False, i)
    if not is_gemm and f.alu_op == ALU_TABULATE:
        steps = np.int64(f.loop_outer) * f.loop_inner * (f.uop_end - f.uop_begin)
        for k in range(min(steps, TABLE_ENTRIES)):
            _walk_places(s, s.base[TABLE] + (f.imm + k) % TABLE_ENTRIES, 1, True, i)
    for outer in range(f.loop_outer):
        for inner in range(f.loop_inner):
            dst0 = acc + np.int64(outer) * f.dst_outer + np.int64(inner) * f.dst_inner
            src0 = np.int64(outer) * f.src_outer + np.int64(inner) * f.src_inner
            wgt0 = wgt + np.int64(outer) * f.wgt_outer + np.int64(inner) * f.wgt_inner
            for u in range(f.uop_begin, f.uop_end):
                dst, src, w = dst0 + uop[u, 0], src0 + uop[u, 1], wgt0 + uop[u, 2]
                if multiplies and not _reads(last, order, inp + src, i):
                    _report_read(s, inp + src, i)
                if multiplies and not _reads(last, order, w, i):
                    _report_read(s, w, i)
                if reads_src and not _reads(last, order, acc + src, i):
                    _report_read(s, acc + src, i)
                if parameters and not _reads(last, order, acc + src + 1, i):
                    _report_read(s, acc + src + 1, i)
                if reads_dst and not _reads(last, order, dst, i):
                    _report_read(s, dst, i)
                if not _writes(last, order, dst, i):
                    _report_write(s, dst, i)
