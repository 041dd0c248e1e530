"""The zoo's networks: how far int8 is from float on inputs calibration never saw."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.quantise.noise import relative_error
from vdla.compiler.quantise.quantise import quantise
from vdla.zoo import build, digits_test, sample_inputs


def network(name: str, samples: int = 4, batch: int = 1) -> tuple[Graph, Graph]:
    """The float graph and its int8 form, calibrated on the first of the zoo's sample inputs."""
    graph = optimise(import_onnx(build(name, batch)))
    (images,) = sample_inputs(name, samples * batch, seed=0).values()
    calibration = [{graph.inputs[0]: images[i * batch : (i + 1) * batch]} for i in range(samples)]
    quantised = quantise(graph, calibration)
    verify_graph(quantised, "quantise")
    return graph, quantised


@pytest.mark.parametrize(("name", "limit"), [("resnet18", 0.05), ("mobilenet", 0.06)])
def test_relative_error(name: str, limit: float) -> None:
    """ResNet-18 must stay within 0.08; both limits are about half as much again as what is measured."""
    graph, quantised = network(name)
    image = next(iter(sample_inputs(name, 1, seed=1).values()))
    exact = run_reference(graph, {graph.inputs[0]: image})[graph.outputs[0]]
    found = run_reference(quantised, {graph.inputs[0]: image}, keep="outputs")[graph.outputs[0]]
    assert relative_error(exact, found) < limit


def test_resnet18_is_all_integer() -> None:
    _, quantised = network("resnet18", samples=1)
    ops = [node.op for node in quantised.nodes]
    assert {op: ops.count(op) for op in set(ops)} == {
        "quantize": 1,
        "qconv2d": 20,
        "qmax_pool2d": 1,
        "qavg_pool2d": 1,
        "reshape": 1,
        "qdense": 1,
        "dequantize": 1,
    }
    assert sum(len(node.inputs) > 4 for node in quantised.nodes if node.op == "qconv2d") == 8  # every residual add is fused


def test_digits_accuracy() -> None:
    """Within half a point of float on the held-out split."""
    images, labels = digits_test()
    graph, quantised = network("digits", batch=40, samples=3)

    def accuracy(run) -> float:
        batches = images.reshape(-1, 40, *images.shape[1:])
        logits = [run({graph.inputs[0]: batch})[graph.outputs[0]] for batch in batches]
        return float(np.mean(np.concatenate(logits).argmax(axis=1) == labels))

    exact = accuracy(lambda inputs: run_reference(graph, inputs))
    found = accuracy(lambda inputs: run_reference(quantised, inputs, keep="outputs"))
    assert exact > 0.95
    assert abs(exact - found) <= 0.005, f"float {exact:.4f}, int8 {found:.4f}"
