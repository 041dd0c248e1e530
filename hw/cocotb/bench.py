"""What the units' benches share: a clock, the bus's two sides, and an issue stage.

A cycle is stepped by hand: agents set the inputs, the logic settles, agents look at it, the clock rises. So a bench means the
same in every simulator, and each agent sees exactly the cycle it acted in.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from cocotb.triggers import Timer

from vdla.design import Design
from vdla.design_file import load_design
from vdla.isa import timing
from vdla.isa.layout import layout_of

DESIGN = load_design(os.environ.get("VDLA_BENCH_DESIGN", "tiny"))
SEED = int(os.environ.get("VDLA_BENCH_SEED", "0"))
ROUNDS = int(os.environ.get("VDLA_BENCH_ROUNDS", "12"))
HALF = 5


class Agent(Protocol):
    """Part of a unit's surroundings."""

    def drive(self, cycle: int) -> None:
        """Set inputs for this cycle."""

    def sample(self, cycle: int) -> None:
        """Look at the settled signals of this cycle."""


@dataclass
class Bench:
    """A unit, its surroundings, and the number of the cycle."""

    dut: Any
    agents: list[Agent] = field(default_factory=list)
    cycle: int = 0
    in_reset: bool = False

    async def step(self) -> None:
        for agent in self.agents:
            agent.drive(self.cycle)
        self.dut.clk.value = 0
        await Timer(HALF, "step")
        for agent in self.agents if not self.in_reset else ():
            agent.sample(self.cycle)
        self.dut.clk.value = 1
        await Timer(HALF, "step")
        self.cycle += 1

    async def reset(self, **inputs: int) -> None:
        """Two cycles of reset with every input named in `inputs` at its value."""
        for name, value in inputs.items():
            getattr(self.dut, name).value = value
        self.dut.rst.value, self.in_reset = 1, True
        for _ in range(2):
            await self.step()
        self.dut.rst.value, self.in_reset = 0, False


def high(signal: Any) -> bool:
    """Raises `ValueError` when it is unknown."""
    return int(signal.value) == 1


def number(signal: Any) -> int | None:
    """None when it is not known, as a payload may be that is not valid."""
    return int(signal.value) if signal.value.is_resolvable else None


def check_burst(design: Design, address: int, beats: int) -> None:
    """What AXI and the design allow."""
    assert address % design.bus_bytes == 0, hex(address)
    assert 1 <= beats <= design.memory.max_burst
    first = address // design.bus_bytes
    block = design.memory.max_burst
    assert first // block == (first + beats - 1) // block, f"{address:#x} and {beats} beats cross a multiple of {block} beats"


class Promise:
    """valid stays, payload unchanged, until ready."""

    def __init__(self, what: str) -> None:
        self.what, self.waiting = what, None

    def see(self, valid: bool, ready: bool, payload: tuple[int | None, ...]) -> bool:
        """Returns whether the payload was taken in this cycle."""
        assert not valid or None not in payload, f"{self.what}: an unknown payload is valid"
        if self.waiting is not None:
            assert valid, f"{self.what}: valid was withdrawn"
            assert payload == self.waiting, f"{self.what}: {self.waiting} became {payload} while it waited"
        self.waiting = payload if valid and not ready else None
        return valid and ready


@dataclass
class ReadMemory:
    """The memory behind a unit's read port: `latency` cycles from request to first beat; `pauses`: how likely each side
    holds back in a cycle."""

    dut: Any
    image: np.ndarray
    latency: int
    pauses: float
    rng: random.Random
    outstanding: int = DESIGN.memory.outstanding
    bursts: list[list[int]] = field(default_factory=list)  # ready from, address of the next beat, beats left
    requests: list[tuple[int, int, int]] = field(default_factory=list)  # cycle, address, beats
    promise: Promise = field(default_factory=lambda: Promise("AR"))

    def drive(self, cycle: int) -> None:
        self.dut.ar_ready.value = int(self.rng.random() >= self.pauses)
        offered = bool(self.bursts) and self.bursts[0][0] <= cycle and self.rng.random() >= self.pauses
        self.dut.r_valid.value = int(offered)
        width = DESIGN.bus_bytes
        address, last = (self.bursts[0][1], self.bursts[0][2] == 1) if offered else (0, False)
        beat = self.image[address : address + width].tobytes() if offered else self.rng.randbytes(width)
        self.dut.r_data.value = int.from_bytes(beat, "little")
        self.dut.r_last.value = int(last)

    def sample(self, cycle: int) -> None:
        payload = number(self.dut.ar_address), number(self.dut.ar_length)
        if self.promise.see(high(self.dut.ar_valid), high(self.dut.ar_ready), payload):
            check_burst(DESIGN, payload[0], payload[1] + 1)
            assert len(self.bursts) < self.outstanding, "more bursts in flight than the design allows"
            self.bursts.append([cycle + self.latency, payload[0], payload[1] + 1])
            self.requests.append((cycle, payload[0], payload[1] + 1))
        if high(self.dut.r_valid):
            head = self.bursts[0]
            head[1], head[2] = head[1] + DESIGN.bus_bytes, head[2] - 1
            if head[2] == 0:
                self.bursts.pop(0)


