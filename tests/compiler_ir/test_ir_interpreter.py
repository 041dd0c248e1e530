"""The interpreter against NumPy arithmetic, and the rules it defines."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from random_functions import random_case

from vdla.compiler import ir
from vdla.errors import CompileError, RunError

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = ("float32", "float64")
RNG = np.random.default_rng(7)


def samples(dtype: str, count: int = 300) -> np.ndarray:
    """Random values and the extremes."""
    if dtype in FLOATS:
        values = RNG.standard_normal(count) * 10.0 ** RNG.integers(-6, 7, count)
        return np.concatenate([values, [0.0, -0.0, 1.0, -1.0, 2.5, -0.5, 3e38, 1e-40]]).astype(dtype)
    limits = np.iinfo(dtype)
    values = RNG.integers(limits.min, limits.max, count, dtype=dtype, endpoint=True)
    return np.concatenate([values, np.array([limits.min, limits.max, 0, 1, limits.min + 1, limits.max - 1], dtype)])


def evaluate(element: Callable[..., ir.Expr], *arrays: np.ndarray) -> np.ndarray:
    """`element` of the arrays, at every position."""
    inputs = tuple(ir.Buffer(f"x{n}", a.shape, str(a.dtype)) for n, a in enumerate(arrays))
    i = ir.Var("i")
    value = element(*(ir.Load(x, (i,)) for x in inputs))
    y = ir.Buffer("y", arrays[0].shape, value.dtype)
    function = ir.Function("f", (*inputs, y), ir.For(i, len(arrays[0]), ir.Store(y, (i,), value)))
    ir.verify(function)
    return ir.interpret(function, list(arrays))[0]


NUMPY_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "min": np.minimum, "max": np.maximum,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("op", NUMPY_BINARY)
def test_binary_operations_are_those_of_the_dtype(op: str, dtype: str) -> None:
    """Integers wrap, float32 rounds at every step: NumPy does both on arrays."""
    a, b = samples(dtype), RNG.permutation(samples(dtype))
    with np.errstate(all="ignore"):
        expected = NUMPY_BINARY[op](a, b)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary(op, x, y), a, b), expected)


def test_float32_rounds_at_every_step() -> None:
    """Not once at the store: products, sums and quotients in between are float32 too."""
    a, b, c = (RNG.standard_normal(2000).astype(np.float32) for _ in range(3))
    found = evaluate(lambda x, y, z: (x * y + z) / (y - x) * z, a, b, c)
    np.testing.assert_array_equal(found, (a * b + c) / (b - a) * c)
    wide = (a.astype(np.float64) * b + c) / (b.astype(np.float64) - a) * c
    assert (found != wide.astype(np.float32)).any()


@pytest.mark.parametrize("dtype", INTEGERS)
def test_whole_division_rounds_down(dtype: str) -> None:
    a, b = samples(dtype), RNG.permutation(samples(dtype))
    b[b == 0] = 1
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("floordiv", x, y), a, b), a // b)
        np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("floormod", x, y), a, b), a % b)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_shifts_are_arithmetic_and_modulo_the_width(dtype: str) -> None:
    width = np.iinfo(dtype).bits
    a, b = samples(dtype), RNG.integers(0, width, len(samples(dtype))).astype(dtype)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("shl", x, y), a, b), a << b)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("shr", x, y), a, b), a >> b)
    over = ir.Const(width + 1, dtype)
    np.testing.assert_array_equal(evaluate(lambda x: ir.Binary("shl", x, over), a), a << np.array(1, dtype))
    np.testing.assert_array_equal(evaluate(lambda x: ir.Binary("shr", x, over), a), a >> np.array(1, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
def test_division_is_ieee(dtype: str) -> None:
    a, b = samples(dtype), RNG.permutation(samples(dtype))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("div", x, y), a, b), a / b)


@pytest.mark.parametrize("source", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("target", [*INTEGERS, *FLOATS, "bool"])
def test_casts(source: str, target: str) -> None:
    values = samples(source)
    if source in FLOATS and target in INTEGERS:  # beyond the range is undefined
        limits = np.iinfo(target)
        values = np.clip(np.nan_to_num(values), max(limits.min, -(2.0**31)), min(limits.max, 2.0**30)).astype(source)
    with np.errstate(all="ignore"):
        expected = values.astype(target)
    np.testing.assert_array_equal(evaluate(lambda x: ir.Cast(target, x), values), expected)


def test_a_float_beyond_the_range_casts_without_a_fault() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 300.7, -300.7], np.float32)
    np.testing.assert_array_equal(evaluate(lambda x: ir.Cast("int8", x), values), [0, -1, 0, 44, -44])
    np.testing.assert_array_equal(evaluate(lambda x: ir.Cast("int64", x), values), [0, 2**63 - 1, -(2**63), 300, -300])


CALLS = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "rsqrt": lambda v: 1 / np.sqrt(v), "tanh": np.tanh,
    "sigmoid": lambda v: np.where(v > 0, 1 / (1 + np.exp(-v)), np.exp(v) / (1 + np.exp(v))),
    "erf": np.vectorize(math.erf), "floor": np.floor, "ceil": np.ceil, "round_even": np.rint, "abs": np.abs,
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", CALLS)
def test_calls_are_correctly_rounded(op: str, dtype: str) -> None:
    values = np.concatenate([samples(dtype, 100), [np.nan, np.inf, -np.inf]]).astype(dtype)
    with np.errstate(all="ignore"):
        expected = CALLS[op](values.astype(np.float64)).astype(dtype)
        found = evaluate(lambda x: ir.Call(op, (x,), dtype), values)
    if op == "sigmoid":  # e^709 / e^709 in the reference
        values, expected, found = (v[np.isfinite(expected)] for v in (values, expected, found))
    np.testing.assert_allclose(found, expected, rtol=1e-7 if dtype == "float32" else 1e-14)


def test_min_and_max_give_the_second_when_one_is_nan() -> None:
    a, b = np.array([np.nan, 1.0]), np.array([2.0, np.nan])
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("max", x, y), a, b), b)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("min", x, y), a, b), b)


def test_the_least_integer_stays_when_made_absolute() -> None:
    np.testing.assert_array_equal(
        evaluate(lambda x: ir.Call("abs", (x,), "int8"), np.array([-128, -5, 5], np.int8)), [-128, 5, 5]
    )


def test_logic_is_bitwise_on_bools() -> None:
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("and", x, y), a, b), a & b)
    np.testing.assert_array_equal(evaluate(lambda x, y: ir.Binary("or", x, y), a, b), a | b)


def run(text: str, *arrays: np.ndarray, **more) -> np.ndarray:
    function = ir.parse(text)
    return ir.interpret(function, list(arrays), **more)[0]


REDUCTION = """\
function f(x: int32[2, 3]) -> (y: int32[2]):
    for t in range(2):
        for k in range(4):
            for i in range(2):
                block y:
                    axis a = spatial(2, i)
                    axis r = reduce(3, k)
                    where k < 3
                    init:
                        y[a] = 100
                    y[a] = y[a] + x[a, r]
