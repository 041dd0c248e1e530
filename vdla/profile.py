"""From when things happened to a `Profile`: who was busy, who waited for what, layer by layer.

The accounting is the same whoever ran the program, the simulator or the RTL; each says in `Events` when what happened.

A unit's wait before an instruction, from the end of the one before, is shared out in the order in which the unit meets
the causes: the instruction is not in its queue yet (`queue`), then the token from the queue before, then that from the
queue after. Within a transfer, the cycles in which it could not have moved a beat or written padding had the bus been
free and without latency are `bus`. For FETCH, `bus` is waiting for instructions to arrive, `queue` for room to put them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.design import Design
from vdla.device import STALLS, UNITS, LayerProfile, Profile, UnitProfile
from vdla.isa.definition import INSTRUCTION_BYTES, Opcode, Queue, Scratchpad, Unit, unit_of
from vdla.isa.program import Program
from vdla.isa.timing import DECODE, QUEUE_HOP
from vdla.isa.tokens import FIFOS, units_of
from vdla.isa.transfers import padded_entries, tile_widths, tiles_moved

QUEUE_UNITS = tuple(map(unit_of, Queue))
DRAM_KEYS = (*(b.name.lower() for b in Scratchpad), "store", "fetch")
"""What moves over the bus: what is loaded, by buffer; what is stored; instructions."""
TOKEN_STALLS = {(unit_of(fifo.consumer), fifo.pop): f"token_from_{fifo.producer.name.lower()}" for fifo in FIFOS}
"""What a unit waits for when it pops: by unit and the bit that pops."""


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to each instruction of a run without deadlock, int64[n] each, in cycles from cycle 0 of the run."""

    arrival: np.ndarray  #    FETCH can dispatch it
    dispatch: np.ndarray  #   FETCH puts it in its queue
    token_prev: np.ndarray  # the token it pops from the queue before can be taken; 0 when it pops none
    token_next: np.ndarray  # the same of the queue after
    start: np.ndarray
    finish: np.ndarray
    beats: np.ndarray  #      how many its transfer moved


@dataclass(frozen=True, slots=True)
class Account:
    """Where the cycles of a unit went, instruction by instruction. busy: int64[n]. stalls: int64[len(STALLS), n]."""

    busy: np.ndarray
    stalls: np.ndarray

    def within(self, rows: slice) -> Account:
        return Account(self.busy[rows], self.stalls[:, rows])

    def total(self, mask: np.ndarray | slice) -> UnitProfile:
        sums = map(int, self.stalls[:, mask].sum(axis=1))
        return UnitProfile(int(self.busy[mask].sum()), dict(zip(STALLS, sums, strict=True)))


def profile_of(program: Program, columns: np.ndarray, events: Events) -> Profile:
    """The profile of a run of `program`, which decodes to COLUMNS[n].

    A layer's cycles reach from the last retirement of the layers before it to the last retirement up to and including
    its own, so that they sum to the total; a layer that finished under its predecessors has 0. What lies outside the
    layers counts for the layer before it. busy and stalls are those of the layer's own instructions.
    """
    unit, duration = units_of(columns), events.finish - events.start
    own, fetch = account_of_units(columns, program.design, events), account_of_fetch(events)
    traffic = _traffic(columns, program.design)
    ends = np.maximum.accumulate(events.finish)
    bounds = [0, *(layer.end for layer in program.layers)]
    if program.layers:
        bounds[-1] = len(columns)
    layers, before = [], 0
    for layer, begin, end in zip(program.layers, bounds, bounds[1:], strict=False):
        rows = slice(begin, end)
        last, opcode = int(ends[end - 1]) if end else 0, columns["opcode"][rows]
        gemm, alu = (int(duration[rows][opcode == op].sum()) for op in (Opcode.GEMM, Opcode.ALU))
        moved = dict(zip(DRAM_KEYS, map(int, traffic[:, rows].sum(axis=1)), strict=True))
        units = _unit_profiles(unit[rows], own.within(rows), fetch.within(rows))
        layers.append(LayerProfile(layer.name, last - before, units, gemm, alu, moved))
        before = last
    cycles = int(events.finish.max(initial=0))
    return Profile(cycles, tuple(layers), _unit_profiles(unit, own, fetch), events.start.copy(), events.finish.copy())


def account_of_units(columns: np.ndarray, design: Design, events: Events) -> Account:
    """Of LOAD, COMPUTE and STORE: each instruction is its unit's."""
    unit, stalls = units_of(columns), np.zeros((len(STALLS), len(columns)), np.int64)
    for u in QUEUE_UNITS:
        rows = np.flatnonzero(unit == u)
        free = np.zeros(len(rows), np.int64)  # when the unit finished its previous instruction
        free[1:] = events.finish[rows[:-1]]
        now = np.maximum(free, events.dispatch[rows] + QUEUE_HOP)
        stalls[STALLS.index("queue"), rows] = now - free
        for pop, available in (("pop_prev", events.token_prev), ("pop_next", events.token_next)):
            if (u, pop) in TOKEN_STALLS:
                later = np.maximum(now, available[rows])
                stalls[STALLS.index(TOKEN_STALLS[u, pop]), rows] = later - now
                now = later
    duration = events.finish - events.start
    unhindered = DECODE + np.maximum(events.beats, padded_entries(columns))
    busy = np.where(tiles_moved(columns) > 0, np.minimum(duration, unhindered), duration)
    stalls[STALLS.index("bus")] = duration - busy
    return Account(busy, stalls)


def account_of_fetch(events: Events) -> Account:
    """Of FETCH: one busy cycle for each instruction it dispatches."""
    stalls = np.zeros((len(STALLS), len(events.dispatch)), np.int64)
    ready = np.zeros(len(events.dispatch), np.int64)
    ready[1:] = events.dispatch[:-1] + 1
    arrived = np.maximum(ready, events.arrival)
    stalls[STALLS.index("bus")] = arrived - ready
    stalls[STALLS.index("queue")] = events.dispatch - arrived
    return Account(np.ones(len(ready), np.int64), stalls)


def _unit_profiles(unit: np.ndarray, own: Account, fetch: Account) -> dict[str, UnitProfile]:
    return {UNITS[Unit.FETCH]: fetch.total(slice(None)), **{UNITS[u]: own.total(unit == u) for u in QUEUE_UNITS}}


def _traffic(columns: np.ndarray, design: Design) -> np.ndarray:
    """int64[len(DRAM_KEYS), n]: bytes each instruction moves, by buffer loaded, stored, and fetched."""
    moved, opcode = tiles_moved(columns) * tile_widths(columns, design), columns["opcode"]
    traffic = np.zeros((len(DRAM_KEYS), len(columns)), np.int64)
    for buffer in Scratchpad:
        traffic[buffer] = np.where((opcode == Opcode.LOAD) & (columns["buffer"] == buffer), moved, 0)
    traffic[DRAM_KEYS.index("store")] = np.where(opcode == Opcode.STORE, moved, 0)
    traffic[DRAM_KEYS.index("fetch")] = INSTRUCTION_BYTES
    return traffic
