"""Slow, obvious loops for the quantised operators, from the opset's text, sharing no code with the executor."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np


def requantise_one(acc: int, bias: int, word: int, low: int, high: int) -> int:
    """One value through Python integers: unbounded, so nothing can overflow but where the text says so."""
    return min(max(rescale_one(acc, bias, word), low), high)


def rescale_one(acc: int, bias: int, word: int) -> int:
    word &= 0xFFFFFFFF
    multiplier, shift, zero_point = 2**18 + word % 2**18, word // 2**18 % 64, word // 2**24
    zero_point -= 256 * (zero_point > 127)
    total = (acc + bias + 2**31) % 2**32 - 2**31
    rounded = round(Fraction(total * multiplier, 2**shift))  # Python rounds half to even
    return min(max(rounded + zero_point, -(2**31)), 2**31 - 1)


def at(vector: np.ndarray, channel: int) -> int:
    return int(vector[channel if len(vector) > 1 else 0])


def wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def qconv2d(
    x,
    w,
    bias,
    scale,
    residual=None,
    residual_bias=None,
    residual_scale=None,
    *,
    strides,
    pads,
    dilations,
    groups,
    low,
    high,
    pad_value,
):
    """Seven nested loops."""
    n, c, h, width = x.shape
    o, c_group, kh, kw = w.shape
    (top, left, bottom, right), (sy, sx), (dy, dx) = pads, strides, dilations
    oh = (h + top + bottom - dy * (kh - 1) - 1) // sy + 1
    ow = (width + left + right - dx * (kw - 1) - 1) // sx + 1
    y = np.zeros((n, o, oh, ow), np.int8)
    for b, k, i, j in itertools.product(range(n), range(o), range(oh), range(ow)):
        acc = 0
        first = k // (o // groups) * c_group
        for ch, p, q in itertools.product(range(c_group), range(kh), range(kw)):
            row, column = i * sy + p * dy - top, j * sx + q * dx - left
            inside = 0 <= row < h and 0 <= column < width
            acc += (int(x[b, first + ch, row, column]) if inside else pad_value) * int(w[k, ch, p, q])
        if residual is not None:
            acc += rescale_one(int(residual[b, k, i, j]), at(residual_bias, k), at(residual_scale, k))
        y[b, k, i, j] = requantise_one(wrap(acc), at(bias, k), at(scale, k), low, high)
    return y


def pool2d(x, kernel, strides, pads, ceil, value, reduce):
    """reduce(list of the window's values, channel) → int, over a window that may hang over the end when `ceil`."""
    n, c, h, w = x.shape
    (top, left, bottom, right), (kh, kw), (sy, sx) = pads, kernel, strides
    divide = (lambda a, b: -(-a // b)) if ceil else (lambda a, b: a // b)
    oh, ow = divide(h + top + bottom - kh, sy) + 1, divide(w + left + right - kw, sx) + 1
    y = np.zeros((n, c, oh, ow), np.int8)
    for b, ch, i, j in itertools.product(range(n), range(c), range(oh), range(ow)):
        window = []
        for p, q in itertools.product(range(kh), range(kw)):
            row, column = i * sy + p - top, j * sx + q - left
            window.append(int(x[b, ch, row, column]) if 0 <= row < h and 0 <= column < w else value)
        y[b, ch, i, j] = reduce(window, ch)
    return y
