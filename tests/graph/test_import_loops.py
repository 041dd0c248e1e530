"""Scan, and Loop as a real loop, against onnxruntime: as imported, and after the graph passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model_of, node, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError

INT, BOOL, FLOAT = TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT


def value(name: str, shape: tuple[int, ...] | None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def body(nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], **stored: np.ndarray) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, outputs, [numpy_helper.from_array(a, name) for name, a in stored.items()])


def check(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> Graph:
    """Agreement with onnxruntime; returns the graph as it is to be compiled."""
    expected = run_onnxruntime(model, inputs)
    graph = import_onnx(model)
    verify_graph(graph)
    optimised = optimise(graph)
    for version in (graph, optimised):
        for name, found in run_reference(version, inputs).items():
            assert found.shape == expected[name].shape and found.dtype == expected[name].dtype
            np.testing.assert_allclose(found, expected[name], rtol=1e-5, atol=1e-5)
    return optimised


def cell() -> onnx.GraphProto:
    """h' = tanh(x + h·w), w from outside, and twice that; k is the body's own."""
    nodes = [node("MatMul", "h w", "p"), node("Add", "p x", "q"), node("Tanh", "q", "h2"), node("Mul", "h2 k", "twice")]
    inputs, outputs = [value("h", (2, 3)), value("x", (2, 3))], [value("h2", (2, 3)), value("twice", (2, 3))]
    return body(nodes, inputs, outputs, k=np.array(2, np.float32))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("backwards", [0, 1])
def test_axes_and_directions(axis: int, backwards: int) -> None:
    shape = {0: (5, 2, 3), 1: (2, 5, 3), -1: (2, 3, 5)}[axis]
    made = helper.make_node(
        "Scan", ["h0", "x"], ["h", "y"], name="scan", body=cell(), num_scan_inputs=1, scan_input_axes=[axis],
        scan_output_axes=[axis], scan_input_directions=[backwards], scan_output_directions=[1 - backwards],
    )  # fmt: skip
    inputs = {"h0": random(2, 3), "x": random(*shape)}
    graph = check(model_of([made], inputs, ["h", "y"], {"w": random(3, 3)}, 17), inputs)
    assert "scan" in [n.op for n in graph.nodes]


def test_a_scan_with_what_is_computed_outside() -> None:
    made = helper.make_node("Scan", ["h0", "x"], ["h", "y"], name="scan", body=cell(), num_scan_inputs=1)
    inputs = {"h0": random(2, 3), "x": random(4, 2, 3), "v": random(3, 3)}
    check(model_of([node("Exp", "v", "w"), made], inputs, ["h", "y"], {}, 17), inputs)


def loop(
    turns: list[onnx.NodeProto], count: int, going: str = "on", dtype: int = FLOAT, shape: tuple[int, ...] | None = (3,)
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A Loop of `turns`, which compute "s2" from "s" and the turn's number "i", and give "z" for each turn."""
    inner = [value("i", (), INT), value("c", (), BOOL), value("s", shape, dtype)]
    outputs = [value("c2", (), BOOL), value("s2", shape, dtype), value("z", None)]
    made = helper.make_node("Loop", ["n", going, "x"], ["last", "all"], name="loop", body=body(turns, inner, outputs))
    inputs = {"x": random(3)}
    constants = {"n": np.array(count, np.int64), "on": np.array(True), "k": random(3, seed=8)}
    return model_of([made], inputs, ["last", "all"], constants, 17), inputs


STEP = [
    node("Cast", "i", "f", to=FLOAT),
    node("Mul", "f k", "g"),
    node("Add", "s g", "s2"),
    node("Sigmoid", "s2", "z"),
]


@pytest.mark.parametrize("count", [1, 4, 5, 20])
def test_a_fixed_number_of_turns(count: int) -> None:
    """A long loop is one operator."""
    model, inputs = loop([*STEP, node("Identity", "c", "c2")], count)
    assert ([n.op for n in check(model, inputs).nodes] == ["scan"]) == (count > 4)


def test_a_condition_that_is_computed_but_known() -> None:
    """It ends the loop in the third turn."""
    turns = [*STEP, node("Constant", "", "three", value=numpy_helper.from_array(np.array(2, np.int64)))]
    model, inputs = loop([*turns, node("Less", "i three", "c2")], 9)
    assert "scan" not in [n.op for n in check(model, inputs).nodes]


def test_a_turn_that_needs_its_number_when_compiling() -> None:
    """Slices of another size in each turn: written out."""
    turns = [
        node("Constant", "", "one", value=numpy_helper.from_array(np.array([1], np.int64))),
        node("Unsqueeze", "i zero", "start"),
        node("Add", "start one", "end"),
        node("Slice", "k start end", "part"),
        node("Add", "s part", "s2"),
        node("Identity", "s2", "z"),
        node("Identity", "c", "c2"),
    ]
    model, inputs = loop(turns, 3)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    check(model, inputs)


def test_what_is_carried_may_grow() -> None:
    turns = [node("Concat", "s k", "s2", axis=0), node("Identity", "k", "z"), node("Identity", "c", "c2")]
    model, inputs = loop(turns, 6, shape=None)
    check(model, inputs)


def test_a_loop_that_may_end_any_time_is_refused() -> None:
    turns = [*STEP, node("ReduceMax", "z", "m", keepdims=0), node("Less", "m half", "c2")]
    model, _ = loop(turns, 9)
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "half"))
    with pytest.raises(ModelError, match="the condition of Loop depends on the model's inputs"):
        import_onnx(model)


def test_loops_inside_loops() -> None:
    inner = helper.make_node("Loop", ["n", "c", "s"], ["s2", "inside"], name="inner", body=body(
        [node("Sin", "t", "t2"), node("Add", "t2 s", "u"), node("Identity", "cc", "cc2")],
        [value("j", (), INT), value("cc", (), BOOL), value("t", (3,))],
        [value("cc2", (), BOOL), value("t2", (3,)), value("u", (3,))],
    ))  # fmt: skip
    model, inputs = loop([inner, node("ReduceSum", "inside axis", "z", keepdims=0), node("Identity", "c", "c2")], 6)
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axis"))
    graph = check(model, inputs)
    assert [n.op for n in graph.nodes] == ["scan"]
    assert "scan" in [n.op for n in graph.nodes[0].attributes["body"].nodes]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sequences": ({"num_scan_inputs": 3}, "num_scan_inputs of Scan; found 3; expected 1 to 2"),
    "axes": ({"scan_input_axes": [0, 0]}, "attribute scan_input_axes of Scan; found (0, 0); expected 1 numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    changes, words = REFUSED[name]
    made = helper.make_node("Scan", ["h0", "x"], ["h", "y"], name="scan", body=cell(), **{"num_scan_inputs": 1, **changes})
    with pytest.raises(ModelError) as caught:
        import_onnx(model_of([made], {"h0": random(2, 3), "x": random(4, 2, 3)}, ["h", "y"], {"w": random(3, 3)}, 17))
    assert words in str(caught.value)
