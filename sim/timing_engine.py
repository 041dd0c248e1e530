"""When every instruction of a program starts and finishes: the contract of `isa.timing`, evaluated by events.

Everything but the bus is a system of equations in which each time is the maximum of earlier times plus a constant. So the
engine alternates two steps until nothing is left:

- *settle*: compute every time that can be known, however far in the future. What is unknown afterwards depends on a
  transfer now under way, so no new transfer can begin before one of these ends;
- *serve*: move bursts over the bus, in the order of its arbitration, until one transfer ends.

A burst is one step of `serve`, and an instruction a few of `settle`; nothing is done cycle by cycle. With a port for each
unit, transfers do not affect one another and each is served to its end at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from vdla.design import Design
from vdla.isa.definition import INSTRUCTION_BYTES, Opcode
from vdla.isa.timing import (
    BUS_PRIORITY,
    COMMAND_QUEUE_DEPTH,
    COMPUTE,
    DECODE,
    FETCH,
    FETCH_BLOCK,
    FETCH_BUFFER_BLOCKS,
    FETCH_DECODE,
    LOAD,
    QUEUE_HOP,
    STORE,
    TOKEN_HOP,
)
from vdla.isa.tokens import units_of
from vdla.isa.transfers import tile_widths
from vdla.jit import jit
from vdla.profile import Events
from vdla.sim import bus
from vdla.sim.bus import Port
from vdla.sim.compiled_timing import load_finish, store_finish
from vdla.sim.work import Work

UNKNOWN = -1

INSTRUCTION = np.dtype(
    [
        ("unit", np.int64),  #       runs it
        ("pop_prev", np.int64),
        ("pop_next", np.int64),
        ("push_prev", np.int64),
        ("push_next", np.int64),
        ("cycles", np.int64),  #     start to finish of what is no transfer
        ("pads", np.int64),
        ("is_dma", np.int64),
        ("address", np.int64),  #    first byte of a transfer
        ("row_bytes", np.int64),
        ("row_stride", np.int64),  # bytes
        ("rows", np.int64),  #       0 when it moves no data
    ]
)
"""What the engine reads of each instruction."""

TIMES = np.dtype(
    [
        ("arrival", np.int64),  #    FETCH can dispatch it
        ("dispatch", np.int64),  #   FETCH puts it in its queue
        ("token_prev", np.int64),  # the token it pops can be taken; 0 when it pops none
        ("token_next", np.int64),
        ("start", np.int64),
        ("finish", np.int64),
        ("beats", np.int64),  #      of its transfer
    ]
)
"""What the engine finds out of each instruction, in cycles; -1 where a deadlock kept it from happening."""

UNIT = np.dtype(
    [
        ("dispatched", np.int64),  # its instructions in the queue or past it; FETCH: instructions dispatched
        ("started", np.int64),  #    its instructions started; FETCH: blocks requested
        ("moving", np.int64),  #     1 while a transfer is under way
        ("free", np.int64),  #       when the last instruction finished
        ("bus_time", np.int64),  #   its port has been busy until; a shared bus is the port of FETCH
        ("pushed", np.int64, 2),  #  tokens it has pushed: to the queue before, after
        ("popped", np.int64, 2),  #  of these, taken
    ]
)
"""Where each unit is. One more unit exists than is real, so that STORE can wait for a token from after it, in vain."""


class Engine(NamedTuple):
    """`members[bounds[u] : bounds[u + 1]]` are the instructions of unit u in order. tokens: int64[unit, side, k], when
    the kth token pushed by `unit` to the queue before (side 0) or after (1) can be taken."""

    instructions: np.ndarray
    times: np.ndarray
    units: np.ndarray
    members: np.ndarray
    bounds: np.ndarray
    tokens: np.ndarray
    transfers: np.ndarray
    over: np.ndarray
    port: Port


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of a run: `instructions`, INSTRUCTION[n], and `times`, TIMES[n]."""

    instructions: np.ndarray
    times: np.ndarray

    @property
    def complete(self) -> bool:
        return bool((self.times["finish"] >= 0).all())

    @property
    def cycles(self) -> int:
        """When the last instruction has finished."""
        return int(self.times["finish"].max(initial=0))

    @property
    def events(self) -> Events:
        """What a profile is made of."""
        return Events(*(self.times[f.name] for f in fields(Events)))


def timeline_of(columns: np.ndarray, work: Work, design: Design) -> Timeline:
    """The times of a whole run. A deadlock leaves -1 where nothing happened (see `Timeline.complete`)."""
    x, memory, n = _instructions(columns, work, design), design.memory, len(columns)
    times = np.full(n, UNKNOWN, TIMES)
    times["beats"] = 0
    shared = memory.ports == "shared"
    port = Port(shared, design.bus_bytes, memory.max_burst, memory.outstanding, memory.read_latency, memory.write_latency)
    members = [np.flatnonzero(x["unit"] == unit) for unit in (FETCH, LOAD, COMPUTE, STORE)]
    bounds = np.cumsum([0, *map(len, members)])
    tokens = np.zeros((5, 2, n), np.int64)
    _run(
        Engine(x, times, np.zeros(5, UNIT), np.concatenate(members), bounds, tokens, *bus.new_transfers(port), port),
        np.array(BUS_PRIORITY),
    )
    return Timeline(x, times)


def _instructions(columns: np.ndarray, work: Work, design: Design) -> np.ndarray:
    opcode, width = columns["opcode"], tile_widths(columns, design)
    x = np.zeros(len(columns), INSTRUCTION)
    x["unit"] = units_of(columns)
    for name in ("pop_prev", "pop_next", "push_prev", "push_next"):
        x[name] = columns[name]
    x["cycles"], x["pads"], x["is_dma"] = work.cycles, work.pads, np.isin(opcode, (Opcode.LOAD, Opcode.STORE))
    x["address"], x["row_bytes"], x["row_stride"] = (columns[f] * width for f in ("dram_base", "x_size", "x_stride"))
    x["rows"] = np.where(work.bytes > 0, columns["y_size"], 0)
    return x


