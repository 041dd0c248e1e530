"""From the start and finish of every instruction, as the RTL's trace gives them, to a `Profile`.

The accounting is the simulator's where the trace tells: layers and traffic exactly, cycles on the bus from the beats of
each transfer. When FETCH put an instruction in its queue is not traced. So of a wait, what a token explains is the token's,
and the rest is `queue`; and FETCH itself has no figures but its traffic.
"""

from __future__ import annotations

import numpy as np

from vdla.design import INSTRUCTION_BYTES, Design
from vdla.device import STALLS, UNITS, LayerProfile, Profile, UnitProfile
from vdla.isa.definition import Buffer, Opcode, tile_bytes
from vdla.isa.program import Program

FETCH, LOAD, COMPUTE, STORE = range(len(UNITS))
SIDES = {
    LOAD: ((COMPUTE, "pop_next", "push_prev"),),
    COMPUTE: ((LOAD, "pop_prev", "push_next"), (STORE, "pop_next", "push_prev")),
    STORE: ((COMPUTE, "pop_prev", "push_next"),),
}
"""For each unit, whom it pops tokens from, by which bit, and by which bit of the other they are pushed."""


def trace_profile(program: Program, columns: np.ndarray, unit: np.ndarray, start: np.ndarray, finish: np.ndarray) -> Profile:
    """unit, start, finish: int64[n], of each instruction; cycles from cycle 0 of the run."""
    stalls = np.zeros((len(STALLS), len(columns)), np.int64)
    _waits(columns, unit, start, finish, stalls)
    duration, moving = finish - start, transfer_beats(columns, program.design) > 0
    busy = np.where(moving, np.minimum(duration, _unhindered(columns, program.design)), duration)
    stalls[STALLS.index("bus")] += duration - busy
    traffic = dram_traffic(columns, program.design)

    ends = np.maximum.accumulate(finish) if len(finish) else np.zeros(0, np.int64)
    bounds = [0, *(layer.end for layer in program.layers)]
    if program.layers:
        bounds[-1] = len(columns)
    layers, before = [], 0
    for layer, begin, end in zip(program.layers, bounds, bounds[1:], strict=False):
        rows, opcode = slice(begin, end), columns["opcode"][begin:end]
        last = int(ends[end - 1]) if end else 0
        layers.append(
            LayerProfile(
                layer.name,
                last - before,
                _units(unit[rows], busy[rows], stalls[:, rows]),
                int(duration[rows][opcode == Opcode.GEMM].sum()),
                int(duration[rows][opcode == Opcode.ALU].sum()),
                {name: int(counts[rows].sum()) for name, counts in traffic.items()},
            )
        )
        before = last
    return Profile(int(finish.max(initial=0)), tuple(layers), _units(unit, busy, stalls), start, finish)


def _waits(columns: np.ndarray, unit: np.ndarray, start: np.ndarray, finish: np.ndarray, stalls: np.ndarray) -> None:
    """Share out the cycles between the end of a unit's instruction and the start of its next."""
    for me, sides in SIDES.items():
        rows = np.flatnonzero(unit == me)
        now = np.zeros(len(rows), np.int64)
        now[1:] = finish[rows[:-1]]
        for other, pop, push in sides:
            pushes = np.flatnonzero((unit == other) & (columns[push] != 0))
            pops = np.flatnonzero(columns[pop][rows] != 0)
            known = pops[: len(pushes)]
            seen = now.copy()
            seen[known] = np.maximum(now[known], np.minimum(finish[pushes[: len(known)]] + 1, start[rows[known]]))
            stalls[STALLS.index(f"token_from_{UNITS[other]}"), rows] = seen - now
            now = seen
        stalls[STALLS.index("queue"), rows] = start[rows] - now


def transfer_beats(columns: np.ndarray, design: Design) -> np.ndarray:
    """int64[n]: bus beats of each transfer; rows take whole beats."""
    is_dma = np.isin(columns["opcode"], (Opcode.LOAD, Opcode.STORE))
    widths = np.array([tile_bytes(design, b) for b in Buffer], np.int64)[columns["buffer"]]
    row_bytes = np.where(is_dma, columns["x_size"], 0) * widths
    rows = np.where(row_bytes > 0, columns["y_size"], 0).astype(np.int64)
    owner = np.repeat(np.arange(len(columns)), rows)
    row = np.arange(len(owner)) - np.repeat(np.cumsum(rows) - rows, rows)
    address = columns["dram_base"][owner] * widths[owner] + row * columns["x_stride"][owner] * widths[owner]
    first, last = address // design.bus_bytes, (address + row_bytes[owner] - 1) // design.bus_bytes
    return np.bincount(owner, weights=last - first + 1, minlength=len(columns)).astype(np.int64)


def _unhindered(columns: np.ndarray, design: Design) -> np.ndarray:
    """int64[n]: what a transfer would take had it the bus to itself and no latency: to decode it, then a beat or an entry
    of padding a cycle."""
    decode = 2
    rows = columns["y_pad_before"] + columns["y_size"] + columns["y_pad_after"]
    entries = rows * (columns["x_pad_before"] + columns["x_size"] + columns["x_pad_after"])
    pads = np.where(columns["opcode"] == Opcode.LOAD, entries - columns["y_size"] * columns["x_size"], 0)
    return decode + np.maximum(transfer_beats(columns, design), pads)


def dram_traffic(columns: np.ndarray, design: Design) -> dict[str, np.ndarray]:
    """int64[n] bytes of each instruction by buffer loaded, stored, and fetched: the keys of `LayerProfile.dram_bytes`."""
    tiles = columns["y_size"].astype(np.int64) * columns["x_size"]
    traffic = {}
    for buffer in Buffer:
        mine = (columns["opcode"] == Opcode.LOAD) & (columns["buffer"] == buffer)
        traffic[buffer.name.lower()] = np.where(mine, tiles * tile_bytes(design, buffer), 0)
    traffic["store"] = np.where(columns["opcode"] == Opcode.STORE, tiles * tile_bytes(design, Buffer.OUT), 0)
    traffic["fetch"] = np.full(len(columns), INSTRUCTION_BYTES, np.int64)
    return traffic


def _units(unit: np.ndarray, busy: np.ndarray, stalls: np.ndarray) -> dict[str, UnitProfile]:
    profiles = {UNITS[FETCH]: UnitProfile(0, dict.fromkeys(STALLS, 0))}
    for u in (LOAD, COMPUTE, STORE):
        mine = unit == u
        profiles[UNITS[u]] = UnitProfile(
            int(busy[mine].sum()), dict(zip(STALLS, map(int, stalls[:, mine].sum(axis=1)), strict=True))
        )
    return profiles
