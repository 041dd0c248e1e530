"""Elements of every type, what casts make of them by NumPy and ml_dtypes, and functions of elements."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable

import numpy as np

from vdla.compiler import ir
from vdla.compiler.ir.element_types import BOOL
from vdla.element_types import ELEMENT_TYPES, numpy_dtype

SAMPLES = 4096
SCALE = "float8_e8m0fnu"


@functools.cache
def values_of(dtype: str) -> np.ndarray:
    """All elements of up to 16 bits; of wider types the ends, what lies about powers of two, and random bits."""
    element = ELEMENT_TYPES[dtype]
    if dtype == BOOL:
        return np.array([False, True])
    if element.bits <= 16:
        codes = np.arange(1 << element.bits, dtype=np.int64)
        if element.is_integer:
            return (codes + element.range[0]).astype(element.storage).astype(numpy_dtype(dtype))
        return codes.astype(f"uint{8 * element.item_bytes}").view(numpy_dtype(dtype))
    rng = np.random.default_rng(element.bits)
    bits = rng.integers(0, 1 << 64, SAMPLES, np.uint64) >> rng.integers(0, 64, SAMPLES, np.uint64)
    if element.is_integer:
        low, high = element.range
        ends = [
            low,
            low + 1,
            high - 1,
            high,
            0,
            1,
            *(min((1 << k) + d, high) for k in range(2, element.bits) for d in (-1, 0, 1)),
        ]
        return np.concatenate([np.array(ends, dtype), bits.astype(dtype), np.uint64(0) - bits.astype(dtype)]).astype(dtype)
    patterns = (bits << np.uint64(64 - element.bits) >> np.uint64(64 - element.bits)).astype(f"uint{element.bits}").view(dtype)
    scale = np.exp2(rng.integers(-40, 40, SAMPLES))
    halves = np.array([m * 2.0**e for m in range(33) for e in range(-30, 20)])  # ties, and the values beside them
    near = [np.nextafter(halves.astype(dtype), np.array(side, dtype)) for side in (-np.inf, np.inf)]
    ends = [
        0.0,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        65504,
        65519,
        65520,
        448,
        464,
        465,
        57344,
        61440,
        240,
        248,
        6,
        7,
        2**31,
        2**63,
    ]
    random = (rng.standard_normal(SAMPLES) * scale).astype(dtype)
    return np.concatenate([patterns, random, -halves.astype(dtype), halves.astype(dtype), *near, np.array(ends, dtype)])


def expected_cast(x: np.ndarray, target: str) -> np.ndarray:
    """astype, where that is defined; beyond an integer's range what `nodes.Cast` says, in NumPy's own arithmetic."""
    source, element = str(x.dtype), ELEMENT_TYPES[target]
    if ELEMENT_TYPES[source].is_float and element.is_integer:
        wide = x.astype(np.float64)
        low, high = ELEMENT_TYPES["int32" if element.bits < 32 else target].range
        inside = np.nan_to_num(np.trunc(np.where((wide > low) & (wide < high), wide, 0.0)))
        whole = [high if v >= high else low if v <= low else int(t) for v, t in zip(wide, inside, strict=True)]
        bounded = np.array([w if v == v else 0 for v, w in zip(wide, whole, strict=True)], object)
        return bounded.astype("int64" if low else "uint64").astype(numpy_dtype(target))
    if ELEMENT_TYPES[source].is_integer and element.is_integer:
        return x.astype("uint64" if source == "uint64" else "int64").astype(numpy_dtype(target))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = x.astype(np.float32) if SCALE in (source, target) else x  # ml_dtypes has it to and from NumPy's own types alone
        return x.astype(numpy_dtype(target))


def assert_same(found: np.ndarray, expected: np.ndarray, message: str) -> None:
    """Equal elements, signs of zeros included; which NaN does not matter."""
    assert found.dtype == expected.dtype, message
    if ELEMENT_TYPES[str(found.dtype)].is_float:
        a, b = found.astype(np.float64), expected.astype(np.float64)
        np.testing.assert_array_equal(a, b, err_msg=message)
        np.testing.assert_array_equal(np.signbit(a[a == 0]), np.signbit(b[a == 0]), err_msg=message)
    else:
        np.testing.assert_array_equal(found, expected, err_msg=message)


def elementwise(inputs: list[tuple[int, str]], expression: Callable[..., ir.Expr], kind: str = "vectorized") -> ir.Function:
    """out[i] = expression(x0[i], …), in one loop of `kind`."""
    count, i = inputs[0][0], ir.Var("i")
    sources = [ir.Buffer(f"x{k}", (n,), dtype) for k, (n, dtype) in enumerate(inputs)]
    value = expression(*(ir.Load(x, (i,)) for x in sources))
    out = ir.Buffer("out", (count,), value.dtype)
    func = ir.Function("elements", (*sources, out), ir.For(i, count, ir.Store(out, (i,), value), kind))
    ir.verify(func)
    return func
