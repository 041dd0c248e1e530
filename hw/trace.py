"""What the RTL's trace tells of each instruction, in the cycles of its run, and the `Events` a profile is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vdla.device import UNITS
from vdla.errors import RunError
from vdla.hw.simulation import EventKind, RtlSimulation
from vdla.isa.definition import INSTRUCTION_BYTES, Queue, Unit, unit_of
from vdla.isa.timing import FETCH_BLOCK, FETCH_DECODE, TOKEN_HOP, end_beat
from vdla.isa.tokens import FIFOS, pops_of, pushes_of, queues_of
from vdla.profile import Events

Seen = Mapping[tuple[EventKind, Unit], int]
"""How many events of each kind and unit there have been."""


@dataclass(frozen=True, slots=True)
class Trace:
    """int64[n] each, as the signals and pins of the RTL showed it; cycles of the run.

    arrival: when FETCH can dispatch it, its block's last beat being over. beats: that its transfer moved.
    """

    arrival: np.ndarray
    dispatch: np.ndarray
    start: np.ndarray
    finish: np.ndarray
    beats: np.ndarray


def seen(simulation: RtlSimulation) -> Seen:
    """What has happened so far: the trace of a run is what comes after it."""
    return {(kind, unit): simulation.count(kind, unit) for kind in EventKind for unit in Unit}


def trace_of(simulation: RtlSimulation, unit: np.ndarray, bus_bytes: int, before: Seen) -> Trace:
    """The trace of the run that has just ended. unit: int64[n], of each instruction. before: `seen`, when it began.

    Raises `RunError` when an instruction was not fetched, dispatched, started and finished once.
    """

    def events(kind: EventKind, u: Unit, expected: int, what: str) -> np.ndarray:
        new = simulation.events(kind, u)[before[kind, u] :]
        if len(new) != expected:
            raise RunError(
                f"{UNITS[u].upper()} has not {what} each of its instructions once",
                where="the RTL's trace",
                found=f"{len(new)}",
                expected=f"{expected}",
            )
        return new

    n, zero = len(unit), simulation.zero
    numbers = np.arange(n)
    block_bytes = np.minimum((numbers // FETCH_BLOCK + 1) * FETCH_BLOCK, n) * INSTRUCTION_BYTES
    last_beats = end_beat(np.zeros(n, np.int64), block_bytes, bus_bytes) - 1
    beats_over = events(EventKind.MOVED, Unit.FETCH, int(last_beats[-1]) + 1, "read") - zero + 1
    dispatch = events(EventKind.STARTED, Unit.FETCH, n, "dispatched") - zero
    start, finish, beats = np.zeros((3, n), np.int64)
    for u in map(unit_of, Queue):
        mine = np.flatnonzero(unit == u)
        start[mine] = events(EventKind.STARTED, u, len(mine), "started") - zero
        finish[mine] = events(EventKind.RETIRED, u, len(mine), "finished") - zero
        beats[mine] = events(EventKind.MOVED, u, len(mine), "finished")
    return Trace(beats_over[last_beats] + FETCH_DECODE, dispatch, start, finish, beats)


def events_of(trace: Trace, columns: np.ndarray) -> Events:
    """With when each token was there: `TOKEN_HOP` after the instruction that pushes it, in the order of its FIFO."""
    available = {"pop_prev": np.zeros(len(columns), np.int64), "pop_next": np.zeros(len(columns), np.int64)}
    queues = queues_of(columns)
    for fifo in FIFOS:
        pushes, pops = pushes_of(columns, queues, fifo), pops_of(columns, queues, fifo)
        available[fifo.pop][pops] = trace.finish[pushes[: len(pops)]] + TOKEN_HOP
    prev, after = available["pop_prev"], available["pop_next"]
    return Events(trace.arrival, trace.dispatch, prev, after, trace.start, trace.finish, trace.beats)