"""


def test_init_runs_before_the_first_reduction_point_each_time_it_comes_round() -> None:
    """Twice over all of it (t), as after compute_at with overlap; the fourth k is outside the predicate."""
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    np.testing.assert_array_equal(run(REDUCTION, x), 100 + x.sum(1))


def test_if_else_and_order() -> None:
    text = """\
function f() -> (y: int32[4]):
    for i in vthread(4):
        if i < 2:
            y[i] = i * 10
        else:
            y[i] = y[i - 2] - 1
"""
    np.testing.assert_array_equal(run(text), [0, 10, -1, 9])


def test_thirty_loops_nest() -> None:
    """More than Python allows in one function."""
    i = [ir.Var(f"i{n}") for n in range(30)]
    y = ir.Buffer("y", (), "int32")
    body: ir.For | ir.Store = ir.Store(y, (), ir.Binary("add", ir.Load(y, ()), ir.Const(1)))
    for n, var in enumerate(i):
        body = ir.For(var, 2 if n % 10 == 0 else 1, body)
    assert ir.interpret(ir.Function("f", (y,), body), [np.zeros((), np.int32)])[0] == 8


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("for i in range(5):\n        y[i - 1] = 0", "index 0 into y out of range; found -1; expected 0..3"),
        ("for i in range(5):\n        y[i] = 0", "index 0 into y out of range; found 4; expected 0..3"),
        ("for i in range(4):\n        y[i] = x[0, i - 2]", "index 1 into x out of range; found -2; expected 0..1"),
        ("for i in range(4):\n        y[x[0, i // 3] + 9] = 0", "index 0 into y out of range; found 10; expected 0..3"),
        (
            "block b:\n        axis a = spatial(2, x[0, 0] + 7)\n        y[a] = 0",
            "block b is run outside its domain; found 'a = 8'; expected 0..1",
        ),
        (
            "for i in range(4):\n        block b:\n            axis a = spatial(2, i)\n            y[a] = 0",
            "block b is run outside its domain; found 'a = 2'",
        ),
        ("y[0] = 1 // (x[0, 0] - 1)", "function f: whole division by zero"),
        ("go(y[0 +: 1])", "go(y[0 +: 1]): unknown intrinsic go; expected one of vdla.alu.add"),
        ("vdla.gemm_reset(y[3 +: 2])", "vdla.gemm_reset(y[3 +: 2]): region of y out of range in dimension 0; found '3..4'"),
    ],
)
def test_what_has_no_meaning_is_an_error(body: str, words: str) -> None:
    function = ir.parse(f"function f(x: int32[1, 2]) -> (y: int32[4]):\n    {body}\n")
    with pytest.raises(CompileError) as caught:
        ir.interpret(function, [np.ones((1, 2), np.int32)])
    assert str(caught.value).startswith(words)


def test_a_branch_not_taken_is_not_evaluated() -> None:
    text = "function f(x: int32[2]) -> (y: int32[4]):\n    for i in range(4):\n        y[i] = select(i >= 2, x[i - 2], -1)\n"
    np.testing.assert_array_equal(run(text, np.array([5, 6], np.int32)), [-1, -1, 5, 6])


def test_undefined_memory_is_noticed_and_fresh_in_every_allocation() -> None:
    text = """\
