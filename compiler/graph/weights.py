"""A layer's weights as passes rearrange them: a float constant, or constant levels behind a dequantize, whose levels stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vdla.compiler.graph.graph import Node
from vdla.compiler.graph.rewrite import Context

Array = np.ndarray


@dataclass(frozen=True)
class Weights:
    """values: floats, or levels, of which the real ones are scale · (level - zero_point).

    scale: float64[1] or one for each index of `axis`; zero_point likewise; both None of floats.
    """

    values: Array
    scale: Array | None = None
    zero_point: Array | None = None
    axis: int = 0

    @property
    def per_channel(self) -> bool:
        return self.scale is not None and self.scale.size > 1

    @property
    def zero(self) -> Array:
        """The level of 0, which broadcasts to the values."""
        if self.zero_point is None:
            return np.zeros((), self.values.dtype)
        return along(self.zero_point, self.axis, self.values.ndim).astype(self.values.dtype)

    def rearranged(self, values: Array, axis: int, channels: Callable[[Array], Array] = lambda scales: scales) -> Weights:
        """Other values of the same real numbers. axis: where the channels lie there; channels: what becomes of their order."""
        if not self.per_channel:
            return replace(self, values=values, axis=axis)
        assert self.scale is not None and self.zero_point is not None
        zero_point = self.zero_point if self.zero_point.size == 1 else channels(self.zero_point)
        return Weights(values, channels(self.scale), zero_point, axis)


def read_weights(context: Context, tensor: str) -> Weights | None:
    """What a tensor holds, if it is constant."""
    constant = context.constant(tensor)
    if constant is not None:
        return Weights(constant)
    node = context.source_of(tensor, "dequantize")
    levels = context.constant(node.inputs[0]) if node is not None else None
    if node is None or levels is None:
        return None
    a = context.attributes(node)
    scale, zero_point = (np.atleast_1d(np.asarray(a[name], dtype)) for name, dtype in (("scale", float), ("zero_point", int)))
    return Weights(levels, scale, zero_point, a["axis"] % levels.ndim if scale.size > 1 else 0)


def write_weights(context: Context, weights: Weights, base: str, source: str) -> tuple[str, list[Node]]:
    """The tensor that holds them, and the node that computes it from levels."""
    values = np.ascontiguousarray(weights.values)
    if weights.scale is None:
        return context.add_constant(base, values), []
    levels = context.add_constant(f"{base}.levels", values)
    assert weights.zero_point is not None
    attributes = {"scale": plain(weights.scale), "zero_point": plain(weights.zero_point), "axis": weights.axis}
    tensor = context.fresh(base)
    return tensor, [context.make("dequantize", [levels], tensor, attributes, name=tensor, source=source)]


def plain(values: Array) -> float | int | tuple[float | int, ...]:
    """One number, or one for each channel, as attributes have them."""
    return values.item() if values.size == 1 else tuple(values.tolist())


def real(weights: Weights) -> Array:
    """The real numbers, float64."""
    if weights.scale is None:
        return weights.values.astype(np.float64)
    steps = weights.values.astype(np.float64) - weights.zero.astype(np.float64)
    return steps * along(weights.scale, weights.axis, weights.values.ndim)


def along(values: Array, axis: int, rank: int) -> Array:
    """One number as a scalar, or one for each index of an axis so that they broadcast."""
    return values.reshape(()) if values.size == 1 else values.reshape([-1 if at == axis else 1 for at in range(rank)])
