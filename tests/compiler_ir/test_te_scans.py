"""Scans and tuple reductions: the functions they become, and what they say when they are wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vdla.compiler import ir, te
from vdla.errors import CompileError

GOLDEN = Path(__file__).parent / "golden"

X = te.placeholder((5, 4), "int32", "x")
ZEROS = te.placeholder((4,), "int32", "zeros")
K = te.reduce_axis(4, "k")


def total_and_largest() -> ir.Function:
    """A running total along x, the largest of it and where that is in each step, and a count of the places."""
    t, total = te.scan_axis(5, "t"), te.placeholder((4,), "int32", "total")
    counts = te.placeholder((4,), "int32", "counts")
    following = te.compute((4,), lambda i: total[i] + X[t, i], "following")

    def larger(best: tuple[ir.Expr, ...], new: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ir.Expr]:
        return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])

    value, place = te.compute(
        (), lambda: te.reduce_tuple(larger, (te.lowest("int32"), -1), (following[K], K), K), "best", axes=[]
    )
    here = te.clip(place[()], 0, 3)
    more = te.compute((), lambda: counts[here] + 1, "more", axes=[])
    states = [te.State(total, ZEROS, following), te.State(counts, ZEROS, more, at=lambda: (here,))]
    (last, counted), (values, places) = te.scan(t, states, [value, place], "sums")
    return te.create_function("total_and_largest", [X, ZEROS], [last, counted, values, places])


def test_golden() -> None:
    function = total_and_largest()
    ir.verify(function)
    text = ir.to_text(function)
    assert text == (GOLDEN / "scan.ir").read_text()
    assert ir.structural_equal(ir.parse(text), function)


def test_it_computes_what_numpy_does() -> None:
    x = np.random.default_rng(3).integers(-9, 9, (5, 4)).astype(np.int32)
    sums = x.cumsum(0, dtype=np.int32)
    expected = [sums[-1], np.bincount(sums.argmax(1), minlength=4), sums.max(1), sums.argmax(1)]
    for found, wanted in zip(ir.interpret(total_and_largest(), [x, np.zeros(4, np.int32)]), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_no_step_changes_is_computed_once_before() -> None:
    t, h = te.scan_axis(3, "t"), te.placeholder((4,), "int32", "h")
    fixed = te.compute((4,), lambda i: ZEROS[i] * 3, "fixed")
    update = te.compute((4,), lambda i: h[i] + fixed[i], "update")
    (last,), (kept,) = te.scan(t, [te.State(h, ZEROS, update)], [fixed])
    function = te.create_function("f", [ZEROS], [last, kept])
    loop = next(s for s in ir.walk_stmt(function.body) if isinstance(s, ir.For) and s.var.name == "t")
    assert [b.name for b in ir.walk_stmt(loop) if isinstance(b, ir.Block)] == ["update", "fixed_steps", "h"]
    ir.verify(function)
    np.testing.assert_array_equal(ir.interpret(function, [np.full(4, 2, np.int32)])[1], np.full((3, 4), 6))


def test_values_are_stored_after_all_that_read_their_old_ones() -> None:
    """Each of three reads the ones before it."""

    def chained(a: tuple[ir.Expr, ...], b: tuple[ir.Expr, ...]) -> list[ir.Expr]:
        return [a[0] + b[0], a[1] * 2 + a[0], a[2] * 3 + a[1] - a[0]]

    outputs = te.compute((5,), lambda i: te.reduce_tuple(chained, (1, 2, 3), (X[i, K], X[i, K], X[i, K]), K), "chain")
    function = te.create_function("f", [X], list(outputs))
    (block,) = (s for s in ir.walk_stmt(function.body) if isinstance(s, ir.Block))
    assert [s.buffer.name for s in ir.walk_stmt(block.body) if isinstance(s, ir.Store)] == ["chain_2", "chain_1", "chain_0"]
    x = np.arange(20, dtype=np.int32).reshape(5, 4)
    found = np.stack(ir.interpret(function, [x]), 1)
    for row, (a, b, c) in zip(x, found, strict=True):
        p, q, r = 1, 2, 3
        for v in row:
            p, q, r = p + v, q * 2 + p, r * 3 + q - p
        assert (a, b, c) == (p, q, r)


def scan_of(**changes: object) -> object:
    """A scan that is right but for what is changed: of its one state tensor, initial, update, at; and axis, collect."""
    t = te.scan_axis(5, "t")
    h = te.placeholder((4,), "int32", "h")
    update = te.compute((4,), lambda i: h[i] + X[t, i], "update")
    given = {"tensor": h, "initial": ZEROS, "update": update, "at": None, **changes}
    given = {key: value(h) if callable(value) and key != "at" else value for key, value in given.items()}
    if given["at"] is not None:
        given["at"] = given["at"](h)
    state = te.State(given["tensor"], given["initial"], given["update"], given["at"])
    return te.scan(t, [state] * given.get("times", 1), given.get("collect", []))


def swapped() -> object:
    combine = lambda a, b: (a[1], a[0] + b[0])  # noqa: E731
    return te.compute((5,), lambda i: te.reduce_tuple(combine, (0, 0), (X[i, K], X[i, K]), K), "s")


def two_scans() -> object:
    t, h = te.scan_axis(5, "t"), te.placeholder((4,), "int32", "h")
    update = te.compute((4,), lambda i: h[i] + X[t, i], "update")
    (first,), _ = te.scan(t, [te.State(h, ZEROS, update)], name="first")
    (second,), _ = te.scan(t, [te.State(h, first, update)], name="second")
    return te.create_function("f", [X, ZEROS], [second])


def step_outside() -> object:
    t = te.scan_axis(5, "t")
    return te.create_function("f", [X], [te.compute((4,), lambda i: X[t, i], "s")])


def state_outside() -> object:
    (last,), _ = scan_of()
    h = last.value.joint.states[0].tensor
    return te.create_function("f", [X, ZEROS], [last, te.compute((4,), lambda i: h[i] + last[i], "s")])


def listed_twice() -> object:
    (last,), _ = scan_of()
    return te.create_function("f", [X, ZEROS], [last, last])


def reduced(combine: Callable[..., object], identities: tuple[object, ...] = (0, 0)) -> object:
    return te.compute((5,), lambda i: te.reduce_tuple(combine, identities, (X[i, K], X[i, K]), K), "s")


ERRORS: dict[str, tuple[Callable[[], object], str]] = {
    "no steps": (lambda: te.scan_axis(0, "t"), "scan axis t: dimension 0 is not a positive whole number"),
    "nothing": (
        lambda: te.scan(te.scan_axis(2, "t"), []),
        "scan t: a scan of nothing; expected a state, or a stage to collect",
    ),
    "state computed": (
        lambda: scan_of(tensor=te.compute((4,), lambda i: i, "h")),
        "scan t: state h is computed; expected a placeholder",
    ),
    "state twice": (lambda: scan_of(times=2), "scan t: state h is listed twice; expected each state once"),
    "shape of the initial value": (
        lambda: scan_of(initial=X),
        "scan t: shape of the initial value of h; found [5, 4]; expected [4], the state's",
    ),
    "shape of the update": (lambda: scan_of(update=X), "scan t: shape of the update of h; found [5, 4]; expected [4]"),
    "dtype of the update": (
        lambda: scan_of(update=te.compute((4,), lambda i: 1.0, "u")),
        "scan t: dtype of the update of h; found 'float32'; expected int32, the state's",
    ),
    "initial value of a step": (
        lambda: scan_of(initial=lambda h: te.compute((4,), lambda i: h[i], "u")),
        "scan t: the initial value of h; found 'u'; expected a tensor that is there before the first step",
    ),
    "initial value a state": (lambda: scan_of(initial=lambda h: h), "scan t: the initial value of h; found 'h'"),
    "too few places": (
        lambda: scan_of(at=lambda h: lambda i: ()),
        "scan t: where state h is updated; found '0 indices'; expected 1, its rank",
    ),
    "place no integer": (
        lambda: scan_of(at=lambda h: lambda i: (te.cast(i, "float32"),)),
        "scan t: where state h is updated; found 'float32'; expected integer indices",
    ),
    "place of a state": (
        lambda: scan_of(at=lambda h: lambda i: (te.clip(h[i], 0, 3),)),
        "scan t: where state h is updated depends on a state; found 'h'; expected no state; try: read the index",
    ),
    "step outside": (
        step_outside,
        "function f: stage s uses scan axis t outside its scan; found 's'; expected such a stage below an update",
    ),
    "state outside": (state_outside, "function f: stage s reads placeholder h, which is not an input; found ['x', 'zeros']"),
    "two scans": (
        two_scans,
        "h belongs to two scans; found ['first', 'second']; expected one scan; try: make a placeholder and stages for each",
    ),
    "output twice": (listed_twice, "function f: h is listed twice; expected each tensor once"),
    "swap": (
        swapped,
        "stage s: a tuple reduction whose results read one another's old values; found 'values [0, 1]'; expected an order",
    ),
    "too few results": (
        lambda: reduced(lambda a, b: (a[0],)),
        "stage s: the results of a tuple reduction; found 1; expected 2, one a value",
    ),
    "too few identities": (
        lambda: reduced(lambda a, b: a, (0,)),
        "stage s: the identities of a tuple reduction; found 1; expected 2, one a value",
    ),
    "identity no constant": (
        lambda: reduced(lambda a, b: a, (0, X[0, 0])),
        "stage s: an identity of a tuple reduction; found Load(",
    ),
    "dtype of a result": (
        lambda: reduced(lambda a, b: (a[0], te.cast(b[1], "int8"))),
        "stage s: dtypes of a tuple reduction's results; found ['int32', 'int8']; expected the values' ['int32', 'int32']",
    ),
    "inner tuple reduction": (
        lambda: te.compute((5,), lambda i: te.reduce_tuple(lambda a, b: b, (0,), (te.sum(X[i, K], K),), K), "s"),
        "stage s: a reduction inside another expression",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_and_where(name: str) -> None:
    build, words = ERRORS[name]
    with pytest.raises(CompileError) as caught:
        build()
    assert str(caught.value).startswith(words), str(caught.value)
    assert "\n" not in str(caught.value)
