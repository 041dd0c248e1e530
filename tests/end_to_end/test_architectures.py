"""Real architectures, and random ones that onnxruntime quantised: placed where they should be, with reasons, bit-exact.

`VDLA_LONG=1` quantises hundreds.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from architectures import ARCHITECTURES, architecture
from harness import check_programs, checked_run, inputs_of, run_onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from random_models import FAMILIES, random_model

from vdla.flows import run_model
from vdla.flows.run import Run

PROGRAMS = {
    "alexnet": 3,
    "squeezenet": 1,
    "mobilenet_v3": 1,
    "inception": 2,
    "resnet50": 1,
    "resnext": 1,
    "shufflenet_like": 1,
}
"""Runs of consecutive layers: what splits them is LRN and uneven averages."""

PRODUCTS = ("conv2d", "dense", "qconv2d", "qdense", "qadd", "qmax", "qmin", "qmax_pool2d", "qavg_pool2d", "requantize")


def on_cpu(run: Run) -> dict[str, str]:
    """Layers on the host, but for a pool that its neighbours there make cheaper there."""
    layers = [layer for layer in run.report.layers if layer.target == "cpu" and layer.op in PRODUCTS]
    return {layer.name: layer.why for layer in layers if layer.op != "qmax_pool2d" or "faster on the host" not in layer.why}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_on_pynq(name: str) -> None:
    run = checked_run(architecture(name), "pynq_z1", name)
    assert not on_cpu(run)
    assert len(run.model.programs) == PROGRAMS[name]
    assert all(layer.why for layer in run.report.layers)
    for layer in run.report.layers:  # nothing absurd: beyond its own roofline, a layer pays for starting and for small tiles
        assert layer.cycles <= 4 * layer.bound_cycles + 1000, f"{name}: {layer.name} {layer.cycles} of {layer.bound_cycles}"


@pytest.mark.parametrize("name", ["squeezenet", "resnext", "shufflenet_like"])
def test_architecture_on_tiny(name: str) -> None:
    run = checked_run(architecture(name), "tiny", f"{name} on tiny")
    assert all("fit" in why for why in on_cpu(run).values()), on_cpu(run)


class OneSample(CalibrationDataReader):
    def __init__(self, sample: dict[str, np.ndarray]) -> None:
        self.samples = iter([sample])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.samples, None)


def quantised_by_onnxruntime(model: onnx.ModelProto, folder: Path, seed: int, **options: object) -> onnx.ModelProto:
    source, target = folder / "float.onnx", folder / "qdq.onnx"
    onnx.save(model, source)
    quantize_static(source, target, OneSample(inputs_of(model, seed)), quant_format=QuantFormat.QDQ, **options)
    return onnx.load(target)


def check_quantised(model: onnx.ModelProto, design: str, seed: int, where: str) -> Run:
    """Bits, programs, and the distance from onnxruntime on the same quantised model.

    Both round: a level here and there differs (see `from_qdq`), and what is then computed from it. Three hundredths of the
    largest output, or two of its levels, bound what such differences add up to.
    """
    inputs = inputs_of(model, seed)
    run = run_model(model, design, inputs=inputs)
    assert run.succeeded, where
    check_programs(run, where)
    levels = {n.outputs[0]: float(np.max(n.attributes["scale"])) for n in run.model.quantised.nodes if n.op == "dequantize"}
    for name, value in run_onnxruntime(model, inputs).items():
        error, limit = np.abs(run.result.outputs[name] - value).max(), 0.03 * np.abs(value).max() + 2 * levels.get(name, 0)
        assert error <= limit + 1e-6, f"{where}: output {name} is {error} off, at most {limit}"
    return run


@pytest.mark.parametrize(("name", "per_channel"), [("squeezenet", False), ("resnet50", True), ("inception", True)])
def test_quantised_architecture(name: str, per_channel: bool, tmp_path: Path) -> None:
    types = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QInt8, "per_channel": per_channel}
    model = quantised_by_onnxruntime(architecture(name), tmp_path, 1, **types)
    run = check_quantised(model, "pynq_z1", 2, f"{name} by onnxruntime")
    assert not on_cpu(run)


@pytest.mark.parametrize("seed", range((20 if os.environ.get("VDLA_LONG") else 1) * len(FAMILIES)))
def test_quantised_random_model(seed: int, tmp_path: Path) -> None:
    """Activations signed and unsigned, symmetric or not."""
    types = {
        "weight_type": QuantType.QInt8,
        "activation_type": (QuantType.QInt8, QuantType.QUInt8)[seed % 2],
        "per_channel": seed % 3 == 0,
        "extra_options": {"ActivationSymmetric": seed % 5 == 0},
    }
    model = quantised_by_onnxruntime(random_model(seed), tmp_path, seed, **types)
    check_quantised(model, ("tiny", "pynq_z1")[seed % 2], seed, f"random_model({seed}) by onnxruntime")
