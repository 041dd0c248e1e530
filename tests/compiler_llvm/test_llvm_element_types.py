"""Every element type on its own: casts between all pairs, bits, comparisons and arithmetic, against NumPy and ml_dtypes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from element_values import SCALE, assert_same, elementwise, expected_cast, values_of

from vdla.compiler import ir, te
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.backends.llvm.target import host_target
from vdla.compiler.ir.element_types import BOOL, DTYPES, INTEGERS, NARROW, NARROW_FLOATS
from vdla.element_types import ELEMENT_TYPES, numpy_dtype


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


@pytest.mark.parametrize("dtype", INTEGERS)
def test_clipped_floats_need_no_bounds(dtype: str) -> None:
    """What is clipped inside the target's range becomes the plain instruction, with the same values, NaN included."""
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
