"""Powers of integers, exact and modulo 2^bits as their products are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.definition import Attributes, Definition, Types, broadcast_index, placeholders, required
from vdla.compiler.operators.elementwise import constant
from vdla.compiler.operators.operator import INTEGER, SIGNED, Input, Operator
from vdla.compiler.operators.shapes import broadcast, broadcast_shape
from vdla.element_types import ELEMENT_TYPES

DIGIT_BITS = 3


def define_integer_pow(types: Types, a: Attributes) -> Definition:
    """xⁿ = Π (x^(8^k))^dₖ over the octal digits dₖ of n, a stage for each power of x and each partial product.

    x⁻ⁿ is 1 / xⁿ cut to a whole number: 0, unless x is 1 or -1; of 0 too.
    """
    base, exponent = required(*placeholders(types, "a", "b"))
    shape = broadcast_shape([base.shape, exponent.shape])
    usable = ELEMENT_TYPES[base.dtype].bits - 1  # without the sign

    def x(at: Sequence[Expr]) -> Expr:
        return base[broadcast_index(base.shape, at)]

    def n(at: Sequence[Expr]) -> Expr:
        return exponent[broadcast_index(exponent.shape, at)]

    powers = te.compute(shape, lambda *at: x(at), "power0")
    total = te.compute(shape, lambda *at: digit_power(powers[at], n(at), 0, usable), "total0")
    for k in range(1, ceil_div(usable, DIGIT_BITS)):
        before, product = powers, total
        powers = te.compute(shape, lambda *at, p=before: raised_to_eight(p[at]), f"power{k}")
        total = te.compute(
            shape,
            lambda *at, p=powers, t=product, first=k * DIGIT_BITS: t[at] * digit_power(p[at], n(at), first, usable),
            f"total{k}",
        )

    def element(*at: Expr) -> Expr:
        return te.select(n(at) < 0, inverse_power(x(at), n(at)), total[at])

    return Definition((base, exponent), (te.compute(shape, element, "y"),))


def digit_power(x: Expr, n: Expr, first: int, usable: int) -> Expr:
    """x^d for the digit d that n's bits from `first` on make: of x, x² and x⁴ those whose bit is set."""
    product, power = None, x
    for bit in range(first, min(first + DIGIT_BITS, usable)):
        factor = te.select(te.not_equal(te.bit_and(n, 1 << bit), 0), power, constant(x, 1))
        product = factor if product is None else product * factor
        power = power * power
    assert product is not None
    return product


def raised_to_eight(x: Expr) -> Expr:
    fourth = x * x * (x * x)
    return fourth * fourth


def inverse_power(x: Expr, n: Expr) -> Expr:
    zero, one = constant(x, 0), constant(x, 1)
    alternating = te.select(te.equal(te.bit_and(n, 1), 0), one, constant(x, -1))
    return te.select(te.equal(x, 1), one, te.select(te.equal(x, -1), alternating, zero))


def integer_pow(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """NumPy's own, which refuses negative exponents."""
    x, n = np.broadcast_arrays(*inputs)
    positive = np.power(x, np.maximum(n, 0))
    negative = np.where(x == 1, 1, np.where(x == -1, np.where(n % 2 == 0, 1, -1), 0)).astype(x.dtype)
    return np.where(n < 0, negative, positive)


SIGNED_INTEGERS = tuple(dtype for dtype in INTEGER if dtype in SIGNED)

FAMILY = (
    Operator(
        name="integer_pow",
        inputs=(Input("a", SIGNED_INTEGERS), Input("b", SIGNED_INTEGERS, like="a")),
        infer=broadcast,
        define=define_integer_pow,
        kernel=integer_pow,
    ),
)
