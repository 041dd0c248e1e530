"""onnxruntime's fused operators and integer products with float results, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from onnx_models import model_of, random, run_onnxruntime

from vdla.compiler.frontend.microsoft_fused import IMPORTERS
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference

RNG = np.random.default_rng(7)
IMAGE, MATRIX = {"x": random(1, 4, 6, 5)}, {"x": random(3, 6)}
BYTES = {"x": RNG.integers(0, 256, (3, 6), np.uint8)}
W, K = random(4, 4, 3, 3, seed=1), random(6, 5, seed=2)
INTEGER = {
    "b": RNG.integers(0, 256, (6, 5), np.uint8),
    "as": np.float32(0.02),
    "bs": RNG.uniform(0.01, 0.02, 5).astype(np.float32),
    "az": np.uint8(100),
    "bz": RNG.integers(0, 256, 5, np.uint8),
    "bias": random(5, seed=3),
}
Arrays = dict[str, np.ndarray]
CASES: list[tuple[str, str, dict[str, Any], Arrays, Arrays]] = [
    ("FusedConv", "x w b", {"activation": "Relu", "pads": [1] * 4}, {"w": W, "b": random(4)}, IMAGE),
    ("FusedConv", "x w b x", {"activation": "Relu", "pads": [1] * 4}, {"w": W, "b": random(4)}, IMAGE),
    ("FusedConv", "x w", {"activation": "LeakyRelu", "activation_params": [0.2]}, {"w": W}, IMAGE),
    ("FusedConv", "x w", {"activation": "Clip", "activation_params": [-1.0, 2.0]}, {"w": W}, IMAGE),
    ("FusedGemm", "x k c", {"activation": "Relu", "alpha": 0.5, "beta": 2.0}, {"k": K, "c": random(5)}, MATRIX),
    ("FusedGemm", "x k c", {"activation": "Tanh", "transB": 1}, {"k": K.T.copy(), "c": random(5)}, MATRIX),
    ("FusedMatMul", "x k", {"transB": 1, "alpha": 0.5}, {"k": K.T.copy()}, MATRIX),
    ("MatMulIntegerToFloat", "x b as bs az bz bias", {}, INTEGER, BYTES),
    ("DynamicQuantizeMatMul", "x b bs bz bias", {}, {k: INTEGER[k] for k in ("b", "bs", "bz", "bias")}, MATRIX),
    ("DynamicQuantizeMatMul", "x b bs", {}, {k: INTEGER[k] for k in ("b", "bs")}, MATRIX),
    ("MatMulIntegerToFloat", "x b as bs az", {}, {k: INTEGER[k] for k in ("b", "as", "bs", "az")}, BYTES),
]


@pytest.mark.parametrize(("op", "operands", "attributes", "constants", "inputs"), CASES)
def test_fused(op: str, operands: str, attributes: dict[str, Any], constants: Arrays, inputs: Arrays) -> None:
    theirs = helper.make_node(op, operands.split(), ["y"], name="theirs", domain="com.microsoft", **attributes)
    model = model_of([theirs], inputs, ["y"], constants)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    expected = run_onnxruntime(model, inputs)["y"]
    np.testing.assert_allclose(run_reference(import_onnx(model), inputs)["y"], expected, rtol=1e-4, atol=1e-4)


def test_every_one_of_them_is_tested() -> None:
    assert {case[0] for case in CASES} == set(IMPORTERS)
