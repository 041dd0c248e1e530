"""Queues, token FIFOs and the order they impose: what is known to have finished before an instruction starts.

Two rules give every happens-before edge. An instruction retires before the next one of its queue starts; and the k-th
push on a FIFO is the k-th pop's token, pushed when its instruction retires, taken before the popping one starts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.isa.definition import BUFFERS_OF, DMA, HEAD, Opcode, Queue, Unit, queue_of, unit_of


@dataclass(frozen=True, slots=True)
class Fifo:
    """One of the four token FIFOs: which column of which queue's instructions pushes it, and which pops it."""

    producer: Queue
    push: str
    consumer: Queue
    pop: str

    @property
    def name(self) -> str:
        return f"{self.producer.name.lower()}→{self.consumer.name.lower()}"


FIFOS = tuple(
    fifo
    for before, after in ((Queue.LOAD, Queue.COMPUTE), (Queue.COMPUTE, Queue.STORE))
    for fifo in (Fifo(before, "push_next", after, "pop_prev"), Fifo(after, "push_prev", before, "pop_next"))
)


def _unit_table() -> np.ndarray:
    """int64[opcode, buffer], of all values of the fields."""
    values = {field.name: 1 << field.width for field in (*HEAD, *DMA) if isinstance(field.width, int)}
    table = np.full((values["opcode"], values["buffer"]), Unit.FETCH, np.int64)
    for opcode in Opcode:
        if opcode in BUFFERS_OF:
            for buffer in BUFFERS_OF[opcode]:
                table[opcode, buffer] = unit_of(queue_of(opcode, buffer))
        else:
            table[opcode] = unit_of(queue_of(opcode))
    return table


_UNITS = _unit_table()


def unit_numbers(opcode: np.ndarray, buffer: np.ndarray) -> np.ndarray:
    """int64[n]: the `Unit` that runs each instruction of these fields; FETCH, 0, for one that does not exist.

    opcode, buffer: int[n], anything the fields can hold; the buffer of what is no DMA is not looked at.
    """
    return _UNITS[opcode, buffer]


def units_of(columns: np.ndarray) -> np.ndarray:
    """int64[n]: the `Unit` that runs each of COLUMNS[n]."""
    return unit_numbers(columns["opcode"], columns["buffer"])


def queues_of(columns: np.ndarray) -> np.ndarray:
    """int8[n]: the `Queue` of each of COLUMNS[n]."""
    return (units_of(columns) - unit_of(Queue(0))).astype(np.int8)


def pushes_of(columns: np.ndarray, queue: np.ndarray, fifo: Fifo) -> np.ndarray:
    """Instructions that push `fifo`, in order: int64[pushes]."""
    return np.flatnonzero((queue == fifo.producer) & (columns[fifo.push] != 0))


def pops_of(columns: np.ndarray, queue: np.ndarray, fifo: Fifo) -> np.ndarray:
    """Instructions that pop `fifo`, in order: int64[pops]."""
    return np.flatnonzero((queue == fifo.consumer) & (columns[fifo.pop] != 0))


@dataclass(frozen=True)
class Precedence:
    """The happens-before relation of one program of n instructions, as vector clocks.

    queue: int8[n]. position: int32[n], index of the instruction within its queue.
    clock: int32[n, 3], how many instructions of each queue are known to have retired before this one starts.
    members: for each queue its instructions, int64[].
    retired: how many of each queue's instructions run before nothing more can; all of them unless there is a deadlock.
    Clocks of instructions that never run are zero.
    """

    queue: np.ndarray
    position: np.ndarray
    clock: np.ndarray
    members: tuple[np.ndarray, ...]
    retired: tuple[int, ...]

    def before(self, first: int, second: int) -> bool:
        """Has `first` certainly retired when `second` starts?"""
        return bool(self.position[first] < self.clock[second, self.queue[first]])

    def blocked(self) -> dict[Queue, int]:
        """The instruction at which each queue hangs; empty when the program runs to its end."""
        ends = zip(Queue, self.members, self.retired, strict=True)
        return {queue: int(members[done]) for queue, members, done in ends if done < len(members)}


def precedence_of(columns: np.ndarray) -> Precedence:
    """Run the three queues with their tokens, without time: O(n) for COLUMNS[n]."""
    from vdla.isa.checker_kernels import run_queues  # numba loads only when a program is checked

    queue = queues_of(columns)
    members = tuple(np.flatnonzero(queue == q) for q in Queue)
    position = np.zeros(len(columns), np.int32)
    for instructions in members:
        position[instructions] = np.arange(len(instructions), dtype=np.int32)
    pops, pushes = (np.zeros((len(columns), len(FIFOS)), np.bool_) for _ in range(2))
    for k, fifo in enumerate(FIFOS):
        pushes[pushes_of(columns, queue, fifo), k] = True
        pops[pops_of(columns, queue, fifo), k] = True
    producers = np.array([fifo.producer for fifo in FIFOS], np.int64)
    begin = np.cumsum([0, *map(len, members)])
    clock, retired = run_queues(np.concatenate(members), begin, position, pops, pushes, producers)
    return Precedence(queue, position, clock, members, tuple(int(r) for r in retired))
