"""Choosing the tiles of a convolution on VDLA: what fits the scratchpads, and which choice costs the fewest cycles.

The estimate is the steady state of three queues that run at once: the slowest of COMPUTE, LOAD and the memory bus, plus
the first tile's load and the last tile's store, which nothing hides. It ranks tilings; the simulator times them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload
from vdla.design import Design
from vdla.errors import CompileError

INSTRUCTION_OVERHEAD = 12
"""Cycles an instruction costs beside its work: queue hop, decode, pipeline fill. An estimate; sim/timing.py is exact."""


@dataclass(frozen=True, slots=True)
class ConvTiling:
    """Tile extents of one output tile and its reduction chunk, in blocks, rows and columns.

    weights_outer: loop over groups and output blocks outside rows and columns (a weight tile is loaded once when the
    whole reduction is one chunk), else inside (an input tile is loaded once). The buffer counts say how many tiles each
    scratchpad holds at a time: 2 lets a load or store run beside the computation.

    The functions below also take one with an int64 array in each field: many tilings ranked at once.
    """

    groups: Any
    out_blocks: Any
    in_blocks: Any
    rows: Any
    columns: Any
    weights_outer: Any = True
    inp_buffers: Any = 2
    wgt_buffers: Any = 2
    acc_buffers: Any = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """SRAM tiles a tiling needs."""

    inp: Any
    wgt: Any
    acc: Any

    def fits(self, design: Design) -> Any:
        return (self.inp <= design.inp_depth) & (self.wgt <= design.wgt_depth) & (self.acc <= design.acc_depth)


def input_extent(out: Any, kernel: int, stride: int, dilation: int) -> Any:
    """Input rows that `out` output rows need."""
    return (out - 1) * stride + (kernel - 1) * dilation + 1


def footprint(w: ConvWorkload, t: ConvTiling) -> Footprint:
    rows = input_extent(t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(t.columns, w.kernel[1], w.strides[1], w.dilations[1])
    out = t.groups * t.out_blocks * t.rows * t.columns
    parameters = t.groups * t.out_blocks * 2
    weights = 1 if w.uniform_weight else t.wgt_buffers * t.groups * t.out_blocks * t.in_blocks * w.kernel[0] * w.kernel[1]
    return Footprint(
        inp=t.inp_buffers * (t.groups * t.in_blocks * rows * columns + (out if w.residual else 0)),
        wgt=weights + w.residual,
        acc=t.acc_buffers * out + parameters + (out + parameters if w.residual else 0),
    )


def covered_input(w: ConvWorkload, t: ConvTiling) -> tuple[int, int]:
    """Padded rows and columns such that every tile, the last ones too, reads inside: edge tiles load padding, not gaps."""
    rows = input_extent(parts(w.out_height, t.rows) * t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(parts(w.out_width, t.columns) * t.columns, w.kernel[1], w.strides[1], w.dilations[1])
    return max(rows, w.padded_height), max(columns, w.padded_width)


def parts(extent: int, tile: Any) -> Any:
    """How many tiles cover `extent`."""
    return -(-extent // tile)


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


def tile_work(w: ConvWorkload, t: ConvTiling, design: Design) -> TileWork:
    """A row of a DMA costs one cycle beside its beats, an instruction its latency. A tile narrower than its buffer (the last
    one of a row, when the columns do not divide the width) stores each of its rows by an instruction of its own."""
    bus, latency = design.bus_bytes, design.memory.read_latency + INSTRUCTION_OVERHEAD
    tiles_g, tiles_o = parts(w.groups, t.groups), parts(w.out_blocks, t.out_blocks)
    tiles_y, tiles_x = parts(w.out_height, t.rows), parts(w.out_width, t.columns)
    tiles = w.batch * tiles_g * tiles_o * tiles_y * tiles_x
    groups, blocks = w.groups / tiles_g, w.out_blocks / tiles_o
    rows = input_extent(t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(t.columns, w.kernel[1], w.strides[1], w.dilations[1])
    chunk = np.minimum(t.in_blocks, w.in_blocks)
    image = groups * chunk * (latency + rows * (1 + columns * design.inp_tile_bytes / bus))
    weight_tiles = 1 if w.uniform_weight else groups * blocks * chunk * w.kernel[0] * w.kernel[1]
    weight_dmas = np.where(t.in_blocks >= w.in_blocks, 1, groups * blocks)
    out = w.out_tiles / tiles
    narrow = np.where(w.out_width % t.columns, t.rows / tiles_x, 1)
    out_dmas, out_rows = groups * blocks * narrow, out / np.minimum(t.columns, w.out_width)
    out_bus = out_rows + out * design.out_tile_bytes / bus
    parameter_loads = np.where(t.weights_outer, tiles_g * tiles_o, tiles) / tiles * (2 if w.residual else 1)
    return TileWork(
        gemm=w.gemm_uops / tiles,
        alu=out * (5 if w.residual else 1) + 3 * INSTRUCTION_OVERHEAD,
        compute_dma=parameter_loads * (groups * blocks * 2 * design.acc_tile_bytes / bus + latency),
        input=image,
        weight=weight_tiles * design.wgt_tile_bytes / bus + weight_dmas * latency,
        residual=(out_dmas * latency + out_bus) if w.residual else 0 * out,
        store=out_dmas * (design.memory.write_latency + INSTRUCTION_OVERHEAD) + out_bus,
    )


def estimate_cycles(w: ConvWorkload, t: ConvTiling, design: Design) -> Any:
    """Cycles of the whole layer under `t`; ranks tilings, see the module's docstring.

    Within a tile each chunk is computed while the next one loads, the last while the next tile's first does.
    """
    chunks = parts(w.in_blocks, t.in_blocks)
    tiles = w.batch * parts(w.groups, t.groups) * parts(w.out_blocks, t.out_blocks)
    tiles = tiles * parts(w.out_height, t.rows) * parts(w.out_width, t.columns)
    work, loads = tile_work(w, t, design), tile_loads(w, t, tiles, chunks)
    full = np.minimum(t.in_blocks, w.in_blocks) / w.in_blocks
    tail = 1 - (chunks - 1) * full  # share of the reduction in the last chunk
    per_chunk = work.input * loads.inputs / (tiles * chunks) + work.weight * loads.weights / (tiles * chunks)
    compute, last = work.gemm * full + INSTRUCTION_OVERHEAD, work.gemm * tail + work.alu + work.compute_dma
    first_load = per_chunk + work.residual
    steady = np.where(
        chunks > 1,
        (chunks - 2) * np.maximum(compute, per_chunk)
        + np.maximum(compute, per_chunk * tail / full)
        + np.maximum(last, first_load),
        np.maximum(last, first_load),
    )
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


@dataclass(frozen=True, slots=True)
class TileLoads:
    """How often an input tile and a weight tile are loaded over the whole layer."""

    inputs: Any
    weights: Any


def tile_loads(w: ConvWorkload, t: ConvTiling, tiles: Any, chunks: Any) -> TileLoads:
    """Loads happen at the outermost loop that leaves the operand's tile the same inside (see `schedules`)."""
    tiles_g, tiles_o = parts(w.groups, t.groups), parts(w.out_blocks, t.out_blocks)
    inputs = np.where(t.weights_outer | (tiles_g > 1), tiles, tiles // tiles_o)
    weights = np.where(t.weights_outer, tiles_g * tiles_o, np.where(tiles_g * tiles_o > 1, tiles, 1))
    if w.uniform_weight:
        return TileLoads(np.where(chunks > 1, tiles * chunks, inputs), np.ones_like(tiles))
    return TileLoads(np.where(chunks > 1, tiles * chunks, inputs), np.where(chunks > 1, tiles * chunks, weights))


def balanced_tiles(extent: int, most: int | None = None) -> list[int]:
    """Tile sizes that cut `extent` into equal parts, as nearly as it goes: 7 → [7, 4, 3, 2, 1]."""
    sizes = {parts(extent, count) for count in range(1, extent + 1)}
    return sorted((s for s in sizes if most is None or s <= most), reverse=True)


def candidate_tilings(w: ConvWorkload, design: Design, latency_hiding: bool = True) -> ConvTiling:
    """Every tiling worth ranking that fits `design`, as one ConvTiling of arrays."""
    # A depthwise layer tiles its groups; any other takes its groups one at a time.
    groups = balanced_tiles(w.groups, 64) if w.in_blocks == w.out_blocks == 1 else [1]
    buffers = [(2, 2, 2), (2, 1, 2), (1, 2, 2), (1, 1, 2)] if latency_hiding else [(1, 1, 1)]
    axes = [groups, balanced_tiles(w.out_blocks), balanced_tiles(w.in_blocks), balanced_tiles(w.out_height), _columns(w)]
    grid = np.meshgrid(*(np.array(a, np.int64) for a in axes), [True, False], range(len(buffers)), indexing="ij")
    g, o, i, y, x, outer, choice = (a.ravel() for a in grid)
    inp, wgt, acc = np.array(buffers, np.int64)[choice].T
    every = ConvTiling(g, o, i, y, x, outer.astype(bool), inp, wgt, acc)
    return select_tilings(every, footprint(w, every).fits(design))


def select_tilings(t: ConvTiling, chosen: Any) -> ConvTiling:
    """The tilings of an array form that a mask or an index picks; a single index gives plain numbers."""
    picked = [getattr(t, f.name)[chosen] for f in fields(ConvTiling)]
    return ConvTiling(*(value.item() if np.ndim(value) == 0 else value for value in picked))


def _columns(w: ConvWorkload) -> list[int]:
    """Few widths: whole rows make the longest bursts, so narrower tiles only halve and quarter."""
    sizes = balanced_tiles(w.out_width)
    return sizes[:4] + [s for s in sizes[4:] if s in (1, 2, 4, 8)]


SMALLEST = ConvTiling(1, 1, 1, 1, 1, True, 1, 1, 1)


def require_fit(w: ConvWorkload, design: Design) -> None:
    """Raise `CompileError` when even the smallest tile does not fit."""
    smallest = footprint(w, SMALLEST)
    if not smallest.fits(design):
        raise CompileError(
            "one output element's operands do not fit the scratchpads",
            where=f"convolution {w.kernel[0]}×{w.kernel[1]} on {design.name}",
            found=f"inp {smallest.inp}, wgt {smallest.wgt}, acc {smallest.acc} tiles",
            expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}",
            hint="larger SRAMs",
        )


