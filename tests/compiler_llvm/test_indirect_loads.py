"""Indices that depend on data, and whole division, as machine code: right in every lane, and never outside a buffer."""

from __future__ import annotations

import numpy as np
import pytest
from test_kernel import fenced

from vdla.compiler import ir, te
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.ir.element_types import INTEGERS
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule
from vdla.errors import CompileError

RNG = np.random.default_rng(11)
KINDS = ("serial", "vectorized", "unrolled", "parallel")


def build(output: te.Tensor, inputs: list[te.Tensor], kind: str, split: int = 0) -> ir.Function:
    """One stage, its last loop of `kind`, perhaps split with a tail."""
    schedule = Schedule(te.create_function("indirect", inputs, [output]), check=True)
    *_, last = schedule.loops(output.name)
    if split:
        last = schedule.split(last, [None, split])[1]
    steps = {"vectorized": schedule.vectorize, "unrolled": schedule.unroll, "parallel": schedule.parallel}
    if kind in steps:
        steps[kind](last)
    return lower(schedule.func, every_pass=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", [0, 7])
@pytest.mark.parametrize("after", [True, False])
def test_clamped_reads_stay_inside(kind: str, split: int, after: bool) -> None:
    """A stray read would end the process: the pages on either side are fenced."""
    table, index = fenced(36, "float32", after), fenced(50, "int32", not after)
    table[:], index[:] = np.arange(36), RNG.integers(-(2**31), 2**31, 50)
    index[::3] = RNG.integers(-5, 41, 17)
    t, p = te.placeholder((36,), "float32", "t"), te.placeholder((50,), "int32", "p")
    y = te.compute((50,), lambda i: t[te.clip(p[i], 0, 35)], "y")
    (found,) = compile_function(build(y, [t, p], kind, split)).run(table, index)
    np.testing.assert_array_equal(found, table[np.clip(index, 0, 35)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", [0, 7])
def test_guarded_reads_stay_inside(kind: str, split: int) -> None:
    table, index = fenced(36, "float32", True), fenced(50, "int32", True)
    table[:], index[:] = np.arange(36), RNG.integers(-50, 90, 50)
    t, p = te.placeholder((36,), "float32", "t"), te.placeholder((50,), "int32", "p")
    y = te.compute((50,), lambda i: te.select(te.logical_and(p[i] >= 0, p[i] < 36), t[p[i]], -1.0), "y")
    (found,) = compile_function(build(y, [t, p], kind, split)).run(table, index)
    np.testing.assert_array_equal(found, np.where((index >= 0) & (index < 36), table[np.clip(index, 0, 35)], -1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", [0, 7])
def test_rows_chosen_by_data_are_read_along(kind: str, split: int) -> None:
    """The index of a row is the same in every lane; under the tail's mask it is read in the lanes that are there only."""
    table, index = fenced(5 * 37, "int16", True).reshape(5, 37), fenced(9, "int64", True)
    table[:], index[:] = RNG.integers(-99, 99, (5, 37)), RNG.integers(-2, 8, 9)
    t, p = te.placeholder((5, 37), "int16", "t"), te.placeholder((9,), "int64", "p")
    y = te.compute((9, 37), lambda i, j: t[te.clip(p[i], 0, 4), j], "y")
    func = build(y, [t, p], kind, split)
    (found,) = compile_function(func).run(table, index)
    np.testing.assert_array_equal(found, table[np.clip(index, 0, 4)])


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_may_be_read_at_an_index(kind: str) -> None:
    table, first, second = (RNG.integers(-100, 100, n).astype(d) for n, d in ((30, "int32"), (20, "uint8"), (40, "int8")))
    t, p, q = (te.placeholder(a.shape, str(a.dtype), name) for a, name in ((table, "t"), (first, "p"), (second, "q")))
    y = te.compute((40,), lambda i: t[te.clip(p[te.clip(q[i], 0, 19)], 0, 29)], "y")
    (found,) = compile_function(build(y, [t, p, q], kind)).run(table, first, second)
    np.testing.assert_array_equal(found, table[np.clip(first[np.clip(second, 0, 19)], 0, 29)])


@pytest.mark.parametrize("kind", KINDS)
def test_arithmetic_on_an_index_wraps_in_its_own_dtype(kind: str) -> None:
    """In 64 bits the remainder of a sum beyond int8 or int32 would be another."""
    for dtype in ("int8", "int32"):
        limits = np.iinfo(dtype)
        data, table = RNG.integers(limits.min, limits.max, 40, dtype=dtype, endpoint=True), np.arange(7, dtype="int32")
        x, t = te.placeholder((40,), dtype, "x"), te.placeholder((7,), "int32", "t")
        y = te.compute((40,), lambda i, x=x, t=t: t[(x[i] + 100) % 7], "y")
        func = build(y, [x, t], kind)
        expected = (data + np.array(100, dtype)) % np.array(7, dtype)
        np.testing.assert_array_equal(interpret(func, [data, table])[0], expected)
        np.testing.assert_array_equal(compile_function(func).run(data, table)[0], expected)


def test_an_index_is_read_anew_after_it_was_overwritten() -> None:
    text = """
        function f(x: int32[4]) -> (y: int32[4], p: int32[1]):
            p[0] = 1
            y[min(max(p[0], 0), 3)] = x[min(max(p[0], 0), 3)]
            p[0] = 2
            y[min(max(p[0], 0), 3)] = x[min(max(p[0], 0), 3)]
            y[0] = p[0]
            y[3] = p[0]
    """
    func = ir.parse("\n".join(line[8:] for line in text.strip("\n").splitlines()))
    ir.verify(func, lowered=True)
    x = np.arange(10, 14, dtype="int32")
    for outputs in (interpret(func, [x]), compile_function(func).run(x)):
        np.testing.assert_array_equal(outputs[0], [2, 11, 12, 2])


def test_an_index_left_to_the_data_is_refused() -> None:
    t, p = te.placeholder((36,), "float32", "t"), te.placeholder((50,), "int32", "p")
    y = te.compute((50,), lambda i: t[p[i]], "y")
    with pytest.raises(CompileError, match=r"depends on data and may leave its shape.*try: clamp it, te.clip\(index, 0, 35\)"):
        lower(te.create_function("f", [t, p], [y]))


def test_positions_count_from_the_end_where_negative() -> None:
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        data = np.array([0, 3, 6, 7, limits.max, limits.min, *([-1, -7, -8] if limits.min else [])], dtype)
        p, t = te.placeholder(data.shape, dtype, "p"), te.placeholder((7,), "int32", "t")
        y = te.compute(data.shape, lambda i, p=p, t=t: t[te.position(p[i], 7)], "y")
        wide = data.astype(object)
        expected = [min(max(int(v) + (7 if v < 0 else 0), 0), 6) for v in wide]
        func = build(y, [p, t], "vectorized")
        for outputs in (
            interpret(func, [data, np.arange(7, dtype="int32")]),
            compile_function(func).run(data, np.arange(7, dtype="int32")),
        ):
            np.testing.assert_array_equal(outputs[0], expected)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", KINDS)
def test_whole_division_rounds_down_whatever_the_signs(dtype: str, kind: str) -> None:
    """By data, 0 guarded by a select, the least integer by -1 among them, and by constants of either sign."""
    limits = np.iinfo(dtype)
    a = RNG.integers(limits.min, limits.max, 80, dtype=dtype, endpoint=True)
    b = RNG.integers(limits.min, limits.max, 80, dtype=dtype, endpoint=True)
    b[::2] = RNG.integers(max(limits.min, -3), 4, 40).astype(dtype)
    a[:8], b[:8] = limits.min, [-1 if limits.min else 1, 0, 1, 2, limits.max, limits.min, 3, 7]
    x, y = te.placeholder((80,), dtype, "x"), te.placeholder((80,), dtype, "y")
    minus = -7 if limits.min else 7
    outputs = [
        te.compute((80,), lambda i: te.select(te.not_equal(y[i], 0), x[i] // y[i], 5), "quotient"),
        te.compute((80,), lambda i: te.select(te.not_equal(y[i], 0), x[i] % y[i], 5), "remainder"),
        te.compute((80,), lambda i: x[i] // minus, "by_constant"),
        te.compute((80,), lambda i: x[i] % minus, "modulo_constant"),
    ]
    safe = np.where(b == 0, 1, b)
    with np.errstate(over="ignore"):
        constant = np.array(minus, dtype)
        expected = [np.where(b == 0, 5, a // safe), np.where(b == 0, 5, a % safe), a // constant, a % constant]
    for output, wanted in zip(outputs, expected, strict=True):
        for split in (0, 7):
            func = build(output, [x, y], kind, split)
            np.testing.assert_array_equal(interpret(func, [a, b])[0], wanted)
            np.testing.assert_array_equal(compile_function(func).run(a, b)[0], wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_positions_divided_by_negative_numbers(kind: str) -> None:
    y = te.compute((50,), lambda i: (i - 20) // -7 * 100 + (i - 20) % -7 + i // -3, "y")
    x = te.placeholder((1,), "int32", "x")
    z = te.compute((50,), lambda i: y[i] + x[0], "z")
    at = np.arange(50)
    expected = (at - 20) // -7 * 100 + (at - 20) % -7 + at // -3
    func = build(z, [x], kind)
    np.testing.assert_array_equal(compile_function(func).run(np.zeros(1, "int32"))[0], expected)
