"""The checker's loops over tokens, SRAM entries and DRAM blocks, compiled by Numba.

Each access is compared with the last write of its entry and the last read by each queue. A *stamp* is an instruction's
position in its queue plus one, so 0 means never; an access stamped s by queue q is ordered before instruction i when
s ≤ m.clock[i, q]. Within a queue order is total, so comparing with the last access covers all earlier ones.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, NamedTuple, get_type_hints

import numpy as np
from numba import boolean, from_dtype, int32, int64, types, uint8, uint32, void

from vdla.jit import jit

UOP, WGT, INP, ACC, TABLE, DRAM = range(6)
"""Memories. DRAM is counted in blocks of one out tile: the only DRAM writes are whole out tiles, so that two accesses
share a byte which one of them writes exactly when they share a block."""

OUT_OF_RANGE, NEVER_LOADED_UOP, UNKNOWN_UOP, NEVER_WRITTEN, READ_RACE, WRITE_RACE = range(6)
"""Kinds of fault. READ_RACE: a read not ordered after the last write; WRITE_RACE: a write not ordered after a read."""

FAULTS_KEPT = 256
_FAR = 1 << 30

NOTHING, MOVE_IN, MOVE_OUT, MULTIPLY, VECTOR, FILL_TABLE, READ_TABLE = range(7)
"""What an instruction does. The last two are as VECTOR, and write entries of the table from `imm` on, or read all of it."""

OPERANDS: tuple[str, ...] = ("sram_base", "dram_base", "y_size", "x_size", "x_stride", "imm")
OPERANDS += ("y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after", "uop_begin", "uop_end", "loop_outer", "loop_inner")
OPERANDS += ("dst_outer", "dst_inner", "src_outer", "src_inner", "wgt_outer", "wgt_inner")
MEANING = ("action", "queue", "memory", "tile_bytes", "src_tiles", "reads_dst")
STEPS = np.dtype([(name, np.int64) for name in (*MEANING, *OPERANDS)])
"""Instructions in the kernels' own terms. memory, tile_bytes: of a DMA. src_tiles: how many tiles src reads, 0 to 2. Fields
are int64 so that arithmetic neither overflows nor changes type."""

_BYTES, _WORDS, _INTS, _INTS_2D, _STAMPS, _STAMPS_2D = (
    uint8[::1],
    uint32[::1],
    int64[::1],
    int64[:, ::1],
    int32[::1],
    int32[:, ::1],
)


class State(NamedTuple):
    """What the walk knows. Explicit types here and in the kernels' signatures keep Numba from compiling one variant for each
    constant argument, which makes a first run several times slower."""

    clock: Annotated[np.ndarray, _STAMPS_2D]  #    [n, 3]: instructions of each queue known to have retired before each starts
    depth: Annotated[np.ndarray, _INTS]  #         entries of each memory but DRAM
    writer: Annotated[np.ndarray, _INTS]  #        the queue that writes each memory
    base: Annotated[np.ndarray, _INTS]  #          where each memory begins in `written` and `read`
    dram_bytes: Annotated[int, int64]
    block_bytes: Annotated[int, int64]  #          of a DRAM block: one out tile
    written: Annotated[np.ndarray, _STAMPS]  #     stamp of each entry's last write
    read: Annotated[np.ndarray, _STAMPS_2D]  #     [3, entries]: stamp of the last read by each queue
    uops: Annotated[np.ndarray, _INTS_2D]  #       [depth, 3]: dst, src, wgt
    uop_known: Annotated[np.ndarray, _BYTES]  #    [depth]: are their contents known?
    image: Annotated[np.ndarray, _WORDS]  #        DRAM, in words of 4 bytes
    image_known: Annotated[np.ndarray, _BYTES]  #  by micro-op: does a segment hold it?
    uop_bytes: Annotated[int, int64]
    uop_lsb: Annotated[np.ndarray, _INTS]
    uop_width: Annotated[np.ndarray, _INTS]
    entries: Annotated[np.ndarray, _INTS]  #       scratch: the entries of one access
    age: Annotated[np.ndarray, _INTS]  #           scratch of `_visited`
    faults: Annotated[np.ndarray, _INTS_2D]  #     [FAULTS_KEPT, 5]: kind, instruction, memory, entry, other stamp · 4 + queue
    fault_count: Annotated[np.ndarray, _INTS]  #   [1]: all of them, kept or not


_inner = partial(jit, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For kernels called only by kernels: without the wrappers they compile faster."""
_state = types.NamedTuple([hint.__metadata__[0] for hint in get_type_hints(State, include_extras=True).values()], State)
_record = from_dtype(STEPS)


