"""DynamicQuantizeLSTM, as onnxruntime's dynamic quantiser writes it, against onnxruntime: as imported, and as machine code."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import model_of, random, run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError
from vdla.onnx_backend import VdlaRep

STEPS, SIZE, HIDDEN = 6, 9, 12
PARAMETERS = ("w_scale", "w_zero", "r_scale", "r_zero")


def layer(
    direction: str = "forward",
    dtype: str = "int8",
    per_channel: bool = False,
    batch: int = 1,
    given: str = "b h0 c0",
    **extra: Any,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    count = 2 if direction == "bidirectional" else 1
    rng = np.random.default_rng([count, batch, per_channel])
    gates = 4 * HIDDEN
    low, high = (-128, 128) if dtype == "int8" else (0, 256)
    shape = (count, gates) if per_channel else (count,)
    states = {name: random(count, batch, HIDDEN, seed=seed) for seed, name in enumerate(("h0", "c0"))}
    values = {
        "x": random(STEPS, batch, SIZE, seed=3),
        "w": rng.integers(low, high, (count, SIZE, gates)).astype(dtype),
        "r": rng.integers(low, high, (count, HIDDEN, gates)).astype(dtype),
        "b": random(count, 2 * gates, seed=4),
        "lengths": np.full(batch, STEPS, np.int32),
        **states,
        "p": random(count, 3 * HIDDEN, seed=5),
        **{name: rng.uniform(0.002, 0.004, shape).astype(np.float32) for name in ("w_scale", "r_scale")},
        **{name: np.full(shape, 0 if dtype == "int8" else 131, dtype) for name in ("w_zero", "r_zero")},
    }
    optional = ("b", "lengths", "h0", "c0", "p")
    names = ["x", "w", "r", *(name if name in given.split() else "" for name in optional), *PARAMETERS]
    attributes = {"direction": direction, "hidden_size": HIDDEN, **extra}
    node = helper.make_node("DynamicQuantizeLSTM", names, ["y", "h", "c"], "layer", domain="com.microsoft", **attributes)
    inputs = {name: values[name] for name in names if name in ("x", "h0", "c0")}
    constants = {name: values[name] for name in names if name and name not in inputs}
    model = model_of([node], inputs, ["y", "h", "c"], constants)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model, inputs


def check(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> None:
    expected = run_onnxruntime(model, inputs)
    graph = import_onnx(model)
    verify_graph(graph)
    compiled = dict(zip("yhc", VdlaRep(model, True).run(inputs), strict=True))
    for found in (run_reference(graph, inputs), compiled):
        for name, wanted in expected.items():
            assert found[name].shape == wanted.shape and found[name].dtype == wanted.dtype
            np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_directions(direction: str, dtype: str) -> None:
    check(*layer(direction, dtype))


@pytest.mark.parametrize("given", ["", "b", "h0", "b c0"])
def test_optional_inputs(given: str) -> None:
    check(*layer("bidirectional", given=given))


def test_a_scale_for_each_gate_of_each_unit() -> None:
    check(*layer("bidirectional", per_channel=True))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "lengths": ({"given": "lengths"}, "sequence_lens of DynamicQuantizeLSTM is not supported"),
    "peepholes": ({"given": "p"}, "P of DynamicQuantizeLSTM is not supported"),
    "activations": ({"activations": ["Relu", "Tanh", "Tanh"]}, "activations"),
    "clip": ({"clip": 1.0}, "unsupported attribute of DynamicQuantizeLSTM"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    options, message = REFUSED[name]
    model, _ = layer(**options)
    with pytest.raises(ModelError, match=message):
        import_onnx(model)


def test_weights_that_do_not_fit() -> None:
    model, _ = layer()
    model.graph.initializer[1].dims[:] = [1, 4 * HIDDEN, HIDDEN]
    with pytest.raises(ModelError, match="W and R of DynamicQuantizeLSTM"):
        import_onnx(model)
