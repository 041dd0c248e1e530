"""Who waits for what when nothing moves any more, in words."""

from __future__ import annotations

import numpy as np

from vdla.device import UNITS
from vdla.errors import RunError
from vdla.isa.assembler import describe
from vdla.isa.definition import Queue, Unit, unit_of
from vdla.isa.program import Program
from vdla.isa.timing import COMMAND_QUEUE_DEPTH
from vdla.isa.tokens import FIFOS, Fifo


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
    pushed = {f: int(columns[f.push][started & (unit == unit_of(f.producer))].sum()) for f in FIFOS}
    popped = {f: int(columns[f.pop][started & (unit == unit_of(f.consumer))].sum()) for f in FIFOS}
    for u in map(unit_of, Queue):
        waiting = np.flatnonzero((unit == u) & ~started)
        if not len(waiting):
            sides.append(f"{UNITS[u].upper()} has run all its instructions")
        elif not dispatched[waiting[0]]:
            sides.append(f"{UNITS[u].upper()} has an empty queue; next is {describe(program, int(waiting[0]))}")
        else:
            missing = _missing(columns[waiting[0]], u, pushed, popped)
            sides.append(f"{UNITS[u].upper()} waits for {missing} at {describe(program, int(waiting[0]))}")
    blocked = np.flatnonzero(~dispatched)
    if len(blocked):
        queue = UNITS[int(unit[blocked[0]])].upper()
        sides.append(f"FETCH waits for room in the queue of {queue} ({COMMAND_QUEUE_DEPTH} deep)")
    return RunError(
        "deadlock: " + "; ".join(sides),
        where="" if cycle is None else f"cycle {cycle}",
        hint="vdla isa check names the missing token",
    )


def _missing(f: np.void, u: Unit, pushed: dict[Fifo, int], popped: dict[Fifo, int]) -> str:
    """The tokens that the instruction `f` of `u` pops and nobody has pushed."""
    names = []
    for bit in ("pop_prev", "pop_next"):
        fifo = next((fifo for fifo in FIFOS if unit_of(fifo.consumer) == u and fifo.pop == bit), None)
        if f[bit] and fifo is None:
            names.append("token 1 from a queue that does not exist")
        elif f[bit] and fifo is not None and popped[fifo] >= pushed[fifo]:
            names.append(f"token {popped[fifo] + 1} from {fifo.producer.name}")
    return " and ".join(names)
