"""The verilated RTL and its memory as a Python object: registers to read and write, time to let pass, events to look at."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

import numpy as np

from vdla.design import Design
from vdla.device import UNITS
from vdla.errors import RunError

BUS_BASE = 0x12_3456_0000
"""Where the simulated memory begins on the bus: not at 0, so that an address which forgot its base is noticed."""


class Response(IntEnum):
    """How AXI4 says no."""

    SLVERR = 2
    DECERR = 3


@dataclass(frozen=True, slots=True)
class BusFault:
    """Accesses to the bytes [begin, end) of the memory are answered with `response`."""

    begin: int
    end: int
    response: Response
    reads: bool = True
    writes: bool = True


@dataclass(frozen=True, slots=True)
class MemoryModel:
    """How the memory behaves. Latencies in cycles; None: as the design says.

    pauses: 0 for the timing contract to the cycle; else the share of cycles, in 1/1000, in which each channel of the bus
    holds back, and then bursts of different units are interleaved too. extra_latency: with pauses, up to so many cycles
    more for each burst. seed: of what is random.
    """

    read_latency: int | None = None
    write_latency: int | None = None
    pauses: int = 0
    extra_latency: int = 0
    seed: int = 0
    fault: BusFault | None = None


class StopReason(IntEnum):
    """Why `RtlSimulation.run` returned."""

    INTERRUPT = 0
    RETIRED = 1
    CYCLES = 2
    FAILED = 3


class EventKind(IntEnum):
    """What the trace tells, see `vdla_events` of verilator/harness.cpp."""

    STARTED = 0
    RETIRED = 1
    MOVED = 2


class MemoryConfig(ctypes.Structure):
    """MemoryConfig of verilator/memory.h."""

    _fields_ = [
        *((name, ctypes.c_uint64) for name in ("base", "bytes", "seed", "fault_begin", "fault_end")),
        *((name, ctypes.c_uint32) for name in ("fault_response", "fault_on", "read_latency", "write_latency")),
        *((name, ctypes.c_uint32) for name in ("max_burst", "outstanding", "stress", "extra_latency")),
    ]


def memory_config(design: Design, model: MemoryModel, size: int) -> MemoryConfig:
    """`model` for a memory of `size` bytes behind the hardware of `design`."""
    memory, fault = design.memory, model.fault or BusFault(0, 0, Response.SLVERR, False, False)
    return MemoryConfig(
        BUS_BASE,
        size,
        model.seed,
        BUS_BASE + fault.begin,
        BUS_BASE + fault.end,
        fault.response,
        fault.reads | fault.writes << 1,
        memory.read_latency if model.read_latency is None else model.read_latency,
        memory.write_latency if model.write_latency is None else model.write_latency,
        memory.max_burst,
        memory.outstanding,
        model.pauses,
        model.extra_latency,
    )


class RtlSimulation:
    """One instance of the hardware, out of reset, with `memory` (uint8[bytes], used in place) from `BUS_BASE` on.

    It is the driver's `Registers`. Raises `RunError` when the simulation itself fails: the core breaks the bus protocol or
    stops the simulator.
    """

    def __init__(
        self,
        library: Path,
        design: Design,
        memory: np.ndarray,
        model: MemoryModel,
        *,
        waves: Path | None = None,
    ) -> None:
        assert memory.dtype == np.uint8
        assert memory.flags.c_contiguous
        assert len(memory) % design.bus_bytes == 0
        self._library, self._design, self.memory = _load(library), design, memory
        config = memory_config(design, model, len(memory))
        self._handle = self._library.vdla_new(ctypes.byref(config), memory.ctypes.data_as(ctypes.c_void_p))
        if not self._handle:
            raise RunError("the RTL simulation cannot start", where=str(library))
        if waves is not None:
            self._check(self._library.vdla_open_waves(self._handle, str(waves).encode()))
        self._check(self._library.vdla_reset(self._handle))

    def close(self) -> None:
        """Free the instance and finish its waveforms."""
        if self._handle:
            self._library.vdla_free(self._handle)
            self._handle = None

    def __enter__(self) -> RtlSimulation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def configure(self, model: MemoryModel) -> None:
        """The memory behaves like `model` from now on."""
        self._library.vdla_configure(self._handle, ctypes.byref(memory_config(self._design, model, len(self.memory))))

    def read(self, offset: int) -> int:
        """The register at byte `offset`."""
        value = self._library.vdla_read(self._handle, offset)
        self._check(value < 0)
        return value

    def write(self, offset: int, value: int) -> None:
        self._check(self._library.vdla_write(self._handle, offset, value))

    def run(self, cycles: int, retired: Sequence[int] | None = None) -> StopReason:
        """Let time pass: until the interrupt, until each unit has retired so many instructions, or for `cycles`."""
        limits = (ctypes.c_uint64 * len(UNITS))(*retired) if retired is not None else None
        reason = StopReason(self._library.vdla_run(self._handle, cycles, limits))
        self._check(reason == StopReason.FAILED)
        return reason

    @property
    def cycles(self) -> int:
        """Clock cycles simulated so far."""
        return self._library.vdla_cycles(self._handle)

    @property
    def zero(self) -> int:
        """The clock cycle that was cycle 0 of the last run; -1 before the first."""
        return self._library.vdla_zero(self._handle)

    def events(self, kind: EventKind, unit: int) -> np.ndarray:
        """int64[k], since the hardware was made. STARTED, RETIRED: the clock cycles in which `unit` started or finished
        instructions; FETCH starts what it dispatches, and finishes nothing. MOVED: the beats each of these moved; of
        FETCH the clock cycle of each beat."""
        events = np.empty(self.count(kind, unit), np.int64)
        self._library.vdla_events(self._handle, unit, kind, events.ctypes.data_as(ctypes.POINTER(ctypes.c_int64)))
        return events

    def count(self, kind: EventKind, unit: int) -> int:
        """How many such events there have been."""
        return self._library.vdla_events(self._handle, unit, kind, None)

    def retired(self) -> list[int]:
        """How many instructions each unit has finished, since the hardware was made."""
        return [self.count(EventKind.RETIRED, unit) for unit in range(len(UNITS))]

    def _check(self, failed: int) -> None:
        if failed:
            message = self._library.vdla_error(self._handle).decode(errors="replace")
            raise RunError(f"the RTL simulation failed: {message}", where=f"clock cycle {self.cycles}")


@cache
def _load(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, cycles, number = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32
    signatures: dict[str, tuple[object, list[object]]] = {
        "vdla_new": (handle, [ctypes.POINTER(MemoryConfig), ctypes.c_void_p]),
        "vdla_free": (None, [handle]),
        "vdla_error": (ctypes.c_char_p, [handle]),
        "vdla_reset": (ctypes.c_int, [handle]),
        "vdla_configure": (None, [handle, ctypes.POINTER(MemoryConfig)]),
        "vdla_open_waves": (ctypes.c_int, [handle, ctypes.c_char_p]),
        "vdla_read": (ctypes.c_int64, [handle, number]),
        "vdla_write": (ctypes.c_int, [handle, number, number]),
        "vdla_run": (ctypes.c_int, [handle, cycles, ctypes.POINTER(ctypes.c_uint64)]),
        "vdla_cycles": (cycles, [handle]),
        "vdla_zero": (ctypes.c_int64, [handle]),
        "vdla_events": (ctypes.c_uint64, [handle, ctypes.c_uint, ctypes.c_uint, ctypes.POINTER(ctypes.c_int64)]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
