"""The naive twin of the timing engine: the contract of `isa.timing`, stepped cycle by cycle in plain Python.

It shares the constants of the contract with the engine, and nothing else. Every cycle, each part of the machine does what
it can, looking only at what happened in earlier cycles:

    bus        moves one beat (on each port) of a burst that is ready
    requests   each unit requests at most one burst
    dispatch   FETCH puts at most one instruction in a queue
    units      each starts its next instruction, if it can, or notices that its own is finished

and then says what it did in this cycle: it was busy, or it waited, and for what.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vdla.design import Design
from vdla.isa.definition import INSTRUCTION_BYTES, AluOp, Opcode, Queue, Scratchpad, queue_of, tile_bytes
from vdla.isa.timing import (
    ALU_FILL,
    ALU_LONG_FILL,
    BUS_PRIORITY,
    COMMAND_QUEUE_DEPTH,
    DECODE,
    FETCH,
    FETCH_BLOCK,
    FETCH_BUFFER_BLOCKS,
    FETCH_DECODE,
    GEMM_FILL,
    LONG_ALU_OPS,
    QUEUE_HOP,
    READ_DRAIN,
    STORE,
    TOKEN_HOP,
    WRITE_SETUP,
)

NAMES = {int(queue): queue.name.lower() for queue in Queue}
PATIENCE = 50_000
"""Cycles without any event after which a machine is taken to be stuck: more than any latency of a test's design."""


@dataclass
class Burst:
    beats: int
    ready: int = -1  # cycle from which it can be served; -1 before the request
    over: int = -1  #  first cycle after its last beat


@dataclass
class Master:
    """What one unit asks of the memory: bursts not yet requested, and those in flight, both in order."""

    waiting: list[Burst] = field(default_factory=list)
    flying: list[Burst] = field(default_factory=list)
    may_request_from: int = 0
    last_over: int = -1  # first cycle after the last beat moved for it
    beats: set[int] = field(default_factory=set)  # the cycles in which they moved, since its transfer began

    def oldest(self) -> Burst | None:
        return next((b for b in self.flying if b.over < 0), None)

    def all_over(self) -> bool:
        return not self.waiting and self.oldest() is None


