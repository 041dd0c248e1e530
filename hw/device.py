"""The RTL as a device (`vdla.device.Device`): the Verilog of `hw/rtl`, simulated cycle by cycle."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdla.arithmetic import round_up
from vdla.design import Design
from vdla.device import UNITS, DeviceResult, Observer
from vdla.errors import RunError
from vdla.hw.build import rtl_library
from vdla.hw.driver import Counters, Driver, Job, design_hash, unit_of_words
from vdla.hw.simulation import BUS_BASE, MemoryModel, RtlSimulation, StopReason
from vdla.hw.trace import Trace, events_of, seen, trace_of
from vdla.isa.binding import bind_inputs, read_outputs, require_design
from vdla.isa.definition import INSTRUCTION_BYTES
from vdla.isa.program import Program
from vdla.profile import profile_of

PAGE = 4096
SLICE = 1 << 20
"""Cycles between two looks of the driver at the status, if no interrupt comes first."""
QUIET_SLICES = 64
"""Slices in which no instruction finishes, after which the simulation is given up. The watchdog of the hardware is sooner,
if it works."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What a run left. dram: uint8[dram_bytes]. unit: int64[n], that ran each instruction.

    clock_cycles: all that were simulated, and `seconds` the wall time they took.
    """

    dram: np.ndarray
    unit: np.ndarray
    trace: Trace
    counters: Counters
    clock_cycles: int
    seconds: float

    @property
    def start(self) -> np.ndarray:
        """int64[n], cycles of the run."""
        return self.trace.start

    @property
    def finish(self) -> np.ndarray:
        """int64[n], cycles of the run."""
        return self.trace.finish


class RtlDevice:
    """`design`'s RTL, built when first needed and kept in the cache.

    memory: how the memory behaves, by default as the timing contract says. waves: an FST file to write, which is slow.
    cycle_limit: clock cycles after which a run is given up; by default only one in which nothing happens is.
    """

    def __init__(
        self,
        design: Design,
        *,
        memory: MemoryModel | None = None,
        waves: Path | None = None,
        cycle_limit: int | None = None,
    ) -> None:
        self.design, self.memory, self.waves = design, memory or MemoryModel(), waves
        self.cycle_limit = cycle_limit

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult:
        """See `Device.run`. An observer sees DRAM as it is when the last instruction of the layer has retired: layers
        overlap, so later ones may have begun to write what is theirs."""
        program = require_design(program, self.design)
        dram, columns = bind_inputs(program, inputs), program.columns()
        execution = self.execute(program, dram, observe=observe)
        profile = profile_of(program, columns, events_of(execution.trace, columns)) if timing else None
        return DeviceResult(read_outputs(program, execution.dram), profile)

    def execute(self, program: Program, dram: np.ndarray, *, observe: Observer | None = None) -> Execution:
        """Run `program` on a copy of `dram` (uint8[dram_bytes]). Words that are no instructions are run too, and refused by
        the hardware. Raises `RunError` for faults of the machine and of the simulation."""
        with self.machine(program, dram) as machine:
            return machine.run(observe)

    @contextmanager
    def machine(self, program: Program, dram: np.ndarray) -> Iterator[RtlMachine]:
        """The hardware out of reset, with `program` and `dram` in its memory."""
        library = rtl_library(self.design, waves=self.waves is not None)
        image = memory_image(program, dram, self.design)
        simulation = RtlSimulation(library, self.design, image, self.memory, waves=self.waves)
        with simulation:
            yield RtlMachine(simulation, program, self.cycle_limit)


def memory_image(program: Program, dram: np.ndarray, design: Design) -> np.ndarray:
    """uint8: the program from byte 0, DRAM from the next page on."""
    image = np.zeros(_dram_offset(program) + round_up(max(len(dram), 1), max(PAGE, design.bus_bytes)), np.uint8)
    words = np.ascontiguousarray(program.words).view(np.uint8).reshape(-1)
    image[: len(words)] = words
    image[_dram_offset(program) : _dram_offset(program) + len(dram)] = dram
    return image


def job_of(program: Program) -> Job:
    """How `memory_image` is run."""
    length = len(program.words)
    dram_base = BUS_BASE + _dram_offset(program)
    return Job(BUS_BASE, length, length, dram_base, program.dram_bytes, design_hash(program.design))


class RtlMachine:
    """One simulated machine and its driver, for one or several runs of `program`."""

    def __init__(self, simulation: RtlSimulation, program: Program, cycle_limit: int | None = None) -> None:
        self.simulation, self.program, self.cycle_limit = simulation, program, cycle_limit
        self.unit = unit_of_words(program)
        self.driver = Driver(simulation, lambda: simulation.run(SLICE))

    def load(self, program: Program, dram: np.ndarray) -> None:
        """Put another program and its DRAM in the memory, which must have room for them."""
        image = memory_image(program, dram, program.design)
        self.simulation.memory[: len(image)] = image
        self.program, self.unit = program, unit_of_words(program)

    @property
    def dram(self) -> np.ndarray:
        """uint8[dram_bytes]: the DRAM as it is now, in place."""
        begin = _dram_offset(self.program)
        return self.simulation.memory[begin : begin + self.program.dram_bytes]

    def run(self, observe: Observer | None = None, job: Job | None = None) -> Execution:
        """One run. `job` in place of the program's own. Raises `RunError`."""
        begun, first = time.perf_counter(), self.simulation.cycles
        before, earlier = seen(self.simulation), self.simulation.retired()
        self.driver.start(job or job_of(self.program))
        for layer in self.program.layers if observe else ():
            done = np.bincount(self.unit[: layer.end], minlength=len(UNITS))
            if not self._run_until([0, *(earlier[u] + int(done[u]) for u in (1, 2, 3))], first):
                break
            if observe is not None:
                observe(layer, _read_only(self.dram))
        self._run_until(None, first)
        counters = self.driver.end(self.program)
        seconds = time.perf_counter() - begun
        trace = trace_of(self.simulation, self.unit, self.program.design.bus_bytes, before)
        return Execution(self.dram.copy(), self.unit, trace, counters, self.simulation.cycles - first, seconds)

    def _run_until(self, retired: Sequence[int] | None, first: int) -> bool:
        """Let time pass until every unit has retired so many instructions (True) or the run, which began at clock cycle
        `first`, has ended (False)."""
        quiet = 0
        while self.driver.status().running or retired is not None:
            before = self.simulation.retired()
            reason = self.simulation.run(SLICE if self.cycle_limit is None else min(SLICE, self.cycle_limit), retired)
            if reason != StopReason.CYCLES:
                return reason == StopReason.RETIRED
            quiet = quiet + 1 if self.simulation.retired() == before else 0
            cycles = self.simulation.cycles - first
            if quiet == QUIET_SLICES or self.cycle_limit is not None and cycles >= self.cycle_limit:
                raise RunError(
                    "the RTL does not finish",
                    where=f"clock cycle {cycles}",
                    found=f"{sum(self.simulation.retired())} of {len(self.program.words)} instructions retired",
                    hint="vdla cosim --waves FILE",
                )
        return False


def _read_only(dram: np.ndarray) -> np.ndarray:
    view = dram.view()
    view.flags.writeable = False
    return view


def _dram_offset(program: Program) -> int:
    return round_up(max(len(program.words), 1) * INSTRUCTION_BYTES, PAGE)
