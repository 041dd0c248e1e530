"""A run as a Chrome trace, for Perfetto (https://ui.perfetto.dev) or chrome://tracing.

One track for each unit with an event for each instruction, one for the layers, and a counter for each unit of the cycles
it has lost so far, by cause.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vdla.device import STALLS, UNITS, Profile
from vdla.isa.assembler import instruction_lines
from vdla.isa.program import Program
from vdla.isa.timing import COMPUTE, FETCH, FETCH_BLOCK, LOAD, STORE
from vdla.profile import account_of_units
from vdla.sim.device import timeline_of_program

Event = dict[str, Any]


class Clock(NamedTuple):
    """Cycles to microseconds."""

    begin: float
    period: float

    def at(self, cycle: float) -> float:
        return self.begin + cycle * self.period


LAYERS_TRACK = len(UNITS)


def trace_json(runs: Sequence[tuple[Program, Profile]]) -> str:
    """The JSON document of programs run one after another, each a process of the trace. Times are microseconds at the
    design's clock. Raises `RunError` on a deadlock."""
    events: list[Event] = []
    begin = 0.0
    for number, (program, profile) in enumerate(runs, 1):
        events += [{**event, "pid": number} for event in _program_events(program, profile, begin)]
        begin += profile.cycles / program.design.clock_mhz
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, separators=(",", ":"))


def _program_events(program: Program, profile: Profile, begin: float) -> list[Event]:
    columns = program.columns()
    _, timeline = timeline_of_program(program, columns)  # again: a profile does not keep what each instruction waited for
    stalls = account_of_units(columns, program.design, timeline.events).stalls
    unit, clock = timeline.instructions["unit"], Clock(begin, 1 / program.design.clock_mhz)
    events = [_name(track, name) for track, name in enumerate((*UNITS, "layers"))]
    events += _instructions(program, instruction_lines(columns), unit, profile, clock)
    events += _fetch_blocks(timeline.times["dispatch"], clock)
    for u in (LOAD, COMPUTE, STORE):
        rows = np.flatnonzero(unit == u)
        events += _counters(UNITS[u], profile.start[rows], stalls[:, rows], clock)
    time = 0
    for layer in profile.layers:
        events.append(_span(LAYERS_TRACK, layer.name, time, time + layer.cycles, clock, {"cycles": layer.cycles}))
        time += layer.cycles
    return events


def _instructions(program: Program, lines: list[str], unit: np.ndarray, profile: Profile, clock: Clock) -> list[Event]:
    layer_names = [""] * len(lines)
    for layer in program.layers:
        layer_names[layer.begin : layer.end] = [layer.name] * (layer.end - layer.begin)
    rows = zip(unit.tolist(), lines, layer_names, profile.start.tolist(), profile.finish.tolist(), strict=True)
    return [
        _span(u, " ".join(text.split()[:2]), a, b, clock, {"instruction": i, "text": text, "layer": layer, "cycles": b - a})
        for i, (u, text, layer, a, b) in enumerate(rows)
    ]


def _fetch_blocks(dispatch: np.ndarray, clock: Clock) -> list[Event]:
    """FETCH's work is too fine to show: one event for each block, from its first dispatch to its last."""
    blocks = [dispatch[k : k + FETCH_BLOCK].tolist() for k in range(0, len(dispatch), FETCH_BLOCK)]
    return [_span(FETCH, f"block {k}", b[0], b[-1] + 1, clock, {"instructions": len(b)}) for k, b in enumerate(blocks)]


def _counters(name: str, start: np.ndarray, stalls: np.ndarray, clock: Clock) -> list[Event]:
    """Lost cycles so far, when an instruction that waited for something starts."""
    totals, waited = np.cumsum(stalls, axis=1), stalls.any(axis=0)
    return [
        {
            "ph": "C",
            "name": f"{name} stalls",
            "ts": clock.at(float(start[k])),
            "args": dict(zip(STALLS, totals[:, k].tolist(), strict=True)),
        }
        for k in np.flatnonzero(waited)
    ]


def _name(track: int, name: str) -> Event:
    return {"ph": "M", "tid": track, "name": "thread_name", "args": {"name": name}}


def _span(track: int, name: str, begin: int, end: int, clock: Clock, args: Event) -> Event:
    return {"ph": "X", "tid": track, "name": name, "ts": clock.at(begin), "dur": (end - begin) * clock.period, "args": args}
