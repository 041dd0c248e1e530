"""The host's side of the registers: start a program, see it end, say in words why it did not.

Nothing here knows whether the registers are those of the simulated RTL or of a board: `Registers` is all it needs, and a
function that lets time pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vdla.design import Design
from vdla.device import UNITS
from vdla.errors import RunError
from vdla.isa.assembler import describe
from vdla.isa.definition import Opcode
from vdla.isa.layout import head_slices, layout_of
from vdla.isa.program import Program
from vdla.isa.registers import FAULT_DOC, VERSION, WATCHDOG_CYCLES, Fault, field_of, offset_of
from vdla.isa.tokens import unit_numbers

RESET_PATIENCE = 10_000
"""Reads of the status after which a reset has failed: it waits for the bus only, far less than a run."""


class Registers(Protocol):
    """Memory-mapped input and output: 32-bit registers by byte offset."""

    def read(self, offset: int) -> int: ...

    def write(self, offset: int, value: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What to run, and where it lies: bus addresses in bytes, both multiples of 4096; `length` and `capacity` in instructions.

    design_hash: of the design the program was built for. watchdog: cycles without movement that are a deadlock.
    """

    program_address: int
    length: int
    capacity: int
    dram_base: int
    dram_bytes: int
    design_hash: int
    watchdog: int = WATCHDOG_CYCLES


@dataclass(frozen=True, slots=True)
class Status:
    """STATUS, taken apart."""

    idle: bool
    running: bool
    done: bool
    error: bool
    fault: int


@dataclass(frozen=True, slots=True)
class Counters:
    """The machine's own figures of a run: cycles, and for each unit, busy and stalled cycles and instructions."""

    cycles: int
    busy: Mapping[str, int]
    stalls: Mapping[str, int]
    instructions: Mapping[str, int]


class Driver:
    """Drives one machine through its registers. `wait` lets some time pass, and may return early on the interrupt.

    Raises `RunError` when the registers are not those of a VDLA this driver knows.
    """

    def __init__(self, registers: Registers, wait: Callable[[], object]) -> None:
        self.registers, self.wait = registers, wait
        version = self._read("VERSION")
        if version >> 16 != VERSION >> 16:
            raise RunError(
                "the hardware has another register map",
                where="VERSION",
                found=f"{version >> 16}.{version & 0xFFFF}",
                expected=f"{VERSION >> 16}.x",
                hint="build the hardware anew",
            )

    @property
    def design_hash(self) -> str:
        """16 hex digits: the design the hardware was built from."""
        return f"{self._read_pair('DESIGN_HASH'):016x}"

    def start(self, job: Job) -> None:
        """Start a run. Raises `RunError` when the machine is not idle."""
        if not self.status().idle:
            raise RunError("the machine is not idle", where="STATUS", hint="reset it")
        self._write_pair("PROGRAM_ADDRESS", job.program_address)
        self._write("PROGRAM_LENGTH", job.length)
        self._write("PROGRAM_CAPACITY", job.capacity)
        self._write_pair("DRAM_BASE", job.dram_base)
        self._write_pair("DRAM_LIMIT", job.dram_bytes)
        self._write_pair("EXPECTED_HASH", job.design_hash)
        self._write("WATCHDOG", job.watchdog)
        self._write("CONTROL", _bit("CONTROL", "START") | _bit("CONTROL", "IRQ_ENABLE"))

    def run(self, job: Job, program: Program) -> Counters:
        """Run to the end. Raises `RunError` for a fault; `program` is what the message speaks of."""
        self.start(job)
        while self.status().running:
            self.wait()
        return self.end(program)

    def end(self, program: Program) -> Counters:
        """After a run: its figures, and the interrupt lowered. Raises `RunError` when it ended with a fault."""
        status = self.status()
        self._write("CONTROL", _bit("CONTROL", "IRQ_CLEAR"))
        if status.error:
            raise self._fault(status.fault, program)
        if not status.done:
            raise RunError("the machine has not run a program to its end", where="STATUS", found=status)
        return self.counters()

    def reset(self) -> None:
        """Stop and forget. Raises `RunError` when the machine does not come to rest."""
        self._write("CONTROL", _bit("CONTROL", "RESET"))
        for _ in range(RESET_PATIENCE):
            if self.status().idle:
                return
        raise RunError("the machine does not come to rest after a reset", where="STATUS", hint="reset the whole device")

    def status(self) -> Status:
        value = self._read("STATUS")

        def field(name: str) -> int:
            f = field_of("STATUS", name)
            return value >> f.lsb & ((1 << f.width) - 1)

        idle, running, done, error = (bool(field(name)) for name in ("IDLE", "RUNNING", "DONE", "ERROR"))
        return Status(idle, running, done, error, field("ERROR_CODE"))

    def counters(self) -> Counters:
        """The figures of the last run, or of this one so far."""

        def of_units(what: str) -> dict[str, int]:
            return {unit: self._read(f"{unit.upper()}_{what}") for unit in UNITS}

        return Counters(self._read_pair("CYCLES"), of_units("BUSY"), of_units("STALL"), of_units("INSTRUCTIONS"))

    # -- faults ------------------------------------------------------------------------------------------------------------
    def _fault(self, code: int, program: Program) -> RunError:
        known = code in Fault._value2member_map_
        name = Fault(code).name if known else f"unknown fault {code}"
        info = self._read("ERROR_INFO")
        unit, response = (_field(info, "ERROR_INFO", f) for f in ("UNIT", "RESPONSE"))
        what = f"the machine halted with {name}: {FAULT_DOC[Fault(code)] if known else 'of newer hardware'}"
        if code in (Fault.BUS_READ, Fault.BUS_WRITE):
            what += f" ({'SLVERR' if response == 2 else 'DECERR'})"
        where = f"cycle {self._read_pair('CYCLES')}"
        if code in (Fault.HASH_MISMATCH, Fault.PROGRAM_LENGTH):
            where = "start"
        elif code == Fault.DEADLOCK:
            what += "; " + "; ".join(_progress(program, self.counters().instructions))
        else:
            where += f", {_place(program, unit, self._read('ERROR_INSTRUCTION'))}"
        return RunError(what, where=where, found=self._found(code, program), hint=_HINTS.get(code, ""))

    def _found(self, code: int, program: Program) -> str | None:
        if code == Fault.HASH_MISMATCH:
            return (
                f"program of design {program.design.name}, hash {self._read_pair('EXPECTED_HASH'):016x}, on hardware of hash "
                f"{self.design_hash}, which is all that the hardware says of its design"
            )
        if code == Fault.PROGRAM_LENGTH:
            return f"{self._read('PROGRAM_LENGTH')} instructions, room for {self._read('PROGRAM_CAPACITY')}"
        return None

    # -- registers ---------------------------------------------------------------------------------------------------------
    def _read(self, name: str) -> int:
        return self.registers.read(offset_of(name))

    def _write(self, name: str, value: int) -> None:
        self.registers.write(offset_of(name), value)

    def _read_pair(self, name: str) -> int:
        return self._read(f"{name}_LO") | self._read(f"{name}_HI") << 32

    def _write_pair(self, name: str, value: int) -> None:
        self._write(f"{name}_LO", value & 0xFFFF_FFFF)
        self._write(f"{name}_HI", value >> 32)


