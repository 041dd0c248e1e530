"""The compiled loops of `tokens`: who last touched what, and which edges that needs.

Numba keeps compiled code until this file changes, so queues and kinds of instruction have numbers of their own here and
no number of the instruction set is a constant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

LOAD, COMPUTE, STORE = range(3)
"""Queues."""
LOAD_UOP, LOAD_INP, LOAD_WGT, LOAD_ACC, STORE_ACC, MULTIPLY, VECTOR, END = range(8)
"""Kinds of instruction. VECTOR touches only acc tiles, as an ALU instruction or a reset does; END waits for all stores."""
NEVER = -1


class Dram(NamedTuple):
    """Granules of `granule` bytes; those in [first, end) are written by some STORE."""

    granule: int
    first: int
    end: int


@njit(cache=True)
def find_dependences(columns, kind, queue, uops, uop_start, tile_sizes, dram, depths):
    """int64[n, 3]: for each instruction and queue the last conflicting earlier instruction of that queue, or NEVER.

    columns: COLUMNS[n]. kind, queue: int64[n]. uops: int64[m, 3] of dst, src, wgt. tile_sizes: bytes by Buffer.
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
        if kind[i] == MULTIPLY or kind[i] == VECTOR:
            gemm = kind[i] == MULTIPLY
            _compute(
                i, c, gemm, uops, uop_start[i], inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine
            )
        elif kind[i] == STORE_ACC:
            _store(i, c, dram, stored, fetched, acc_written, acc_stored, mine)
            last_store = i
        elif kind[i] == END:
            mine[STORE] = last_store
        else:
            _fetch(i, c, queue[i], tile_sizes[c["buffer"]], dram, stored, fetched, mine)
            if kind[i] == LOAD_INP:
                _fill(i, c, COMPUTE, inp_written, inp_read, mine)
            elif kind[i] == LOAD_WGT:
                _fill(i, c, COMPUTE, wgt_written, wgt_read, mine)
            elif kind[i] == LOAD_ACC:
                _fill(i, c, STORE, acc_written, acc_stored, mine)
    return required


@njit(cache=True)
def _later(mine, queue, candidate):
    if candidate > mine[queue]:
        mine[queue] = candidate


@njit(cache=True)
def _compute(i, c, gemm, uops, start, inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine):
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
def _fill(i, c, reader, written, read, mine):
    """A LOAD waits for those who read what it overwrites: COMPUTE, or STORE for acc."""
    for entry in range(c["sram_base"], c["sram_base"] + _entries(c)):
        _later(mine, reader, read[entry])
        written[entry] = i


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
def _first_at_least(values, count, wanted):
    """Index of the first of `count` ascending values that is not below `wanted`; `count` when all are."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if values[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def _key(instruction):
    """Instruction i has key 2·i + 1; a no-op in front of it 2·i."""
    return 2 * instruction + 1 if instruction != NEVER else NEVER


@njit(cache=True)
def _edge(edges, count, producer, producer_queue, consumer, consumer_queue):
    """Append an edge; returns the new count."""
    edges[count, 0] = producer
    edges[count, 1] = producer_queue
    edges[count, 2] = consumer
    edges[count, 3] = consumer_queue
    return count + 1


@njit(cache=True)
def place_edges(queue, required):
    """(edges int64[e, 4]: producer key and queue, consumer key and queue; keys of inserted no-ops int64[k]).

    Keys order all instructions, no-ops included; see `_key`.
    """
    n = len(queue)
    latest = np.full((3, 3), NEVER, np.int64)  # [consumer queue, producer queue]: last producer waited for
    edges = np.empty((4 * n + 4, 4), np.int64)
    inserted = np.empty(n, np.int64)
    compute = np.empty(2 * n + 1, np.int64)  # compute instructions so far
    known = np.empty((3, 2 * n + 1), np.int64)  # by producer queue: what each has waited for
    pops = np.empty((3, 2 * n + 1), np.int64)  # by producer queue: the edge it waits by, or NEVER
    edge_count = insert_count = compute_count = 0
    for i in range(n):
        mine = queue[i]
        if mine == COMPUTE:
            compute[compute_count] = _key(i)
            for other in (LOAD, STORE):
                needed = _key(required[i, other])
                pops[other, compute_count] = NEVER
                if needed > latest[COMPUTE, other]:
                    latest[COMPUTE, other] = needed
                    pops[other, compute_count] = edge_count
                    edge_count = _edge(edges, edge_count, needed, other, _key(i), COMPUTE)
                known[other, compute_count] = latest[COMPUTE, other]
            compute_count += 1
            continue
        wanted = _key(required[i, COMPUTE])
        far = STORE if mine == LOAD else LOAD
        needed = _key(required[i, far])
        if needed > latest[mine, far]:
            m = _first_at_least(known[far], compute_count, needed)
            if m == compute_count:  # nobody has waited for it: the last compute instruction shall, or a no-op
                if compute_count == 0 or compute[compute_count - 1] < needed:
                    compute[compute_count] = 2 * i
                    for other in (LOAD, STORE):
                        known[other, compute_count] = latest[COMPUTE, other]
                        pops[other, compute_count] = NEVER
                    compute_count += 1
                    inserted[insert_count] = 2 * i
                    insert_count += 1
                m = compute_count - 1
                if pops[far, m] == NEVER:
                    pops[far, m] = edge_count
                    edge_count = _edge(edges, edge_count, needed, far, compute[m], COMPUTE)
                else:  # it waits for an earlier one already: let it wait for this one instead
                    edges[pops[far, m], 0] = needed
                known[far, m] = needed
                latest[COMPUTE, far] = needed
            wanted = max(wanted, compute[m])
        if wanted > latest[mine, COMPUTE]:
            latest[mine, COMPUTE] = wanted
            m = _first_at_least(compute, compute_count, wanted)
            latest[mine, far] = max(latest[mine, far], known[far, m])
            edge_count = _edge(edges, edge_count, wanted, COMPUTE, _key(i), mine)
    return edges[:edge_count], inserted[:insert_count]
