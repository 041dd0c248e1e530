"""Every element type on its own: casts between all pairs, bits, comparisons and arithmetic, against NumPy and ml_dtypes."""

from __future__ import annotations

import functools
import itertools
import math
import warnings

import numpy as np
import pytest

from vdla.compiler import ir, te
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.backends.llvm.target import host_target
from vdla.compiler.ir.element_types import BOOL, DTYPES, FLOATS, INTEGERS, NARROW, NARROW_FLOATS
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


def elementwise(inputs: list[tuple[int, str]], expression, kind: str = "vectorized") -> ir.Function:
    """out[i] = expression(x0[i], …), in one loop of `kind`."""
    count, i = inputs[0][0], ir.Var("i")
    sources = [ir.Buffer(f"x{k}", (n,), dtype) for k, (n, dtype) in enumerate(inputs)]
    value = expression(*(ir.Load(x, (i,)) for x in sources))
    out = ir.Buffer("out", (count,), value.dtype)
    func = ir.Function("elements", (*sources, out), ir.For(i, count, ir.Store(out, (i,), value), kind))
    ir.verify(func)
    return func


def run_both(func: ir.Function, *arrays: np.ndarray) -> np.ndarray:
    """What machine code computes, which must be what the interpreter does."""
    (found,) = compile_function(func).run(*arrays)
    (interpreted,) = ir.interpret(func, list(arrays))
    assert_same(found, interpreted, ir.to_text(func))
    return found


@pytest.mark.parametrize("source", DTYPES)
def test_casts_between_all_pairs(source: str) -> None:
    x = values_of(source)
    for target in DTYPES:
        func = elementwise([(len(x), source)], lambda v, target=target: te.cast(v, target))
        found = run_both(func, x)
        expected = expected_cast(x, target)
        if target == SCALE:  # between its two smallest values ml_dtypes rounds up always, and we to the nearest
            tiny = np.abs(x.astype(np.float64)) < 2.0**-126
            found, expected = found[~tiny], expected[~tiny]
        if target == "float4_e2m1fn":  # it has no NaN: NaN becomes a zero, whose sign nobody defines
            finite = x.astype(np.float64) == x.astype(np.float64)
            assert np.all(found[~finite].astype(np.float32) == 0)
            found, expected = found[finite], expected[finite]
        assert_same(found, expected, f"{source} to {target}")


def test_float16_by_integer_arithmetic_is_the_processors_own() -> None:
    """A processor without the instructions computes the same."""
    from dataclasses import replace

    target = replace(host_target(), features=host_target().features.replace("+f16c", "-f16c").replace("+avx512", "-avx512"))
    for source, to in (("float16", "float32"), ("float16", "float64"), ("float32", "float16"), ("float64", "float16")):
        x = values_of(source)
        func = elementwise([(len(x), source)], lambda v, to=to: te.cast(v, to))
        (found,) = compile_function(func, target).run(x)
        assert_same(found, expected_cast(x, to), f"{source} to {to}")


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize("kind", ["serial", "vectorized"])
def test_narrow_types_are_stored_chosen_and_compared(dtype: str, kind: str) -> None:
    x = np.random.default_rng(3).permutation(values_of(dtype))[:512]
    y = np.roll(x, 3)
    func = elementwise([(len(x), dtype)] * 2, lambda a, b: te.select(te.equal(a, b), te.const(1, dtype), b), kind)
    found = run_both(func, x, y)
    expected = np.where(x == y, np.array(1).astype(numpy_dtype(dtype)), y)
    assert_same(found, expected, dtype)


PAIRS = [
    (a, b)
    for a, b in itertools.permutations([d for d in DTYPES if d != BOOL], 2)
    if ELEMENT_TYPES[a].bits == ELEMENT_TYPES[b].bits
]


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_reinterpretation_keeps_bits(source: str, target: str) -> None:
    x = values_of(source)
    x = x[x.astype(np.float64) == x.astype(np.float64)] if ELEMENT_TYPES[source].is_float else x
    found = run_both(elementwise([(len(x), source)], lambda v: te.reinterpret(v, target)), x)
    bits = ELEMENT_TYPES[source].bits
    codes = x.view(f"uint{max(bits, 8)}") & np.array((1 << bits) - 1).astype(f"uint{max(bits, 8)}")
    if ELEMENT_TYPES[target].is_integer and bits < 8:
        expected = codes.astype(np.int64).astype(numpy_dtype(target))
    else:
        expected = codes.view(numpy_dtype(target))
    assert_same(found, expected, f"{source} as {target}")


