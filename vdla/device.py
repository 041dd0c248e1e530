"""The device protocol: whatever runs a program (simulator, naive simulator, RTL, board) looks like this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vdla.design import Design
from vdla.isa.definition import Unit
from vdla.isa.program import LayerSpan, Program

UNITS = tuple(unit.name.lower() for unit in Unit)
STALLS = ("token_from_load", "token_from_compute", "token_from_store", "bus", "queue")
"""Why a unit waits: for a token from a unit; for the memory bus (latency, arbitration, bandwidth); for its command queue
to be filled (or, for fetch, to have room)."""


@dataclass(frozen=True, slots=True)
class UnitProfile:
    """Cycles of one unit. busy + sum(stalls) + idle after its last instruction = total cycles."""

    busy: int
    stalls: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """One layer's share of a run. cycles: from the previous layer's last retirement to this one's; they sum to the total."""

    name: str
    cycles: int
    units: Mapping[str, UnitProfile]
    gemm_cycles: int
    alu_cycles: int
    dram_bytes: Mapping[str, int]  # by buffer name: uop, wgt, inp, acc, out (loads), store, fetch


@dataclass(frozen=True, slots=True)
class Profile:
    """Timing of a whole run. start, finish: cycle at which each instruction began and retired, int64[n]."""

    cycles: int
    layers: tuple[LayerProfile, ...]
    units: Mapping[str, UnitProfile]
    start: np.ndarray
    finish: np.ndarray


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """outputs: one array for each of the program's output slots, in the slot's shape. profile: None when not timed."""

    outputs: Mapping[str, np.ndarray]
    profile: Profile | None
    warnings: tuple[str, ...] = field(default=())


Observer = Callable[[LayerSpan, np.ndarray], None]
"""Called after each layer, in program order, with the layer and the whole DRAM (uint8, read only, valid during the call)."""


class Device(Protocol):
    """Runs programs built for `design`.

    Raises `RunError` for a program of another design, a wrong input, a fault or a deadlock.
    """

    design: Design

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult: ...