_HINTS: dict[int, str] = {
    Fault.HASH_MISMATCH: "compile for the hardware's design, or load the hardware of the program's",
    Fault.PROGRAM_END: "end the program with FINISH",
    Fault.BAD_INSTRUCTION: "vdla isa check",
    Fault.DRAM_RANGE: "vdla isa check names the access",
    Fault.SRAM_RANGE: "vdla isa check names the access",
    Fault.DEADLOCK: "vdla isa check names the missing token",
    Fault.TOKEN_OVERFLOW: "vdla isa check",
}


def _bit(register: str, field: str) -> int:
    return 1 << field_of(register, field).lsb


def _field(value: int, register: str, name: str) -> int:
    field = field_of(register, name)
    return value >> field.lsb & ((1 << field.width) - 1)


def _progress(program: Program, done: Mapping[str, int]) -> list[str]:
    """How far each unit got, and what it stands at: `LOAD waits at instruction 7 (…)`."""
    queues = unit_of_words(program)
    sides = []
    for unit in range(1, len(UNITS)):
        mine, started = np.flatnonzero(queues == unit), done[UNITS[unit]]
        name = UNITS[unit].upper()
        if started >= len(mine):
            sides.append(f"{name} has started all its {len(mine)} instructions")
        else:
            sides.append(f"{name} is before {describe(program, int(mine[started]))}")
    return sides


def _place(program: Program, unit: int, number: int) -> str:
    """The `number`th instruction of `unit` in words."""
    mine = np.flatnonzero(unit_of_words(program) == unit) if unit else np.arange(len(program.words))
    name = UNITS[unit].upper()
    return f"{name}, {describe(program, int(mine[number]))}" if number < len(mine) else f"{name}, its instruction {number}"


def unit_of_words(program: Program) -> np.ndarray:
    """int64[n]: the unit, as in `vdla.device.UNITS`, that runs each instruction; 0, FETCH, for what cannot be dispatched.

    Works on words, which unlike columns can hold instructions that do not exist.
    """
    layout = layout_of(program.design)
    opcode = _bits(program.words, *_slice(head_slices(layout), "opcode"))
    buffer = _bits(program.words, *_slice(layout.instructions[Opcode.LOAD], "buffer"))
    return unit_numbers(opcode, buffer)


def _slice(slices, name: str) -> tuple[int, int]:
    found = next(s for s in slices if s.field.name == name)
    return found.lsb, found.width


def _bits(words: np.ndarray, lsb: int, width: int) -> np.ndarray:
    """Bits [lsb, lsb + width) of each word; they lie in its low half."""
    assert lsb + width <= 64
    return (words[:, 0] >> np.uint64(lsb) & np.uint64((1 << width) - 1)).astype(np.int64)


def design_hash(design: Design) -> int:
    return int(design.hash_hex, 16)
