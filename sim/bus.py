"""The memory model: transfers as bursts over a shared bus or a port for each unit (contract: `isa.timing`, DMA and BUS).

What each unit has under way is one record of `TRANSFER` and one row of `over`, int64[unit, outstanding]: a ring of when
its last bursts were over. A step of the loops handles one burst.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdla.isa.timing import STORE, WRITE_SETUP
from vdla.jit import jit
from vdla.sim.compiled_timing import burst_beats, end_beat, first_beat, request_time

NEVER = 1 << 62

TRANSFER = np.dtype(
    [
        ("active", np.int64),  #       1 while a transfer is under way
        ("earliest", np.int64),  #     no request before
        ("last_request", np.int64),
        ("slot", np.int64),  #         of the ring, for the burst being served
        ("rows_left", np.int64),  #    after this one
        ("address", np.int64),  #      of this row
        ("row_bytes", np.int64),
        ("row_stride", np.int64),
        ("beat", np.int64),  #         where the next burst begins
        ("end", np.int64),  #          where this row ends
        ("ready", np.int64),  #        the oldest burst can be served from here
        ("left", np.int64),  #         beats left of it
        ("beats", np.int64),  #        of the transfer, so far
    ]
)


class Port(NamedTuple):
    """Memory parameters, in cycles, beats and bytes."""

    shared: bool
    bus_bytes: int
    max_burst: int
    outstanding: int
    read_latency: int
    write_latency: int


def new_transfers(port: Port) -> tuple[np.ndarray, np.ndarray]:
    """`transfers`, `over`."""
    transfers = np.zeros(4, TRANSFER)
    transfers["last_request"] = -1
    return transfers, np.zeros((4, port.outstanding), np.int64)


@jit
def begin(
    transfers: np.ndarray,
    over: np.ndarray,
    port: Port,
    unit: int,
    earliest: int,
    address: int,
    row_bytes: int,
    row_stride: int,
    rows: int,
) -> None:
    """Give `unit` a transfer of `rows` > 0 rows of `row_bytes` > 0 bytes that may request from `earliest`."""
    t = transfers[unit]
    t.active, t.earliest, t.beats = 1, earliest, 0
    t.rows_left, t.address, t.row_bytes, t.row_stride = rows - 1, address, row_bytes, row_stride
    t.beat, t.end = first_beat(address, port.bus_bytes), end_beat(address, row_bytes, port.bus_bytes)
    _request(t, over[unit], port, unit)


@jit
def _request(t, ring: np.ndarray, port: Port, unit: int) -> None:
    """The next burst of the row becomes the oldest one of `unit`. Writes are not limited by `outstanding`.

    Requests are worked out when the burst before has been served, not when they are made: nothing else depends on them.
    """
    t.last_request = request_time(t.earliest, t.last_request, 0 if unit == STORE else ring[t.slot])
    t.ready = t.last_request + (WRITE_SETUP if unit == STORE else port.read_latency)
    t.left = burst_beats(t.beat, t.end, port.max_burst)
    t.beats += t.left
    t.beat += t.left


@jit
def _end_burst(t, ring: np.ndarray, port: Port, unit: int, time: int) -> bool:
    """The oldest burst was over at `time`; take up the next. True when there is none: the transfer is over."""
    ring[t.slot] = time
    t.slot = t.slot + 1 if t.slot + 1 < port.outstanding else 0
    if t.beat == t.end:
        if t.rows_left == 0:
            t.active = 0
            return True
        t.rows_left -= 1
        t.address += t.row_stride
        t.beat = first_beat(t.address, port.bus_bytes)
        t.end = end_beat(t.address, t.row_bytes, port.bus_bytes)
    _request(t, ring, port, unit)
    return False


@jit
def serve_alone(transfers: np.ndarray, over: np.ndarray, port: Port, unit: int, time: int) -> int:
    """Serve the whole transfer of a unit that has its port to itself from `time`; returns when it is over."""
    t = transfers[unit]
    while True:
        time = max(time, t.ready) + t.left
        if _end_burst(t, over[unit], port, unit, time):
            return time


@jit
def serve(transfers: np.ndarray, over: np.ndarray, port: Port, priority: np.ndarray, time: int) -> tuple[int, int]:
    """Serve all active units on the shared bus from `time` until a transfer is over: (its unit, when).

    A burst is served until it is over or until a burst of a unit before it in `priority` becomes ready.
    """
    while True:
        chosen, next_ready = -1, NEVER
        for unit in priority:
            t = transfers[unit]
            if t.active:
                if t.ready <= time:
                    chosen = unit
                    break
                next_ready = min(next_ready, t.ready)
        if chosen < 0:
            time = next_ready
            continue
        t = transfers[chosen]
        beats = min(t.left, next_ready - time)
        time += beats
        t.left -= beats
        if t.left == 0 and _end_burst(t, over[chosen], port, chosen, time):
            return chosen, time
