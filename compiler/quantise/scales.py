"""From real scales to the integers of the machine: affine parameters, fixed-point ratios, weights and biases.

A tensor is represented as real = scale · (q - zero_point). Scales are float32 values held as Python floats, so that every
executor divides and multiplies by the same number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vdla.compiler.quantise.affine import HIGH, LOW, Affine
from vdla.errors import CompileError
from vdla.isa.definition import SCALE_FRACTION_BITS, SCALE_MULTIPLIER_BITS, SCALE_SHIFT_BITS
from vdla.isa.semantics import pack_scale, wrap32

Array = np.ndarray

MIN_MULTIPLIER, MAX_MULTIPLIER = 1 << SCALE_FRACTION_BITS, (1 << SCALE_MULTIPLIER_BITS) - 1
MAX_SHIFT = (1 << SCALE_SHIFT_BITS) - 1
SMALLEST_SCALE, LARGEST_SCALE = 2.0**-119, 2.0**119
"""Keeps every scale and product of two a normal float; real networks are nowhere near."""

ACC_LIMIT = (1 << 31) - 1
BIAS_LIMIT = 1 << 29
"""The largest bias, in accumulator units, for which the accumulator's unit is not made coarser: leaves 3/4 of int32."""
CHUNK_ELEMENTS = 1 << 20
"""Weights that are held in float64 at one time."""
FINEST_UNIT = 2.0**-24
"""The accumulator's unit is never finer than this part of the output's: finer gains nothing and risks overflow."""


def as_scale(value: float) -> float:
    """The float32 nearest to a positive real, within the limits."""
    return float(np.float32(min(max(value, SMALLEST_SCALE), LARGEST_SCALE)))


