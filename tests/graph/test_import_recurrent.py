"""LSTM, GRU and RNN in every form that they have, against onnxruntime: as imported, and as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import model_of, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ["y", "h", "c"], "GRU": ["y", "h"], "RNN": ["y", "h"]}
OPTIONAL = {"LSTM": ["b", "lengths", "h0", "c0", "p"], "GRU": ["b", "lengths", "h0"], "RNN": ["b", "lengths", "h0"]}
EVERY_ACTIVATION = [
    "Affine", "Elu", "HardSigmoid", "LeakyRelu", "Relu", "ScaledTanh", "Sigmoid", "Softplus", "Softsign", "Tanh",
    "ThresholdedRelu",
]  # fmt: skip


def layer(
    op: str,
    given: str = "b",
    *,
    steps: int = 5,
    batch: int = 2,
    size: int = 6,
    hidden: int = 7,
    opset: int = 17,
    lengths: list[int] | None = None,
    computed: bool = False,
    **attributes: Any,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A model of one node, of the optional inputs `given`, and its inputs. computed: the weights are inputs too."""
    count = 2 if attributes.get("direction") == "bidirectional" else 1
    gates, first = GATES[op], bool(attributes.get("layout"))
    scale = hidden**-0.5
    state = (batch, count, hidden) if first else (count, batch, hidden)
    values = {
        "x": random(*((batch, steps) if first else (steps, batch)), size, seed=1),
        "w": random(count, gates * hidden, size, seed=2) * scale,
        "r": random(count, gates * hidden, hidden, seed=3) * scale,
        "b": random(count, 2 * gates * hidden, seed=4),
        "lengths": np.array(lengths or [steps] * batch, np.int32),
        "h0": random(*state, seed=5),
        "c0": random(*state, seed=6),
        "p": random(count, 3 * hidden, seed=7),
    }
    names = ["x", "w", "r", *(name if name in given.split() else "" for name in OPTIONAL[op])]
    while not names[-1]:
        names.pop()
    node = helper.make_node(op, names, OUTPUTS[op], name="layer", hidden_size=hidden, **attributes)
    inputs = {"x", "h0", "c0"} | ({"w", "r", "b", "p"} if computed else set())
    used = {name: values[name] for name in names if name}
    constants = {name: value for name, value in used.items() if name not in inputs}
    inputs = {name: value for name, value in used.items() if name in inputs}
    return model_of([node], inputs, OUTPUTS[op], constants, opset), inputs


def check(model: onnx.ModelProto, inputs: dict[str, np.ndarray], tolerance: float = 1e-5) -> None:
    expected = run_onnxruntime(model, inputs)
    graph = import_onnx(model)
    verify_graph(graph)
    for version in (graph, optimise(graph)):
        for name, value in run_reference(version, inputs).items():
            assert value.shape == expected[name].shape and value.dtype == expected[name].dtype
            np.testing.assert_allclose(value, expected[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_directions(op: str, direction: str) -> None:
    check(*layer(op, "b h0 c0", direction=direction))


@pytest.mark.parametrize("op", GATES)
def test_the_least_there_can_be(op: str) -> None:
    check(*layer(op, "", steps=1, batch=1, size=1, hidden=1))


@pytest.mark.parametrize("given", ["", "b", "h0", "b c0", "p", "b h0 c0 p"])
def test_optional_inputs(given: str) -> None:
    check(*layer("LSTM", given))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_sequences_that_end_early(op: str, direction: str) -> None:
    check(*layer(op, "b h0 c0 lengths", batch=4, lengths=[5, 1, 3, 2], direction=direction))


@pytest.mark.parametrize("op", GATES)
def test_weights_that_are_inputs(op: str) -> None:
    check(*layer(op, "b h0 c0 p", computed=True, direction="bidirectional"))


@pytest.mark.parametrize("bias", ["", "b"])
@pytest.mark.parametrize("linear", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_when_a_gru_resets(direction: str, linear: int, bias: str) -> None:
    check(*layer("GRU", f"{bias} h0", direction=direction, linear_before_reset=linear))


def test_coupled_gates() -> None:
    check(*layer("LSTM", "b p", input_forget=1))


@pytest.mark.parametrize("op", GATES)
def test_clipped(op: str) -> None:
    """onnxruntime leaves out the clip before the last activation of an LSTM, so nothing here reaches it there."""
    check(*layer(op, "b", clip=0.9 if op != "LSTM" else 3.0))


@pytest.mark.parametrize("name", EVERY_ACTIVATION)
def test_activations(name: str) -> None:
    """Each as the activation of an RNN, with parameters of its own where it has any."""
    alone = {"Affine": (0.6, 0.1), "ScaledTanh": (0.9, 0.7), "HardSigmoid": (0.3, 0.4)}.get(name)
    one = {"Elu": 0.7, "LeakyRelu": 0.2, "ThresholdedRelu": 0.3}.get(name)
    parameters = {"activation_alpha": [alone[0]], "activation_beta": [alone[1]]} if alone else {}
    parameters |= {"activation_alpha": [one]} if one else {}
    check(*layer("RNN", "b h0", activations=[name], **parameters))


def test_activations_of_an_lstm() -> None:
    """Parameters go in order to those functions that have them."""
    functions = ["HardSigmoid", "Softsign", "ScaledTanh", "Sigmoid", "LeakyRelu", "Tanh"]
    parameters = {"activation_alpha": [0.3, 0.9, 0.1], "activation_beta": [0.4, 0.8]}
    check(*layer("LSTM", "b", direction="bidirectional", activations=functions, **parameters))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "activation": ({"activations": ["Swish"]}, "activations of RNN; found 'Swish'; expected sigmoid, tanh"),
    "parameters": ({"activations": ["Affine"]}, "Affine of RNN needs its activation_alpha and activation_beta"),
    "count": ({"activations": ["Tanh", "Tanh"]}, "activations of RNN; found ('Tanh', 'Tanh'); expected 1 functions"),
    "direction": ({"direction": "up"}, "direction of RNN; found 'up'; expected forward or reverse or bidirectional"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    attributes, words = REFUSED[name]
    with pytest.raises(ModelError) as caught:
        import_onnx(layer("RNN", **attributes)[0])
    assert words in str(caught.value)
