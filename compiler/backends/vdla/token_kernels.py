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


@njit(cache=True)
def place_edges(queue, required):
    """(edges int64[e, 4]: producer key and queue, consumer key and queue; keys of inserted no-ops int64[k]).

    Keys order all instructions: 2·i + 1 for instruction i, 2·i for a no-op in front of it.
    """
    n = len(queue)
    latest = np.full((4, 3), NEVER, np.int64)  # [consumer queue, producer queue]: last producer key waited for
    edges = np.empty((4 * n + 4, 4), np.int64)
    inserted = np.empty(n, np.int64)
    compute = np.empty(2 * n + 1, np.int64)  # keys of compute instructions so far, and for each what it has waited for:
    known = np.empty((2 * n + 1, 3), np.int64)
    pop_edge = np.empty((2 * n + 1, 3), np.int64)  # the edge by which it waits for LOAD or STORE, or NEVER
    edge_count = insert_count = compute_count = 0
    for i in range(n):
        key = 2 * i + 1
        mine = queue[i]
        if mine == COMPUTE:
            compute[compute_count] = key
            pop_edge[compute_count] = NEVER
            for other in (LOAD, STORE):
                needed = 2 * required[i, other] + 1 if required[i, other] != NEVER else NEVER
                if needed > latest[COMPUTE, other]:
                    latest[COMPUTE, other] = needed
                    pop_edge[compute_count, other] = edge_count
                    edges[edge_count] = (needed, other, key, COMPUTE)
                    edge_count += 1
                known[compute_count, other] = latest[COMPUTE, other]
            compute_count += 1
            continue
        wanted = 2 * required[i, COMPUTE] + 1 if required[i, COMPUTE] != NEVER else NEVER
        far = STORE if mine == LOAD else LOAD
        needed = 2 * required[i, far] + 1 if required[i, far] != NEVER else NEVER
        if needed > latest[mine, far]:
            m = np.searchsorted(known[:compute_count, far], needed)
            if m == compute_count:  # nobody has waited for it: the last compute instruction shall, or a no-op
                if compute_count == 0 or compute[compute_count - 1] < needed:
                    compute[compute_count] = 2 * i
                    known[compute_count] = latest[COMPUTE]
                    pop_edge[compute_count] = NEVER
                    compute_count += 1
                    inserted[insert_count] = 2 * i
                    insert_count += 1
                m = compute_count - 1
                if pop_edge[m, far] == NEVER:
                    pop_edge[m, far] = edge_count
                    edges[edge_count] = (needed, far, compute[m], COMPUTE)
                    edge_count += 1
                else:
                    edges[pop_edge[m, far], 0] = needed
                known[m, far] = latest[COMPUTE, far] = needed
            wanted = max(wanted, compute[m])
        if wanted > latest[mine, COMPUTE]:
            latest[mine, COMPUTE] = wanted
            latest[mine, far] = max(latest[mine, far], known[np.searchsorted(compute[:compute_count], wanted), far])
            edges[edge_count] = (wanted, COMPUTE, key, mine)
            edge_count += 1
    return edges[:edge_count].copy(), inserted[:insert_count].copy()
