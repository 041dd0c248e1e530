"""A network whose host computes floats that cancel before the accelerator's first layer: what the accelerator does is exact."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vdla.flows.layer_check import rounded_alike
from vdla.flows.run import run_model


def test_a_variance_of_squares() -> None:
    """Σx²/n - (Σx/n)² of numbers far from 0, whose last bits are another's with another order of the sums."""
    nodes = [
        helper.make_node("Add", ["x", "far"], ["a"]),
        helper.make_node("ReduceMean", ["a"], ["mean"], axes=[2, 3]),
        helper.make_node("Mul", ["a", "a"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["squares"], axes=[2, 3]),
        helper.make_node("Mul", ["mean", "mean"], ["square_of_mean"]),
        helper.make_node("Sub", ["squares", "square_of_mean"], ["variance"]),
        helper.make_node("Max", ["variance", "least"], ["positive"]),
        helper.make_node("Sqrt", ["positive"], ["deviation"]),
        helper.make_node("Sub", ["a", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "deviation"], ["normal"]),
        helper.make_node("Conv", ["normal", "w"], ["y"], pads=[1] * 4),
    ]
    kernel = np.random.default_rng(0).standard_normal((16, 16, 3, 3)).astype(np.float32)
    stored = {"far": np.float32(200), "least": np.float32(0.01), "w": kernel}
    graph = helper.make_graph(
        nodes,
        "variances",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 16, 16])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    x = np.random.default_rng(1).standard_normal((1, 16, 16, 16)).astype(np.float32)
    run = run_model(model, "tiny", inputs={"x": x})
    assert run.report.bit_exact


@pytest.mark.parametrize(
    ("apart", "alike"),
    [({}, True), ({0: 1, 1: -1, 2: 1}, True), ({0: 5}, True), ({0: 9}, False), (dict.fromkeys(range(100), 2), False)],
)
def test_levels_alike(apart: dict[int, int], alike: bool) -> None:
    levels = np.arange(100, dtype=np.int8)
    found = levels.copy()
    for index, difference in apart.items():
        found[index] += difference
    assert rounded_alike(found, levels) == alike
