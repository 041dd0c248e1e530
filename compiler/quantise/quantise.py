"""Post-training quantisation: a float graph and calibration inputs → a graph of int8 operators.

    before   conv1 → relu1 → pool1 → conv2 ─┐
                               └────────────add → relu2 → sigmoid
    after    quantize → qconv2d(conv1+relu1) → qmax_pool2d → qconv2d(conv2+add+relu2, residual) → dequantize → sigmoid

Batch norms are expected to be folded; one that is not becomes a 1×1 depthwise convolution. An operator with no quantised
form computes in float between a dequantize and a quantize, each made once for a tensor, and only where one is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vdla.compiler.graph.graph import Graph
from vdla.compiler.quantise.affine import Levels
from vdla.compiler.quantise.assign import assign_affines, tensors_to_observe
from vdla.compiler.quantise.calibrate import Inputs, Method, Range, calibrate
from vdla.compiler.quantise.islands import choose
from vdla.compiler.quantise.plan import fused
from vdla.compiler.quantise.refusals import reasons_in_float
from vdla.compiler.quantise.rewriter import Rewriter


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """`percentile` is for Method.PERCENTILE alone."""

    method: Method = Method.MSE
    percentile: float = 99.99
    fuse_residual: bool = True


@dataclass(frozen=True)
class Quantised:
    """A quantised graph and how it came about.

    ranges: float tensor → calibrated range. reasons: by node that stayed in float, why.
    """

    graph: Graph
    ranges: Mapping[str, Range]
    int8: Levels
    reasons: Mapping[str, str]


def quantise(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Graph:
    """The quantised graph: same inputs and outputs, float32. See `quantise_with_report` for the ranges.

    calibration: one dict of input name → array for each sample. Raises `RunError` when it is empty, `ModelError` when an
    activation is not finite.
    """
    return quantise_with_report(graph, calibration, options).graph


def quantise_with_report(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Quantised:
    options = options or QuantiseOptions()
    groups = fused(graph, options.fuse_residual)
    ranges = calibrate(graph, calibration, tensors_to_observe(graph, groups), options.method, options.percentile)
    groups = choose(groups, ranges)
    rewriter = Rewriter(graph, assign_affines(graph, groups, ranges))
    for group in groups:
        rewriter.add(group)
    rewritten = rewriter.finish()
    levels = {operand.name: (tensor, operand.affine) for tensor, operand in rewriter.int8.items()}
    return Quantised(rewritten, ranges, levels, reasons_in_float(graph, groups))
