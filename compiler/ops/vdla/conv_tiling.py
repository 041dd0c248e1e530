"""The tiles of a convolution: extents, loop order and buffers, and the scratchpad tiles they occupy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vdla.arithmetic import ceil_div
from vdla.compiler.ops.vdla.template import Tiling
from vdla.compiler.ops.vdla.workload import ConvWorkload


@dataclass(frozen=True, slots=True)
class ConvTiling(Tiling):
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


def input_extent(out: Any, kernel: int, stride: int, dilation: int) -> Any:
    """Input rows that `out` output rows need."""
    return (out - 1) * stride + (kernel - 1) * dilation + 1


def input_window(w: ConvWorkload, t: ConvTiling) -> tuple[Any, Any]:
    """Rows and columns of the padded input that one output tile needs."""
    return (
        input_extent(t.rows, w.kernel[0], w.strides[0], w.dilations[0]),
        input_extent(t.columns, w.kernel[1], w.strides[1], w.dilations[1]),
    )


def covered_input(w: ConvWorkload, t: ConvTiling) -> tuple[int, int]:
    """Padded rows and columns such that every tile, the last ones too, reads inside: edge tiles load padding, not gaps."""
    rows = input_extent(ceil_div(w.out_height, t.rows) * t.rows, w.kernel[0], w.strides[0], w.dilations[0])
    columns = input_extent(ceil_div(w.out_width, t.columns) * t.columns, w.kernel[1], w.strides[1], w.dilations[1])
    return max(rows, w.padded_height), max(columns, w.padded_width)


def operand_tiles(w: ConvWorkload, t: ConvTiling) -> tuple[Any, Any, Any]:
    """SRAM tiles of one buffer of the input, of the weights and of the output."""
    rows, columns = input_window(w, t)
    weights = 1 if w.uniform_weight else t.groups * t.out_blocks * t.in_blocks * w.kernel[0] * w.kernel[1]
    return t.groups * t.in_blocks * rows * columns, weights, t.groups * t.out_blocks * t.rows * t.columns