def affine_from_range(low: float, high: float) -> Affine:
    """Asymmetric parameters whose levels span [low, high] widened to hold 0, which is always a level exactly.

    A range of nothing (a constant 0) has scale 1.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return Affine(1.0, 0)
    scale = as_scale((high - low) / (HIGH - LOW))
    return Affine(scale, int(np.clip(np.rint(LOW - low / scale), LOW, HIGH)))


def symmetric_from_range(low: float, high: float) -> Affine:
    """The same with zero point 0 and levels -127 … 127."""
    reach = max(-low, high)
    return Affine(as_scale(reach / HIGH), 0) if reach > 0 else Affine(1.0, 0)


def fixed_point(ratio: Array | float) -> tuple[Array, Array]:
    """Real ratios of at least 0 → (multiplier, shift), ratio ≈ multiplier / 2^shift.

    The relative error is at most 2⁻¹⁹, and 0 for powers of two. A ratio of 2¹⁹ and more saturates (its product with anything
    but 0 leaves int8 anyway); one below 2⁻⁴⁵ is taken for that, which makes any sum 0 as 0 itself would.
    """
    ratio = np.atleast_1d(np.asarray(ratio, np.float64))
    if not (ratio >= 0).all():
        raise CompileError("a ratio of scales", found=float(ratio[~(ratio >= 0)][0]), expected="a number of at least 0")
    mantissa, exponent = np.frexp(np.clip(ratio, 2.0**-100, 2.0**100))
    multiplier = np.rint(np.ldexp(mantissa, SCALE_MULTIPLIER_BITS)).astype(np.int64)
    shift = SCALE_MULTIPLIER_BITS - exponent.astype(np.int64)
    rounds_up = multiplier > MAX_MULTIPLIER
    multiplier, shift = np.where(rounds_up, MIN_MULTIPLIER, multiplier), shift - rounds_up
    multiplier = np.where(shift < 0, MAX_MULTIPLIER, np.where(shift > MAX_SHIFT, MIN_MULTIPLIER, multiplier))
    return multiplier, np.clip(shift, 0, MAX_SHIFT)


def scale_words(ratio: Array | float, zero_point: int = 0) -> Array:
    """int32 scale words that multiply by `ratio` and add `zero_point`."""
    multiplier, shift = fixed_point(ratio)
    return pack_scale(multiplier, shift, np.full_like(multiplier, zero_point))


@dataclass(frozen=True, slots=True)
class QuantisedWeights:
    """int8 weights, their real scale for each output channel, and the bias in accumulator units without zero points."""

    weights: Array  # int8[O, …]
    scale: Array  # float64[O]
    bias: Array  # int64[O]


def quantise_weights(
    w: Array, bias: Array, x: Affine, output_scale: float, residual_scale: float = 0.0, clip: Array | float = 1.0
) -> QuantisedWeights:
    """Symmetric int8 weights for each output channel, such that no accumulator can overflow.

    w: float[O, …], bias: float[O], x: what the input's levels mean. The natural unit of a channel's accumulator is
    x.scale · clip · max|w| / 127; clip, of each channel or of all, is the part of the weights' range that levels span. It is
    made coarser where the bias, the residual or the sum would not fit, by no more than it takes.
    """
    bias = bias.astype(np.float64)
    found = QuantisedWeights(np.empty(w.shape, np.int8), np.empty(len(w)), np.empty(len(w), np.int64))
    clips = np.broadcast_to(np.asarray(clip, np.float64), (len(w),))
    flat, levels = w.reshape(len(w), -1), found.weights.reshape(len(w), -1)
    for rows in row_chunks(flat):
        levels[rows], found.scale[rows], found.bias[rows] = _quantise_channels(
            flat[rows].astype(np.float64), bias[rows], x, output_scale, residual_scale, clips[rows]
        )
    return found


def _quantise_channels(
    flat: Array, bias: Array, x: Affine, output_scale: float, residual_scale: float, clip: Array
) -> tuple[Array, Array, Array]:
    """Weights, scales and biases of some channels. flat: float64[O, …], bias and clip: float64[O]."""
    unit = x.scale * np.abs(flat).max(axis=1, initial=0.0) * clip / HIGH
    unit = np.maximum(unit, np.abs(bias) / BIAS_LIMIT)
    unit = np.maximum(unit, max(residual_scale / (MAX_MULTIPLIER // 2), output_scale * FINEST_UNIT))
    while True:
        scale = unit / x.scale
        q = np.clip(np.rint(flat / scale[:, None]), -HIGH, HIGH)
        levels = np.clip(np.rint(bias / unit), -BIAS_LIMIT, BIAS_LIMIT)
        reach = sum_reach(q, levels, x.zero_point) + 255 * residual_scale / unit + 1
        if not (reach > ACC_LIMIT).any():
            return q.astype(np.int8), scale, levels.astype(np.int64)
        unit = np.where(reach > ACC_LIMIT, unit * np.maximum(reach / ACC_LIMIT, 1 + 2.0**-12), unit)


def sum_reach(q: Array, bias: Array, zero_point: int) -> Array:
    """float64[O]: the greatest magnitude of Σ q·(x - zero_point) + bias over all int8 x, exactly. q: float64[O, …].

    Partial sums may go further: the accumulator wraps, and comes back.
    """
    positive, negative = np.maximum(q, 0).sum(axis=1), np.maximum(-q, 0).sum(axis=1)
    above, below = HIGH - zero_point, zero_point - LOW
    most = positive * above + negative * below + bias
    least = -(positive * below + negative * above) + bias
    return np.maximum(most, -least)


def accumulator_reach(magnitude: Array, bias: Array, residual_ratio: Array) -> Array:
    """The greatest magnitude any accumulator can have, zero points (each factor at most 255) included. magnitude: Σ|w|."""
    return 255 * (magnitude + residual_ratio + 1) + np.abs(bias)


def magnitudes(weights: Array) -> Array:
    """float64[O]: Σ|w| of int8[O, …]."""
    flat = weights.reshape(len(weights), -1)
    sums = [np.abs(flat[rows].astype(np.int32)).sum(axis=1) for rows in row_chunks(flat)]
    return np.concatenate(sums).astype(np.float64)


def row_chunks(flat: Array) -> Iterator[slice]:
    """Some rows at a time, so that wide copies of all weights are never in memory together."""
    rows = max(1, CHUNK_ELEMENTS // max(flat.shape[1], 1))
    return (slice(start, start + rows) for start in range(0, len(flat), rows))


def bias_words(bias: Array, weights: Array, zero_point: int) -> Array:
    """int32[O] bias with the input's zero point folded in: bias - zero_point · Σ w, modulo 2³² as the accumulator is."""
    sums = weights.reshape(weights.shape[0], -1).sum(axis=1, dtype=np.int64)
    return wrap32(bias - zero_point * sums)