@jit
def _run(m: Engine, priority: np.ndarray) -> None:
    while True:
        progress = True
        while progress:
            progress = _fetch(m)
            progress |= _dispatch(m)
            for unit in (LOAD, COMPUTE, STORE):
                while _start(m, unit):
                    progress = True
        active = False
        for unit in (FETCH, LOAD, COMPUTE, STORE):
            active |= m.transfers[unit].active != 0
        if not active:
            return
        unit, time = bus.serve(m.transfers, m.over, m.port, priority, m.units[FETCH].bus_time)
        m.units[FETCH].bus_time = time
        _end_transfer(m, unit, time)


@jit
def _fetch(m: Engine) -> bool:
    """Request the next block when the buffer has room for it. Blocks are one transfer each, taken up in order."""
    count, fetch = len(m.times), m.units[FETCH]
    first, replaced_end = fetch.started * FETCH_BLOCK, (fetch.started - FETCH_BUFFER_BLOCKS + 1) * FETCH_BLOCK
    if first >= count or m.transfers[FETCH].active or fetch.dispatched < replaced_end:
        return False
    earliest = m.times[replaced_end - 1].dispatch + 1 if replaced_end > 0 else 0
    size = min(FETCH_BLOCK, count - first) * INSTRUCTION_BYTES
    bus.begin(m.transfers, m.over, m.port, FETCH, earliest, first * INSTRUCTION_BYTES, size, 0, 1)
    fetch.started += 1
    if not m.port.shared:
        fetch.bus_time = bus.serve_alone(m.transfers, m.over, m.port, FETCH, fetch.bus_time)
        _arrive(m, fetch.bus_time)
    return True


@jit
def _arrive(m: Engine, time: int) -> None:
    """The last beat of the last requested block was over at `time`."""
    first = (m.units[FETCH].started - 1) * FETCH_BLOCK
    for i in range(first, min(first + FETCH_BLOCK, len(m.times))):
        m.times[i].arrival = time + FETCH_DECODE


@jit
def _dispatch(m: Engine) -> bool:
    """Put instructions that have arrived in their queues, in order, as far as there is known to be room."""
    fetch = m.units[FETCH]
    begin = fetch.dispatched
    for i in range(begin, len(m.times)):
        time = m.times[i].arrival
        if time < 0:
            break
        unit = m.instructions[i].unit
        u = m.units[unit]
        ahead = u.dispatched - COMMAND_QUEUE_DEPTH
        if ahead >= 0:
            if u.started <= ahead:
                break
            time = max(time, m.times[m.members[m.bounds[unit] + ahead]].start + 2)
        if i > 0:
            time = max(time, m.times[i - 1].dispatch + 1)
        m.times[i].dispatch = time
        u.dispatched += 1
        fetch.dispatched += 1
    return fetch.dispatched > begin


@jit
def _start(m: Engine, unit: int) -> bool:
    """Start the next instruction of `unit`, and finish it if it can be known when."""
    u, before, after = m.units[unit], m.units[unit - 1], m.units[unit + 1]
    if u.moving or u.started == u.dispatched:
        return False
    i = m.members[m.bounds[unit] + u.started]
    x, t = m.instructions[i], m.times[i]
    if x.pop_prev and before.popped[1] == before.pushed[1] or x.pop_next and after.popped[0] == after.pushed[0]:
        return False
    t.token_prev = m.tokens[unit - 1, 1, before.popped[1]] if x.pop_prev else 0
    t.token_next = m.tokens[unit + 1, 0, after.popped[0]] if x.pop_next else 0
    before.popped[1] += x.pop_prev
    after.popped[0] += x.pop_next
    u.started += 1
    t.start = max(u.free, t.dispatch + QUEUE_HOP, t.token_prev, t.token_next)
    if x.rows > 0:
        u.moving = 1
        bus.begin(m.transfers, m.over, m.port, unit, t.start + DECODE, x.address, x.row_bytes, x.row_stride, x.rows)
        if not m.port.shared:
            u.bus_time = bus.serve_alone(m.transfers, m.over, m.port, unit, u.bus_time)
            _end_transfer(m, unit, u.bus_time)
    else:
        _finish(m, unit, i, load_finish(t.start, 0, 0, x.pads) if x.is_dma else t.start + x.cycles)
    return True


@jit
def _end_transfer(m: Engine, unit: int, time: int) -> None:
    """The last beat of what `unit` transferred was over at `time`."""
    if unit == FETCH:
        _arrive(m, time)
        return
    u = m.units[unit]
    i = m.members[m.bounds[unit] + u.started - 1]
    x, t = m.instructions[i], m.times[i]
    u.moving = 0
    t.beats = m.transfers[unit].beats
    finish = store_finish(t.start, time, m.port.write_latency) if unit == STORE else load_finish(t.start, time, t.beats, x.pads)
    _finish(m, unit, i, finish)


@jit
def _finish(m: Engine, unit: int, i: int, time: int) -> None:
    u, x = m.units[unit], m.instructions[i]
    m.times[i].finish = time
    u.free = time
    if x.push_prev:
        m.tokens[unit, 0, u.pushed[0]] = time + TOKEN_HOP
        u.pushed[0] += 1
    if x.push_next:
        m.tokens[unit, 1, u.pushed[1]] = time + TOKEN_HOP
        u.pushed[1] += 1
