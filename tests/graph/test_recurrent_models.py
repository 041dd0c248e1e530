"""Recurrent networks of real sizes as machine code, against onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import model_of, node, random, run_onnxruntime

from vdla.onnx_backend import VdlaRep

WORDS, UNITS, STEPS = 500, 256, 30


def stack(op: str, gates: int, layers: int, directions: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Words[STEPS, 2] → embedding → recurrent layers → scores, as PyTorch exports them: the directions of each layer
    are moved beside the units."""
    constants = {
        "table": random(WORDS, UNITS, seed=1),
        "shape": np.array([0, 0, -1]),
        "w_out": random(directions * UNITS, WORDS),
    }
    constants["w_out"] *= np.float32(UNITS**-0.5)
    nodes, x, size = [node("Gather", "table words", "x0")], "x0", UNITS
    for n in range(layers):
        bound = UNITS**-0.5
        constants |= {
            f"w{n}": random(directions, gates * UNITS, size, seed=3 * n, low=-bound, high=bound),
            f"r{n}": random(directions, gates * UNITS, UNITS, seed=3 * n + 1, low=-bound, high=bound),
            f"b{n}": random(directions, 2 * gates * UNITS, seed=3 * n + 2, low=-bound, high=bound),
        }
        way = "bidirectional" if directions == 2 else "forward"
        attributes = {"linear_before_reset": 1} if op == "GRU" else {}
        nodes += [
            node(op, f"{x} w{n} r{n} b{n}", f"y{n}", hidden_size=UNITS, direction=way, **attributes),
            node("Transpose", f"y{n}", f"t{n}", perm=[0, 2, 1, 3]),
            node("Reshape", f"t{n} shape", f"x{n + 1}"),
        ]
        x, size = f"x{n + 1}", directions * UNITS
    nodes.append(node("MatMul", f"{x} w_out"))
    inputs = {"words": np.random.default_rng(5).integers(0, WORDS, (STEPS, 2))}
    return model_of(nodes, inputs, ["y"], constants), inputs


@pytest.mark.parametrize(("op", "gates", "layers", "directions"), [("LSTM", 4, 2, 1), ("GRU", 3, 1, 2), ("RNN", 1, 2, 2)])
def test_language_models(op: str, gates: int, layers: int, directions: int) -> None:
    model, inputs = stack(op, gates, layers, directions)
    expected = run_onnxruntime(model, inputs)["y"]
    (found,) = VdlaRep(model, True).run(inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_cell_of_ones_own() -> None:
    """A minimal gated unit over a sequence, as a Scan: what PyTorch's exporters make of a loop over cells."""
    value = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, (2, UNITS))  # noqa: E731
    inner = [
        node("MatMul", "h wf", "hf"), node("Add", "hf x", "f0"), node("Sigmoid", "f0", "f"), node("Mul", "f h", "kept"),
        node("MatMul", "kept wh", "hh"), node("Add", "hh x", "c0"), node("Tanh", "c0", "c"), node("Sub", "c h", "change"),
        node("Mul", "f change", "step"), node("Add", "h step", "next"), node("Identity", "next", "out"),
    ]  # fmt: skip
    body = helper.make_graph(inner, "cell", [value("h"), value("x")], [value("next"), value("out")])
    scan = helper.make_node("Scan", ["h0", "xs"], ["last", "y"], name="cells", body=body, num_scan_inputs=1)
    weights = {name: random(UNITS, UNITS, seed=ord(name[1])) * np.float32(0.05) for name in ("wf", "wh")}
    inputs = {"h0": random(2, UNITS), "xs": random(STEPS, 2, UNITS, seed=9)}
    model = model_of([scan], inputs, ["last", "y"], weights)
    assert [numpy_helper.to_array(t).shape for t in model.graph.initializer] == [(UNITS, UNITS)] * 2
    expected = run_onnxruntime(model, inputs)
    for found, name in zip(VdlaRep(model, True).run(inputs), ("last", "y"), strict=True):
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-4)