def serial_tiling(w: ConvWorkload, design: Design) -> ConvTiling:
    """`choose_tiling`'s tiles with one buffer for each: what latency hiding is compared with, all else equal."""
    return replace(choose_tiling(w, design), inp_buffers=1, wgt_buffers=1, acc_buffers=1)


@lru_cache(maxsize=4096)
def choose_tiling(w: ConvWorkload, design: Design, latency_hiding: bool = True) -> ConvTiling:
    """The tiling with the lowest estimate, the larger tile among equals. Raises `CompileError` when none fits.

    latency_hiding: False ranks single-buffered tilings for a machine that overlaps nothing.
    """
    require_fit(w, design)
    tilings = candidate_tilings(w, design, latency_hiding)
    if not len(tilings.rows):
        return SMALLEST
    cycles = np.rint(estimate_cycles(w, tilings, design))
    return select_tilings(tilings, np.lexsort((-tilings.rows * tilings.columns, cycles))[0])


@dataclass(frozen=True, slots=True)
class ElementwiseTiling:
    """blocks × positions of one tile; `buffers` of 2 lets the store of one tile run beside the next."""

    blocks: int
    positions: int
    buffers: int = 2


@dataclass(frozen=True, slots=True)
class PoolTiling:
    """blocks × output rows × output columns of one tile."""

    blocks: int
    rows: int
    columns: int
    buffers: int = 2