function f() -> (y: int32[3], z: float32[2]):
    for i in range(2):
        allocate t: int32[1]
        y[i] = t[0]
        t[0] = 7
"""
    y, z = ir.interpret(ir.parse(text), [])
    assert y[0] == y[1] == y[2] < -(10**9)
    assert np.isnan(z).all()


def test_outputs_may_come_with_contents_which_are_not_changed() -> None:
    text = "function f(x: int32[2]) -> (y: int32[2]):\n    for i in range(2):\n        y[i] = y[i] + x[i]\n"
    y = np.array([10, 20], np.int32)
    np.testing.assert_array_equal(run(text, np.array([1, 2], np.int32), y), [11, 22])
    np.testing.assert_array_equal(y, [10, 20])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({}, "function f: no array for x; found []; expected x"),
        ({"x": np.zeros(3, np.int32)}, "function f: array for x; found 'int32[3]'; expected int32[2]"),
        ({"x": np.zeros(2, np.int64)}, "function f: array for x; found 'int64[2]'; expected int32[2]"),
        ({"x": np.zeros(2, np.int32), "q": 1}, "function f: an array for no parameter; found 'q'; expected x, y"),
        ([1, 2, 3], "function f: too many arrays; found 3; expected at most 2"),
    ],
)
def test_wrong_arrays(arrays: object, words: str) -> None:
    function = ir.parse("function f(x: int32[2]) -> (y: int32[2]):\n    pass\n")
    with pytest.raises(RunError) as caught:
        ir.interpret(function, arrays)  # type: ignore[arg-type]
    assert str(caught.value) == words


def test_arrays_of_any_memory_order() -> None:
    text = """\
function f(x: int32[2, 3]) -> (y: int32[2, 3]):
    for i in range(2):
        for j in range(3):
            y[i, j] = x[i, j]
"""
    x = np.arange(6, dtype=np.int32).reshape(3, 2).T
    np.testing.assert_array_equal(run(text, x), x)


def test_intrinsics_of_ones_own() -> None:
    def scale(regions, attributes, predicate) -> None:
        destination, source = regions
        destination[...] = source * attributes["factor"] if predicate else -1

    text = """\
function f(x: int32[4, 2]) -> (y: int32[4, 2]):
    for i in range(4):
        scale(y[i +: 1, 0 +: 2], x[i - 1 +: 1, 0 +: 2]; factor=3) where i >= 1
