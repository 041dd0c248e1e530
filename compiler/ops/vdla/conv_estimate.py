"""What a tiling of a convolution costs: an estimate that ranks tilings, thousands at once; the simulator times them.

It is the steady state of three queues that run at once: the slowest of COMPUTE, LOAD and the memory bus, plus the first
tile's load and the last tile's store, which nothing hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.ops.vdla.conv_tiling import ConvTiling, chunk_counts, input_window
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.design import Design
from vdla.isa.definition import Opcode
from vdla.isa.timing import instruction_overhead

KINDS = (Opcode.LOAD, Opcode.GEMM, Opcode.ALU, Opcode.STORE)
INSTRUCTION_OVERHEAD = ceil_div(sum(map(instruction_overhead, KINDS)), len(KINDS))
"""Cycles for which an instruction holds its unit beside its work, by the timing contract: the mean of the kinds of which each
tile has a few. To charge each kind its own ranks no better: the layers around decide more (docs/measurements.md)."""


@dataclass(frozen=True, slots=True)
class TileWork:
    """Cycles of an average output tile by unit; `input` and `weight` are of one full reduction chunk, `gemm` of the whole."""

    gemm: Any
    alu: Any
    compute_dma: Any
    input: Any
    weight: Any
    residual: Any
    store: Any


def tile_work(w: ConvWorkload, t: ConvTiling, design: Design, blocks: Any) -> TileWork:
    """Of a tile of `blocks` output blocks. A row of a DMA costs one cycle beside its beats, an instruction its latency. A tile
    narrower than its buffer (the last one of a row, when the columns do not divide the width) stores each of its rows by an
    instruction of its own."""
    bus, latency = design.bus_bytes, design.memory.read_latency + INSTRUCTION_OVERHEAD
    tiles_g, tiles_o = ceil_div(w.groups, t.groups), ceil_div(w.out_blocks, t.out_blocks)
    tiles_y, tiles_x = ceil_div(w.out_height, t.rows), ceil_div(w.out_width, t.columns)
    images = w.batch / ceil_div(w.batch, t.images)
    tiles = ceil_div(w.batch, t.images) * tiles_g * tiles_o * tiles_y * tiles_x
    groups, share = w.groups / tiles_g, blocks * tiles_o / w.out_blocks
    rows, columns = input_window(w, t)
    chunk = np.minimum(t.in_blocks, w.in_blocks)
    if w.height * w.width == 1:  # the blocks of an image follow one another, and the images are rows of one transfer
        partial = np.where(w.in_blocks % t.in_blocks, images * t.in_blocks / w.in_blocks, 1)
        image = partial * latency + images * (1 + groups * chunk * design.inp_tile_bytes / bus)
    else:
        image = images * groups * chunk * (latency + rows * (1 + columns * design.inp_tile_bytes / bus))
    weight_tiles = 1 if w.uniform_weight else groups * blocks * chunk * t.kernel_rows * t.kernel_columns
    weight_dmas = np.where(t.in_blocks >= w.in_blocks, 1, groups * blocks)
    out = w.out_tiles / tiles * share
    if w.out_height * w.out_width == 1:
        out_dmas, out_rows = np.where(w.out_blocks % t.out_blocks, images / tiles_o, 1), images
    else:
        narrow = np.where(w.out_width % t.columns, t.rows / tiles_x, 1)
        out_dmas, out_rows = images * groups * blocks * narrow, out / np.minimum(t.columns, w.out_width)
    out_bus = out_rows + out * design.out_tile_bytes / bus
    parameter_loads = np.where(t.weights_outer, tiles_g * tiles_o, tiles) / tiles * (2 if w.residual else 1)
    return TileWork(
        gemm=w.gemm_uops / tiles * share,
        alu=out * ((5 if w.residual else 1) + (w.table_tiles > 0)) + 3 * INSTRUCTION_OVERHEAD,
        compute_dma=parameter_loads * (groups * blocks * 2 * design.acc_tile_bytes / bus + latency),
        input=image,
        weight=weight_tiles * design.wgt_tile_bytes / bus + weight_dmas * latency,
        residual=(out_dmas * latency + out_bus) if w.residual else 0 * out,
        store=out_dmas * (design.memory.write_latency + INSTRUCTION_OVERHEAD) + out_bus,
    )


def estimate_cycles(w: ConvWorkload, t: ConvTiling, design: Design) -> Any:
    """Cycles of the whole layer under `t`; see the module's docstring."""
    chunks = prod(chunk_counts(w, t))
    tiles = ceil_div(w.batch, t.images) * ceil_div(w.groups, t.groups) * ceil_div(w.out_blocks, t.out_blocks)
    tiles = tiles * ceil_div(w.out_height, t.rows) * ceil_div(w.out_width, t.columns)
    tiles_o, loads = ceil_div(w.out_blocks, t.out_blocks), tile_loads(w, t, tiles, chunks)
    work = tile_work(w, t, design, w.out_blocks / tiles_o)
    rest = w.out_blocks % t.out_blocks  # of the last tile, which is smaller then
    kinds = ((w.out_blocks // t.out_blocks, t.out_blocks), (np.minimum(rest, 1), np.maximum(rest, 1)))
    steady = sum(count * steady_cycles(w, t, design, blocks, loads, tiles, chunks) for count, blocks in kinds) / tiles_o
    traffic = loads.inputs * work.input + loads.weights * work.weight + tiles * (work.residual + work.store)
    share_bus = traffic if design.port_count == 1 else tiles * work.store
    ends = work.input + work.weight + work.store
    single = np.where((t.wgt_buffers == 1) & (loads.weights > 1), loads.weights * work.weight, 0)
    single = single + np.where((t.inp_buffers == 1) & (loads.inputs > 1), loads.inputs * work.input, 0)
    single = single + np.where((t.acc_buffers == 1) & (tiles > 1), tiles * work.store, 0)
    overlapped = np.maximum(tiles * steady, share_bus) + ends + single
    serial = (t.inp_buffers == 1) & (t.wgt_buffers == 1) & (t.acc_buffers == 1)
    whole = tiles * (work.gemm + chunks * INSTRUCTION_OVERHEAD + work.alu + work.compute_dma) + traffic
    return np.where(serial, whole, overlapped)


def steady_cycles(
    w: ConvWorkload, t: ConvTiling, design: Design, blocks: Any, loads: TileLoads, tiles: Any, chunks: Any
) -> Any:
    """Cycles of a tile of `blocks` output blocks among others.

    Each chunk is computed while the next one loads, the last while the next tile's first does. The store of the tile before
    goes first on a shared bus, beside the first chunk.
    """
    work = tile_work(w, t, design, blocks)
    whole_window = chunks == ceil_div(w.in_blocks, t.in_blocks)
    full = np.where(whole_window, np.minimum(t.in_blocks, w.in_blocks) / w.in_blocks, 1 / chunks)
    tail = 1 - (chunks - 1) * full  # share of the reduction in the last chunk
    per_chunk = work.input * loads.inputs / (tiles * chunks) + work.weight * loads.weights / (tiles * chunks)
    compute, last = work.gemm * full + INSTRUCTION_OVERHEAD, work.gemm * tail + work.alu + work.compute_dma
    store = work.store if design.port_count == 1 else 0 * work.store
    first = np.maximum(compute, per_chunk * np.where(chunks > 2, 1, tail / full) + store)
    between = np.maximum(compute, per_chunk) * np.maximum(chunks - 3, 0)
    behind = np.where(chunks > 2, np.maximum(compute, per_chunk * tail / full), 0)
    next_tile = per_chunk + work.residual
    several = first + between + behind + np.maximum(last, next_tile)
    return np.where(chunks > 1, several, np.maximum(last, next_tile + store))


@dataclass(frozen=True, slots=True)
class TileLoads:
    """How often an input tile and a weight tile are loaded over the whole layer."""

    inputs: Any
    weights: Any


def tile_loads(w: ConvWorkload, t: ConvTiling, tiles: Any, chunks: Any) -> TileLoads:
    """Loads happen at the outermost loop that leaves the operand's tile the same inside (see conv_schedule.py)."""
    tiles_g, tiles_o = ceil_div(w.groups, t.groups), ceil_div(w.out_blocks, t.out_blocks)
    inputs = np.where(t.weights_outer | (tiles_g > 1), tiles, tiles // tiles_o)
    images = w.batch if w.own_weights else 1
    weights = np.where(t.weights_outer, images * tiles_g * tiles_o, tiles)
    if w.uniform_weight:
        return TileLoads(np.where(chunks > 1, tiles * chunks, inputs), np.ones_like(tiles))
    return TileLoads(np.where(chunks > 1, tiles * chunks, inputs), np.where(chunks > 1, tiles * chunks, weights))
