"""Post-training quantisation: a float graph and calibration inputs → a graph of int8 operators.

    before   conv1 → relu1 → pool1 → conv2 ─┐
                               └────────────add → relu2 → sigmoid
    after    quantize → qconv2d(conv1+relu1) → qmax_pool2d → qconv2d(conv2+add+relu2, residual) → dequantize → sigmoid

Batch norms are expected to be folded; one that is not becomes a 1×1 depthwise convolution. An operator with no quantised
form computes in float between a dequantize and a quantize, each made once for a tensor, and only where one is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.quantise.affine import Levels
from vdla.compiler.quantise.assign import assign_affines, tensors_to_observe
from vdla.compiler.quantise.bias_correction import SAMPLES, ChannelMeans, Layer, correct_biases
from vdla.compiler.quantise.calibrate import Inputs, calibrate, require_finite
from vdla.compiler.quantise.equalise import equalise
from vdla.compiler.quantise.histogram import Function, Histogram, Method, Range
from vdla.compiler.quantise.islands import choose
from vdla.compiler.quantise.noise import signal_to_noise
from vdla.compiler.quantise.plan import LAYERS, WEIGHTED, Group, fused
from vdla.compiler.quantise.refusals import reasons_in_float
from vdla.compiler.quantise.rewriter import Rewriter
from vdla.compiler.quantise.tables import as_function
from vdla.errors import ModelError

CANDIDATES = (Method.MSE, Method.MINMAX, Method.PERCENTILE)
"""What Method.BEST tries."""


@dataclass(frozen=True, slots=True)
class QuantiseOptions:
    """method: see `Method`; `percentile` is for Method.PERCENTILE alone. bias_correction, equalise: see the files of these
    names. in_float: names of nodes whose groups stay float."""

    method: Method = Method.BEST
    percentile: float = 99.99
    fuse_residual: bool = True
    bias_correction: bool = True
    equalise: bool = False
    in_float: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Quantised:
    """A quantised graph and how it came about.

    float_graph: what it is to equal; equalised, where that was asked for. ranges: float tensor → calibrated range. groups: what
    became what, and what stayed. layers: weights and their scales. options: with the method that was chosen. sqnr_db: of all
    outputs on the first calibration inputs. reasons: by node that stayed in float, why.
    """

    graph: Graph
    ranges: Mapping[str, Range]
    int8: Levels
    float_graph: Graph
    groups: Sequence[Group]
    layers: Sequence[Layer]
    options: QuantiseOptions
    sqnr_db: float
    reasons: Mapping[str, str]


def quantise(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Graph:
    """The quantised graph: same inputs and outputs, float32. See `quantise_with_report` for the ranges.

    calibration: one dict of input name → array for each sample. Raises `RunError` when it is empty or not finite, `ModelError`
    when weights or what a layer reads or computes are not finite.
    """
    return quantise_with_report(graph, calibration, options).graph


def quantise_with_report(graph: Graph, calibration: Sequence[Inputs], options: QuantiseOptions | None = None) -> Quantised:
    """The same with how it came about."""
    options = options or QuantiseOptions()
    for number, inputs in enumerate(calibration):
        require_finite(inputs, f"calibration sample {number}")
    groups = fused(graph, options.fuse_residual)
    require_finite_weights(graph, groups)
    if options.equalise and calibration:
        graph = equalise(graph, calibration)
        groups = fused(graph, options.fuse_residual)
    seen = observed(graph, groups, calibration)
    methods = CANDIDATES if options.method is Method.BEST else (options.method,)
    return max((build(seen, replace(options, method=method)) for method in methods), key=lambda found: found.sqnr_db)


@dataclass(frozen=True)
class Observed:
    """A float graph, its groups, and what was seen of its activations: all of them, channels' means and outputs of the first
    calibration inputs."""

    graph: Graph
    groups: Sequence[Group]
    calibration: Sequence[Inputs]
    histograms: Mapping[str, Histogram]
    means: Mapping[str, np.ndarray]
    outputs: Sequence[Mapping[str, np.ndarray]]


def observed(graph: Graph, groups: Sequence[Group], calibration: Sequence[Inputs]) -> Observed:
    """Run the calibration inputs through the float graph."""
    means = ChannelMeans({group.anchor.outputs[0] for group in groups if group.form in WEIGHTED})
    outputs: list[dict[str, np.ndarray]] = [{} for _ in calibration[:SAMPLES]]
    run = dict.fromkeys(graph.outputs, 0)

    def observe(name: str, values: np.ndarray) -> None:
        means(name, values)
        if name in run:
            if run[name] < len(outputs):
                outputs[run[name]][name] = values
            run[name] += 1

    histograms = calibrate(graph, calibration, tensors_to_observe(graph, groups), observe)
    return Observed(graph, groups, calibration, histograms, means.found, outputs)


def build(seen: Observed, options: QuantiseOptions) -> Quantised:
    """The quantised graph by one method."""
    graph = seen.graph
    functions = readers(graph, seen.groups) if options.method is Method.MSE else {}
    ranges = {
        name: histogram.choose(options.method, options.percentile, functions.get(name, ()))
        for name, histogram in seen.histograms.items()
    }
    groups = choose(usable(seen.groups, ranges), ranges, options.in_float)
    rewriter = Rewriter(graph, assign_affines(graph, groups, ranges))
    for group in groups:
        rewriter.add(group)
    layers = rewriter.layers if options.bias_correction else ()
    rewritten, outputs = correct_biases(rewriter.finish(), layers, seen.means, seen.calibration)
    levels = {operand.name: (tensor, operand.affine) for tensor, operand in rewriter.int8.items()}
    quality, reasons = signal_to_noise(seen.outputs, outputs), reasons_in_float(graph, groups)
    return Quantised(rewritten, ranges, levels, graph, groups, rewriter.layers, options, quality, reasons)


def require_finite_weights(graph: Graph, groups: Sequence[Group]) -> None:
    """Raise `ModelError` for the first parameter of a layer that is NaN or infinite, naming tensor, channel and value."""
    for group in groups:
        if group.form not in LAYERS:
            continue
        for name in group.anchor.inputs[1:]:
            w = graph.constants.get(name)
            if w is not None and not np.isfinite(w).all():
                at = tuple(int(i) for i in np.argwhere(~np.isfinite(w))[0])
                where = f"{group.source}: {name}, channel {at[0]}"
                raise ModelError("a weight is not finite", where=where, found=f"{w[at]} at {list(at)}", expected="numbers")


def usable(groups: Sequence[Group], ranges: Mapping[str, Range]) -> list[Group]:
    """The groups, those without a form of which a tensor was not finite. Raises `ModelError` where that is a layer."""
    found = []
    for group in groups:
        bad = [name for name in (*group.data, *group.outputs) if name in ranges and not ranges[name].finite]
        if bad and group.form in LAYERS:
            expected = "numbers: calibration inputs and weights are"
            raise ModelError("an activation is not finite", where=f"{bad[0]}, at {group.source}", expected=expected)
        found.append(replace(group, form=None) if bad else group)
    return found


def readers(graph: Graph, groups: Sequence[Group]) -> dict[str, list[Function]]:
    """Tensor → the functions of one number that read it, where nothing else does."""
    users: dict[str, list[Group]] = {}
    for group in groups:
        for name in dict.fromkeys(group.data):
            users.setdefault(name, []).append(group)
    tables = {name for name, found in users.items() if all(group.region is not None for group in found)}
    direct = {name for group in groups if group.form is None for member in group.members for name in member.inputs}
    return {
        name: [as_function(group.region) for group in users[name] if group.region is not None]
        for name in tables - direct - set(graph.outputs)
    }
