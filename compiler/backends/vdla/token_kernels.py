"""The compiled loops of `tokens`: who last touched what, and which edges that needs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vdla.isa.definition import PER_CHANNEL_ALU_OPS, AluOp, Buffer, GemmMode, Opcode, Queue

LOAD, COMPUTE, STORE = int(Queue.LOAD), int(Queue.COMPUTE), int(Queue.STORE)
OP_LOAD, OP_STORE, OP_GEMM, OP_FINISH, OP_ALU = (
    int(o) for o in (Opcode.LOAD, Opcode.STORE, Opcode.GEMM, Opcode.FINISH, Opcode.ALU)
)
UOP, WGT, INP, ACC = int(Buffer.UOP), int(Buffer.WGT), int(Buffer.INP), int(Buffer.ACC)
RESET = int(GemmMode.RESET)
FIRST_PER_CHANNEL = int(min(PER_CHANNEL_ALU_OPS))
assert tuple(AluOp)[-2:] == PER_CHANNEL_ALU_OPS  # so that one comparison tells them
NEVER = -1


class Dram(NamedTuple):
    """Granules of `granule` bytes; those in [first, end) are written by some STORE."""

    granule: int
    first: int
    end: int


@njit(cache=True)
def find_dependences(columns, queue, uops, uop_start, tile_sizes, dram, depths):
    """int64[n, 3]: for each instruction and queue the last conflicting earlier instruction of that queue, or NEVER.

    columns: COLUMNS[n]. queue: int64[n]. uops: int64[m, 3] of dst, src, wgt. tile_sizes: bytes by Buffer.
    depths: entries of inp, wgt, acc.
    """
    n = len(columns)
    required = np.full((n, 3), NEVER, np.int64)
    inp_written, inp_read = np.full(depths[0], NEVER, np.int64), np.full(depths[0], NEVER, np.int64)
    wgt_written, wgt_read = np.full(depths[1], NEVER, np.int64), np.full(depths[1], NEVER, np.int64)
    acc_written, acc_stored = np.full(depths[2] + 1, NEVER, np.int64), np.full(depths[2] + 1, NEVER, np.int64)
    span = max(dram.end - dram.first, 0)
    stored = np.full(span, NEVER, np.int64)
    fetched = np.full((2, span), NEVER, np.int64)  # by LOAD, by COMPUTE
    last_store = NEVER
    for i in range(n):
        c = columns[i]
        mine = required[i]
        if c["opcode"] == OP_GEMM or c["opcode"] == OP_ALU:
            _compute(i, c, uops, uop_start[i], inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine)
        elif c["opcode"] == OP_LOAD:
            _fetch(i, c, queue[i], tile_sizes[c["buffer"]], dram, stored, fetched, mine)
            if c["buffer"] == INP:
                _fill(i, c, inp_written, inp_read, mine)
            elif c["buffer"] == WGT:
                _fill(i, c, wgt_written, wgt_read, mine)
            elif c["buffer"] != UOP:
                _fill_acc(i, c, acc_written, acc_stored, mine)
        elif c["opcode"] == OP_STORE:
            _store(i, c, dram, stored, fetched, acc_written, acc_stored, mine)
            last_store = i
        else:
            mine[STORE] = last_store
    return required


@njit(cache=True)
def _later(mine, queue, candidate):
    if candidate > mine[queue]:
        mine[queue] = candidate


@njit(cache=True)
def _compute(i, c, uops, start, inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine):
    gemm = c["opcode"] == OP_GEMM and c["gemm_mode"] != RESET
    for outer in range(c["loop_outer"]):
        for inner in range(c["loop_inner"]):
            dst0 = outer * c["dst_outer"] + inner * c["dst_inner"]
            src0 = outer * c["src_outer"] + inner * c["src_inner"]
            wgt0 = outer * c["wgt_outer"] + inner * c["wgt_inner"]
            for u in range(start, start + c["uop_end"] - c["uop_begin"]):
                dst = dst0 + uops[u, 0]
                if acc_stored[dst] > mine[STORE]:
                    mine[STORE] = acc_stored[dst]
                acc_written[dst] = i
                if gemm:
                    src = src0 + uops[u, 1]
                    wgt = wgt0 + uops[u, 2]
                    if inp_written[src] > mine[LOAD]:
                        mine[LOAD] = inp_written[src]
                    inp_read[src] = i
                    if wgt_written[wgt] > mine[LOAD]:
                        mine[LOAD] = wgt_written[wgt]
                    wgt_read[wgt] = i


@njit(cache=True)
def _entries(c):
    """How many SRAM entries a LOAD fills."""
    return (c["y_pad_before"] + c["y_size"] + c["y_pad_after"]) * (c["x_pad_before"] + c["x_size"] + c["x_pad_after"])


@njit(cache=True)
def _fill(i, c, written, read, mine):
    for entry in range(c["sram_base"], c["sram_base"] + _entries(c)):
        _later(mine, COMPUTE, read[entry])
        written[entry] = i


@njit(cache=True)
def _fill_acc(i, c, acc_written, acc_stored, mine):
    for entry in range(c["sram_base"], c["sram_base"] + _entries(c)):
        _later(mine, STORE, acc_stored[entry])
        acc_written[entry] = i


@njit(cache=True)
def _fetch(i, c, queue, tile_bytes, dram, stored, fetched, mine):
    for row in range(c["y_size"]):
        begin = (c["dram_base"] + row * c["x_stride"]) * tile_bytes
        end = begin + c["x_size"] * tile_bytes
        first = max(begin // dram.granule, dram.first)
        last = min((end + dram.granule - 1) // dram.granule, dram.end)
        for g in range(first - dram.first, last - dram.first):
            _later(mine, STORE, stored[g])
            fetched[queue, g] = i


@njit(cache=True)
def _store(i, c, dram, stored, fetched, acc_written, acc_stored, mine):
    entry = c["sram_base"]
    for row in range(c["y_size"]):
        begin = c["dram_base"] + row * c["x_stride"] - dram.first
        for g in range(begin, begin + c["x_size"]):
            _later(mine, COMPUTE, acc_written[entry])
            acc_stored[entry] = i
            entry += 1
            _later(mine, LOAD, fetched[LOAD, g])
            _later(mine, COMPUTE, fetched[COMPUTE, g])
            stored[g] = i


LOOK_BACK = 3
"""How many compute instructions back a no-op that passes a token on may go: far enough that the LOAD it releases runs
beside a GEMM, near enough that COMPUTE rarely waits at it."""


class Relay(NamedTuple):
    """COMPUTE's instructions so far, no-ops included, in order, and the edges placed.

    key: of each. known: the last LOAD and STORE key each has waited for. pop_edge: the edge by which it waits for LOAD or
    STORE, or NEVER. edges: producer key and queue, consumer key and queue; a producer of NEVER is an edge dropped again.
    inserted: keys of no-ops. counts: of compute instructions, edges, no-ops.
    """

    key: np.ndarray
    known: np.ndarray
    pop_edge: np.ndarray
    edges: np.ndarray
    inserted: np.ndarray
    counts: np.ndarray


@njit(cache=True)
def _add_edge(r, producer, queue, consumer, consumer_queue):
    e = r.counts[1]
    r.edges[e] = (producer, queue, consumer, consumer_queue)
    r.counts[1] = e + 1
    return e


@njit(cache=True)
def _insert_no_op(r, at, key):
    """Open a place for a no-op before compute instruction `at`; it knows what the one before it knew."""
    for k in range(r.counts[0], at, -1):
        r.key[k], r.known[k], r.pop_edge[k] = r.key[k - 1], r.known[k - 1], r.pop_edge[k - 1]
    r.key[at] = key
    r.known[at] = r.known[at - 1] if at > 0 else NEVER
    r.pop_edge[at] = NEVER
    r.counts[0] += 1
    r.inserted[r.counts[2]] = key
    r.counts[2] += 1


@njit(cache=True)
def _relay_at(r, i, needed, wanted, far):
    """The compute instruction, a no-op where need be, that shall wait for `needed` of queue `far` on behalf of instruction i.

    It lies behind `needed`, behind every instruction that waits for `far` but the one it takes over from, and not before
    `wanted`, for which i waits anyway.
    """
    count = r.counts[0]
    if count == 0 or r.key[count - 1] < needed:
        _insert_no_op(r, count, 2 * i)
        return count
    at = count - 1
    while (
        at > 0 and count - at < LOOK_BACK and r.pop_edge[at, far] == NEVER and r.key[at - 1] > needed and r.key[at - 1] > wanted
    ):
        at -= 1
    if r.key[at] % 2 == 0:
        return at
    front = r.key[at] - 1
    if at > 0 and r.key[at - 1] == front:
        at -= 1
    else:
        _insert_no_op(r, at, front)
    behind = r.pop_edge[at + 1, far]
    if behind != NEVER:  # the no-op waits for a later token, so the instruction behind it need not wait at all
        r.pop_edge[at + 1, far] = NEVER
        if r.pop_edge[at, far] == NEVER:
            r.pop_edge[at, far] = behind
            r.edges[behind, 2] = front
        else:
            r.edges[behind, 0] = NEVER
    return at


@njit(cache=True)
def place_edges(queue, required):
    """(edges int64[e, 4]: producer key and queue, consumer key and queue; keys of inserted no-ops int64[k]).

    Keys order all instructions: 2·i + 1 for instruction i, 2·i for a no-op in front of it.
    """
    n = len(queue)
    latest = np.full((4, 3), NEVER, np.int64)  # [consumer queue, producer queue]: last producer key waited for
    r = Relay(
        np.empty(2 * n + 1, np.int64),
        np.empty((2 * n + 1, 3), np.int64),
        np.empty((2 * n + 1, 3), np.int64),
        np.empty((4 * n + 4, 4), np.int64),
        np.empty(n, np.int64),
        np.zeros(3, np.int64),
    )
    for i in range(n):
        key, mine = 2 * i + 1, queue[i]
        if mine == COMPUTE:
            at = r.counts[0]
            r.key[at], r.pop_edge[at] = key, NEVER
            for other in (LOAD, STORE):
                needed = 2 * required[i, other] + 1 if required[i, other] != NEVER else NEVER
                if needed > latest[COMPUTE, other]:
                    latest[COMPUTE, other] = needed
                    r.pop_edge[at, other] = _add_edge(r, needed, other, key, COMPUTE)
            r.known[at] = latest[COMPUTE]
            r.counts[0] = at + 1
            continue
        wanted = 2 * required[i, COMPUTE] + 1 if required[i, COMPUTE] != NEVER else NEVER
        far = STORE if mine == LOAD else LOAD
        needed = 2 * required[i, far] + 1 if required[i, far] != NEVER else NEVER
        if needed > latest[mine, far]:
            m = np.searchsorted(r.known[: r.counts[0], far], needed)
            if m == r.counts[0]:  # nobody has waited for it yet
                m = _relay_at(r, i, needed, wanted, far)
                if r.pop_edge[m, far] == NEVER:
                    r.pop_edge[m, far] = _add_edge(r, needed, far, r.key[m], COMPUTE)
                else:
                    r.edges[r.pop_edge[m, far], 0] = needed
                r.known[m : r.counts[0], far] = needed
                latest[COMPUTE, far] = needed
            wanted = max(wanted, r.key[m])
        if wanted > latest[mine, COMPUTE]:
            latest[mine, COMPUTE] = wanted
            passed = r.known[np.searchsorted(r.key[: r.counts[0]], wanted), far]
            latest[mine, far] = max(latest[mine, far], passed)
            _add_edge(r, wanted, COMPUTE, key, mine)
    edges = r.edges[: r.counts[1]]
    return edges[edges[:, 0] != NEVER].copy(), r.inserted[: r.counts[2]].copy()
