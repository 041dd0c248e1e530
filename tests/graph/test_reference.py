"""The reference executor: inputs it refuses, what it keeps, and whole networks against onnxruntime."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx_models import model_of, node, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.operators.pooling import avg_pool2d, max_pool2d
from vdla.compiler.operators.registry import with_defaults
from vdla.errors import RunError
from vdla.zoo import build, sample_inputs

GRAPH = import_onnx(model_of([node("Relu", "x", "r"), node("Tanh", "r")], {"x": random(2, 3)}, ["y"]))


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "test: an input is missing; found 'x'; expected x: float32[2, 3]"),
        ({"x": random(2, 3), "z": random(1)}, "test: the model has no such input; found 'z'; expected x: float32[2, 3]"),
        ({"x": random(3, 2)}, "x: wrong shape of an input; found (3, 2); expected (2, 3)"),
        ({"x": np.zeros((2, 3))}, "x: wrong dtype of an input; found 'float64'; expected float32; try: x.astype('float32')"),
    ],
)
def test_inputs_are_checked(inputs: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(RunError) as caught:
        run_reference(GRAPH, inputs)
    assert str(caught.value) == words


def test_keep_all() -> None:
    x = random(2, 3)
    kept = run_reference(GRAPH, {"x": x}, keep="all")
    assert list(kept) == ["x", "r", "y"]
    np.testing.assert_array_equal(kept["r"], np.maximum(x, 0))
    assert list(run_reference(GRAPH, {"x": x})) == ["y"]


def test_unknown_operator() -> None:
    nodes = (replace(GRAPH.nodes[0], op="nonsense"), *GRAPH.nodes[1:])
    with pytest.raises(RunError, match="the reference executor has no such operator; found 'nonsense'; expected .*relu.*tanh"):
        run_reference(replace(GRAPH, nodes=nodes), {"x": random(2, 3)})


@pytest.mark.parametrize("name", ["resnet18", "mobilenet", "digits"])
def test_zoo_networks_equal_onnxruntime(name: str) -> None:
    model, inputs = build(name), sample_inputs(name, seed=3)
    expected, graph = run_onnxruntime(model, inputs)["output"], import_onnx(model)
    for version in (graph, optimise(graph)):
        actual = run_reference(version, inputs)["output"]
        assert np.linalg.norm(actual - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("include", [False, True])
def test_ceil_mode(include: bool) -> None:
    """The import writes ceil mode as padding; a graph may still hold it. Windows of 3 at 0, 2, 4 over 6 elements."""
    x = np.arange(6, dtype=np.float32).reshape(1, 1, 1, 6)
    shared = {"kernel": (1, 3), "strides": (1, 2), "ceil": True}
    averaged = avg_pool2d([x], with_defaults("avg_pool2d", {**shared, "count_include_pad": include}))
    np.testing.assert_array_equal(averaged, np.float32([[[[1, 3, 4.5]]]]))
    np.testing.assert_array_equal(max_pool2d([x], with_defaults("max_pool2d", shared)), np.float32([[[[2, 4, 5]]]]))
