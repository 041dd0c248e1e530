"""The simulators as devices (`vdla.device.Device`): bit-exact results and, when asked, cycles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vdla.design import Design
from vdla.device import DeviceResult, Observer, Profile
from vdla.isa.binding import bind_inputs, read_outputs, require_design
from vdla.isa.program import Program
from vdla.profile import profile_of
from vdla.sim.deadlock import deadlock_error
from vdla.sim.functional import run_functional
from vdla.sim.timing_engine import Timeline, timeline_of
from vdla.sim.work import Work, work_of


class Simulator:
    """The fast simulator. With `sanitize`, races and reads of unwritten SRAM are errors; see `sanitizer`."""

    def __init__(self, design: Design, *, sanitize: bool = False) -> None:
        self.design, self.sanitize = design, sanitize

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult:
        """See `Device.run`. Raises `RunError` for a program of another design, wrong inputs, an access outside a memory,
        a deadlock (when timed) or, when sanitizing, what `sanitizer.sanitize` found."""
        program = require_design(program, self.design)
        dram, columns = bind_inputs(program, inputs), program.columns()
        warnings = self._sanitize(program, columns) if self.sanitize else ()
        profile = time_columns(program, columns) if timing else None
        run_functional(program, columns, dram, observe)
        return DeviceResult(read_outputs(program, dram), profile, warnings)

    def functional_only(
        self, program: Program, inputs: Mapping[str, np.ndarray], observe: Observer | None = None
    ) -> DeviceResult:
        """Results without cycles."""
        return self.run(program, inputs, timing=False, observe=observe)

    def timing_only(self, program: Program) -> Profile:
        """Cycles without results, and so without inputs. Raises `RunError` as `run` does."""
        program = require_design(program, self.design)
        return time_columns(program, program.columns())

    def _sanitize(self, program: Program, columns: np.ndarray) -> tuple[str, ...]:
        from vdla.sim.sanitizer import raise_or_warn, sanitize  # heavy, and rarely wanted

        return raise_or_warn(sanitize(program, columns))


def time_columns(program: Program, columns: np.ndarray) -> Profile:
    """The profile of `program`, decoded to `columns`. Raises `RunError` on a deadlock."""
    return profile_of(program, columns, timeline_of_program(program, columns)[1].events)


def timeline_of_program(program: Program, columns: np.ndarray) -> tuple[Work, Timeline]:
    """The work and times of every instruction. Raises `RunError` on a deadlock, saying who waits for what."""
    work = work_of(program, columns)
    timeline = timeline_of(columns, work, program.design)
    if not timeline.complete:
        times = timeline.times
        started, dispatched = times["start"] >= 0, times["dispatch"] >= 0
        raise deadlock_error(program, columns, timeline.instructions["unit"], started, dispatched, timeline.cycles)
    return work, timeline
