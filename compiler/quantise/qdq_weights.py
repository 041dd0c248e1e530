"""The weights of layers that come quantised: the model's integers, zero points taken off, made to fit the machine.

A channel that the machine cannot hold beside its bias (weights of 10⁻¹³, a scale that is denormal) has its unit made coarser:
its weights lose what no level of the output shows, and the rest of its layer nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.quantise.scales import ACC_LIMIT, BIAS_LIMIT, MAX_MULTIPLIER, accumulator_reach, magnitudes
from vdla.compiler.quantise.written_out import on_grid

Array = np.ndarray

LARGEST = 255
"""The largest magnitude of a byte less its zero point."""
FINEST_RATIO = 2.0**-40
"""An accumulator's unit is never a smaller part of the output's level: a scale word would lose its bits."""
TOLERANCE = 0.5
"""By how many levels of the output a coarser unit may move it, for inputs as far from zero as they can be."""


class NoIntegerForm(Exception):  # noqa: N818 - no error: what follows is only that a pattern stays in float
    """Why, in words; the placement table shows it."""


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """real weight = scale · level. levels: int16[O, …], at most 255 in magnitude; scale, bias: float64[O]."""

    levels: Array
    scale: Array
    bias: Array

    def scaled(self, factor: Array) -> LayerWeights:
        """Of a layer whose result is multiplied. factor: float64[O], of any sign."""
        sign = np.where(factor < 0, -1, 1).astype(np.int16).reshape(-1, *[1] * (self.levels.ndim - 1))
        zero = factor == 0
        levels = np.where(zero.reshape(sign.shape), np.int16(0), self.levels * sign)
        return LayerWeights(levels, np.where(zero, self.scale, self.scale * np.abs(factor)), self.bias * factor)

    def shifted(self, shift: Array) -> LayerWeights:
        return replace(self, bias=self.bias + shift)


@dataclass(frozen=True, slots=True)
class FittedWeights:
    """The same with biases in units of the accumulator, which can overflow nowhere. bias: int64[O]."""

    levels: Array
    scale: Array
    bias: Array


def fitted(w: LayerWeights, input_scale: float, output_scale: float, residual_scale: float = 0.0) -> FittedWeights:
    """Every channel in its own unit, input_scale · scale, or the finest coarser one in which bias, residual and sum fit.

    Raises `NoIntegerForm` for a channel where that would show.
    """
    natural = input_scale * w.scale
    least = max(residual_scale / (MAX_MULTIPLIER // 2), output_scale * FINEST_RATIO)
    unit = np.maximum(natural, np.maximum(np.abs(w.bias) / BIAS_LIMIT, least))
    levels, sums = w.levels.copy(), magnitudes(w.levels)
    along = (-1,) + (1,) * (w.levels.ndim - 1)
    while True:
        coarser = unit > natural
        if coarser.any():
            ratio = (natural[coarser] / unit[coarser]).reshape(along)
            levels[coarser] = np.rint(w.levels[coarser] * ratio).astype(np.int16)
            sums[coarser] = magnitudes(levels[coarser])
        bias = np.rint(w.bias / unit)
        too_large = accumulator_reach(sums, bias, residual_scale / unit) > ACC_LIMIT
        if not too_large.any():
            break
        unit = np.where(too_large, 2 * unit, unit)
    scale = np.where(unit > natural, unit / input_scale, w.scale)
    fit = FittedWeights(levels, scale, bias.astype(np.int64))
    _require_fine(w, fit, input_scale, output_scale)
    return fit


def _require_fine(w: LayerWeights, fit: FittedWeights, input_scale: float, output_scale: float) -> None:
    """Raises `NoIntegerForm` where a channel's coarser unit could move a level of the output."""
    for channel in np.flatnonzero(fit.scale > w.scale):
        lost = w.levels[channel] * w.scale[channel] - fit.levels[channel] * fit.scale[channel]
        moved = LARGEST * input_scale * float(np.linalg.norm(lost)) / output_scale
        if moved > TOLERANCE:
            raise NoIntegerForm(
                f"channel {channel}: weights in steps of {w.scale[channel]:.3g} do not fit an int32 accumulator beside a bias "
                f"of {w.bias[channel]:.3g}, and coarser ones move the output by {moved:.2g} levels"
            )