_bits = boolean[:, ::1]


@jit(types.Tuple((int32[:, ::1], int64[::1]))(int64[::1], int64[::1], int32[::1], _bits, _bits, int64[::1]))
def run_queues(members, begin, position, pops, pushes, producers):  # type: ignore[no-untyped-def]
    """Vector clocks int32[n, 3] and instructions run int64[3] of the in-order queues `members[begin[q]:begin[q + 1]]`.

    pops, pushes: bool[n, 4], by FIFO. producers: int64[4], the queue that pushes each FIFO.
    """
    n, fifos = pops.shape
    clock = np.zeros((n, 3), np.int32)
    tokens = np.zeros((fifos, n + 1), np.int64)  # the instructions that pushed, oldest first
    pushed, popped = np.zeros(fifos, np.int64), np.zeros(fifos, np.int64)
    done = np.zeros(3, np.int64)
    moved = True
    while moved:
        moved = False
        for q in range(3):
            while begin[q] + done[q] < begin[q + 1]:
                i = members[begin[q] + done[q]]
                ready = True
                for f in range(fifos):
                    ready = ready and (not pops[i, f] or popped[f] < pushed[f])
                if not ready:
                    break
                for other in range(3 if done[q] > 0 else 0):
                    clock[i, other] = clock[members[begin[q] + done[q] - 1], other]
                clock[i, q] = done[q]
                for f in range(fifos):
                    if pops[i, f]:
                        giver = tokens[f, popped[f]]
                        popped[f] += 1
                        for other in range(3):
                            clock[i, other] = max(clock[i, other], clock[giver, other])
                        clock[i, producers[f]] = max(clock[i, producers[f]], position[giver] + 1)
                    if pushes[i, f]:
                        tokens[f, pushed[f]] = i
                        pushed[f] += 1
                done[q] += 1
                moved = True
    return clock, done


@_inner(void(_state, int64, int64, int64, int64, int64))
def _report(m, kind, instruction, memory, entry, other):  # type: ignore[no-untyped-def]
    k = m.fault_count[0]
    if k < FAULTS_KEPT:
        m.faults[k, 0], m.faults[k, 1], m.faults[k, 2] = kind, instruction, memory
        m.faults[k, 3], m.faults[k, 4] = entry, other
    m.fault_count[0] += 1


@_inner(void(_state, int64, int64, int64, int64, boolean))
def _read(m, which, count, i, queue, must_be_written):  # type: ignore[no-untyped-def]
    """Instruction i of `queue` reads `m.entries[:count]` of a memory. At most one fault of a kind."""
    writer = m.writer[which]
    limit, stamp, base = m.clock[i, writer], m.clock[i, queue] + 1, m.base[which]
    unwritten, racing = -1, -1
    for k in range(count):
        entry = base + m.entries[k]
        written = m.written[entry]
        if written == 0:
            unwritten = k if unwritten < 0 else unwritten
        elif written > limit and racing < 0:
            racing = k
        m.read[queue, entry] = stamp
    if must_be_written and unwritten >= 0:
        _report(m, NEVER_WRITTEN, i, which, m.entries[unwritten], 0)
    if racing >= 0:
        _report(m, READ_RACE, i, which, m.entries[racing], 4 * np.int64(m.written[base + m.entries[racing]]) + writer)


