"""DMA compression: instructions that fill exactly the entries asked for, few of them, within the field limits."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler.backends.vdla.dma import TRANSFER_FIELDS, DmaLimits, transfers

LIMITS = DmaLimits(size=8191, stride=(1 << 20) - 1, pad=15)
SMALL = DmaLimits(size=7, stride=40, pad=2)
PADDED = -1


def expand(table: np.ndarray, limits: DmaLimits) -> list[tuple[int, int]]:
    """(SRAM entry, DRAM tile or PADDED) in order, by the letter of `semantics.load`."""
    moved = []
    for row in table:
        f = dict(zip(TRANSFER_FIELDS, row.tolist(), strict=True))
        assert all(0 <= f[k] <= limits.pad for k in f if "pad" in k)
        assert 0 <= f["y_size"] <= limits.size
        assert 0 <= f["x_size"] <= limits.size
        assert 0 <= f["x_stride"] <= limits.stride
        entry = f["sram_base"]
        for y in range(-f["y_pad_before"], f["y_size"] + f["y_pad_after"]):
            for x in range(-f["x_pad_before"], f["x_size"] + f["x_pad_after"]):
                inside = 0 <= y < f["y_size"] and 0 <= x < f["x_size"]
                moved.append((entry, f["dram_base"] + y * f["x_stride"] + x if inside else PADDED))
                entry += 1
    return moved


def check(sram: np.ndarray, dram: np.ndarray, inside: np.ndarray | None, limits: DmaLimits, where: str) -> int:
    """How many instructions it took."""
    table = transfers(sram, dram, inside, limits)
    wanted = {int(s): int(d) for s, d in zip(sram, dram if inside is None else np.where(inside, dram, PADDED), strict=True)}
    moved = expand(table, limits)
    assert len(moved) == len(wanted), where
    assert dict(moved) == wanted, where
    return len(table)


def window(rows: int, columns: int, height: int, width: int, top: int, left: int, stride: int = 1) -> tuple[np.ndarray, ...]:
    """A rows × columns window at (-top, -left) of a height × width image, SRAM dense."""
    h, w = np.meshgrid(np.arange(rows) * stride - top, np.arange(columns) * stride - left, indexing="ij")
    inside = (h >= 0) & (h < height) & (w >= 0) & (w < width)
    return np.arange(rows * columns), (h * width + w).ravel(), inside.ravel()


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((7, 9, 20, 30, -2, -3), 1),  # inside the image
        ((7, 9, 20, 30, 1, 1), 1),  # upper left corner
        ((22, 32, 20, 30, 1, 1), 1),  # the whole image with its border
        ((22, 30, 20, 30, 1, 0), 1),  # padding above and below only: rows are contiguous in DRAM
        ((5, 30, 20, 30, -4, 0), 1),  # whole rows: one run
        ((4, 4, 20, 30, 5, 0), 1),  # nothing but padding
        ((6, 3, 20, 30, 0, 0, 2), 6),  # a strided window moves tile by tile, a row at a time
    ],
)
def test_windows_of_an_image(shape: tuple[int, ...], count: int) -> None:
    assert check(*window(*shape), LIMITS, str(shape)) == count


def test_channel_blocks_take_one_instruction_each() -> None:
    sram, dram, inside = window(9, 9, 20, 30, 1, 1)
    three = [np.concatenate([a + k * step for k in range(3)]) for a, step in ((sram, 81), (dram, 600))]
    assert check(*three, np.tile(inside, 3), LIMITS, "three blocks") == 3


def test_more_padding_than_a_field_holds() -> None:
    assert check(*window(40, 40, 8, 8, 17, 16), LIMITS, "wide borders") <= 20


def test_rows_longer_than_a_field() -> None:
    n = 20_000
    assert check(np.arange(n), np.arange(n) + 5, None, LIMITS, "long") <= 3


def test_gaps_in_sram_are_kept() -> None:
    sram = np.array([0, 1, 2, 8, 9, 10])
    assert check(sram, np.arange(6), None, LIMITS, "gap") == 2


def test_the_last_write_to_an_entry_wins() -> None:
    table = transfers(np.array([3, 4, 3]), np.array([10, 11, 99]), None, LIMITS)
    assert dict(expand(table, LIMITS)) == {3: 99, 4: 11}


def test_the_last_store_to_a_tile_wins() -> None:
    table = transfers(np.array([3, 4, 7]), np.array([10, 11, 10]), None, LIMITS, store=True)
    assert sorted(expand(table, LIMITS)) == [(4, 11), (7, 10)]


@pytest.mark.parametrize("limits", [LIMITS, SMALL], ids=["wide", "narrow"])
@pytest.mark.parametrize("seed", range(60))
def test_random_transfers(seed: int, limits: DmaLimits) -> None:
    rng = np.random.default_rng(seed)
    kind = seed % 3
    if kind == 0:  # a window somewhere about an image
        rows, columns, height, width = (int(n) for n in rng.integers(1, 12, 4))
        sram, dram, inside = window(rows, columns, height, width, *map(int, rng.integers(-3, 6, 2)), int(rng.integers(1, 3)))
    elif kind == 1:  # nested strides with a random mask
        shape = rng.integers(1, 5, 4)
        strides = rng.integers(0, 30, 4)
        dram = sum(
            s * np.arange(n).reshape([-1 if k == d else 1 for k in range(4)])
            for d, (n, s) in enumerate(zip(shape, strides, strict=True))
        )
        dram = np.asarray(dram).ravel()
        sram, inside = np.arange(len(dram)), rng.random(len(dram)) < 0.8
    else:  # no structure at all
        count = int(rng.integers(1, 60))
        sram, dram, inside = rng.permutation(80)[:count], rng.integers(0, 50, count), rng.random(count) < 0.7
    count = check(sram + 3, dram + 1000, inside, limits, f"seed {seed}")
    assert count <= len(sram)
