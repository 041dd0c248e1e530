"""Which DRAM tile goes to which SRAM entry → few 2-D LOAD or STORE instructions.

One instruction fills consecutive SRAM entries, row after row: `y_pad_before` rows of padding; then `y_size` rows of
`x_pad_before` padded entries, `x_size` tiles from DRAM, `x_pad_after` padded entries, one row `x_stride` tiles after the
other in DRAM; then `y_pad_after` rows of padding. The transfer is read off the data, not off the loops that asked for
it: take the SRAM entries in order, and from the front of what is left the longest stretch one instruction can fill.
What has no regular form goes row by row, and tile by tile at worst.

    SRAM entry    0  1  2  3  4  5  6  7  8  9 10 11
    DRAM tile     –  –  –  –  – 40 41  –  – 48 49  –      one LOAD: dram 40, 2 rows of 2, stride 8, pads 1, 0, 1, 1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vdla.design import Design
from vdla.isa.definition import DMA_PAD_BITS, DMA_SIZE_BITS, Opcode
from vdla.isa.layout import layout_of
from vdla.jit import jit

TRANSFER_FIELDS = (
    "sram_base", "dram_base", "y_size", "x_size", "x_stride", "y_pad_before", "y_pad_after", "x_pad_before", "x_pad_after",
)  # fmt: skip
PAD = -1


@dataclass(frozen=True, slots=True)
class DmaLimits:
    """Largest value of the size, stride and padding fields."""

    size: int
    stride: int
    pad: int


def dma_limits_of(design: Design) -> DmaLimits:
    stride = layout_of(design).limit(Opcode.LOAD, "x_stride")
    return DmaLimits((1 << DMA_SIZE_BITS) - 1, stride, (1 << DMA_PAD_BITS) - 1)


def transfers(
    sram: np.ndarray, dram: np.ndarray, inside: np.ndarray | None, limits: DmaLimits, *, store: bool = False
) -> np.ndarray:
    """int64[n, len(TRANSFER_FIELDS)]: instructions that move tile dram[k] ↔ entry sram[k] where inside[k], else pad it.

    sram, dram: int64[steps], in the order of execution: the last step to write an entry (a STORE: a DRAM tile) wins.
    Addresses may be relative to any base. A store has no `inside`.
    """
    last = _last_of_each(dram if store else sram)
    sram = sram[last]
    dram = dram[last]
    data = np.ones(len(sram), np.bool_) if inside is None else inside[last]
    order = np.lexsort((dram, sram)) if store else np.argsort(sram, kind="stable")
    out = np.empty((len(sram), len(TRANSFER_FIELDS)), np.int64)
    count = _split(sram[order], dram[order], data[order], 0, limits.size, limits.stride, limits.pad, out)
    return out[:count].copy()


def _last_of_each(values: np.ndarray) -> np.ndarray:
    """Positions of the last occurrence of each distinct value."""
    _, first_from_end = np.unique(values[::-1], return_index=True)
    return len(values) - 1 - first_from_end


@jit
def _split(sram, dram, data, at, size_limit, stride_limit, pad_limit, out):
    """Greedy: fill `out` with one transfer after another, from entry `at` on; returns how many.

    `at` is an argument because a constant 0 would make Numba compile everything below a second time.
    """
    n = len(sram)
    count = 0
    while at < n:
        end = at + 1  # consecutive SRAM entries from here
        while end < n and sram[end] == sram[end - 1] + 1:
            end += 1
        while at < end:
            at += _take(sram, dram, data, at, end, size_limit, stride_limit, pad_limit, out[count])
            count += 1
    return count


@jit
def _run(dram, data, at, end):
    """Length of the run of consecutive DRAM tiles from `at`; 0 on padding."""
    if at >= end or not data[at]:
        return 0
    length = 1
    while at + length < end and data[at + length] and dram[at + length] == dram[at + length - 1] + 1:
        length += 1
    return length


@jit
def _pads(data, at, end):
    """Length of the run of padding from `at`."""
    length = 0
    while at + length < end and not data[at + length]:
        length += 1
    return length


@jit
def _take(sram, dram, data, at, end, size_limit, stride_limit, pad_limit, row):
    """Write into `row` the transfer that fills most entries from `at`; returns how many entries."""
    row[:] = 0
    row[0] = sram[at]
    lead = _pads(data, at, end)
    if at + lead == end:
        return _only_padding(lead, size_limit, pad_limit, row)
    first = at + lead
    length = _run(dram, data, first, end)
    gap = _pads(data, first + length, end)
    following = first + length + gap
    period = length + gap  # entries from one row to the next, when another row follows
    if (
        following < end
        and _run(dram, data, following, end) == length
        and length <= size_limit
        and period - length <= 2 * pad_limit
    ):
        taken = _rows(sram, dram, data, at, end, lead, length, period, size_limit, stride_limit, pad_limit, row)
        if taken:
            return taken
    return _single_row(dram, data, at, end, lead, length, size_limit, stride_limit, pad_limit, row)


@jit
def _only_padding(lead, size_limit, pad_limit, row):
    """Rows of nothing but padding: x_size tiles wide, y_size 0."""
    width = min(lead, size_limit)
    rows = min(lead // width, 2 * pad_limit)
    row[3] = width
    row[5] = min(rows, pad_limit)
    row[6] = rows - row[5]
    return rows * width


@jit
def _leading_padding(lead, width, slack, pad_limit, row):
    """Split `lead` padded entries into whole rows and x_pad_before ≤ slack; False when a part would be left over."""
    before = lead % width
    rows = lead // width
    if before > slack and slack == 0:
        return False
    if before > slack or before > pad_limit or rows > pad_limit:
        return False
    row[5] = rows
    row[7] = before
    return True


@jit
def _rows(sram, dram, data, at, end, lead, length, period, size_limit, stride_limit, pad_limit, row):
    """Several rows of `length` tiles, `period` entries apart, `stride` DRAM tiles apart; 0 when that cannot be."""
    first = at + lead
    stride = dram[first + period] - dram[first]
    if stride < 0 or stride > stride_limit:
        return 0
    slack = period - length
    if not _leading_padding(lead, period, slack, pad_limit, row):
        if lead:  # fill what does not belong to the pattern by itself
            spare = lead - min(lead, slack, pad_limit)
            if spare:
                return _only_padding(spare, size_limit, pad_limit, row)
        return 0
    after = slack - row[7]
    if after > pad_limit:
        row[5] = 0
        row[7] = 0
        return 0
    rows = 0
    position = first
    while (
        rows < size_limit and position + length <= end and _matches(dram, data, position, length, dram[first] + rows * stride)
    ):
        trailing = min(_pads(data, position + length, min(end, position + length + after)), after)
        if trailing < after:
            break
        rows += 1
        position += period
        if position > end or _pads(data, position - row[7], min(position, end)) < row[7]:
            break
    if rows < 2:
        row[5] = 0
        row[7] = 0
        return 0
    filled = row[5] * period + rows * period
    beyond = _pads(data, at + filled, end) // period
    row[1] = dram[first]
    row[2] = rows
    row[3] = length
    row[4] = stride
    row[6] = min(beyond, pad_limit)
    row[8] = after
    return filled + row[6] * period


@jit
def _matches(dram, data, position, length, expected):
    """Are the `length` entries from `position` the DRAM tiles from `expected` on?"""
    matching = 0
    while matching < length and data[position + matching] and dram[position + matching] == expected + matching:
        matching += 1
    return matching == length


@jit
def _folded_width(lead, length, trailing, size_limit, stride_limit, pad_limit):
    """Width of rows in which padding, one run and padding are whole rows each; 0 when the fields cannot hold that."""
    a, b = length, lead
    while b:
        a, b = b, a % b
    if trailing:
        b = trailing
        while b:
            a, b = b, a % b
    fits = a <= size_limit and a <= stride_limit and length // a <= size_limit
    return a if fits and lead // a <= pad_limit and trailing // a <= pad_limit else 0


@jit
def _single_row(dram, data, at, end, lead, length, size_limit, stride_limit, pad_limit, row):
    """One run of DRAM tiles with the padding around it; a long run becomes full rows of the largest size."""
    first = at + lead
    trailing = _pads(data, first + length, end)
    row[1] = dram[first]
    if lead > pad_limit or trailing > pad_limit or length > size_limit:
        for share in range(1, -1, -1):  # with the padding behind, else without
            tail = trailing * share
            width = _folded_width(lead, length, tail, size_limit, stride_limit, pad_limit)
            if width:
                row[2] = length // width
                row[3] = width
                row[4] = width
                row[5] = lead // width
                row[6] = tail // width
                return lead + length + tail
    if lead > pad_limit:
        row[1] = 0
        return _only_padding(lead, size_limit, pad_limit, row)
    row[7] = lead
    if length > size_limit:
        row[3] = size_limit
        row[2] = 1 if lead or size_limit > stride_limit else min(length // size_limit, size_limit)
        row[4] = size_limit if row[2] > 1 else 0
        return lead + row[2] * size_limit
    row[2] = 1
    row[3] = length
    row[8] = min(trailing, pad_limit)
    return lead + length + row[8]
