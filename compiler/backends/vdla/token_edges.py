"""The compiled loop of `tokens` that decides which edges the dependences need, and relays those between LOAD and STORE.

Keys order all instructions, no-ops included: 2·i + 1 for instruction i, 2·i for a no-op in front of it; see `_key`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdla.compiler.backends.vdla.token_kernels import COMPUTE, LOAD, NEVER, STORE
from vdla.jit import jit

LOOK_BACK = 3
"""How many compute instructions back a no-op that relays a token may go: far enough that the LOAD it releases runs beside a
GEMM, near enough that COMPUTE rarely waits at it."""


class Relay(NamedTuple):
    """COMPUTE's instructions so far, no-ops included, in order, and the edges placed.

    key: int64[c]. known: int64[3, c], by producer queue the last key each has waited for. pops: int64[3, c], by producer queue
    the edge it waits by, or NEVER. edges: int64[e, 4], producer key and queue, consumer key and queue; a producer of NEVER is
    an edge dropped again. inserted: keys of no-ops. counts: of compute instructions, edges, no-ops.
    """

    key: np.ndarray
    known: np.ndarray
    pops: np.ndarray
    edges: np.ndarray
    inserted: np.ndarray
    counts: np.ndarray


@jit
def place_edges(queue, required):
    """(edges int64[e, 4]: producer key and queue, consumer key and queue; keys of inserted no-ops int64[k])."""
    n = len(queue)
    latest = np.full((3, 3), NEVER, np.int64)  # [consumer queue, producer queue]: last producer waited for
    r = Relay(
        np.empty(2 * n + 1, np.int64),
        np.empty((3, 2 * n + 1), np.int64),
        np.empty((3, 2 * n + 1), np.int64),
        np.empty((4 * n + 4, 4), np.int64),
        np.empty(n + 1, np.int64),
        np.zeros(3, np.int64),
    )
    for i in range(n):
        mine = queue[i]
        if mine == COMPUTE:
            _add_compute(r, i, required, latest)
            continue
        wanted = _key(required[i, COMPUTE])
        far = STORE if mine == LOAD else LOAD
        needed = _key(required[i, far])
        if needed > latest[mine, far]:
            m = _first_at_least(r.known[far], r.counts[0], needed)
            if m == r.counts[0]:  # nobody has waited for it yet
                m = _relay_at(r, i, needed, wanted, far)
                if r.pops[far, m] == NEVER:
                    r.pops[far, m] = _add_edge(r, needed, far, r.key[m], COMPUTE)
                else:
                    r.edges[r.pops[far, m], 0] = needed
                r.known[far, m : r.counts[0]] = needed
                latest[COMPUTE, far] = needed
            wanted = max(wanted, r.key[m])
        if wanted > latest[mine, COMPUTE]:
            latest[mine, COMPUTE] = wanted
            m = _first_at_least(r.key, r.counts[0], wanted)
            latest[mine, far] = max(latest[mine, far], r.known[far, m])
            _add_edge(r, wanted, COMPUTE, _key(i), mine)
    edges = r.edges[: r.counts[1]]
    return edges[edges[:, 0] != NEVER], r.inserted[: r.counts[2]]


@jit
def _add_compute(r, i, required, latest):
    """Append compute instruction i with the edges it needs itself."""
    at = r.counts[0]
    r.key[at] = _key(i)
    for other in (LOAD, STORE):
        needed = _key(required[i, other])
        r.pops[other, at] = NEVER
        if needed > latest[COMPUTE, other]:
            latest[COMPUTE, other] = needed
            r.pops[other, at] = _add_edge(r, needed, other, _key(i), COMPUTE)
        r.known[other, at] = latest[COMPUTE, other]
    r.counts[0] = at + 1


@jit
def _relay_at(r, i, needed, wanted, far):
    """The no-op that shall wait for `needed` of queue `far` on behalf of instruction i: its place among compute instructions.

    It lies behind `needed`, behind every instruction that waits for `far` but the one it takes over from, and not before
    `wanted`, for which i waits anyway.
    """
    count = r.counts[0]
    if count == 0 or r.key[count - 1] < needed:
        _insert_no_op(r, count, 2 * i)
        return count
    at = count - 1
    while at > 0 and count - at < LOOK_BACK and r.pops[far, at] == NEVER and r.key[at - 1] > max(needed, wanted):
        at -= 1
    if r.key[at] % 2 == 0:  # a no-op already
        return at
    front = r.key[at] - 1
    if at > 0 and r.key[at - 1] == front:
        at -= 1
    else:
        _insert_no_op(r, at, front)
    behind = r.pops[far, at + 1]
    if behind != NEVER:  # the no-op waits for a later token, so the instruction behind it need not wait at all
        r.pops[far, at + 1] = NEVER
        if r.pops[far, at] == NEVER:
            r.pops[far, at] = behind
            r.edges[behind, 2] = front
        else:
            r.edges[behind, 0] = NEVER
    return at


@jit
def _insert_no_op(r, at, key):
    """Open a place for a no-op as compute instruction `at`; it knows what the one before it knew."""
    for k in range(r.counts[0], at, -1):
        r.key[k] = r.key[k - 1]
        for other in (LOAD, STORE):
            r.known[other, k], r.pops[other, k] = r.known[other, k - 1], r.pops[other, k - 1]
    r.key[at] = key
    for other in (LOAD, STORE):
        r.known[other, at] = r.known[other, at - 1] if at > 0 else NEVER
        r.pops[other, at] = NEVER
    r.inserted[r.counts[2]] = key
    r.counts[0] += 1
    r.counts[2] += 1


@jit
def _add_edge(r, producer, producer_queue, consumer, consumer_queue):
    e = r.counts[1]
    r.edges[e, 0], r.edges[e, 1] = producer, producer_queue
    r.edges[e, 2], r.edges[e, 3] = consumer, consumer_queue
    r.counts[1] = e + 1
    return e


@jit
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


@jit
def _key(instruction):
    """Instruction i has key 2·i + 1; a no-op in front of it 2·i."""
    return 2 * instruction + 1 if instruction != NEVER else NEVER