"""
    x = np.arange(8, dtype=np.int32).reshape(4, 2)
    expected = np.concatenate([[[-1, -1]], x[:3] * 3])
    np.testing.assert_array_equal(run(text, x, intrinsics={"scale": scale}), expected)


TILE = "function f(x: int32[2, 4], b: int32[2, 4], s: int32[2, 4]) -> (y: int32[1, 2, 4]):\n    vdla.alu.{}\n"
DESTINATION, X, B, S = "y[0 +: 1, 0 +: 2, 0 +: 4]", "x[0 +: 2, 0 +: 4]", "b[0 +: 2, 0 +: 4]", "s[0 +: 2, 0 +: 4]"


def wrap(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def rounding_shift(x: int, by: int) -> int:
    return round(Fraction(x, 2**by))  # Python rounds half to even


@pytest.mark.parametrize(
    ("op", "meaning"),
    [
        ("min", min),
        ("max", max),
        ("add", lambda x, y: wrap(x + y)),
        ("mul", lambda x, y: wrap(x * y)),
        ("shl", lambda x, y: wrap(x << y % 32)),
        ("shr", lambda x, y: rounding_shift(x, y % 32)),
    ],
)
def test_vdla_alu(op: str, meaning: Callable[[int, int], int]) -> None:
    x, b = (samples("int32", 2)[:8].reshape(2, 4) for _ in range(2))
    found = run(TILE.format(f"{op}({DESTINATION}, {X}, {B})"), x, b, b)
    np.testing.assert_array_equal(found[0], np.vectorize(meaning)(x.astype(object), b.astype(object)).astype(np.int64))
    found = run(TILE.format(f"{op}({DESTINATION}, {X}; imm=5)"), x, b, b)
    np.testing.assert_array_equal(found[0], np.vectorize(lambda v: meaning(v, 5))(x.astype(object)).astype(np.int64))


def test_vdla_mov_clip_and_rescaling() -> None:
    x = RNG.integers(-(10**6), 10**6, (2, 4)).astype(np.int32)
    bias = np.full((2, 4), 12, np.int32)
    scale = np.full((2, 4), 1 << 17 | 21 << 18 | 5 << 24, np.int32)  # multiplier 3/2 · 2^18, shift 21, zero point 5
    np.testing.assert_array_equal(run(TILE.format(f"mov({DESTINATION}, {X})"), x, bias, scale)[0], x)
    np.testing.assert_array_equal(run(TILE.format(f"mov({DESTINATION}; imm=-3)"), x, bias, scale), np.full((1, 2, 4), -3))
    np.testing.assert_array_equal(
        run(TILE.format(f"clip({DESTINATION}, {X}; high=9, low=-4)"), x, bias, scale)[0], np.clip(x, -4, 9)
    )
    scaled = np.rint((x + 12) * 3 / 16).astype(int) + 5
    np.testing.assert_array_equal(run(TILE.format(f"rescale({DESTINATION}, {X}, {B}, {S})"), x, bias, scale)[0], scaled)
    text = TILE.format(f"requantise({DESTINATION}, {X}, {B}, {S}; high=127, low=-128)")
    np.testing.assert_array_equal(run(text, x, bias, scale)[0], np.clip(scaled, -128, 127))


def test_vdla_gemm_program() -> None:
    text = """\
function f(x: int8[3, 2, 4], w: int8[3, 5, 4], d: int8[2, 5]) -> (y: int8[2, 5]):
    allocate i: int8[1, 2, 4] in vdla.inp
    allocate k: int8[1, 5, 4] in vdla.wgt
    allocate a: int32[2, 2, 5] in vdla.acc
    vdla.gemm_reset(a[0 +: 1, 0 +: 2, 0 +: 5])
    for c in range(4):
        vdla.load(i[0 +: 1, 0 +: 2, 0 +: 4], x[c +: 1, 0 +: 2, 0 +: 4]; pad_value=-2) where c < 3
        vdla.load(k[0 +: 1, 0 +: 5, 0 +: 4], w[min(c, 2) +: 1, 0 +: 5, 0 +: 4])
        vdla.gemm(a[0 +: 1, 0 +: 2, 0 +: 5], i[0 +: 1, 0 +: 2, 0 +: 4], k[0 +: 1, 0 +: 5, 0 +: 4])
    vdla.load(a[1 +: 1, 0 +: 2, 0 +: 5], d[0 +: 2, 0 +: 5])
    vdla.alu.add(a[0 +: 1, 0 +: 2, 0 +: 5], a[0 +: 1, 0 +: 2, 0 +: 5], a[1 +: 1, 0 +: 2, 0 +: 5])
    vdla.store(y[0 +: 2, 0 +: 5], a[0 +: 1, 0 +: 2, 0 +: 5])
"""
    x, w, d = (RNG.integers(-128, 128, s).astype(np.int8) for s in ((3, 2, 4), (3, 5, 4), (2, 5)))
    ir.verify(ir.parse(text), lowered=True)
    padded = np.concatenate([x, np.full((1, 2, 4), -2, np.int8)]).astype(np.int64)
    weights = np.concatenate([w, w[2:]]).astype(np.int64)
    expected = np.einsum("cbi,coi->bo", padded, weights) + d
    np.testing.assert_array_equal(run(text, x, w, d), (expected + 128) % 256 - 128)


def test_random_functions_are_the_same_read_back_and_run_twice() -> None:
    for seed in range(60):
        case = random_case(seed)
        first, second = (ir.interpret(case.function, case.arrays) for _ in range(2))
        by_position = ir.interpret(case.function, [case.arrays[p.name] for p in case.function.params if p.name in case.arrays])
        for a, b, c in zip(first, second, by_position, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"seed {seed}")
            np.testing.assert_array_equal(a, c, err_msg=f"seed {seed}")