OPERATIONS = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "bit_and": np.bitwise_and, "bit_or": np.bitwise_or, "bit_xor": np.bitwise_xor,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_arithmetic(dtype: str) -> None:
    x = np.random.default_rng(1).permutation(values_of(dtype))[:600]
    y = np.roll(x, 7)
    divisor = np.where(y == 0, 3, np.where(y == -1, 5, y)).astype(dtype)
    for op, function in OPERATIONS.items():
        func = elementwise([(len(x), dtype)] * 2, lambda a, b, op=op: ir.Binary(op, a, b))
        np.testing.assert_array_equal(run_both(func, x, y), function(x, y), err_msg=op)
    for op, function in (("floordiv", np.floor_divide), ("floormod", np.mod)):
        func = elementwise([(len(x), dtype)] * 2, lambda a, b, op=op: ir.Binary(op, a, b))
        np.testing.assert_array_equal(run_both(func, x, divisor), function(x, divisor), err_msg=op)
    count = (y.astype(np.uint64) % np.uint64(ELEMENT_TYPES[dtype].bits)).astype(dtype)
    for op, function in (("shl", np.left_shift), ("shr", np.right_shift)):
        func = elementwise([(len(x), dtype)] * 2, lambda a, b, op=op: ir.Binary(op, a, b))
        np.testing.assert_array_equal(run_both(func, x, count), function(x, count), err_msg=op)
    np.testing.assert_array_equal(run_both(elementwise([(len(x), dtype)], te.bit_not), x), np.invert(x))
    np.testing.assert_array_equal(run_both(elementwise([(len(x), dtype)], te.absolute), x), np.abs(x))


@pytest.mark.parametrize("dtype", [*INTEGERS, BOOL])
def test_reductions_start_from_the_ends_of_the_range(dtype: str) -> None:
    x = np.random.default_rng(2).permutation(values_of(dtype))[:120].reshape(-1, 2)
    p = te.placeholder(x.shape, dtype, "x")
    k = te.reduce_axis(2, "k")
    for fold, function in ((te.max, np.max), (te.min, np.min)):
        y = te.compute(x.shape[:1], lambda i, fold=fold: fold(p[i, k], k), "y")
        func = te.create_function("fold", [p], [y])
        np.testing.assert_array_equal(ir.interpret(func, [x])[0], function(x, axis=1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_written_and_read(dtype: str) -> None:
    numbers = [0, 1] if dtype == BOOL else [0, 1, 3, *([-1] if ELEMENT_TYPES[dtype].signed else [])]
    numbers = [min(n, ELEMENT_TYPES[dtype].range[1]) for n in numbers] if not ELEMENT_TYPES[dtype].is_float else numbers
    numbers += [0.1, -0.0] if ELEMENT_TYPES[dtype].is_float else []
    numbers += [math.inf, -math.inf, math.nan] if ELEMENT_TYPES[dtype].is_float and dtype != "float4_e2m1fn" else []
    for number in numbers:
        func = elementwise(
            [(3, dtype)], lambda v, number=number: te.select(te.equal(v, v), te.const(number, dtype), v), "serial"
        )
        assert ir.structural_equal(ir.parse(ir.to_text(func)), func)
        found = run_both(func, np.ones(3).astype(numpy_dtype(dtype)))
        expected = np.full(3, number).astype(numpy_dtype(dtype))
        assert_same(found, expected, f"{dtype}({number})")


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
def test_clipped_floats_need_no_bounds(dtype: str) -> None:
    """What is clipped inside the target's range becomes the plain instruction, with the same values, NaN included."""
    if dtype in FLOATS:
        return
    x = values_of("float32")
    low, high = max(ELEMENT_TYPES[dtype].range[0], -120), min(ELEMENT_TYPES[dtype].range[1], 120)
    func = elementwise([(len(x), "float32")], lambda v: te.cast(te.clip(v, float(low), float(high)), dtype))
    found = run_both(func, x)
    np.testing.assert_array_equal(found, np.where(x == x, np.clip(x, low, high), low).astype(dtype))
    assert "sat" not in compile_function(func).assembly


@pytest.mark.parametrize("target", list(NARROW_FLOATS))
def test_rounding_to_odd_is_not_needed_twice(target: str) -> None:
    """Values beside ties in float64, where float32 cannot tell: to float16 rounded once, to the others as ml_dtypes does."""
    mantissa = 10 if target == "float16" else 7
    x = np.array([s * (1 + 2.0 ** -(mantissa + 1) + d) for s in (1, 2, 0.5, -1) for d in (2.0**-40, -(2.0**-40), 0.0)])
    x = np.abs(x) if target == SCALE else x
    found = run_both(elementwise([(len(x), "float64")], lambda v: te.cast(v, target)), x)
    assert_same(found, x.astype(numpy_dtype(target)), target)
