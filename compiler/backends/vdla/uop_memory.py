"""Which micro-ops lie where in the micro-op memory, layer by layer.

Sequences are appended to the memory in order of first use, and to one table in DRAM alike, so that what a layer lacks is
one contiguous LOAD at its start. When the memory is full it is started again from empty; a layer that needs more than the
whole memory is cut into stretches that do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vdla.compiler.backends.vdla.emit import NONE, Emission
from vdla.design import Design
from vdla.isa.layout import UOP_COLUMNS


@dataclass(frozen=True, slots=True)
class UopLoad:
    """Load table[begin : begin + count] to entry `sram_base`, in front of the layer's instruction `before`."""

    before: int
    sram_base: int
    begin: int
    count: int


@dataclass(frozen=True, eq=False)
class LayerUops:
    """entry, row: int64[instructions], where each one's sequence begins in the memory and in the table; 0 without one."""

    loads: tuple[UopLoad, ...]
    entry: np.ndarray
    row: np.ndarray


@dataclass(frozen=True, eq=False)
class UopPlan:
    """table: UOP_COLUMNS[…], the micro-ops in the order they are loaded."""

    table: np.ndarray
    layers: tuple[LayerUops, ...]


def plan_uops(emissions: Sequence[Emission], design: Design) -> UopPlan:
    """Place the sequences of all layers, in order."""
    memory = _Memory(design.uop_depth)
    layers = tuple(memory.layer(emission) for emission in emissions)
    table = np.concatenate(memory.table) if memory.table else np.zeros(0, UOP_COLUMNS)
    return UopPlan(table, layers)


@dataclass(eq=False)
class _Memory:
    depth: int
    cursor: int = 0
    rows: int = 0
    table: list[np.ndarray] = field(default_factory=list)
    resident: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # contents → entry, table row
    keys: dict[int, list[bytes]] = field(default_factory=dict)  # by emission: its sequences' contents

    def layer(self, emission: Emission) -> LayerUops:
        keys = self.keys.setdefault(id(emission), [s.tobytes() for s in emission.sequences])
        used, first = np.unique(emission.sequence, return_index=True)
        in_order = used[np.argsort(first)].tolist()
        wanted = [s for s in in_order if s != NONE]
        places = self._place(emission, wanted, keys)
        if places is None:
            self._forget()
            places = self._place(emission, wanted, keys)
        if places is None:
            return self._stretches(emission, keys)
        load, entries, rows = places
        return LayerUops((load,) if load.count else (), entries[emission.sequence], rows[emission.sequence])

    def _forget(self) -> None:
        self.resident.clear()
        self.cursor = 0

    def _place(self, emission: Emission, wanted: list[int], keys: list[bytes]) -> tuple[UopLoad, np.ndarray, np.ndarray] | None:
        """Append what is missing; None, and nothing done, when the memory has no room for it. Index NONE of the arrays is 0."""
        missing = [s for s in wanted if keys[s] not in self.resident]
        count = sum(len(emission.sequences[s]) for s in missing)
        if self.cursor + count > self.depth:
            return None
        load = UopLoad(0, self.cursor, self.rows, count)
        for s in missing:
            self._append(emission.sequences[s], keys[s])
        entries, rows = (np.zeros(len(keys) + 1, np.int64) for _ in range(2))
        for s in wanted:
            entries[s], rows[s] = self.resident[keys[s]]
        return load, entries, rows

    def _append(self, uops: np.ndarray, key: bytes) -> None:
        self.resident[key] = (self.cursor, self.rows)
        self.table.append(uops)
        self.cursor += len(uops)
        self.rows += len(uops)

    def _stretches(self, emission: Emission, keys: list[bytes]) -> LayerUops:
        """Fill the memory with what comes next, begin again when it is full."""
        count = len(emission.sequence)
        entry, row = np.zeros(count, np.int64), np.zeros(count, np.int64)
        loads: list[UopLoad] = []
        begin, sram_base, first_row = 0, self.cursor, self.rows
        for k, s in enumerate(emission.sequence.tolist()):
            if s == NONE:
                continue
            if keys[s] not in self.resident:
                if self.cursor + len(emission.sequences[s]) > self.depth:
                    loads.append(UopLoad(begin, sram_base, first_row, self.rows - first_row))
                    self._forget()
                    begin, sram_base, first_row = k, 0, self.rows
                self._append(emission.sequences[s], keys[s])
            entry[k], row[k] = self.resident[keys[s]]
        loads.append(UopLoad(begin, sram_base, first_row, self.rows - first_row))
        return LayerUops(tuple(load for load in loads if load.count), entry, row)
