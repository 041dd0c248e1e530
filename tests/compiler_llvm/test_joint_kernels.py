"""Operators whose definitions hold scans or tuple reductions, as kernels: alone, wired to others, in every configuration."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler import te
from vdla.compiler.backends.llvm import host_target
from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Node, TensorType
from vdla.compiler.operators.definition import Attributes, Definition, Types
from vdla.compiler.operators.operator import Fusion, Input, Operator
from vdla.compiler.operators.registry import OPERATORS
from vdla.compiler.ops.cpu import build_group_kernel, scheduled_group
from vdla.compiler.ops.cpu.templates import template_of
from vdla.compiler.ops.cpu.workload import workload_of
from vdla.compiler.passes.lower import lower
from vdla.compiler.schedule.locate import blocks_in

RNG = np.random.default_rng(17)
STEPS, WIDTH = 6, 20
SEQUENCE, MATRIX = TensorType((STEPS, WIDTH), "float32"), TensorType((WIDTH, WIDTH), "float32")


def define_recurrence(types: Types, a: Attributes) -> Definition:
    """y[t] = h = x[t] + u·tanh(v·h), h starting as the first row of x."""
    x, u, v = (te.placeholder(t.shape, t.dtype, name) for t, name in zip(types, "xuv", strict=True) if t is not None)
    t, h, k = te.scan_axis(STEPS, "t"), te.placeholder((WIDTH,), "float32", "h"), te.reduce_axis(WIDTH, "k")
    start = te.compute((WIDTH,), lambda i: x[0, i], "start")
    inner = te.compute((WIDTH,), lambda i: te.sum(v[i, k] * h[k], k), "inner")
    bent = te.compute((WIDTH,), lambda i: te.tanh(inner[i]), "bent")
    outer = te.compute((WIDTH,), lambda i: te.sum(u[i, k] * bent[k], k), "outer")
    following = te.compute((WIDTH,), lambda i: outer[i] + x[t, i], "following")
    (last,), (kept,) = te.scan(t, [te.State(h, start, following)], [following])
    y = te.compute((STEPS, WIDTH), lambda s, i: kept[s, i], "y")
    return Definition((x, u, v), (y,) if a.get("single") else (y, last))


def recurrence(x: np.ndarray, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    state, rows = x[0].astype(np.float64), []
    for row in x:
        state = u @ np.tanh(v @ state) + row
        rows.append(state)
    return np.array(rows), state


def define_place(types: Types, a: Attributes) -> Definition:
    """Of each row the first largest, and where."""
    (found,) = types
    assert found is not None
    x, k = te.placeholder(found.shape, found.dtype, "x"), te.reduce_axis(found.shape[1], "k")

    def larger(best: tuple, new: tuple) -> tuple:  # type: ignore[type-arg]
        return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])

    value, index = te.compute(
        (found.shape[0],), lambda i: te.reduce_tuple(larger, (te.lowest("float32"), -1), (x[i, k], k), k), "total"
    )
    return Definition((x,), (index,) if a.get("single") else (value, index))


@pytest.fixture(autouse=True)
def _operators(monkeypatch: pytest.MonkeyPatch) -> None:
    x, u, v = Input("x", rank=(2, 2)), Input("u", rank=(2, 2)), Input("v", rank=(2, 2))
    row, rows = TensorType((WIDTH,), "float32"), TensorType((STEPS,), "float32")
    records = (
        Operator(
            name="test_recurrence", inputs=(x, u, v), infer=lambda t, a: (SEQUENCE, row), define=define_recurrence,
            kernel=lambda i, a: recurrence(*i),
        ),
        Operator(
            name="test_states", inputs=(x, u, v), infer=lambda t, a: (SEQUENCE,), kernel=lambda i, a: recurrence(*i)[0],
            define=lambda t, a: define_recurrence(t, {"single": True}), fusion=Fusion.COMPLEX,
        ),
        Operator(
            name="test_places", inputs=(x,), infer=lambda t, a: (rows, TensorType((STEPS,), "int32")), define=define_place,
            kernel=lambda i, a: (i[0].max(1), i[0].argmax(1)),
        ),
        Operator(
            name="test_place", inputs=(x,), infer=lambda t, a: (TensorType((STEPS,), "int32"),), fusion=Fusion.REDUCTION,
            define=lambda t, a: define_place(t, {"single": True}), kernel=lambda i, a: i[0].argmax(1),
        ),
    )  # fmt: skip
    for record in records:
        monkeypatch.setitem(OPERATORS, record.name, record)


def arrays() -> dict[str, np.ndarray]:
    return {
        "x": RNG.standard_normal((STEPS, WIDTH)).astype(np.float32),
        "u": RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 4,
        "v": RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32) / 4,
    }


TYPES = {"x": SEQUENCE, "u": MATRIX, "v": MATRIX, "a": SEQUENCE, "b": SEQUENCE, "row": TensorType((WIDTH,), "float32")}
TYPES |= {"most": TensorType((STEPS,), "float32"), "where": TensorType((STEPS,), "int32")}


@pytest.mark.parametrize("fixed", [(), ("u", "v"), ("u",)])
def test_a_scan_of_two_outputs(fixed: tuple[str, ...]) -> None:
    given = arrays()
    group = FusionGroup((Node("n", "test_recurrence", ("x", "u", "v"), ("a", "row"), {}),))
    kernel = build_group_kernel(group, TYPES.__getitem__, {name: given[name] for name in fixed})
    found = kernel.run(*(given[name] for name in "xuv" if name not in fixed))
    for array, expected in zip(found, recurrence(*given.values()), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


def test_an_operand_given_twice_is_wired_into_the_scan_once() -> None:
    given = arrays()
    group = FusionGroup((Node("n", "test_recurrence", ("x", "u", "u"), ("a", "row"), {}),))
    func, _ = scheduled_group(group, TYPES.__getitem__)
    names = [block.name for block in blocks_in(func.body)]
    assert sum(name.startswith("inner") for name in names) == 1 + sum(name == "inner_init" for name in names)
    kernel = build_group_kernel(group, TYPES.__getitem__, {})
    for array, expected in zip(kernel.run(given["x"], given["u"]), recurrence(given["x"], given["u"], given["u"]), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-5)


def test_operators_before_and_behind_a_scan_are_stages_of_its_kernel() -> None:
    """What goes in is read in every step and for the initial state; what comes out, by one operator."""
    given = arrays()
    nodes = (
        Node("p", "relu", ("x",), ("a",), {}),
        Node("q", "test_states", ("a", "u", "v"), ("b",), {}),
        Node("r", "tanh", ("b",), ("c",), {}),
    )
    types = {**TYPES, "c": SEQUENCE}
    kernel = build_group_kernel(FusionGroup(nodes), types.__getitem__, {"u": given["u"], "v": given["v"]})
    states, _ = recurrence(np.maximum(given["x"], 0), given["u"], given["v"])
    np.testing.assert_allclose(kernel.run(given["x"])[0], np.tanh(states), rtol=1e-4, atol=1e-5)


def test_a_tuple_reduction_takes_what_feeds_it() -> None:
    x = arrays()["x"]
    nodes = (Node("p", "neg", ("x",), ("a",), {}), Node("q", "test_place", ("a",), ("where",), {}))
    func, _ = scheduled_group(FusionGroup(nodes), TYPES.__getitem__)
    assert [b.name for b in blocks_in(func.body)] == ["total_init", "total"]
    kernel = build_group_kernel(FusionGroup(nodes), TYPES.__getitem__, {})
    np.testing.assert_array_equal(kernel.run(x)[0], x.argmin(1))


def test_both_values_of_a_tuple_reduction() -> None:
    x = arrays()["x"]
    group = FusionGroup((Node("q", "test_places", ("x",), ("most", "where"), {}),))
    most, where = build_group_kernel(group, TYPES.__getitem__, {}).run(x)
    np.testing.assert_array_equal(most, x.max(1))
    np.testing.assert_array_equal(where, x.argmax(1))


@pytest.mark.parametrize("op", ["test_recurrence", "test_places"])
def test_every_configuration(op: str) -> None:
    given = arrays() if op == "test_recurrence" else {"x": arrays()["x"]}
    outputs = ("a", "row") if op == "test_recurrence" else ("most", "where")
    group = FusionGroup((Node("n", op, tuple(given), outputs, {}),))
    workload = workload_of(group, TYPES.__getitem__)
    expected = OPERATORS[op].kernel(list(given.values()), {})
    for config in template_of(workload).space(workload, host_target()):
        lower(template_of(workload).build(workload, config, host_target()), every_pass=True)
        found = build_group_kernel(group, TYPES.__getitem__, {}, config).run(*given.values())
        for array, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-4, atol=1e-5)
