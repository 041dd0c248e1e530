"""Micro-op compression: hardware loops that run exactly the given steps, few micro-ops, within the field limits."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from vdla.compiler.backends.vdla.micro_ops import DST, SRC, HardwareLoops, Limits, Order, compress

WIDE, NARROW = Limits(loop=16383, uops=8192, uop_beats=0.5), Limits(loop=5, uops=16, uop_beats=0.5)


def steps_of(extents: tuple[int, ...], strides: np.ndarray, points: np.ndarray) -> np.ndarray:
    """int64[steps, 3] in loop order, one index tuple at a time."""
    rows = []
    for index in np.ndindex(*extents):
        for k in range(points.shape[1]):
            rows.append([int(strides[o] @ np.array(index, np.int64)) + int(points[o, k]) for o in range(3)])
    return np.array(rows, np.int64)


def run(loops: list[HardwareLoops], limits: Limits) -> np.ndarray:
    for one in loops:
        assert 1 <= len(one.uops) <= limits.uops
        for axis in (one.outer, one.inner):
            assert 1 <= axis.extent <= limits.loop
            assert min(axis.strides) >= 0
    rows = []
    for one in loops:
        for i in range(one.outer.extent):
            for j in range(one.inner.extent):
                for uop in one.uops:
                    rows.append(uop + i * np.array(one.outer.strides) + j * np.array(one.inner.strides))
    return np.array(rows, np.int64)


def multiset(steps: np.ndarray) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, steps.tolist()))


def random_case(seed: int) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(0, 5))
    extents = tuple(int(n) for n in rng.integers(1, 5, rank))
    strides = rng.integers(-1 if seed % 4 == 0 else 0, 6, (3, rank))
    points = rng.integers(0, 9, (3, int(rng.integers(1, 4)))) + 60
    return extents, strides.astype(np.int64), points.astype(np.int64)


@pytest.mark.parametrize("limits", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("order", [Order.FREE, Order.FIXED, Order.SLOW_SOURCE])
@pytest.mark.parametrize("seed", range(40))
def test_runs_the_same_steps(seed: int, order: Order, limits: Limits) -> None:
    case = random_case(seed)
    wanted, got = steps_of(*case), run(compress(*case, order, limits), limits)
    if order is Order.FIXED:
        np.testing.assert_array_equal(got, wanted, err_msg=f"seed {seed}")
    assert multiset(got) == multiset(wanted), f"seed {seed}"


@pytest.mark.parametrize("seed", range(80))
def test_first_touches_come_first_and_once(seed: int) -> None:
    case = random_case(seed)
    loops = compress(*case, Order.FIRST_TOUCH, WIDE)
    if not loops:
        return
    (one,) = loops
    wanted = steps_of(*case)
    assert multiset(run(loops, WIDE)) == multiset(wanted), f"seed {seed}"
    heads = run([HardwareLoops(one.outer, one.inner, one.uops[: one.heads])], WIDE)[:, DST].tolist()
    assert sorted(heads) == sorted(set(wanted[:, DST].tolist())), f"seed {seed}"


def conv(
    out_blocks: int, in_blocks: int, kernel: int, rows: int, columns: int
) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """A convolution tile's GEMM: loops oc, ic, kh, kw, h, w."""
    width = columns + kernel - 1
    height = rows + kernel - 1
    strides = np.array(
        [
            [rows * columns, 0, 0, 0, columns, 1],
            [0, height * width, width, 1, width, 1],
            [in_blocks * kernel**2, kernel**2, kernel, 1, 0, 0],
        ]
    )
    return (out_blocks, in_blocks, kernel, kernel, rows, columns), strides, np.zeros((3, 1), np.int64)


@pytest.mark.parametrize(
    ("shape", "free", "first_touch"),
    [
        ((2, 1, 3, 14, 14), 18, 18),  # rows, columns in hardware; oc, kh, kw enumerated
        ((4, 4, 1, 7, 7), 4, 4),  # positions merge; oc in hardware, ic enumerated
        ((8, 32, 1, 1, 1), 1, 32),  # dense: oc, ic in hardware unless the first ic must be told apart
    ],
)
def test_micro_ops_of_convolution_tiles(shape: tuple[int, ...], free: int, first_touch: int) -> None:
    case = conv(*shape)
    assert sum(len(one.uops) for one in compress(*case, Order.FREE, WIDE)) == free
    assert sum(len(one.uops) for one in compress(*case, Order.FIRST_TOUCH, WIDE)) == first_touch


def test_parameters_vary_slowest() -> None:
    """Four channel blocks of 6 × 7 positions that do not merge: src changes four times, not 4·6 times."""
    strides = np.array([[1, 100, 10], [2, 0, 0], [0, 0, 0]])
    steps = run(compress((4, 6, 7), strides, np.zeros((3, 1), np.int64), Order.SLOW_SOURCE, WIDE), WIDE)
    assert np.count_nonzero(np.diff(steps[:, SRC])) == 3
