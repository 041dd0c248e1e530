"""Every operation of the ISA that rounds, in each executor but the RTL (tests/hw has that), against exact fractions.

Ties are what matters: every other value is half way between two levels.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from vdla.isa.definition import AluOp
from vdla.isa.semantics import ALU_RESULTS, INT32_MAX, INT32_MIN, pack_scale, requantise, rescale, round_shift, unpack_scale
from vdla.sim import kernels

EXTREMES = [0, 1, -1, 2, -2, 3, -3, 2**30, -(2**30), INT32_MAX, INT32_MIN, INT32_MIN + 1]


def near_ties(rng: np.random.Generator, shift: int, count: int) -> list[int]:
    """int32 values about odd and even multiples of half of 2^shift, ties themselves the most, and the extremes."""
    half = 1 << max(shift - 1, 0)
    multiples = rng.integers(-(2**31) // half, 2**31 // half, count).tolist() + list(range(-5, 6))
    values = {m * half + d for m in multiples for d in (0, 0, 1, -1)}
    return sorted(v for v in {*values, *EXTREMES} if INT32_MIN <= v <= INT32_MAX)


def exact_rescale(total: int, multiplier: int, shift: int, zero_point: int) -> int:
    return round(Fraction(total * multiplier, 2**shift)) + zero_point  # Python rounds half to even


@pytest.mark.parametrize("shift", range(32))
def test_shr(shift: int) -> None:
    x = near_ties(np.random.default_rng(shift), shift, 200)
    expected = [round(Fraction(v, 2**shift)) for v in x]
    values = np.array(x, np.int32)
    assert ALU_RESULTS[AluOp.SHR](values.astype(np.int64), np.full(len(x), shift)).tolist() == expected
    kernels.alu_tile(int(AluOp.SHR), values, np.full(len(x), shift, np.int32))
    assert values.tolist() == expected


@pytest.mark.parametrize("shift", range(64))
def test_round_shift_of_products(shift: int) -> None:
    """Of all 51 bits that a product has."""
    rng = np.random.default_rng(shift)
    half = 1 << max(shift - 1, 0)
    top = min(2**50 // half, 2**50)
    multiples = [*rng.integers(-top, top + 1, 300).tolist(), *range(-4, 5)]
    x = [v for v in (m * half + d for m in multiples for d in (0, 1, -1)) if abs(v) <= 2**50]
    assert round_shift(np.array(x), shift).tolist() == [round(Fraction(v, 2**shift)) for v in x]


@pytest.mark.parametrize("shift", range(64))
def test_rescale_and_requantise(shift: int) -> None:
    rng = np.random.default_rng(shift)
    fractions = [0, 1 << 17, (1 << 18) - 1, *rng.integers(0, 1 << 18, 2).tolist()]
    for fraction in fractions:
        multiplier, zero_point = 2**18 + fraction, int(rng.integers(-128, 128))
        word = pack_scale(np.array(multiplier), np.array(shift), np.array(zero_point))
        assert [int(part) for part in unpack_scale(word)] == [multiplier, shift, zero_point]
        x = np.array(near_ties(rng, min(max(shift - 18, 0), 31), 50), np.int32)
        bias = np.where(rng.random(len(x)) < 0.5, 0, rng.integers(INT32_MIN, INT32_MAX, len(x))).astype(np.int32)
        totals = [(v + b + 2**31) % 2**32 - 2**31 for v, b in zip(x.tolist(), bias.tolist(), strict=True)]
        exact = [exact_rescale(total, multiplier, shift, zero_point) for total in totals]
        scale = np.full(len(x), word, np.int32)
        for low, high in ((INT32_MIN, INT32_MAX), (-128, 127), (-5, 17)):
            expected = [min(max(v, low), high) for v in exact]
            function = rescale(x, bias, scale) if low == INT32_MIN else requantise(x, bias, scale, low, high)
            assert function.tolist() == expected, (shift, fraction)
            simulated = x.copy()
            kernels.rescale(simulated, bias, scale, low, high)
            assert simulated.tolist() == expected, (shift, fraction)


def test_shifts_that_make_every_sum_zero() -> None:
    """The manual says from which shift on; the one below does not."""
    extremes = np.array([INT32_MIN, INT32_MAX], np.int32)
    largest = np.array((1 << 19) - 1)
    words = [pack_scale(largest, np.array(s), np.array(0)) for s in range(50, 64)]
    results = [np.abs(rescale(extremes, np.zeros(2, np.int32), np.full(2, word))).max() for word in words]
    assert results == [1] + [0] * 13


@pytest.mark.parametrize(("multiplier", "shift", "zero_point"), [(2**18 - 1, 0, 0), (2**19, 0, 0), (-(2**18), 0, 0), (0, 0, 0)])
def test_a_word_holds_no_other_multiplier(multiplier: int, shift: int, zero_point: int) -> None:
    with pytest.raises(ValueError, match=r"2\^18\.\.2\^19-1"):
        pack_scale(np.array(multiplier), np.array(shift), np.array(zero_point))