@dataclass
class WriteMemory:
    """The memory behind STORE's write port; responses come `latency` cycles after a burst's last beat."""

    dut: Any
    image: np.ndarray
    latency: int
    pauses: float
    rng: random.Random
    offered: int = 0  # bursts whose request has been on the bus
    bursts: list[list[int]] = field(default_factory=list)  # taken requests without all their data: address, beats left
    early: list[tuple[int, int, int]] = field(default_factory=list)  # data that came before their request was taken
    answers: list[int] = field(default_factory=list)
    bursts_with_data: int = 0
    addresses: Promise = field(default_factory=lambda: Promise("AW"))
    beats: Promise = field(default_factory=lambda: Promise("W"))
    last_beat: int = -1

    def drive(self, cycle: int) -> None:
        self.dut.aw_ready.value = int(self.rng.random() >= self.pauses)
        self.dut.w_ready.value = int(self.rng.random() >= self.pauses)
        answer = bool(self.answers) and self.answers[0] <= cycle and self.rng.random() >= self.pauses
        self.dut.b_valid.value = int(answer)

    def sample(self, cycle: int) -> None:
        if high(self.dut.b_valid):
            self.answers.pop(0)
        payload = number(self.dut.aw_address), number(self.dut.aw_length)
        valid = high(self.dut.aw_valid)
        if valid and self.addresses.waiting is None:
            self.offered += 1
        if self.addresses.see(valid, high(self.dut.aw_ready), payload):
            check_burst(DESIGN, payload[0], payload[1] + 1)
            self.bursts.append([payload[0], payload[1] + 1])
        beat = number(self.dut.w_data), number(self.dut.w_strobe), number(self.dut.w_last)
        valid = high(self.dut.w_valid)
        assert not valid or self.bursts_with_data < self.offered, "data before their request is on the bus"
        if self.beats.see(valid, high(self.dut.w_ready), beat):
            self.early.append(beat)
            self.last_beat = cycle
            self.bursts_with_data += beat[2]
        while self.early and self.bursts:
            self._write(*self.early.pop(0), cycle)

    def _write(self, data: int, strobe: int, last: int, cycle: int) -> None:
        head = self.bursts[0]
        for k, byte in enumerate(data.to_bytes(DESIGN.bus_bytes, "little")):
            if strobe >> k & 1:
                self.image[head[0] + k] = byte
        head[0], head[1] = head[0] + DESIGN.bus_bytes, head[1] - 1
        assert bool(last) == (head[1] == 0), "w_last is not on the burst's last beat"
        if last:
            self.bursts.pop(0)
            self.answers.append(cycle + self.latency)


class Issue:
    """Stands for vdla_issue: start in one cycle, the instruction from the next until `done`, and `begun` in the one after."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.word, self.started, self.finished = dut, None, -1, -1

    def issue(self, word: int) -> None:
        self.word, self.started, self.finished = word, -1, -1

    def drive(self, cycle: int) -> None:
        starts = self.word is not None and self.started < 0
        if starts:
            self.started = cycle
        since = cycle - self.started if self.started >= 0 else 0
        self.dut.begun.value = int(since == 2)
        if since == 1:
            self.dut.insn.value = self.word

    def sample(self, cycle: int) -> None:
        if self.started >= 0 and self.finished < 0 and cycle > self.started and high(self.dut.done):
            self.finished = cycle + 1

    @property
    def cycles(self) -> int:
        """Start to finish, in the sense of `vdla.isa.timing`."""
        return self.finished - self.started


async def run_instruction(bench: Bench, issue: Issue, columns: np.ndarray, limit: int = 100_000) -> int:
    """Run COLUMNS[1]. Returns its cycles."""
    low, top = layout_of(DESIGN).encode(columns)[0]
    issue.issue(int(low) | int(top) << 64)
    end = bench.cycle + limit
    while issue.finished < 0:
        await bench.step()
        assert bench.cycle < end, "the instruction does not finish"
    issue.word = None
    return issue.cycles


def beats_end(rows: list[tuple[int, int]], earliest: int, latency: int, outstanding: int | None) -> int:
    """When the last beat of a transfer is over, on a bus that nobody else uses. rows: (byte address, bytes). latency: from
    request to first beat. outstanding: None for writes, which are posted."""
    requested, over, ends = -1, 0, []
    for address, size in rows:
        beat = timing.first_beat(address, DESIGN.bus_bytes)
        end = timing.end_beat(address, size, DESIGN.bus_bytes)
        while beat < end:
            beats = timing.burst_beats(beat, end, DESIGN.memory.max_burst)
            slot = ends[-outstanding] if outstanding is not None and len(ends) >= outstanding else 0
            requested = timing.request_time(earliest, requested, slot)
            over = max(over, requested + latency) + beats
            ends.append(over)
            beat += beats
    return over