@_inner(void(_state, int64, int64, int64, int64))
def _write(m, which, count, i, queue):  # type: ignore[no-untyped-def]
    """Instruction i of `queue`, the only writer of this memory, writes `m.entries[:count]`. At most one fault a reader."""
    stamp, base = m.clock[i, queue] + 1, m.base[which]
    for reader in range(3):
        if reader != queue:
            limit = m.clock[i, reader]
            for k in range(count):
                read = m.read[reader, base + m.entries[k]]
                if read > limit:
                    _report(m, WRITE_RACE, i, which, m.entries[k], 4 * np.int64(read) + reader)
                    break
    for k in range(count):
        m.written[base + m.entries[k]] = stamp


@_inner(void(int64[::1], int64, int64, int64, int64))
def _spread(age, first, last, stride, count):  # type: ignore[no-untyped-def]
    """Add to the set {e: age[e] == 0} within [first, last] all e + k·stride with 0 < k < count; O(last - first)."""
    if stride == 0 or count <= 1:
        return
    for e in range(first + stride, last + 1):
        if age[e] != 0 and age[e - stride] + 1 < count:
            age[e] = age[e - stride] + 1
    for e in range(first, last + 1):
        if age[e] < _FAR:
            age[e] = 0


@_inner(types.UniTuple(int64, 2)(_state, _record, int64, int64, int64, int64, int64))
def _visited(m, f, column, offset, outer_stride, inner_stride, limit):  # type: ignore[no-untyped-def]
    """The set of tiles an instruction visits by one index of its micro-ops, into `m.entries`.

    Returns (count, -1), or (0, the largest index) when that is not below `limit`. Costs O(micro-ops + limit), however
    many iterations the loops make.
    """
    first, last = _FAR, 0
    for u in range(f.uop_begin, f.uop_end):
        first, last = min(first, m.uops[u, column]), max(last, m.uops[u, column])
    first += offset
    last += offset + (f.loop_outer - 1) * outer_stride + (f.loop_inner - 1) * inner_stride
    if last >= limit:
        return 0, last
    age = m.age
    age[first : last + 1] = _FAR
    for u in range(f.uop_begin, f.uop_end):
        age[m.uops[u, column] + offset] = 0
    _spread(age, first, last, inner_stride, f.loop_inner)
    _spread(age, first, last, outer_stride, f.loop_outer)
    count = 0
    for e in range(first, last + 1):
        if age[e] == 0:
            m.entries[count] = e
            count += 1
    return count, -1


@_inner(boolean(_state, _record, int64))
def _uops_ready(m, f, i):  # type: ignore[no-untyped-def]
    """Are the micro-ops inside the SRAM, loaded, and of known contents? Reports the first that is not."""
    if f.uop_end > m.depth[UOP]:
        _report(m, OUT_OF_RANGE, i, UOP, f.uop_end - 1, 0)
        return False
    for u in range(f.uop_begin, f.uop_end):
        if m.written[m.base[UOP] + u] == 0:
            _report(m, NEVER_LOADED_UOP, i, UOP, u, 0)
            return False
    unknown = (m.uop_known[f.uop_begin : f.uop_end] == 0).any()
    return not unknown  # an unknown one was reported where it was loaded


@_inner(boolean(_state, int64, _record, int64, int64, int64, int64, int64, boolean))
def _read_tiles(m, which, f, column, offset, outer, inner, i, must):  # type: ignore[no-untyped-def]
    """COMPUTE reads the tiles visited by one index. False when they are out of range."""
    count, beyond = _visited(m, f, column, offset, outer, inner, m.depth[which])
    if beyond >= 0:
        _report(m, OUT_OF_RANGE, i, which, beyond, 0)
        return False
    _read(m, which, count, i, f.queue, must)
    return True


