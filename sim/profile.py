"""From the times of instructions to a `Profile`: who was busy, who waited for what, layer by layer.

A unit's wait before an instruction, from the end of the one before, is shared out in the order in which the unit meets
the causes: the instruction is not in its queue yet (`queue`), then the token from the queue before, then that from the
queue after. Within a transfer, the cycles in which it could not have moved a beat or written padding had the bus been
free and without latency are `bus`. For FETCH, `bus` is waiting for instructions to arrive, `queue` for room to put them.
"""

from __future__ import annotations

import numpy as np

from vdla.design import INSTRUCTION_BYTES
from vdla.device import STALLS, UNITS, LayerProfile, Profile, UnitProfile
from vdla.isa.definition import Buffer, Opcode
from vdla.isa.program import Program
from vdla.isa.timing import COMPUTE, DECODE, FETCH, LOAD, QUEUE_HOP, STORE
from vdla.sim.timing_engine import Schedule
from vdla.sim.work import Work

TOKEN_STALLS = {
    LOAD: ("", "token_from_compute"),
    COMPUTE: ("token_from_load", "token_from_store"),
    STORE: ("token_from_compute", ""),
}
"""What a unit waits for when it pops from the queue before and from the queue after."""

DRAM_KEYS = (*(b.name.lower() for b in Buffer), "store", "fetch")


def profile_of(program: Program, columns: np.ndarray, work: Work, schedule: Schedule) -> Profile:
    """The profile of a run without deadlock.

    A layer's cycles reach from the last retirement of the layers before it to the last retirement up to and including
    its own, so that they sum to the total; a layer that finished under its predecessors has 0. What lies outside the
    layers counts for the layer before it. busy and stalls are those of the layer's own instructions.
    """
    times, unit = schedule.times, schedule.instructions["unit"]
    busy, stalls = unit_cycles(columns, work, schedule)
    fetch_busy, fetch_stalls = _fetch_cycles(times)
    ends = np.maximum.accumulate(times["finish"]) if len(times) else np.zeros(0, np.int64)
    traffic = _traffic(columns, work)
    steps_cycles = times["finish"] - times["start"]
    bounds = [0, *(layer.end for layer in program.layers)]
    if program.layers:
        bounds[-1] = len(columns)
    layers, before = [], 0
    for layer, begin, end in zip(program.layers, bounds, bounds[1:], strict=False):
        rows = slice(begin, end)
        last = int(ends[end - 1]) if end else 0
        opcode = columns["opcode"][rows]
        layers.append(
            LayerProfile(
                layer.name,
                last - before,
                _units(unit[rows], busy[rows], stalls[:, rows], fetch_busy[rows], fetch_stalls[:, rows]),
                int(steps_cycles[rows][opcode == Opcode.GEMM].sum()),
                int(steps_cycles[rows][opcode == Opcode.ALU].sum()),
                dict(zip(DRAM_KEYS, map(int, traffic[:, rows].sum(axis=1)), strict=True)),
            )
        )
        before = last
    units = _units(unit, busy, stalls, fetch_busy, fetch_stalls)
    return Profile(schedule.cycles, tuple(layers), units, times["start"].copy(), times["finish"].copy())


def unit_cycles(columns: np.ndarray, work: Work, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """busy int64[n] and stalls int64[len(STALLS), n] of each instruction in LOAD, COMPUTE or STORE."""
    x, times = schedule.instructions, schedule.times
    before = np.zeros(len(times), np.int64)  # when the unit finished its previous instruction
    stalls = np.zeros((len(STALLS), len(times)), np.int64)
    for unit in (LOAD, COMPUTE, STORE):
        rows = np.flatnonzero(x["unit"] == unit)
        before[rows[1:]] = times["finish"][rows[:-1]]
        now = np.maximum(before[rows], times["dispatch"][rows] + QUEUE_HOP)
        stalls[STALLS.index("queue"), rows] = now - before[rows]
        for name, token in zip(TOKEN_STALLS[unit], ("token_prev", "token_next"), strict=True):
            later = np.maximum(now, times[token][rows])
            if name:
                stalls[STALLS.index(name), rows] = later - now
            now = later
    duration = times["finish"] - times["start"]
    moving = np.minimum(duration, DECODE + np.maximum(times["beats"], work.pads))
    busy = np.where(x["rows"] > 0, moving, duration)
    stalls[STALLS.index("bus")] = duration - busy
    return busy, stalls


def _fetch_cycles(times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `unit_cycles`, for FETCH: one busy cycle for each instruction it dispatches."""
    stalls = np.zeros((len(STALLS), len(times)), np.int64)
    ready = np.zeros(len(times), np.int64)
    ready[1:] = times["dispatch"][:-1] + 1
    arrived = np.maximum(ready, times["arrival"])
    stalls[STALLS.index("bus")] = arrived - ready
    stalls[STALLS.index("queue")] = times["dispatch"] - arrived
    return np.ones(len(times), np.int64), stalls


def _units(
    unit: np.ndarray, busy: np.ndarray, stalls: np.ndarray, fetch_busy: np.ndarray, fetch_stalls: np.ndarray
) -> dict[str, UnitProfile]:
    def total(mask: np.ndarray | slice, busy: np.ndarray, stalls: np.ndarray) -> UnitProfile:
        return UnitProfile(int(busy[mask].sum()), dict(zip(STALLS, map(int, stalls[:, mask].sum(axis=1)), strict=True)))

    rest = {UNITS[u]: total(unit == u, busy, stalls) for u in (LOAD, COMPUTE, STORE)}
    return {UNITS[FETCH]: total(slice(None), fetch_busy, fetch_stalls), **rest}


def _traffic(columns: np.ndarray, work: Work) -> np.ndarray:
    """int64[len(DRAM_KEYS), n]: bytes each instruction moves, by buffer loaded, stored, and fetched."""
    traffic = np.zeros((len(DRAM_KEYS), len(columns)), np.int64)
    is_load = columns["opcode"] == Opcode.LOAD
    for buffer in Buffer:
        traffic[buffer] = np.where(is_load & (columns["buffer"] == buffer), work.bytes, 0)
    traffic[DRAM_KEYS.index("store")] = np.where(columns["opcode"] == Opcode.STORE, work.bytes, 0)
    traffic[DRAM_KEYS.index("fetch")] = INSTRUCTION_BYTES
    return traffic
