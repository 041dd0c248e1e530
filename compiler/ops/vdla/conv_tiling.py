"""The tiles of a convolution: extents, loop order and buffers, and the scratchpad tiles they occupy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.ops.vdla.template import Tiling
from vdla.compiler.ops.vdla.workload import ConvWorkload


@dataclass(frozen=True, slots=True)
class ConvTiling(Tiling):
    """Tile extents of one output tile (images, groups, out_blocks, rows, columns) and of its reduction chunk (in_blocks,
    kernel_rows, kernel_columns): a window that is larger than a scratchpad is summed part by part.

    weights_outer: loop over groups and output blocks outside rows and columns (a weight tile is loaded once when the
    whole reduction is one chunk), else inside (an input tile is loaded once). The buffer counts say how many tiles each
    scratchpad holds at a time: 2 lets a load or store run beside the computation.

    The functions below also take one with an int64 array in each field: many tilings ranked at once.
    """

    images: Any
    groups: Any
    out_blocks: Any
    in_blocks: Any
    kernel_rows: Any
    kernel_columns: Any
    rows: Any
    columns: Any
    weights_outer: Any = True
    inp_buffers: Any = 2
    wgt_buffers: Any = 2
    acc_buffers: Any = 2


def input_extent(out: Any, kernel: Any, stride: int, dilation: int) -> Any:
    """Input rows that `out` output rows need."""
    return (out - 1) * stride + (kernel - 1) * dilation + 1


def rows_apart(w: ConvWorkload, t: ConvTiling) -> Any:
    """Does a tile hold only the rows that its windows touch, one for each output row? Where a chunk is one kernel row, the
    transfer strides over the others."""
    return (t.kernel_rows == 1) & (w.strides[0] > 1)


def input_window(w: ConvWorkload, t: ConvTiling) -> tuple[Any, Any]:
    """Rows and columns of the padded input that one chunk of an output tile holds."""
    rows = input_extent(t.rows, t.kernel_rows, w.strides[0], w.dilations[0])
    return (
        np.where(rows_apart(w, t), t.rows, rows),
        input_extent(t.columns, t.kernel_columns, w.strides[1], w.dilations[1]),
    )


def covered_outputs(w: ConvWorkload, t: ConvTiling) -> int:
    """Output rows with those by which the last tile hangs over."""
    return ceil_div(w.out_height, t.rows) * t.rows


def covered_kernel(w: ConvWorkload, t: ConvTiling) -> tuple[int, int]:
    """Kernel rows and columns with those by which the last chunk hangs over."""
    (kh, kw), rows, columns = w.kernel, t.kernel_rows, t.kernel_columns
    return ceil_div(kh, rows) * rows, ceil_div(kw, columns) * columns


def covered_input(w: ConvWorkload, t: ConvTiling) -> tuple[int, int]:
    """Padded rows and columns such that every tile, the last ones too, reads inside: edge tiles load padding, not gaps."""
    kh, kw = covered_kernel(w, t)
    rows = input_extent(covered_outputs(w, t), kh, w.strides[0], w.dilations[0])
    columns = input_extent(ceil_div(w.out_width, t.columns) * t.columns, kw, w.strides[1], w.dilations[1])
    return max(rows, w.padded_height), max(columns, w.padded_width)


def chunk_counts(w: ConvWorkload, t: ConvTiling) -> tuple[Any, Any, Any]:
    """Chunks of input blocks, of kernel rows and of kernel columns."""
    extents, parts = (w.in_blocks, *w.kernel), (t.in_blocks, t.kernel_rows, t.kernel_columns)
    blocks, rows, columns = (ceil_div(extent, part) for extent, part in zip(extents, parts, strict=True))
    return blocks, rows, columns


def operand_tiles(w: ConvWorkload, t: ConvTiling) -> tuple[Any, Any, Any]:
    """SRAM tiles of one buffer of the input, of the weights and of the output."""
    rows, columns = input_window(w, t)
    weights = t.groups * t.out_blocks * t.in_blocks * t.kernel_rows * t.kernel_columns
    image = t.images * t.groups * t.in_blocks * rows * columns
    return image, 1 if w.uniform_weight else weights, t.images * t.groups * t.out_blocks * t.rows * t.columns
