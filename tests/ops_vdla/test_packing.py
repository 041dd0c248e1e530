"""Packing of constants and activations against loops over single elements."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vdla.arithmetic import ceil_div
from vdla.compiler.ops.vdla.convolution_layers import fused_groups
from vdla.compiler.ops.vdla.packing import (
    pack_activation,
    pack_conv_weights,
    pack_parameters,
    pack_table,
    unpack_activation,
)
from vdla.design import Design
from vdla.design_file import load_design

TINY = load_design("tiny")
BATCHED = TINY.varied(gemm={"batch": 2})


def naive_weights(w: np.ndarray, groups: int, fused: int, block: int) -> np.ndarray:
    o, c, kh, kw = w.shape
    each = o // groups
    count = -(-groups // fused)
    packed = np.zeros((count, -(-each * fused // block), -(-c * fused // block), kh, kw, block, block), np.int8)
    for group, out, i, y, x in product(range(groups), range(each), range(c), range(kh), range(kw)):
        row, column = group % fused * each + out, group % fused * c + i
        place = group // fused, row // block, column // block, y, x, row % block, column % block
        packed[place] = w[group * each + out, i, y, x]
    return packed


@pytest.mark.parametrize("fused", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("groups", "inputs", "outputs"), [(1, 5, 9), (2, 4, 8), (5, 3, 2), (6, 1, 1), (4, 2, 3)])
def test_weights(groups: int, inputs: int, outputs: int, fused: int) -> None:
    w = np.random.default_rng(0).integers(-128, 128, (groups * outputs, inputs, 2, 3), np.int8)
    np.testing.assert_array_equal(pack_conv_weights(w, groups, TINY, fused), naive_weights(w, groups, fused, 4))


@pytest.mark.parametrize("design", [TINY, BATCHED], ids=["tiny", "batched"])
def test_parameters(design: Design) -> None:
    bias, scale = (np.random.default_rng(k).integers(-1000, 1000, 10).astype(np.int32) for k in range(2))
    packed = pack_parameters(bias, scale, 10, 2, design)
    expected = np.zeros((2, 2, 2, design.gemm.batch, 4), np.int32)
    for channel, row in product(range(10), range(design.gemm.batch)):
        group, lane = divmod(channel, 5)
        expected[group, lane // 4, :, row, lane % 4] = bias[channel], scale[channel]
    np.testing.assert_array_equal(packed, expected)
    np.testing.assert_array_equal(pack_parameters(bias[:1], scale[:1], 8, 1, design)[0, 1, 0], bias[0])


@pytest.mark.parametrize(("batch", "block"), [(1, 4), (1, 16), (2, 64), (4, 128)])
def test_table(batch: int, block: int) -> None:
    """Entry e is element e // tiles of tile e mod tiles; beyond them zeros."""
    gemm, sram = {"batch": batch, "block_in": block, "block_out": block}, {"inp": 1 << 14, "wgt": 1 << 16, "acc": 1 << 14}
    design = TINY.varied(gemm=gemm, sram=sram)
    table = np.random.default_rng(0).integers(-128, 128, 256, np.int8)
    packed = pack_table(table, design)
    tiles = packed.reshape(max(1, 256 // (batch * block)), batch * block)
    assert [tiles[e % len(tiles), e // len(tiles)] for e in range(256)] == table.tolist()
    assert np.count_nonzero(packed) == np.count_nonzero(table)


@pytest.mark.parametrize("design", [TINY, BATCHED], ids=["tiny", "batched"])
@pytest.mark.parametrize("shape", [(3, 6, 2, 5), (2, 4, 1, 1), (1, 9)])
def test_activations(shape: tuple[int, ...], design: Design) -> None:
    x = np.random.default_rng(0).integers(-128, 128, shape, np.int8)
    packed, batch = pack_activation(x, design), design.gemm.batch
    for n, c, h, w in product(*map(range, (*shape, 1, 1)[:4])):
        assert packed[n // batch, c // 4, h, w, n % batch, c % 4] == x.reshape((*shape, 1, 1)[:4])[n, c, h, w]
    assert np.count_nonzero(packed) == np.count_nonzero(x)
    np.testing.assert_array_equal(unpack_activation(packed, shape), x)


@pytest.mark.parametrize("seed", range(200))
def test_fused_groups_fill_the_activations_blocks(seed: int) -> None:
    """Kernel groups follow one another in memory exactly as the packed activations' blocks do, whatever the widths."""
    groups, inputs, outputs = (int(v) for v in np.random.default_rng(seed).integers(1, 40, 3))
    for design in (TINY, load_design("pynq_z1")):
        block = design.channel_block
        fused = fused_groups(groups, inputs, outputs, design)
        count = ceil_div(groups, fused)
        for width in (inputs, outputs):
            assert count * ceil_div(width * fused, block) == ceil_div(groups * width, block), f"seed {seed}"
            assert count == 1 or width * fused % block == 0, f"seed {seed}"
