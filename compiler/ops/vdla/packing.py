"""Arrays in the accelerator's layouts. Lanes beyond the real channels are zero, so they never disturb a result."""

from __future__ import annotations

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.design import Design
from vdla.isa.definition import table_tiles


def packed_shape(shape: tuple[int, ...], design: Design) -> tuple[int, ...]:
    """(N, C[, H, W]) → (N/batch, C/block, H, W, batch, block), rounded up."""
    n, c, h, w = (*shape, 1, 1)[:4]
    batch, block = design.gemm.batch, design.channel_block
    return (ceil_div(n, batch), ceil_div(c, block), h, w, batch, block)


def pack_conv_weights(w: np.ndarray, groups: int, design: Design, fused: int = 1) -> np.ndarray:
    """w int8[O, C/groups, KH, KW] → int8[G, O/G/block, C/G/block, KH, KW, block_out, block_in], each divided up.

    Every kernel group (there are G = groups/fused, rounded up) holds `fused` groups of the model, block-diagonally; zeros
    elsewhere.
    """
    o, c, kh, kw = w.shape
    bo, bi, og, kernel_groups = design.gemm.block_out, design.gemm.block_in, o // groups, ceil_div(groups, fused)
    ob, cb = ceil_div(og * fused, bo), ceil_div(c * fused, bi)
    padded = np.zeros((kernel_groups, ob * bo, cb * bi, kh, kw), np.int8)
    for place in range(fused):  # the groups at one place along the diagonals
        members = w.reshape(groups, og, c, kh, kw)[place::fused]
        padded[: len(members), place * og : (place + 1) * og, place * c : (place + 1) * c] = members
    tiled = padded.reshape(kernel_groups, ob, bo, cb, bi, kh, kw)
    return np.ascontiguousarray(tiled.transpose(0, 1, 3, 5, 6, 2, 4))


def pack_parameters(bias: np.ndarray, scale: np.ndarray, channels: int, groups: int, design: Design) -> np.ndarray:
    """bias, scale int32[C] or [1] → int32[G, C/G/block, 2, batch, block_out]: a bias tile and a scale tile for each block."""
    block = design.gemm.block_out
    each = channels // groups
    packed = np.zeros((groups, ceil_div(each, block), 2, design.gemm.batch, block), np.int32)
    for k, values in enumerate((bias, scale)):
        padded = np.zeros((groups, packed.shape[1] * block), np.int32)
        padded[:, :each] = np.broadcast_to(values, (channels,)).reshape(groups, each)
        packed[:, :, k] = padded.reshape(groups, -1, 1, block)
    return packed


def pack_table(table: np.ndarray, design: Design) -> np.ndarray:
    """int8[256] → int8[tiles, batch, block_out], as TABULATE reads it: element e // tiles of tile e mod tiles is entry e."""
    tiles = table_tiles(design)
    packed = np.zeros((tiles, design.gemm.batch * design.gemm.block_out), np.int8)
    packed[:, : len(table) // tiles] = table.reshape(-1, tiles).T
    return packed.reshape(tiles, design.gemm.batch, design.gemm.block_out)


def pack_activation(x: np.ndarray, design: Design) -> np.ndarray:
    """int8[N, C[, H, W]] → packed_shape. For tests and tools; at run time the host's `pack_nchwc` operator does it."""
    n, c, h, w = (*x.shape, 1, 1)[:4]
    nb, cb, _, _, batch, block = packed_shape(x.shape, design)
    padded = np.zeros((nb * batch, cb * block, h, w), np.int8)
    padded[:n, :c] = x.reshape(n, c, h, w)
    return np.ascontiguousarray(padded.reshape(nb, batch, cb, block, h, w).transpose(0, 2, 4, 5, 1, 3))


def unpack_activation(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `pack_activation`, cut to `shape`."""
    n, c, h, w = (*shape, 1, 1)[:4]
    nb, cb, _, _, batch, block = packed.shape
    dense = packed.transpose(0, 4, 1, 5, 2, 3).reshape(nb * batch, cb * block, h, w)
    return np.ascontiguousarray(dense[:n, :c]).reshape(shape)
