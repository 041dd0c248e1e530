"""A run as a Chrome trace, for Perfetto (https://ui.perfetto.dev) or chrome://tracing.

One track for each unit with an event for each instruction, one for the layers, and a counter for each unit of the cycles
it has lost so far, by cause.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vdla.device import STALLS, UNITS
from vdla.isa.program import Program
from vdla.sim.device import schedule_program
from vdla.sim.profile import profile_of, unit_cycles
from vdla.sim.timing import COMPUTE, FETCH, FETCH_BLOCK, LOAD, STORE

Event = dict[str, Any]
LAYERS_TRACK = len(UNITS)


def chrome_trace(program: Program) -> Event:
    """The JSON document. Times are microseconds at the design's clock. Raises `RunError` on a deadlock."""
    from vdla.isa.assembler import instruction_lines

    columns = program.columns()
    work, schedule = schedule_program(program, columns)
    profile = profile_of(program, columns, work, schedule)
    _, stalls = unit_cycles(columns, work, schedule)
    lines, unit, scale = instruction_lines(columns), schedule.instructions["unit"], 1 / program.design.clock_mhz
    events = [_name(track, name) for track, name in enumerate((*UNITS, "layers"))]
    events += _instructions(program, lines, unit, profile.start, profile.finish, scale)
    events += _fetch_blocks(schedule.times["dispatch"], scale)
    for u in (LOAD, COMPUTE, STORE):
        rows = np.flatnonzero(unit == u)
        events += _counters(UNITS[u], profile.start[rows], stalls[:, rows], scale)
    time = 0
    for layer in profile.layers:
        events.append(_span(LAYERS_TRACK, layer.name, time, time + layer.cycles, scale, {"cycles": layer.cycles}))
        time += layer.cycles
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def _instructions(
    program: Program, lines: list[str], unit: np.ndarray, start: np.ndarray, finish: np.ndarray, scale: float
) -> list[Event]:
    layer_names = [""] * len(lines)
    for layer in program.layers:
        layer_names[layer.begin : layer.end] = [layer.name] * (layer.end - layer.begin)
    rows = zip(unit.tolist(), lines, layer_names, start.tolist(), finish.tolist(), strict=True)
    return [
        _span(u, " ".join(text.split()[:2]), a, b, scale, {"instruction": i, "text": text, "layer": layer, "cycles": b - a})
        for i, (u, text, layer, a, b) in enumerate(rows)
    ]


def _fetch_blocks(dispatch: np.ndarray, scale: float) -> list[Event]:
    """FETCH's work is too fine to show: one event for each block, from its first dispatch to its last."""
    blocks = [dispatch[k : k + FETCH_BLOCK].tolist() for k in range(0, len(dispatch), FETCH_BLOCK)]
    return [_span(FETCH, f"block {k}", b[0], b[-1] + 1, scale, {"instructions": len(b)}) for k, b in enumerate(blocks)]


def _counters(name: str, start: np.ndarray, stalls: np.ndarray, scale: float) -> list[Event]:
    """Lost cycles so far, when an instruction that waited for something starts."""
    totals, waited = np.cumsum(stalls, axis=1), stalls.any(axis=0)
    return [
        {"ph": "C", "pid": 1, "name": f"{name} stalls", "ts": float(start[k]) * scale, "args": dict(zip(STALLS, totals[:, k].tolist(), strict=True))}
        for k in np.flatnonzero(waited)
    ]


def _name(track: int, name: str) -> Event:
    return {"ph": "M", "pid": 1, "tid": track, "name": "thread_name", "args": {"name": name}}


def _span(track: int, name: str, begin: int, end: int, scale: float, args: Event) -> Event:
    return {"ph": "X", "pid": 1, "tid": track, "name": name, "ts": begin * scale, "dur": (end - begin) * scale, "args": args}
