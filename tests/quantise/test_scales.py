"""Scale words, affine parameters and weights, against exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from quantise_naive import requantise_one, rescale_one

from vdla.compiler.operators.integer_arithmetic import requantise_channels, rescale_channels, rescale_int32
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.scales import (
    ACC_LIMIT,
    BIAS_LIMIT,
    MAX_MULTIPLIER,
    affine_from_range,
    bias_words,
    fixed_point,
    quantise_weights,
    scale_words,
)
from vdla.errors import CompileError
from vdla.isa.semantics import requantise, unpack_scale

EDGES = [0, 1, -1, 2, -2, 127, 128, -128, -129, 65535, 65536, -65536, 2**30, -(2**30), 2**31 - 1, -(2**31)]


@pytest.mark.parametrize("seed", range(4))
def test_fixed_point_is_within_its_precision(seed: int) -> None:
    ratios = 2.0 ** np.random.default_rng(seed).uniform(-45, 18.99, 2000)
    multiplier, shift = fixed_point(ratios)
    for ratio, m, s in zip(ratios.tolist(), multiplier.tolist(), shift.tolist(), strict=True):
        assert abs(Fraction(m, 2**s) / Fraction(ratio) - 1) <= Fraction(1, 2**19), (seed, ratio)
        assert 2**18 <= m <= MAX_MULTIPLIER
        assert 0 <= s <= 63


@pytest.mark.parametrize("exponent", range(-45, 19))
def test_powers_of_two_are_exact(exponent: int) -> None:
    multiplier, shift = fixed_point(2.0**exponent)
    assert Fraction(int(multiplier[0]), 2 ** int(shift[0])) == Fraction(2) ** exponent


@pytest.mark.parametrize("ratio", [-1.0, -1e-30, float("nan")])
def test_a_ratio_is_not_negative(ratio: float) -> None:
    with pytest.raises(CompileError, match="a ratio of scales; found .*expected a number of at least 0"):
        scale_words(np.array([0.5, ratio]))


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.0, (1 << 18, 63)),  # makes any sum 0: `test_requantise_at_the_edges`
        (1.0, (1 << 18, 18)),
        (0.5, (1 << 18, 19)),
        (1.0 - 2.0**-30, (1 << 18, 18)),  # rounds up to a power of two, and must not overflow its bits
        (524287.0, (524287, 0)),
        (524287.6, (524287, 0)),
        (1e30, (524287, 0)),
        (float("inf"), (524287, 0)),
        (1.5 * 2.0**-45, (3 << 17, 63)),
        (2.0**-46, (1 << 18, 63)),
        (1e-300, (1 << 18, 63)),
    ],
)
def test_fixed_point_at_the_edges(ratio: float, expected: tuple[int, int]) -> None:
    multiplier, shift = fixed_point(ratio)
    assert (int(multiplier[0]), int(shift[0])) == expected
    word_parts = unpack_scale(scale_words(ratio, -7))
    assert [int(p[0]) for p in word_parts] == [*expected, -7]


@pytest.mark.parametrize(
    "word", [scale_words(r, z)[0] for r in (0.0, 1.0, 0.5, 0.37, 3e-6, 1e-17, 524287.0) for z in (-128, 0, 127)]
)
def test_requantise_at_the_edges(word: int) -> None:
    """Every pair of edge accumulator and edge bias, against Python integers and the definition in isa.semantics."""
    acc, bias = (part.ravel() for part in np.meshgrid(np.array(EDGES, np.int32), np.array(EDGES, np.int32)))
    as_channels = acc.reshape(1, -1)
    for low, high in ((-128, 127), (0, 127), (-128, -128), (-5, 17)):
        expected = [requantise_one(a, b, int(word), low, high) for a, b in zip(acc.tolist(), bias.tolist(), strict=True)]
        words = np.full(len(acc), word, np.int32)
        assert requantise_channels(as_channels, bias, words, low, high)[0].tolist() == expected
        assert requantise(acc, bias, words, low, high).tolist() == expected
    expected = [rescale_one(a, b, int(word)) for a, b in zip(acc.tolist(), bias.tolist(), strict=True)]
    assert np.clip(rescale_channels(as_channels, bias, words)[0], -(2**31), 2**31 - 1).tolist() == expected


def test_the_word_of_zero_makes_every_sum_zero() -> None:
    word = int(scale_words(0.0, 3)[0])
    assert {rescale_one(acc, 0, word) for acc in EDGES} == {3}
    assert rescale_one(-(2**31), 0, int(scale_words(2.0**-33, 3)[0])) == 3  # a quarter: still 0 for every sum


def test_rescale_of_every_int8() -> None:
    levels = np.arange(-128, 128, dtype=np.int8)
    for ratio in (1.0, 0.5, 0.375, 511.3, 524287.0, 0.004):
        word = scale_words(ratio)
        got = rescale_int32(levels.reshape(1, 1, -1), np.array([5], np.int32), word)[0, 0]
        assert got.tolist() == [rescale_one(int(q), 5, int(word[0])) for q in levels]


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (0.0, 6.0), (-3.5, 0.0), (2.0, 5.0), (-1e-30, 1e-38), (-1e30, 1e35), (-0.01, 800.0)]
)
def test_affine_spans_its_range_and_has_zero(low: float, high: float) -> None:
    affine = affine_from_range(low, high)
    below, above = affine.range
    assert below <= min(low, 0) + affine.scale
    assert above >= max(high, 0) - affine.scale
    assert affine.to_level(0.0) == affine.zero_point
    assert np.float32(affine.scale) == affine.scale
    assert np.isfinite(np.float32(affine.scale) * np.float32(255))


def test_relu_range_uses_every_level() -> None:
    assert affine_from_range(0.0, 4.0).zero_point == -128
    assert affine_from_range(-4.0, 0.0).zero_point == 127


def test_empty_range() -> None:
    assert affine_from_range(0.0, 0.0) == Affine(1.0, 0)


def test_infinite_clip_bounds_are_the_ends() -> None:
    affine = Affine(0.1, -20)
    assert (affine.to_level(-np.inf), affine.to_level(np.inf), affine.to_level(0.0), affine.to_level(1.0)) == (
        -128,
        127,
        -20,
        -10,
    )


def weights_cases() -> dict[str, tuple[np.ndarray, np.ndarray, float, float, float]]:
    """name → w, bias, input scale, output scale, residual scale."""
    normal = np.random.default_rng(0).standard_normal((4, 64))
    return {
        "ordinary": (normal, np.arange(4.0), 0.05, 0.1, 0.0),
        "zero channels": (normal * [[1], [0], [0], [1]], np.array([1.0, 0.0, -3.0, 2.0]), 0.05, 0.1, 0.05),
        "all zero": (0 * normal, np.zeros(4), 0.05, 0.1, 0.0),
        "tiny weights, large bias": (1e-12 * normal, np.array([5.0, -5.0, 1e-3, 0.0]), 0.05, 0.05, 0.05),
        "tiny weights, residual": (1e-9 * normal, np.zeros(4), 0.05, 0.1, 0.1),
        "huge": (1e20 * normal, 1e25 * np.ones(4), 0.05, 1e20, 0.0),
        "deep": (np.ones((2, 200_000)), np.zeros(2), 0.1, 100.0, 0.0),
        "bias outside the output": (normal, np.full(4, 1e9), 0.05, 0.1, 0.0),
    }


@pytest.mark.parametrize("zero_point", [0, -128, 127, 5])
@pytest.mark.parametrize("case", weights_cases())
def test_weights_cannot_overflow_and_lose_less_than_the_output_rounds(case: str, zero_point: int) -> None:
    """|real - represented| ≤ half a weight step for each weight (its unit being natural, or far below an output level)."""
    w, bias, x_scale, y_scale, residual_scale = weights_cases()[case]
    q = quantise_weights(w, bias, Affine(x_scale, zero_point), y_scale, residual_scale)
    unit = x_scale * q.scale
    for row, b, ratio in zip(q.weights.tolist(), q.bias.tolist(), (residual_scale / unit).tolist(), strict=True):
        ends = [sum(w * ((127 if (w > 0) == up else -128) - zero_point) for w in row) for up in (True, False)]
        assert max(abs(end + b) for end in ends) + 255 * ratio <= ACC_LIMIT
    assert (np.abs(q.bias) <= BIAS_LIMIT).all()
    assert (residual_scale / unit <= MAX_MULTIPLIER).all()
    assert (np.abs(q.weights * q.scale[:, None] - w) <= q.scale[:, None] * 0.5 * (1 + 1e-9)).all()
    assert (np.abs(q.bias * unit - bias) <= unit * 0.5 * (1 + 1e-9)).all()
    natural = x_scale * np.abs(w).max(axis=1) / 127
    coarse = unit > natural * 1.0001  # then because of bias, residual, output or depth: each far below what matters
    allowed = np.maximum.reduce(
        [np.abs(bias) / BIAS_LIMIT, np.full(len(w), residual_scale / 2**15), np.full(len(w), y_scale * 2.0**-23), 4 * natural]
    )
    assert (unit[coarse] <= allowed[coarse]).all()


def test_bias_folds_the_zero_point() -> None:
    w = np.array([[1, 2, 3], [-4, 5, -6]], np.int8)
    assert bias_words(np.array([100, 200]), w, -128).tolist() == [100 + 128 * 6, 200 - 128 * 5]
    assert bias_words(np.array([2**31 - 1, 0]), w, -128).tolist() == [-(2**31) - 1 + 128 * 6, -128 * 5]  # wraps


def test_depth_costs_no_more_levels_than_it_must() -> None:
    """Weights all of one size, so many that 127 times 255 of them do not fit: the levels are the most that do."""
    for depth, zero_point, levels in [
        (66_000, -128, 127),
        (70_000, -128, 120),
        (70_000, 0, 127),
        (131_000, 0, 127),
        (200_000, 0, 83),
    ]:
        q = quantise_weights(np.ones((1, depth)), np.zeros(1), Affine(0.1, zero_point), 100.0)
        assert q.weights.max() == levels, (depth, zero_point)


def test_clipped_weights() -> None:
    """Levels over a part of the weights' range; what is beyond saturates."""
    q = quantise_weights(np.array([[1.0, -0.5, 0.1]]), np.zeros(1), Affine(0.1, 0), 1.0, clip=0.5)
    assert q.weights.tolist() == [[127, -127, 25]]
    assert q.scale[0] == pytest.approx(0.5 / 127)