@_inner(void(_state, _record, int64))
def _write_dst(m, f, i):  # type: ignore[no-untyped-def]
    """COMPUTE writes the acc tiles visited by dst, perhaps after reading them."""
    count, beyond = _visited(m, f, 0, 0, f.dst_outer, f.dst_inner, m.depth[ACC])
    if beyond >= 0:
        _report(m, OUT_OF_RANGE, i, ACC, beyond, 0)
        return
    if f.reads_dst:
        _read(m, ACC, count, i, f.queue, True)
    _write(m, ACC, count, i, f.queue)


@_inner(void(_state, _record, int64))
def _multiply(m, f, i):  # type: ignore[no-untyped-def]
    if f.src_tiles:
        _read_tiles(m, INP, f, 1, 0, f.src_outer, f.src_inner, i, True)
        _read_tiles(m, WGT, f, 2, 0, f.wgt_outer, f.wgt_inner, i, True)
    _write_dst(m, f, i)


@_inner(void(_state, _record, int64))
def _check_moves(m, f, i):  # type: ignore[no-untyped-def]
    """A move may read a tile that an earlier step of the same instruction wrote, so its steps are followed one by one."""
    written = np.zeros(m.depth[ACC], np.bool_)
    for outer in range(f.loop_outer if f.dst_outer + f.src_outer else 1):
        for inner in range(f.loop_inner if f.dst_inner + f.src_inner else 1):
            for u in range(f.uop_begin, f.uop_end):
                src = m.uops[u, 1] + outer * f.src_outer + inner * f.src_inner
                if m.written[m.base[ACC] + src] == 0 and not written[src]:
                    _report(m, NEVER_WRITTEN, i, ACC, src, 0)
                    return
                written[m.uops[u, 0] + outer * f.dst_outer + inner * f.dst_inner] = True


@_inner(void(_state, _record, int64))
def _vector(m, f, i):  # type: ignore[no-untyped-def]
    in_range = True
    for offset in range(f.src_tiles):
        in_range = in_range and _read_tiles(m, ACC, f, 1, offset, f.src_outer, f.src_inner, i, f.reads_dst != 0)
    moves = f.src_tiles > 0 and f.reads_dst == 0
    if moves and in_range and _visited(m, f, 0, 0, f.dst_outer, f.dst_inner, m.depth[ACC])[1] < 0:
        _check_moves(m, f, i)
    _write_dst(m, f, i)


@_inner(void(_state, _record, int64))
def _table(m, f, i):  # type: ignore[no-untyped-def]
    """COMPUTE fills or reads the table. A step fills an entry; after the last comes the first."""
    size = m.depth[TABLE]
    filled = min(size, f.loop_outer * f.loop_inner * (f.uop_end - f.uop_begin))
    for k in range(size):
        m.entries[k] = k if f.action == READ_TABLE else (f.imm + k) % size
    if f.action == READ_TABLE:
        _read(m, TABLE, size, i, f.queue, True)
    else:
        _write(m, TABLE, filled, i, f.queue)


@_inner(int64(_state, _record))
def _dram_end(m, f):  # type: ignore[no-untyped-def]
    """One past the last DRAM byte a LOAD or STORE moves, 0 when it moves none."""
    if f.y_size == 0 or f.x_size == 0:
        return 0
    return (f.dram_base + (f.y_size - 1) * f.x_stride + f.x_size) * f.tile_bytes


@_inner(int64(_state, _record, int64))
def _row_blocks(m, f, row):  # type: ignore[no-untyped-def]
    """DRAM blocks of one row, into `m.entries`; how many."""
    start = (f.dram_base + row * f.x_stride) * f.tile_bytes
    first = start // m.block_bytes
    count = (start + f.x_size * f.tile_bytes - 1) // m.block_bytes - first + 1
    for k in range(count):
        m.entries[k] = first + k
    return count


