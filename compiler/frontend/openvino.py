"""OpenVINO's FakeQuantize, which NNCF exports."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.fake_quantisation import RealGrid, emit_on_grid
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

ON_GRID = 2.0**-10
"""By how much of a level 0 may lie beside one: float32's rounding of the limits."""


def fake_quantize(builder: GraphBuilder, node: OnnxNode) -> Value:
    """x clipped to [input_low, input_high], rounded to one of `levels` even steps, and these spread over the output's limits.

    On a grid that holds 0 where both limits are the same, as all that NNCF writes; else in floats.
    """
    x, levels = node.input(0), node.int_("levels", 256)
    low, high, out_low, out_high = (limit(node, index) for index in range(1, 5))
    node.require("auto_broadcast", node.string("auto_broadcast", "numpy"), "numpy")
    if levels < 2:
        raise ModelError(f"levels of {node.op}", found=levels, expected="2 or more")
    if (bad := (high <= low) | (out_high <= out_low)).any():
        place = int(np.flatnonzero(np.broadcast_to(bad, bad.shape).ravel())[0])
        found = f"{node.input(1).name}, channel {place}: {np.broadcast_to(low, bad.shape).ravel()[place]} and above"
        raise ModelError(f"limits of {node.op} hold nothing between them", found=found, expected="low below high")
    scale = ((out_high - out_low) / (levels - 1)).astype(np.float32)
    zero = -out_low / ((out_high - out_low) / (levels - 1))
    same = np.array_equal(low, out_low) and np.array_equal(high, out_high)
    if same and (np.abs(zero - np.rint(zero)) <= ON_GRID).all():
        return emit_on_grid(builder, x, RealGrid(scale, np.rint(zero).astype(np.float32), 0, levels - 1))
    return in_floats(builder, x, levels, low, high, out_low, out_high)


def limit(node: OnnxNode, index: int) -> np.ndarray:
    array = node.array(index, "a limit").astype(np.float64)
    if not np.isfinite(array).all():
        place = int(np.flatnonzero(~np.isfinite(array.ravel()))[0])
        found = f"{node.input(index).name}, channel {place}: {array.ravel()[place]}"
        raise ModelError(f"a limit of {node.op} is not finite", found=found)
    return array


def in_floats(
    builder: GraphBuilder, x: Value, levels: int, low: np.ndarray, high: np.ndarray, out_low: np.ndarray, out_high: np.ndarray
) -> Value:
    """round((clip(x) - low) / (high - low) · (levels - 1)) / (levels - 1) · (out_high - out_low) + out_low"""

    def constant(array: np.ndarray) -> Value:
        return builder.constant(array.astype(np.float32))

    above = builder.emit("max", [x, constant(low)], suffix="above")
    inside = builder.emit("min", [above, constant(high)], suffix="inside")
    offset = builder.emit("sub", [inside, constant(low)], suffix="offset")
    steps = builder.emit("div", [offset, constant((high - low) / (levels - 1))], suffix="steps")
    rounded = builder.emit("round", [steps], suffix="rounded")
    spread = builder.emit("mul", [rounded, constant((out_high - out_low) / (levels - 1))], suffix="spread")
    return builder.emit("add", [spread, constant(out_low)])


IMPORTERS: dict[str, Importer] = {"FakeQuantize": fake_quantize}
