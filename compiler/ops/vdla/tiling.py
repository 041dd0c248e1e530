"""Choosing the tiles of a convolution on VDLA: what fits the scratchpads, and which choice costs the fewest cycles.

The estimate is the steady state of three queues that run at once: the slowest of COMPUTE, LOAD and the memory bus, plus
the first tile's load and the last tile's store, which nothing hides. It ranks tilings; the simulator times them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import ceil

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
    """

    groups: int
    out_blocks: int
    in_blocks: int
    rows: int
    columns: int
    weights_outer: bool = True
    inp_buffers: int = 2
    wgt_buffers: int = 2
    acc_buffers: int = 2


@dataclass(frozen=True, slots=True)
class Footprint:
    """SRAM tiles a tiling needs."""

    inp: int
    wgt: int
    acc: int

    def fits(self, design: Design) -> bool:
        return self.inp <= design.inp_depth and self.wgt <= design.wgt_depth and self.acc <= design.acc_depth


def input_extent(out: int, kernel: int, stride: int, dilation: int) -> int:
    """Input rows that `out` output rows need."""
    return (out - 1) * stride + (kernel - 1) * dilation + 1


def footprint(w: ConvWorkload, t: ConvTiling) -> Footprint:
    rows = input_extent(t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(t.columns, w.kernel[1], w.strides[1], w.dilations[1])
    out = t.groups * t.out_blocks * t.rows * t.columns
    parameters = t.groups * t.out_blocks * 2
    return Footprint(
        inp=t.inp_buffers * t.groups * t.in_blocks * rows * columns,
        wgt=t.wgt_buffers * t.groups * t.out_blocks * t.in_blocks * w.kernel[0] * w.kernel[1],
        acc=t.acc_buffers * out + parameters + (out + parameters if w.residual else 0),
    )


def estimate_cycles(w: ConvWorkload, t: ConvTiling, design: Design) -> float:
    """Cycles of the whole layer under `t`; ranks tilings, see the module's docstring."""
    bus, latency = design.bus_bytes, design.memory.read_latency
    tiles_g, tiles_o = ceil(w.groups / t.groups), ceil(w.out_blocks / t.out_blocks)
    tiles_y, tiles_x = ceil(w.out_height / t.rows), ceil(w.out_width / t.columns)
    chunks, kernel = ceil(w.in_blocks / t.in_blocks), w.kernel[0] * w.kernel[1]
    tiles = w.batch * tiles_g * tiles_o * tiles_y * tiles_x
    rows = input_extent(t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(t.columns, w.kernel[1], w.strides[1], w.dilations[1])

    if chunks > 1:
        input_loads = weight_loads = tiles * chunks
    elif t.weights_outer:
        input_loads, weight_loads = tiles, tiles_g * tiles_o
    else:
        input_loads = tiles if t.groups < w.groups else tiles // tiles_o
        weight_loads = tiles if tiles_g * tiles_o > 1 else 1
    # Edge tiles load and compute less: scale the full tile by the true total.
    share_y, share_x = w.out_height / (tiles_y * t.rows), w.out_width / (tiles_x * t.columns)
    share_o, share_i = (
        w.groups * w.out_blocks / (tiles_g * t.groups * tiles_o * t.out_blocks),
        w.in_blocks / (chunks * t.in_blocks),
    )
    share_g = w.groups / (tiles_g * t.groups)
    input_tiles = t.groups * t.in_blocks * rows * columns * share_y * share_x * share_i * share_g
    weight_tiles = t.groups * t.out_blocks * t.in_blocks * kernel * share_o * share_i
    input_bus = input_tiles * design.inp_tile_bytes / bus
    weight_bus = weight_tiles * design.wgt_tile_bytes / bus
    input_dmas, weight_dmas = (
        t.groups * t.in_blocks,
        max(1, t.groups if t.in_blocks == w.in_blocks else t.groups * t.out_blocks),
    )

    load = input_loads * (input_bus + input_dmas * (latency + INSTRUCTION_OVERHEAD))
    load += weight_loads * (weight_bus + weight_dmas * (latency + INSTRUCTION_OVERHEAD))
    out_bus = w.out_tiles * design.out_tile_bytes / bus
    store_dmas = tiles * t.groups * t.out_blocks
    store = out_bus + store_dmas * (design.memory.write_latency + INSTRUCTION_OVERHEAD)
    parameter_bus = w.groups * w.out_blocks * 2 * design.acc_tile_bytes / bus
    parameter_loads = 1 if t.weights_outer else w.batch * tiles_y * tiles_x
    compute_dma = parameter_bus * parameter_loads * (2 if w.residual else 1) + tiles * latency
    if w.residual:
        compute_dma += out_bus + store_dmas * (latency + INSTRUCTION_OVERHEAD)
    alu = w.out_tiles * (4 if w.residual else 1)
    compute = w.gemm_uops + alu + compute_dma + tiles * (chunks + 3) * INSTRUCTION_OVERHEAD
    traffic = input_loads * input_bus + weight_loads * weight_bus + out_bus * (2 if w.residual else 1)
    first_load = input_bus + weight_bus + 2 * latency
    last_store = out_bus / tiles + design.memory.write_latency
    if t.inp_buffers == t.wgt_buffers == t.acc_buffers == 1 and tiles * chunks > 1:
        return compute + load + store
    shared = design.port_count == 1
    unhidden = (store if t.acc_buffers == 1 else 0) + (
        weight_loads * weight_bus if t.wgt_buffers == 1 and weight_loads > 1 else 0
    )
    return max(compute, load, traffic if shared else 0) + first_load + last_store + unhidden


def balanced_tiles(extent: int, most: int | None = None) -> list[int]:
    """Tile sizes that cut `extent` into equal parts, as nearly as it goes: 7 → [7, 4, 3, 2, 1]."""
    sizes = {ceil(extent / parts) for parts in range(1, extent + 1)}
    return sorted((s for s in sizes if most is None or s <= most), reverse=True)


def candidate_tilings(w: ConvWorkload, design: Design, latency_hiding: bool = True) -> list[ConvTiling]:
    """Every tiling worth ranking that fits `design`."""
    # A depthwise layer tiles its groups; any other takes its groups one at a time.
    groups = balanced_tiles(w.groups, 64) if w.in_blocks == w.out_blocks == 1 else [1]
    buffers = [(2, 2, 2), (2, 1, 2), (1, 2, 2)] if latency_hiding else [(1, 1, 1)]
    found = []
    for g, o, i in product(groups, balanced_tiles(w.out_blocks), balanced_tiles(w.in_blocks)):
        for columns in _columns(w):
            for rows in balanced_tiles(w.out_height):
                for (inp, wgt, acc), outer in product(buffers, (True, False)):
                    t = ConvTiling(g, o, i, rows, columns, outer, inp, wgt, acc)
                    if footprint(w, t).fits(design):
                        found.append(t)
    return found


def _columns(w: ConvWorkload) -> list[int]:
    """Few widths: whole rows make the longest bursts, so narrower tiles only halve and quarter."""
    sizes = balanced_tiles(w.out_width)
    return sizes[:4] + [s for s in sizes[4:] if s in (1, 2, 4, 8)]


@lru_cache(maxsize=4096)
def choose_tiling(w: ConvWorkload, design: Design, latency_hiding: bool = True) -> ConvTiling:
    """The tiling with the lowest estimate. Raises `CompileError` when even the smallest tile does not fit."""
    tilings = candidate_tilings(w, design, latency_hiding)
    if not tilings:
        smallest = footprint(w, ConvTiling(1, 1, 1, 1, 1, True, 1, 1, 1))
        raise CompileError(
            "one output element's operands do not fit the scratchpads",
            where=f"convolution {w.kernel[0]}×{w.kernel[1]} on {design.name}",
            found=f"inp {smallest.inp}, wgt {smallest.wgt}, acc {smallest.acc} tiles",
            expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}",
            hint="larger SRAMs",
        )
    return min(tilings, key=lambda t: (estimate_cycles(w, t, design), -t.rows * t.columns))


@dataclass(frozen=True, slots=True)
class ElementwiseTiling:
    """blocks × positions of one tile; `buffers` of 2 lets the store of one tile run beside the next."""

    blocks: int
    positions: int
    buffers: int = 2


@dataclass(frozen=True, slots=True)
class PoolTiling:
    """blocks × output rows of one tile, whole rows wide."""

    blocks: int
    rows: int
    buffers: int = 2


OVERLAPPED_TILES = 4
"""Enough tiles in a layer that loads, computation and stores of different ones overlap; more only costs instructions."""


@lru_cache(maxsize=4096)
def choose_elementwise_tiling(w: ElementwiseWorkload, design: Design, latency_hiding: bool = True) -> ElementwiseTiling:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them."""
    buffers, operands = (2 if latency_hiding else 1), (2 if w.op == "qadd" else 1)
    parameter_tiles = 6 if w.op == "qadd" else 2
    fitting = [
        ElementwiseTiling(c, p, buffers)
        for c, p in product(balanced_tiles(w.blocks), balanced_tiles(w.positions))
        if buffers * operands * c * p + parameter_tiles * c <= design.acc_depth
    ]
    wanted = w.out_tiles / w.batch / (OVERLAPPED_TILES if latency_hiding else 1)
    return max(fitting, key=lambda t: (min(t.blocks * t.positions, wanted), -t.blocks * t.positions, t.positions))


@lru_cache(maxsize=4096)
def choose_pool_tiling(w: PoolWorkload, design: Design, latency_hiding: bool = True) -> PoolTiling:
    """The largest tile that fits and still leaves OVERLAPPED_TILES of them. Raises `CompileError` when one row does not."""
    buffers = 2 if latency_hiding else 1
    columns = (w.out_width - 1) * w.strides[1] + w.kernel[1]

    def tiles(c: int, rows: int) -> int:
        rows_in = (rows - 1) * w.strides[0] + w.kernel[0]
        return c * (rows_in * (columns + w.out_width) + buffers * rows * w.out_width)

    candidates = list(product(balanced_tiles(w.blocks), balanced_tiles(w.out_height)))
    fitting = [PoolTiling(c, r, buffers) for c, r in candidates if tiles(c, r) <= design.acc_depth]
    if not fitting:
        raise CompileError(
            "one row of the pooling window does not fit acc", where=design.name, found=tiles(1, 1),
            expected=f"at most {design.acc_depth} tiles", hint="a larger acc SRAM",
        )  # fmt: skip
    wanted = w.out_height * w.blocks / (OVERLAPPED_TILES if latency_hiding else 1)
    return max(fitting, key=lambda t: (min(t.blocks * t.rows, wanted), t.rows, -t.blocks))