@_inner(void(_state, _record, int64))
def _fill_uops(m, f, i):  # type: ignore[no-untyped-def]
    """Follow a LOAD UOP: padding is zero words; a word no segment holds, or a STORE has overwritten, is unknown."""
    entry, unknown, words = f.sram_base, -1, m.uop_bytes // 4
    for y in range(-f.y_pad_before, f.y_size + f.y_pad_after):
        for x in range(-f.x_pad_before, f.x_size + f.x_pad_after):
            m.uops[entry, 0] = m.uops[entry, 1] = m.uops[entry, 2] = 0
            m.uop_known[entry] = 1
            if 0 <= y < f.y_size and 0 <= x < f.x_size:
                tile = f.dram_base + y * f.x_stride + x
                block = tile * m.uop_bytes // m.block_bytes
                last_block = ((tile + 1) * m.uop_bytes - 1) // m.block_bytes
                known = m.image_known[tile]
                for b in range(block, last_block + 1):
                    known = known if m.written[m.base[DRAM] + b] == 0 else 0
                m.uop_known[entry] = known
                unknown = tile if not known and unknown < 0 else unknown
                word = np.uint64(m.image[tile * words])
                if words == 2:
                    word |= np.uint64(m.image[2 * tile + 1]) << np.uint64(32)
                for k in range(3):
                    mask = (np.uint64(1) << np.uint64(m.uop_width[k])) - np.uint64(1)
                    m.uops[entry, k] = np.int64((word >> np.uint64(m.uop_lsb[k])) & mask)
            entry += 1
    if unknown >= 0:
        _report(m, UNKNOWN_UOP, i, DRAM, unknown * m.uop_bytes, 0)


@_inner(void(_state, _record, int64))
def _move_in(m, f, i):  # type: ignore[no-untyped-def]
    rows = f.y_pad_before + f.y_size + f.y_pad_after
    total = rows * (f.x_pad_before + f.x_size + f.x_pad_after)
    if total == 0:
        return
    if f.sram_base + total > m.depth[f.memory]:
        _report(m, OUT_OF_RANGE, i, f.memory, f.sram_base + total - 1, 0)
        return
    if _dram_end(m, f) > m.dram_bytes:
        _report(m, OUT_OF_RANGE, i, DRAM, _dram_end(m, f) - 1, 0)
        return
    for row in range(f.y_size if f.x_size else 0):
        count = _row_blocks(m, f, row)
        _read(m, DRAM, count, i, f.queue, False)
    for k in range(total):
        m.entries[k] = f.sram_base + k
    if f.memory == UOP:
        _fill_uops(m, f, i)
    _write(m, f.memory, total, i, f.queue)


@_inner(void(_state, _record, int64))
def _move_out(m, f, i):  # type: ignore[no-untyped-def]
    total = f.y_size * f.x_size
    if total == 0:
        return
    if f.sram_base + total > m.depth[ACC]:
        _report(m, OUT_OF_RANGE, i, ACC, f.sram_base + total - 1, 0)
        return
    if _dram_end(m, f) > m.dram_bytes:
        _report(m, OUT_OF_RANGE, i, DRAM, _dram_end(m, f) - 1, 0)
        return
    for k in range(total):
        m.entries[k] = f.sram_base + k
    _read(m, ACC, total, i, f.queue, True)
    for row in range(f.y_size):
        _write(m, DRAM, _row_blocks(m, f, row), i, f.queue)


@jit(void(_record[::1], _state))
def walk(steps, m):  # type: ignore[no-untyped-def]
    """Follow all accesses of STEPS[n] in program order; what is wrong is in `m.faults`."""
    for i in range(len(steps)):
        f = steps[i]
        if f.action == MOVE_IN:
            _move_in(m, f, i)
        elif f.action == MOVE_OUT:
            _move_out(m, f, i)
        elif f.action != NOTHING and f.loop_outer * f.loop_inner * max(0, f.uop_end - f.uop_begin) > 0 and _uops_ready(m, f, i):
            if f.action == MULTIPLY:
                _multiply(m, f, i)
            else:
                _vector(m, f, i)
                if f.action != VECTOR:
                    _table(m, f, i)