OVERLAPPED_TILES = 4
"""Enough tiles in a layer that loads, computation and stores of different ones overlap; more only costs instructions."""


@lru_cache(maxsize=4096)
def choose_elementwise_tiling(w: ElementwiseWorkload, design: Design, latency_hiding: bool = True) -> ElementwiseTiling:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them; with one buffer where two do not fit. Raises
    `CompileError` when a single position of a single block does not."""
    operands, parameter_tiles = (2, 6) if w.op == "qadd" else (1, 2)
    for buffers in [2, 1] if latency_hiding else [1]:
        fitting = [
            ElementwiseTiling(c, p, buffers)
            for c, p in product(balanced_tiles(w.blocks), balanced_tiles(w.positions))
            if buffers * operands * c * p + parameter_tiles * c <= design.acc_depth
        ]
        if fitting:
            wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
            return max(fitting, key=lambda t: (min(t.blocks * t.positions, wanted), -t.blocks * t.positions, t.positions))
    raise CompileError(
        "one tile's operands do not fit acc", where=f"{w.op} on {design.name}", found=operands + parameter_tiles,
        expected=f"at most {design.acc_depth} tiles", hint="a larger acc SRAM",
    )  # fmt: skip


@lru_cache(maxsize=4096)
def choose_pool_tiling(w: PoolWorkload, design: Design, latency_hiding: bool = True) -> PoolTiling:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them: of whole rows where one fits, for long bursts;
    with one buffer where two do not fit. Raises `CompileError` when one window does not."""
    for buffers, whole_rows in product([2, 1] if latency_hiding else [1], [True, False]):
        widths = [w.out_width] if whole_rows else balanced_tiles(w.out_width)
        candidates = product(balanced_tiles(w.blocks), balanced_tiles(w.out_height), widths)
        fitting = [t for t in (PoolTiling(*extents, buffers) for extents in candidates) if pool_footprint(w, t).fits(design)]
        if fitting:
            wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
            return max(fitting, key=lambda t: (min(t.blocks * t.rows * t.columns, wanted), t.rows, -t.blocks))
    needed = pool_footprint(w, PoolTiling(1, 1, 1, 1))
    raise CompileError(
        "one window's elements do not fit the scratchpads", where=f"max pool {w.kernel[0]}×{w.kernel[1]} on {design.name}",
        found=f"inp {needed.inp}, wgt 1, acc {needed.acc} tiles",
        expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}", hint="larger SRAMs",
    )  # fmt: skip


def pool_footprint(w: PoolWorkload, t: PoolTiling) -> Footprint:
    """The window's rows, narrow and wide; the maxima down its rows; the maxima along these, stored from two buffers."""
    rows = (t.rows - 1) * w.strides[0] + w.kernel[0]
    columns = (t.columns - 1) * w.strides[1] + w.kernel[1]
    window = t.blocks * rows * columns
    return Footprint(t.buffers * window, 1, window + t.blocks * t.rows * (columns + t.buffers * t.columns))
