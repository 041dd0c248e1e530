"""The compiled loop of `tokens` that finds who last touched what."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vdla.isa.definition import Queue
from vdla.jit import jit

LOAD, COMPUTE, STORE = map(int, Queue)
LOAD_UOP, LOAD_INP, LOAD_WGT, LOAD_ACC, STORE_ACC, MULTIPLY, VECTOR, END = range(8)
"""Kinds of instruction. VECTOR touches only acc tiles, as an ALU instruction or a reset does; END waits for all stores."""
NEVER = -1


class Dram(NamedTuple):
    """Granules of `granule` bytes; those in [first, end) are written by some STORE."""

    granule: int
    first: int
    end: int


@jit
def find_dependences(columns, kind, queue, uops, uop_start, tile_sizes, dram, depths):
    """int64[n, 3]: for each instruction and queue the last conflicting earlier instruction of that queue, or NEVER.

    columns: COLUMNS[n]. kind, queue: int64[n]. uops: int64[m, 3] of dst, src, wgt. tile_sizes: bytes by Scratchpad.
    depths: entries of inp, wgt, acc.
    """
    n = len(columns)
    required = np.full((n, 3), NEVER, np.int64)
    inp_written, inp_read = np.full(depths[0], NEVER, np.int64), np.full(depths[0], NEVER, np.int64)
    wgt_written, wgt_read = np.full(depths[1], NEVER, np.int64), np.full(depths[1], NEVER, np.int64)
    acc_written, acc_stored = np.full(depths[2] + 1, NEVER, np.int64), np.full(depths[2] + 1, NEVER, np.int64)
    span = max(dram.end - dram.first, 0)
    stored = np.full(span, NEVER, np.int64)
    fetched = np.full((2, span), NEVER, np.int64)  # by LOAD, by COMPUTE
    last_store = NEVER
    for i in range(n):
        c = columns[i]
        mine = required[i]
        if kind[i] == MULTIPLY or kind[i] == VECTOR:
            gemm = kind[i] == MULTIPLY
            _compute(
                i, c, gemm, uops, uop_start[i], inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine
            )
        elif kind[i] == STORE_ACC:
            _store(i, c, dram, stored, fetched, acc_written, acc_stored, mine)
            last_store = i
        elif kind[i] == END:
            mine[STORE] = last_store
        else:
            _fetch(i, c, queue[i], tile_sizes[c["buffer"]], dram, stored, fetched, mine)
            if kind[i] == LOAD_INP:
                _fill(i, c, COMPUTE, inp_written, inp_read, mine)
            elif kind[i] == LOAD_WGT:
                _fill(i, c, COMPUTE, wgt_written, wgt_read, mine)
            elif kind[i] == LOAD_ACC:
                _fill(i, c, STORE, acc_written, acc_stored, mine)
    return required


@jit
def _later(mine, queue, candidate):
    if candidate > mine[queue]:
        mine[queue] = candidate


@jit
def _compute(i, c, gemm, uops, start, inp_written, inp_read, wgt_written, wgt_read, acc_written, acc_stored, mine):
    for outer in range(c["loop_outer"]):
        for inner in range(c["loop_inner"]):
            dst0 = outer * c["dst_outer"] + inner * c["dst_inner"]
            src0 = outer * c["src_outer"] + inner * c["src_inner"]
            wgt0 = outer * c["wgt_outer"] + inner * c["wgt_inner"]
            for u in range(start, start + c["uop_end"] - c["uop_begin"]):
                dst = dst0 + uops[u, 0]
                if acc_stored[dst] > mine[STORE]:
                    mine[STORE] = acc_stored[dst]
                acc_written[dst] = i
                if gemm:
                    src = src0 + uops[u, 1]
                    wgt = wgt0 + uops[u, 2]
                    if inp_written[src] > mine[LOAD]:
                        mine[LOAD] = inp_written[src]
                    inp_read[src] = i
                    if wgt_written[wgt] > mine[LOAD]:
                        mine[LOAD] = wgt_written[wgt]
                    wgt_read[wgt] = i


@jit
def _entries(c):
    """How many SRAM entries a LOAD fills."""
    return (c["y_pad_before"] + c["y_size"] + c["y_pad_after"]) * (c["x_pad_before"] + c["x_size"] + c["x_pad_after"])


@jit
def _fill(i, c, reader, written, read, mine):
    """A LOAD waits for those who read what it overwrites: COMPUTE, or STORE for acc."""
    for entry in range(c["sram_base"], c["sram_base"] + _entries(c)):
        _later(mine, reader, read[entry])
        written[entry] = i


@jit
def _fetch(i, c, queue, tile_bytes, dram, stored, fetched, mine):
    for row in range(c["y_size"]):
        begin = (c["dram_base"] + row * c["x_stride"]) * tile_bytes
        end = begin + c["x_size"] * tile_bytes
        first = max(begin // dram.granule, dram.first)
        last = min((end + dram.granule - 1) // dram.granule, dram.end)
        for g in range(first - dram.first, last - dram.first):
            _later(mine, STORE, stored[g])
            fetched[queue, g] = i


@jit
def _store(i, c, dram, stored, fetched, acc_written, acc_stored, mine):
    entry = c["sram_base"]
    for row in range(c["y_size"]):
        begin = c["dram_base"] + row * c["x_stride"] - dram.first
        for g in range(begin, begin + c["x_size"]):
            _later(mine, COMPUTE, acc_written[entry])
            acc_stored[entry] = i
            entry += 1
            _later(mine, LOAD, fetched[LOAD, g])
            _later(mine, COMPUTE, fetched[COMPUTE, g])
            stored[g] = i
