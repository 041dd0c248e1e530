"""The register map, once: what the host reads and writes through the AXI4-Lite port of `vdla_shell`.

From it come the Verilog header `vdla_registers.vh`, the map in docs/registers.md, and the driver's constants. 64-bit values
are a pair of registers, `_LO` and `_HI`. Addresses are bytes on the memory bus.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from vdla.isa.definition import Unit

VERSION = 0x0001_0000
"""Major and minor, 16 bits each: the major changes when a driver of the old map would go wrong."""

WATCHDOG_CYCLES = 1 << 16
"""After so many cycles in which nothing moves, the machine is stuck."""


class Fault(IntEnum):
    """Why the machine halted: STATUS.error_code."""

    NONE = 0
    HASH_MISMATCH = 1
    PROGRAM_LENGTH = 2
    PROGRAM_END = 3
    BAD_INSTRUCTION = 4
    BUS_READ = 5
    BUS_WRITE = 6
    SRAM_RANGE = 7
    DRAM_RANGE = 8
    DEADLOCK = 9
    TOKEN_OVERFLOW = 10


FAULT_DOC = {
    Fault.NONE: "the machine has not halted on a fault",
    Fault.HASH_MISMATCH: "at start, EXPECTED_HASH was not DESIGN_HASH: the program is for another design",
    Fault.PROGRAM_LENGTH: "at start, the program was empty or longer than its buffer",
    Fault.PROGRAM_END: "every instruction has finished and none was FINISH",
    Fault.BAD_INSTRUCTION: "an opcode, buffer, GEMM mode or ALU operation that does not exist",
    Fault.BUS_READ: "a read was answered with SLVERR or DECERR",
    Fault.BUS_WRITE: "a write was answered with SLVERR or DECERR",
    Fault.SRAM_RANGE: "an index outside an SRAM",
    Fault.DRAM_RANGE: "a transfer beyond DRAM_LIMIT",
    Fault.DEADLOCK: "for WATCHDOG cycles nothing moved: the units wait for tokens that nobody will push",
    Fault.TOKEN_OVERFLOW: "a token FIFO was full",
}


@dataclass(frozen=True, slots=True)
class RegisterField:
    """`width` bits from bit `lsb`."""

    name: str
    lsb: int
    width: int
    doc: str


@dataclass(frozen=True, slots=True)
class Register:
    """32 bits at byte `offset`. access: RW, RO, or WO (reads as zero). `reset`: the value after aresetn."""

    name: str
    offset: int
    access: str
    doc: str
    reset: int = 0
    fields: tuple[RegisterField, ...] = ()


def _pair(name: str, offset: int, access: str, doc: str, reset: int = 0) -> tuple[Register, Register]:
    """A 64-bit value: its low and its high half."""
    low = Register(f"{name}_LO", offset, access, f"{doc}: low half", reset & 0xFFFF_FFFF)
    return low, Register(f"{name}_HI", offset + 4, access, f"{doc}: high half", reset >> 32)


def _counters() -> Iterator[Register]:
    """Twelve bytes for each unit, in their order. They count from the start to the end of a run."""
    for unit in Unit:
        name, base = unit.name, 0x80 + 0x10 * unit
        what, wait = ("dispatched", "with an instruction for a full queue") if unit == Unit.FETCH else ("started", "for tokens")
        yield Register(f"{name}_BUSY", base, "RO", f"cycles in which {name} did something, modulo 2^32")
        yield Register(f"{name}_STALL", base + 4, "RO", f"cycles in which {name} waited {wait}, modulo 2^32")
        yield Register(f"{name}_INSTRUCTIONS", base + 8, "RO", f"instructions {name} has {what}")


REGISTERS: tuple[Register, ...] = (
    Register(
        "CONTROL",
        0x00,
        "RW",
        "what the host asks for",
        fields=(
            RegisterField("START", 0, 1, "write 1 while idle: run the program; clears done and error. Reads as 0"),
            RegisterField("RESET", 1, 1, "write 1: stop; once the bus is quiet, start afresh (RW registers stay). Reads 0"),
            RegisterField("IRQ_ENABLE", 2, 1, "raise irq when a run ends, well or not"),
            RegisterField("IRQ_CLEAR", 3, 1, "write 1: lower irq. Reads as 0"),
        ),
    ),
    Register(
        "STATUS",
        0x04,
        "RO",
        "what the machine does",
        reset=1,
        fields=(
            RegisterField("IDLE", 0, 1, "a start would be taken"),
            RegisterField("RUNNING", 1, 1, "a program runs"),
            RegisterField("DONE", 2, 1, "the last run ended with FINISH"),
            RegisterField("ERROR", 3, 1, "the last run ended with a fault; RESET before the next start"),
            RegisterField("IRQ", 4, 1, "irq is raised"),
            RegisterField("ERROR_CODE", 8, 8, "which fault"),
        ),
    ),
    Register(
        "ERROR_INFO",
        0x08,
        "RO",
        "where the fault was noticed",
        fields=(
            RegisterField("UNIT", 0, 2, "0 fetch, 1 load, 2 compute, 3 store"),
            RegisterField("RESPONSE", 8, 2, "of a bus fault: 2 SLVERR, 3 DECERR"),
        ),
    ),
    Register("ERROR_INSTRUCTION", 0x0C, "RO", "the faulting instruction: its number among those of its unit, from 0"),
    *_pair("PROGRAM_ADDRESS", 0x10, "RW", "first byte of the program, a multiple of 4096 (lower bits read as 0)"),
    Register("PROGRAM_LENGTH", 0x18, "RW", "instructions of the program"),
    Register("PROGRAM_CAPACITY", 0x1C, "RW", "instructions the program's buffer has room for"),
    *_pair("DRAM_BASE", 0x20, "RW", "address of DRAM byte 0 of every DMA, a multiple of 4096 (lower bits read as 0)"),
    *_pair("DRAM_LIMIT", 0x28, "RW", "bytes from DRAM_BASE that a DMA may touch"),
    *_pair("EXPECTED_HASH", 0x30, "RW", "hash of the design the program was built for"),
    *_pair("DESIGN_HASH", 0x38, "RO", "hash of the design this hardware was built from"),
    *_pair("CYCLES", 0x40, "RO", "cycles since the start, or of the last run: 0 in the cycle of the first request"),
    Register("WATCHDOG", 0x48, "RW", "cycles without any movement until DEADLOCK; 0: never", WATCHDOG_CYCLES),
    Register("VERSION", 0x4C, "RO", "of this register map", VERSION),
    *_counters(),
)

PREFIX = "VDLA_REG"


def offset_of(name: str) -> int:
    """The byte offset of register `name`. Raises `KeyError`."""
    return {register.name: register.offset for register in REGISTERS}[name]


def field_of(register: str, name: str) -> RegisterField:
    """Field `name` of `register`. Raises `KeyError`."""
    return {(r.name, f.name): f for r in REGISTERS for f in r.fields}[register, name]


def registers_header(command: str) -> str:
    """The text of `vdla_registers.vh`; `command` is what regenerates it."""
    sections = [
        f"// Generated by: {command}. Do not edit.",
        "// The register map: byte offsets, and for a field F its F_LSB and F_WIDTH.",
        "`ifndef VDLA_REGISTERS_VH",
        "`define VDLA_REGISTERS_VH",
    ]
    for register in REGISTERS:
        sections += ["", *_defines([(register.name, f"12'h{register.offset:03x}", register.doc)])]
        if register.access == "RW" and register.reset or register.name == "VERSION":
            sections += _defines([(f"{register.name}_RESET", f"32'h{register.reset:08x}", "")])
        for field in register.fields:
            name = f"{register.name}_{field.name}"
            sections += _defines([(f"{name}_LSB", str(field.lsb), field.doc), (f"{name}_WIDTH", str(field.width), "")])
    sections += ["", "// STATUS.error_code"]
    sections += [_define(f"VDLA_FAULT_{fault.name}", f"4'd{fault.value}", FAULT_DOC[fault]) for fault in Fault]
    return "\n".join(sections) + "\n\n`endif\n"


def _defines(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    return [_define(f"{PREFIX}_{name}", value, comment) for name, value, comment in rows]


def _define(name: str, value: str, comment: str) -> str:
    line = f"`define {name:<36} {value}"
    return f"{line:<60} // {comment}" if comment else line


def registers_manual(command: str) -> str:
    """The text of docs/registers.md; `command` is what regenerates it."""
    lines = [
        f"<!-- Generated by: {command}. Do not edit. -->",
        "",
        "# Registers",
        "",
        "The AXI4-Lite port of `vdla_shell`: 32-bit registers, 12-bit byte addresses. A read anywhere else gives 0, a write",
        "there does nothing. A register is written whole: strobes must be all ones.",
        "",
        "| offset | name | access | reset | |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| 0x{r.offset:03x} | `{r.name}` | {r.access} | 0x{r.reset:x} | {r.doc} |" for r in REGISTERS]
    for register in REGISTERS:
        if register.fields:
            lines += ["", f"## {register.name}", "", "| bits | field | |", "|---|---|---|"]
            lines += [f"| {_bits(f)} | `{f.name}` | {f.doc} |" for f in register.fields]
    lines += ["", "## Faults", "", "| code | fault | |", "|---|---|---|"]
    lines += [f"| {fault.value} | `{fault.name}` | {FAULT_DOC[fault]} |" for fault in Fault]
    return "\n".join(lines) + "\n"


def _bits(field: RegisterField) -> str:
    return str(field.lsb) if field.width == 1 else f"{field.lsb + field.width - 1}:{field.lsb}"
