"""What quantisation did to each tensor: its range, and how far it is from the float one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.noise import relative_error, sqnr_db
from vdla.compiler.quantise.quantise import Quantised

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One int8 tensor. Errors are those of everything up to it, not of its own operator alone.

    clipped: the fraction of float values outside what the scale represents. sqnr_db: 10 log₁₀(Σ float² / Σ error²).
    """

    source: str
    op: str
    tensor: str
    low: float
    high: float
    scale: float
    zero_point: int
    clipped: float
    sqnr_db: float


@dataclass(frozen=True, slots=True)
class QuantiseReport:
    layers: tuple[LayerReport, ...]
    relative_error: Mapping[str, float]  # graph output → ‖quantised − float‖ / ‖float‖

    def __str__(self) -> str:
        width = max((len(layer.source) for layer in self.layers), default=6)
        lines = [
            f"{'layer':{width}}  {'op':12} {'low':>10} {'high':>10} {'scale':>10} {'zero':>5} {'clipped':>8} {'SQNR dB':>8}"
        ]
        for r in self.layers:
            numbers = f"{r.low:10.4g} {r.high:10.4g} {r.scale:10.4g} {r.zero_point:5d} {r.clipped:8.2%} {r.sqnr_db:8.1f}"
            lines.append(f"{r.source:{width}}  {r.op:12} {numbers}")
        lines += [f"{name}: relative error {error:.4f}" for name, error in self.relative_error.items()]
        return "\n".join(lines)


def quantise_report(graph: Graph, quantised: Quantised, inputs: Mapping[str, Array]) -> QuantiseReport:
    """Run one input through the float `graph` and its quantised form, and compare every int8 tensor and output."""
    exact = run_reference(quantised.float_graph, inputs, keep="all")
    found = run_reference(quantised.graph, inputs, keep="all")
    layers = []
    for node in quantised.graph.nodes:
        if node.outputs[0] not in quantised.int8:
            continue
        tensor, affine = quantised.int8[node.outputs[0]]
        low, high = affine.range
        outside = (exact[tensor] < low - affine.scale / 2) | (exact[tensor] > high + affine.scale / 2)
        sqnr = sqnr_db(exact[tensor], affine.to_real(found[node.outputs[0]]))
        source = node.source or node.name
        layers.append(
            LayerReport(source, node.op, tensor, low, high, affine.scale, affine.zero_point, float(outside.mean()), sqnr)
        )
    return QuantiseReport(tuple(layers), {name: relative_error(exact[name], found[name]) for name in graph.outputs})
