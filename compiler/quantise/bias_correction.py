"""Bias correction: the mean error of each channel of each layer, as calibration data show it, goes into the layer's bias.

Rounded weights and clipped activations shift a layer's mean; shifts add up through a network, where noise averages out. Layer
by layer, in order, each seeing what the corrected ones before it compute:

    bias += (E[Σ x·w] - E[Σ x̂·ŵ]) / unit            E over samples and positions, for each channel
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.operators.shapes import window_output
from vdla.compiler.operators.windows import pad_image, taps
from vdla.compiler.quantise.affine import Affine
from vdla.compiler.quantise.calibrate import Inputs
from vdla.compiler.quantise.scales import ACC_LIMIT, QuantisedWeights, row_chunks, sum_reach

Array = np.ndarray
SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Layer:
    """A quantised convolution or dense layer: the float tensor it stands for before any residual or clip, what its input's
    levels mean, its weights, and the most that its residual adds, in accumulator units."""

    node: str
    tensor: str
    x: Affine
    weights: QuantisedWeights
    residual_reach: Array


def correct_biases(
    quantised: Graph, layers: Iterable[Layer], wanted: Mapping[str, Array], calibration: Sequence[Inputs]
) -> tuple[Graph, list[dict[str, Array]]]:
    """The quantised graph with other biases, and its outputs for the first samples.

    wanted: the mean of each channel of the float tensors that layers stand for.
    """
    known = {layer.node: layer for layer in layers}
    samples = calibration[:SAMPLES]
    constants = dict(quantised.constants)
    values = [{**quantised.constants, **sample} for sample in samples]
    last_use = {name: index for index, node in enumerate(quantised.nodes) for name in (*node.outputs, *node.inputs)}
    for index, node in enumerate(quantised.nodes):
        if (layer := known.get(node.name)) is not None:
            found = np.mean([layer_mean(node, layer, known_values[node.inputs[0]]) for known_values in values], axis=0)
            bias = corrected(constants[node.inputs[2]], wanted[layer.tensor] - found, layer)
            constants[node.inputs[2]] = bias
            for known_values in values:
                known_values[node.inputs[2]] = bias
        for known_values in values:
            known_values.update(run_node(node, known_values))
            for name in {name for name in (*node.inputs, *node.outputs) if last_use[name] == index} - set(quantised.outputs):
                known_values.pop(name, None)
    outputs = [{name: known_values[name] for name in quantised.outputs} for known_values in values]
    return quantised.with_nodes(quantised.nodes, constants=constants), outputs


class ChannelMeans:
    """float64[C] for each of some tensors: the mean of each channel (axis 1) over the first samples, in `found`."""

    def __init__(self, tensors: Collection[str]) -> None:
        self.tensors = tensors
        self.sums: dict[str, Array] = {}
        self.counts: dict[str, int] = {}

    def __call__(self, name: str, values: Array) -> None:
        if name in self.tensors and self.counts.get(name, 0) < SAMPLES:
            self.sums[name] = self.sums.get(name, 0.0) + mean_of_channels(values)
            self.counts[name] = self.counts.get(name, 0) + 1

    @property
    def found(self) -> dict[str, Array]:
        return {name: total / self.counts[name] for name, total in self.sums.items()}


def mean_of_channels(values: Array) -> Array:
    return values.mean(axis=tuple(axis for axis in range(values.ndim) if axis != 1), dtype=np.float64)


def layer_mean(node: Node, layer: Layer, x: Array) -> Array:
    """float64[O]: the mean of what the layer's integers stand for, before residual and clip. x: int8, what it reads.

    Linear in x, so that of each place of the kernel the mean of what it meets is enough.
    """
    w, zero_point = layer.weights.weights, np.float32(layer.x.zero_point)
    if w.ndim == 2:
        met = (x.mean(axis=0, dtype=np.float64) - zero_point)[None]
    else:
        a = node.attributes
        padded = pad_image(x, a["pads"], int(zero_point))
        size = [window_output(padded.shape[2 + i], w.shape[2 + i], a["strides"][i], 0, a["dilations"][i]) for i in (0, 1)]
        views = taps(padded, w.shape[2:], a["strides"], a["dilations"], size)
        met = np.stack([mean_of_channels(view.astype(np.float32)) for view in views], axis=1) - zero_point
        met = met.reshape(a["groups"], -1)  # [groups, channels of one · places]
    flat, outputs = w.reshape(len(w), -1), len(w) // len(met)
    total = layer.weights.bias.astype(np.float64)
    for rows in row_chunks(flat):
        group = np.arange(rows.start, min(rows.stop, len(w))) // outputs
        own = met[group] if len(met) > 1 else met
        total[rows] += (flat[rows] * own).sum(axis=1)
    return total * layer.weights.scale * layer.x.scale


def corrected(bias: Array, error: Array, layer: Layer) -> Array:
    """int32[O]: the bias words with the real error added, where the accumulator has room for it."""
    w = layer.weights
    delta = np.rint(error / (w.scale * layer.x.scale)).astype(np.int64)
    flat, reach = w.weights.reshape(len(w.weights), -1), np.empty(len(w.weights))
    for rows in row_chunks(flat):
        reach[rows] = sum_reach(flat[rows].astype(np.float64), (w.bias + delta)[rows], layer.x.zero_point)
    fits = reach + layer.residual_reach <= ACC_LIMIT
    return (bias.astype(np.int64) + np.where(fits, delta, 0)).astype(np.uint32).view(np.int32)
