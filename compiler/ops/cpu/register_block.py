"""Blocks of accumulators in vector registers: rows (output channels, say, unrolled) by columns (positions, vectorised).

Each step of the sum takes one broadcast load for each row and one vector load for each vector of columns.
"""

from __future__ import annotations

from functools import cache

from vdla.compiler.backends.llvm import Target

TEMPORARIES = 4
"""Registers that hold loaded columns and temporaries."""


def divisors(n: int, limit: int | None = None) -> tuple[int, ...]:
    """Ascending, up to `limit`."""
    return tuple(d for d in range(1, min(n, limit or n) + 1) if n % d == 0)


def vectors(columns: int, lanes: int) -> int:
    """Registers for one row of `columns` elements: full vectors, then halves down to single elements."""
    return columns // lanes + (columns % lanes).bit_count()


def accumulators(target: Target) -> int:
    return target.vector_registers - TEMPORARIES


def block_cycles(rows: int, columns: int, target: Target) -> float:
    """Cycles for one step of a block's reduction: multiply-adds on two pipes of half a vector, as many loads, and the columns
    streaming from the second-level cache."""
    halves = 2 * (columns // target.lanes) + (columns % target.lanes).bit_count()
    return max(rows * halves / 2, (rows + halves) / 2, columns * 4 / target.cache_bytes_per_cycle)


@cache
def best_block(rows: int, columns: int, registers: int, target: Target) -> tuple[int, int]:
    """The rows × columns block, dividing both and fitting `registers`, that computes most in a cycle; of equals the largest."""
    lanes = target.lanes
    fitting = [(r, c) for c in divisors(columns) for r in divisors(rows) if r * vectors(c, lanes) <= registers]
    return max(fitting, key=lambda b: (round(b[0] * b[1] / block_cycles(b[0], b[1], target), 2), b[0] * b[1]))


def block_refusal(rows: int, columns: int, extents: tuple[int, int], target: Target) -> str:
    """Why rows × columns is no block of a product of `extents`; empty when it is one."""
    for name, size, extent in (("rows", rows, extents[0]), ("columns", columns, extents[1])):
        if extent % size:
            return f"{name}: {extent} is no multiple of {size}"
    needed = rows * vectors(columns, target.lanes)
    return f"registers: {needed} of {target.vector_registers}" if needed > target.vector_registers else ""
