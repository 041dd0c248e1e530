"""Operators that round to a grid and stay float (QONNX's Quant, OpenVINO's FakeQuantize).

They are quantize and dequantize where int8 holds the grid, else arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.values import Value

Array = np.ndarray
Rounding = Callable[[Array], Array]
BYTE = 255


@dataclass(frozen=True)
class RealGrid:
    """real = scale · (level - zero), level from `low` to `high`. scale, zero: float32, broadcast to the tensor.

    rounding: the operator of the graph, and the same in NumPy.
    """

    scale: Array
    zero: Array
    low: int
    high: int
    rounding: str = "round"
    round_array: Rounding = np.rint

    @property
    def shift(self) -> int:
        """What to take off levels so that int8 holds them."""
        return 0 if self.low >= -128 and self.high <= 127 else self.low + 128

    @property
    def fits(self) -> bool:
        """Whether int8 holds every level, and the zero points."""
        zero = self.zero - self.shift
        return self.high - self.low <= BYTE and bool((zero == np.rint(zero)).all() and (np.abs(2 * zero + 1) <= BYTE).all())


def emit_on_grid(builder: GraphBuilder, x: Value, grid: RealGrid) -> Value:
    """A tensor on a grid."""
    per_tensor = grid.scale.size == 1 and grid.zero.size == 1
    axes = axes_of(grid, len(x.shape))
    if x.constant is not None and x.shape and grid.fits and len(axes) <= 1:
        return emit_constant(builder, x.constant, grid, axes[0] if axes else 1)
    if x.constant is None and per_tensor and grid.fits and grid.rounding == "round" and x.dtype == "float32":
        return emit_levels(builder, x, grid)
    return by_arithmetic(builder, x, grid)


def axes_of(grid: RealGrid, rank: int) -> list[int]:
    """Along which the scale or the zero point varies, of a tensor of `rank`."""
    shape = np.broadcast_shapes(grid.scale.shape, grid.zero.shape)
    return [rank - len(shape) + d for d, n in enumerate(shape) if n > 1]


def emit_constant(builder: GraphBuilder, array: Array, grid: RealGrid, axis: int) -> Value:
    """Weights: dequantize of int8."""
    levels = np.clip(grid.round_array(array.astype(np.float32) / grid.scale + grid.zero), grid.low, grid.high) - grid.shift
    held = builder.constant(np.broadcast_to(levels, array.shape).astype(np.int8), builder.fresh(f"{builder.source}.levels"))
    scale, zero = grid.scale.ravel(), grid.zero.ravel() - grid.shift
    zero = zero[:1] if np.ptp(zero) == 0 else zero
    return builder.emit(
        "dequantize",
        [held],
        scale=float(scale[0]) if scale.size == 1 else tuple(map(float, scale)),
        zero_point=int(zero[0]) if zero.size == 1 else tuple(map(int, zero)),
        axis=axis,
    )


def emit_levels(builder: GraphBuilder, x: Value, grid: RealGrid) -> Value:
    """Activations: quantize, a clip of levels where there are fewer than 256, dequantize."""
    scale, zero = float(grid.scale.ravel()[0]), int(grid.zero.ravel()[0]) - grid.shift
    low, high = grid.low - grid.shift, grid.high - grid.shift
    levels = builder.emit("quantize", [x], suffix="quantize", scale=scale, zero_point=zero)
    if (low, high) != (-128, 127):
        levels = builder.emit("clip", [levels], suffix="bounds", low=float(low), high=float(high))
    return builder.emit("dequantize", [levels], scale=scale, zero_point=zero)


def by_arithmetic(builder: GraphBuilder, x: Value, grid: RealGrid) -> Value:
    """scale · (clip(round(x / scale + zero)) - zero) in floats."""
    scale, zero = builder.constant(grid.scale), builder.constant(grid.zero)
    steps = builder.emit("div", [builder.converted(x, "float32"), scale], suffix="steps")
    shifted = builder.emit("add", [steps, zero], suffix="shifted") if grid.zero.any() else steps
    rounded = builder.emit(grid.rounding, [shifted], suffix="rounded")
    bounded = builder.emit("clip", [rounded], suffix="bounded", low=float(grid.low), high=float(grid.high))
    centred = builder.emit("sub", [bounded, zero], suffix="centred") if grid.zero.any() else bounded
    return builder.emit("mul", [centred, scale])
