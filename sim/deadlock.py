"""Who waits for what when nothing moves any more, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vdla.device import UNITS
from vdla.errors import RunError
from vdla.isa.program import Program
from vdla.isa.timing import COMMAND_QUEUE_DEPTH, COMPUTE, LOAD, STORE
from vdla.sim.functional import describe

NEIGHBOURS = {LOAD: ("", "COMPUTE"), COMPUTE: ("LOAD", "STORE"), STORE: ("COMPUTE", "")}


def deadlock_error(
    program: Program,
    columns: np.ndarray,
    unit: np.ndarray,
    started: np.ndarray,
    dispatched: np.ndarray,
    cycle: int | None = None,
) -> RunError:
    """The error of a run that stopped. unit: int64[n]; started, dispatched: bool[n], which instructions got so far.
    cycle: when the last thing happened, where time plays a part."""
    sides = []
    pushed = {(u, side): _pushed(columns, unit, started, u, side) for u in NEIGHBOURS for side in ("prev", "next")}
    popped = {
        (u, side): int(columns[f"pop_{side}"][started & (unit == u)].sum()) for u in NEIGHBOURS for side in ("prev", "next")
    }
    for u in NEIGHBOURS:
        waiting = np.flatnonzero((unit == u) & ~started)
        if not len(waiting):
            sides.append(f"{UNITS[u].upper()} has run all its instructions")
        elif not dispatched[waiting[0]]:
            sides.append(f"{UNITS[u].upper()} has an empty queue; next is {describe(program, columns, int(waiting[0]))}")
        else:
            missing = _missing(columns[waiting[0]], u, pushed, popped)
            sides.append(f"{UNITS[u].upper()} waits for {missing} at {describe(program, columns, int(waiting[0]))}")
    blocked = np.flatnonzero(~dispatched)
    if len(blocked):
        queue = UNITS[int(unit[blocked[0]])].upper()
        sides.append(f"FETCH waits for room in the queue of {queue} ({COMMAND_QUEUE_DEPTH} deep)")
    return RunError(
        "deadlock: " + "; ".join(sides),
        where="" if cycle is None else f"cycle {cycle}",
        hint="vdla isa check names the missing token",
    )


def _pushed(columns: np.ndarray, unit: np.ndarray, started: np.ndarray, u: int, side: str) -> int:
    """Tokens pushed towards `u` from its side `side`."""
    producer, bit = (u - 1, "push_next") if side == "prev" else (u + 1, "push_prev")
    return int(columns[bit][started & (unit == producer)].sum())


def _missing(f: np.void, u: int, pushed: dict[tuple[int, str], int], popped: dict[tuple[int, str], int]) -> str:
    names: Sequence[str] = [
        f"token {popped[u, side] + 1} from {NEIGHBOURS[u][k] or 'a queue that does not exist'}"
        for k, side in enumerate(("prev", "next"))
        if f[f"pop_{side}"] and popped[u, side] >= pushed[u, side]
    ]
    return " and ".join(names)
