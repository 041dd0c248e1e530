"""`vdla quantize`: a float model to int8, and what that cost, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.noise import sqnr_db
from vdla.compiler.quantise.qdq import has_qdq, with_real_weights
from vdla.compiler.quantise.quantise import Quantised, QuantiseOptions, quantise_with_report
from vdla.compiler.quantise.report import LayerReport, quantise_report
from vdla.errors import ModelError
from vdla.flows.compilation import NOISE, CompileOptions, calibration_inputs, import_model, model_name, ranges_from_noise
from vdla.flows.inputs import Inputs

SATURATES = 0.01
"""The part of a tensor's values beyond its range that is worth a line."""
OTHERS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "ten times the size": lambda x, _: x * np.float32(10),
    "uniform in 0 … 1": lambda x, random: random.uniform(0, 1, x.shape).astype(np.float32),
    "uniform in 0 … 255": lambda x, random: random.uniform(0, 255, x.shape).astype(np.float32),
}
"""Inputs that a model may be made for, beside those that it was calibrated on."""


@dataclass(frozen=True)
class Saturation:
    """Of other inputs than were calibrated on: the tensor most beyond its range, the part of its values that is, and the
    outputs' signal to noise."""

    inputs: str
    tensor: str
    clipped: float
    sqnr_db: float


@dataclass(frozen=True)
class Quantisation:
    """What `vdla quantize` says. layers: on the last calibration sample. left_in_float: node → reason. levels_used: layer → the
    part of -127 … 127 that the weights of a channel reach, on average."""

    model: str
    method: str
    samples: int
    from_noise: bool
    sqnr_db: float
    layers: tuple[LayerReport, ...]
    levels_used: Mapping[str, float]
    left_in_float: Mapping[str, str]
    saturation: tuple[Saturation, ...]
    quantised: Quantised

    @property
    def warnings(self) -> list[str]:
        return [NOISE] if self.from_noise else []

    def json(self) -> dict[str, Any]:
        layers = [asdict(layer) | {"weights_used": self.levels_used.get(layer.node)} for layer in self.layers]
        return {
            "model": self.model,
            "method": self.method,
            "samples": self.samples,
            "ranges_from_noise": self.from_noise,
            "sqnr_db": self.sqnr_db,
            "layers": layers,
            "left_in_float": dict(self.left_in_float),
            "other_inputs": [asdict(found) for found in self.saturation],
            "warnings": self.warnings,
        }


def quantise_model(
    model: object,
    options: CompileOptions | None = None,
    quantising: QuantiseOptions | None = None,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Quantisation:
    """Quantise a float model and measure it. Raises `ModelError` for one that came quantised, and what `quantise` raises."""
    options = options or CompileOptions()
    on_stage("importing the model")
    graph = optimise(import_model(model, options))
    if has_qdq(graph):
        raise ModelError("the model is quantised already", where=model_name(model), hint="vdla run, which keeps its scales")
    graph = with_real_weights(graph)
    samples = calibration_inputs(model, graph, options)
    from_noise = ranges_from_noise(model, options)
    on_stage(f"calibrating on {len(samples)} samples")
    found = quantise_with_report(graph, samples, quantising)
    on_stage("measuring")
    report = quantise_report(graph, found, samples[-1])
    return Quantisation(
        model_name(model),
        found.options.method,
        len(samples),
        from_noise,
        found.sqnr_db,
        report.layers,
        {layer.node: float(np.abs(rows(layer.weights.weights)).max(axis=1).mean() / 127) for layer in found.layers},
        found.reasons,
        tuple(saturation(graph, found, samples[0], name) for name in OTHERS) if from_noise else (),
        found,
    )


def rows(w: np.ndarray) -> np.ndarray:
    return w.reshape(len(w), -1).astype(np.int32)


def saturation(graph: Graph, found: Quantised, sample: Inputs, name: str) -> Saturation:
    """What inputs of another size do to ranges that noise chose."""
    random = np.random.default_rng(0)
    other = {key: OTHERS[name](x, random) if x.dtype == np.float32 else x for key, x in sample.items()}
    report = quantise_report(graph, found, other)
    worst = max(report.layers, key=lambda layer: layer.clipped, default=None)
    exact, quantised = run_reference(graph, other), run_reference(found.graph, other)
    quality = min((sqnr_db(exact[key], quantised[key]) for key in exact), default=np.inf)
    return Saturation(name, worst.source if worst else "", worst.clipped if worst else 0.0, float(quality))