def as_bytes(levels: Array) -> list[Array]:
    """int16 weights as one, two or three int8 tensors of which they are the sum."""
    parts = []
    while True:
        part = np.clip(levels, -128, 127)
        parts.append(part.astype(np.int8))
        levels = levels - part
        if not levels.any():
            return parts


@dataclass(frozen=True)
class ConstantReader:
    """What a model's constants are, behind the dequantize nodes and the movement that it has them in."""

    graph: Graph
    producer: Mapping[str, Node]

    def weights(self, layer: Node) -> LayerWeights:
        """Those of a conv2d, dense or matmul, [O, …], and its bias. Raises `NoIntegerForm`."""
        is_matmul = layer.op == "matmul"
        levels, scale = self.levels(layer.inputs[1], 1 if is_matmul else 0)
        levels = np.ascontiguousarray(levels.T) if is_matmul else levels
        bias = self.real(layer.inputs[2]) if len(layer.inputs) > 2 and layer.inputs[2] else np.zeros(1)
        if bias is None:
            raise NoIntegerForm("its bias is computed from the model's inputs")
        return LayerWeights(levels, scale, np.broadcast_to(bias.reshape(-1), scale.shape).copy())

    def levels(self, name: str, axis: int) -> tuple[Array, Array]:
        """Weights less their zero points, int16, and the scale for each index of `axis`. Raises `NoIntegerForm`."""
        node = self.producer.get(name)
        if node is not None and node.op == "transpose":
            permutation = node.attributes["permutation"]
            levels, scale = self.levels(node.inputs[0], permutation[axis])
            return levels.transpose(permutation), scale
        if node is not None and node.op == "reshape":
            before, after = self.graph.tensors[node.inputs[0]].shape, self.graph.tensors[name].shape
            place = prod(after[:axis])
            same = [d for d, n in enumerate(before) if n == after[axis] and prod(before[:d]) == place]
            if not same:
                raise NoIntegerForm("its weights are reshaped across channels")
            levels, scale = self.levels(node.inputs[0], same[0])
            return levels.reshape(after), scale
        if name in self.graph.constants:
            return self._found_levels(self.graph.constants[name], axis)
        values = self.graph.constants.get(node.inputs[0]) if node is not None and node.op == "dequantize" else None
        if node is None or values is None:
            raise NoIntegerForm("its weights are computed from the model's inputs")
        a = with_defaults("dequantize", node.attributes)
        scale, zero = np.asarray(a["scale"], np.float64).reshape(-1), np.asarray(a["zero_point"]).reshape(-1)
        if max(scale.size, zero.size) > 1 and a["axis"] % values.ndim != axis:
            raise NoIntegerForm(f"its weights have a scale for each index of axis {a['axis']}, not for each output channel")
        along = [-1 if d == axis else 1 for d in range(values.ndim)]
        centred = values.astype(np.int16) - (zero.reshape(along) if zero.size > 1 else zero[0]).astype(np.int16)
        return centred, np.broadcast_to(scale, (values.shape[axis],))

    @staticmethod
    def _found_levels(w: Array, axis: int) -> tuple[Array, Array]:
        """Of weights whose quantisation was computed away."""
        found = on_grid(np.moveaxis(w, axis, 0))
        if found is None:
            raise NoIntegerForm("its weights are not quantised")
        return np.moveaxis(found[0], 0, axis), found[1]

    def real(self, name: str) -> Array | None:
        """A constant as float64, or a constant behind a dequantize; None when it is neither."""
        if name in self.graph.constants:
            return self.graph.constants[name].astype(np.float64)
        node = self.producer.get(name)
        if node is None or node.op != "dequantize" or node.inputs[0] not in self.graph.constants:
            return None
        a, levels = with_defaults("dequantize", node.attributes), self.graph.constants[node.inputs[0]]
        along = [-1 if d == a["axis"] % max(levels.ndim, 1) else 1 for d in range(levels.ndim)]
        scale, zero = (np.asarray(a[key], np.float64).reshape(-1) for key in ("scale", "zero_point"))
        spread = [v.reshape(along) if v.size > 1 else v.reshape(()) for v in (scale, zero)]
        real: Array = (levels.astype(np.float64) - spread[1]) * spread[0]
        return real
