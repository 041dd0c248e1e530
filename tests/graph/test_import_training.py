"""The standard's training operators against the ONNX project's reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import random

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError

DOMAIN = "ai.onnx.preview.training"
KINDS = {"Adagrad": "xgh", "Adam": "xgvh", "Momentum": "xgv"}
ATTRIBUTES: list[tuple[str, dict[str, Any]]] = [
    ("Adagrad", {"decay_factor": 0.1, "epsilon": 1e-5, "norm_coefficient": 0.01}),
    ("Adam", {"alpha": 0.9, "beta": 0.99, "epsilon": 1e-5, "norm_coefficient": 0.02}),
    ("Adam", {"alpha": 0.9, "beta": 0.99, "epsilon": 1e-5, "norm_coefficient_post": 0.05}),
    ("Momentum", {"alpha": 0.95, "beta": 0.8, "norm_coefficient": 0.01, "mode": "standard"}),
    ("Momentum", {"alpha": 0.95, "beta": 0.8, "norm_coefficient": 0.01, "mode": "nesterov"}),
]


def model(op: str, shapes: list[tuple[int, ...]], attributes: dict[str, Any]) -> tuple[Any, dict[str, np.ndarray]]:
    """One step for tensors of `shapes`, and its inputs but for the number of the step."""
    inputs = {f"{kind}{i}": random(*shape, seed=ord(kind)) for kind in KINDS[op] for i, shape in enumerate(shapes)}
    inputs |= {name: np.abs(x) for name, x in inputs.items() if name[0] == "h"}  # sums of squares
    names = [f"{kind}{i}_new" for kind in KINDS[op].replace("g", "") for i in range(len(shapes))]
    node = helper.make_node(op, ["rate", "step", *inputs], names, name="node", domain=DOMAIN, **attributes)
    declared = [
        helper.make_tensor_value_info("rate", TensorProto.FLOAT, ()),
        helper.make_tensor_value_info("step", TensorProto.INT64, ()),
    ]
    declared += [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in inputs.items()]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[int(name[1])]) for name in names]
    graph = helper.make_graph([node], "test", declared, results)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), {"rate": np.array(0.1, np.float32), **inputs}


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("shapes", [[(3, 4)], [(2,), (3, 1)]])
@pytest.mark.parametrize(("op", "attributes"), ATTRIBUTES)
def test_a_step(op: str, attributes: dict[str, Any], shapes: list[tuple[int, ...]], step: int) -> None:
    made, inputs = model(op, shapes, attributes)
    inputs["step"] = np.array(step, np.int64)
    expected = ReferenceEvaluator(made).run(None, inputs)
    found = run_reference(optimise(import_onnx(made)), inputs)
    for name, value in zip(found, expected, strict=True):
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6)


def test_refusals() -> None:
    made, _ = model("Momentum", [(2,)], {"alpha": 0.9, "beta": 1.0, "norm_coefficient": 0.0, "mode": "heavy"})
    with pytest.raises(ModelError, match="mode of Momentum; found 'heavy'; expected standard or nesterov"):
        import_onnx(made)
    made, _ = model("Adam", [(2,)], {})
    del made.graph.node[0].input[-1]
    with pytest.raises(ModelError, match="inputs of Adam; found 5; expected two, and 4 for each tensor"):
        import_onnx(made)