def split(address: int, row_bytes: int, row_stride: int, rows: int, design: Design) -> list[Burst]:
    """The bursts of a transfer, by walking its beats."""
    bursts = []
    if row_bytes == 0:
        return []
    for row in range(rows):
        begin = address + row * row_stride
        beats = sorted({byte // design.bus_bytes for byte in range(begin, begin + row_bytes)})
        current: list[int] = []
        for beat in beats:
            if current and beat % design.memory.max_burst == 0:
                bursts.append(Burst(len(current)))
                current = []
            current.append(beat)
        bursts.append(Burst(len(current)))
    return bursts


@dataclass
class Unit:
    """LOAD, COMPUTE or STORE."""

    queue: list[tuple[int, int]] = field(default_factory=list)  # (instruction, visible from cycle)
    running: int = -1
    ends: int = -1  # of the running instruction, when known
    last_start: int = -2
    left: list[int] = field(default_factory=list)  # instructions not started
    unhindered_left: int = 0  # busy cycles left of its transfer, were nothing in its way


class NaiveMachine:
    """One run. cycles: those of the steps of each GEMM and ALU instruction.

    accounts: for each instruction, how many cycles its unit was busy with it or waited for each of `STALLS` on its behalf;
    fetch_accounts: the same of FETCH.
    """

    def __init__(self, columns: np.ndarray, cycles: list[int], design: Design) -> None:
        self.columns, self.cycles, self.design = columns, cycles, design
        self.start = [-1] * len(columns)
        self.finish = [-1] * len(columns)
        self.units = {q: Unit() for q in Queue}
        self.masters = [Master() for _ in range(4)]
        self.tokens: dict[tuple[int, int], list[int]] = {}  # (from, to): cycles from which each can be taken
        self.blocks_requested = 0
        self.block_last_burst: list[Burst] = []
        self.dispatch_time: list[int] = []
        self.accounts: list[Counter[str]] = [Counter() for _ in columns]
        self.fetch_accounts: list[Counter[str]] = [Counter() for _ in columns]
        for i in range(len(columns)):
            self.units[self.queue_of(i)].left.append(i)

    def run(self) -> bool:
        """Fill `start` and `finish`; False on deadlock."""
        now, last_event = 0, 0
        while any(f < 0 or f > now for f in self.finish):
            if self.cycle(now):
                last_event = now
            if now - last_event > PATIENCE:
                return False
            now += 1
        return True

    def cycle(self, now: int) -> bool:
        events = [self.move_beats(now), self.fetch_blocks(now), self.request_bursts(now), self.dispatch(now)]
        events += [self.step_unit(q, now) for q in Queue]
        for q in Queue:
            self.account(q, now)
        return any(events)

    def account(self, q: Queue, now: int) -> None:
        """What the unit did in this cycle."""
        unit = self.units[q]
        if unit.running >= 0 and not 0 <= unit.ends <= now:
            hindered = self.is_transfer(unit.running) and unit.unhindered_left == 0
            unit.unhindered_left -= self.is_transfer(unit.running) and not hindered
            self.accounts[unit.running]["bus" if hindered else "busy"] += 1
        elif unit.left:
            in_queue = unit.queue and unit.queue[0][1] <= now
            missing = [other for other, me in self.pops(q, unit.left[0]) if not self.is_there((other, me), now)]
            cause = f"token_from_{NAMES.get(missing[0], 'nobody')}" if in_queue else "queue"
            self.accounts[unit.left[0]][cause] += 1

    def move_beats(self, now: int) -> bool:
        ports = [list(BUS_PRIORITY)] if self.design.memory.ports == "shared" else [[u] for u in range(4)]
        moved = False
        for port in ports:
            for u in port:
                burst = self.masters[u].oldest()
                if burst is not None and 0 <= burst.ready <= now:
                    burst.beats -= 1
                    self.masters[u].beats.add(now)
                    if burst.beats == 0:
                        burst.over = self.masters[u].last_over = now + 1
                    moved = True
                    break
        return moved

    def request_bursts(self, now: int) -> bool:
        requested = False
        for u, master in enumerate(self.masters):
            if not master.waiting or now < master.may_request_from:
                continue
            master.flying = [b for b in master.flying if b.over < 0 or b.over > now]
            if u != STORE and len(master.flying) >= self.design.memory.outstanding:
                continue
            burst = master.waiting.pop(0)
            burst.ready = now + (WRITE_SETUP if u == STORE else self.design.memory.read_latency)
            master.flying.append(burst)
            requested = True
        return requested

    def fetch_blocks(self, now: int) -> bool:
        """Ask for the next block when the one whose place it takes was dispatched in an earlier cycle."""
        first, master = self.blocks_requested * FETCH_BLOCK, self.masters[FETCH]
        free = first - (FETCH_BUFFER_BLOCKS - 1) * FETCH_BLOCK  # so many must have left the buffer
        if first >= len(self.columns) or free > len(self.dispatch_time) or (free > 0 and self.dispatch_time[free - 1] >= now):
            return False
        size = min(FETCH_BLOCK, len(self.columns) - first) * INSTRUCTION_BYTES
        bursts = split(first * INSTRUCTION_BYTES, size, 0, 1, self.design)
        master.waiting += bursts
        self.block_last_burst.append(bursts[-1])
        self.blocks_requested += 1
        return True

    def dispatch(self, now: int) -> bool:
        i = len(self.dispatch_time)
        if i == len(self.columns):
            return False
        if i // FETCH_BLOCK >= len(self.block_last_burst):
            self.fetch_accounts[i]["bus"] += 1
            return False
        over = self.block_last_burst[i // FETCH_BLOCK].over
        queue = self.queue_of(i)
        unit = self.units[queue]
        queued = len(unit.queue) + (unit.last_start == now - 1)  # what started in the last cycle is still in it
        arrived = 0 <= over <= now - FETCH_DECODE
        if not arrived or queued >= COMMAND_QUEUE_DEPTH:
            self.fetch_accounts[i]["queue" if arrived else "bus"] += 1
            return False
        self.fetch_accounts[i]["busy"] += 1
        unit.queue.append((i, now + QUEUE_HOP))
        self.dispatch_time.append(now)
        return True

    def queue_of(self, i: int) -> Queue:
        f = self.columns[i]
        return queue_of(Opcode(f["opcode"]), Scratchpad(f["buffer"]))

    def step_unit(self, q: Queue, now: int) -> bool:
        unit = self.units[q]
        if unit.running >= 0:
            self.notice_end(q, unit)
            if unit.ends < 0 or unit.ends > now:
                return False
            unit.running = unit.ends = -1
        if not unit.queue or unit.queue[0][1] > now:
            return False
        i = unit.queue[0][0]
        needed = list(self.pops(q, i))
        if not all(self.is_there(fifo, now) for fifo in needed):
            return False
        for fifo in needed:
            self.tokens[fifo].pop(0)
        unit.queue.pop(0)
        unit.left.pop(0)
        unit.running, self.start[i], unit.last_start = i, now, now
        self.begin(q, unit, i, now)
        return True

    def is_there(self, fifo: tuple[int, int], now: int) -> bool:
        """Can a token of `fifo` be taken?"""
        return bool(self.tokens.get(fifo)) and self.tokens[fifo][0] <= now

    def is_transfer(self, i: int) -> bool:
        """Does it move data?"""
        f = self.columns[i]
        return f["opcode"] in (Opcode.LOAD, Opcode.STORE) and int(f["x_size"]) * int(f["y_size"]) > 0

    def pops(self, q: Queue, i: int) -> list[tuple[int, int]]:
        f = self.columns[i]
        sides = [(f["pop_prev"], q - 1), (f["pop_next"], q + 1)]
        return [(other, q) for wanted, other in sides if wanted]

    def begin(self, q: Queue, unit: Unit, i: int, now: int) -> None:
        """Transfers end when their last beat has moved; everything else, when its cycles are over."""
        f, op = self.columns[i], Opcode(self.columns[i]["opcode"])
        if op == Opcode.FINISH:
            self.end(q, unit, now + DECODE)
        elif op == Opcode.GEMM:
            self.end(q, unit, now + DECODE + self.cycles[i] + GEMM_FILL)
        elif op == Opcode.ALU:
            fill = ALU_LONG_FILL if AluOp(f["alu_op"]) in LONG_ALU_OPS else ALU_FILL
            self.end(q, unit, now + DECODE + self.cycles[i] + fill)
        else:
            width = tile_bytes(self.design, Scratchpad(f["buffer"]))
            master = self.masters[q + 1]
            address, row, stride = (int(f[name]) * width for name in ("dram_base", "x_size", "x_stride"))
            bursts = split(address, row, stride, int(f["y_size"]), self.design)
            master.waiting += bursts
            pads = self.pad_entries(f) if op == Opcode.LOAD else 0
            unit.unhindered_left = DECODE + max(sum(burst.beats for burst in bursts), pads)
            master.may_request_from = now + DECODE
            master.beats.clear()
            self.notice_end(q, unit)

    def notice_end(self, q: Queue, unit: Unit) -> None:
        """A transfer's end is known once all its bursts are over."""
        master, i = self.masters[q + 1], unit.running
        f = self.columns[i]
        if unit.ends >= 0 or not master.all_over():
            return
        moved = self.is_transfer(i)
        last = master.last_over
        if f["opcode"] == Opcode.STORE:
            self.end(q, unit, last + self.design.memory.write_latency if moved else self.start[i] + DECODE)
        else:
            padded = self.padded(f, self.start[i] + DECODE, {beat + READ_DRAIN for beat in master.beats})
            self.end(q, unit, max(padded, last + READ_DRAIN) if moved else padded)

    def padded(self, f: np.void, now: int, beats_written: set[int]) -> int:
        """When the padding is written that may be from `now` on."""
        left = self.pad_entries(f)
        while left:
            left -= now not in beats_written
            now += 1
        return now

    def pad_entries(self, f: np.void) -> int:
        rows = range(-int(f["y_pad_before"]), int(f["y_size"]) + int(f["y_pad_after"]))
        places = range(-int(f["x_pad_before"]), int(f["x_size"]) + int(f["x_pad_after"]))
        return sum(not (0 <= y < f["y_size"] and 0 <= x < f["x_size"]) for y in rows for x in places)

    def end(self, q: Queue, unit: Unit, time: int) -> None:
        """The running instruction retires at `time`, pushing its tokens."""
        unit.ends = self.finish[unit.running] = time
        f = self.columns[unit.running]
        for wanted, other in ((f["push_prev"], q - 1), (f["push_next"], q + 1)):
            if wanted:
                self.tokens.setdefault((q, other), []).append(time + TOKEN_HOP)
