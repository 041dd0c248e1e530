"""QONNX's operators, which Brevitas and qkeras export: Quant and BipolarQuant. Trunc is refused."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.fake_quantisation import RealGrid, Rounding, emit_on_grid
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

ROUNDING: dict[str, tuple[str, Rounding]] = {
    "ROUND": ("round", np.rint),
    "HALF_EVEN": ("round", np.rint),
    "CEIL": ("ceil", np.ceil),
    "FLOOR": ("floor", np.floor),
}
MOST_BITS = 24
"""Beyond these float32 holds no level exactly."""


def quant(builder: GraphBuilder, node: OnnxNode) -> Value:
    """x on the grid scale · (level - zeropt) of `bitwidth` bits; narrow: one level fewer, where signed the lowest."""
    x = node.input(0)
    scale, zero = positive(node, 1, "scale"), node.array(2, "zeropt").astype(np.float32)
    bits = node.number(3, "bitwidth")
    mode = node.string("rounding_mode", "ROUND").upper()
    signed, narrow = node.int_("signed", 1) != 0, node.int_("narrow", 0) != 0
    if mode not in ROUNDING:
        raise ModelError(f"unsupported attribute rounding_mode of {node.op}", found=mode, expected=" or ".join(ROUNDING))
    if not 1 <= bits <= MOST_BITS or bits != int(bits):
        raise ModelError(f"bitwidth of {node.op}", found=bits, expected=f"a whole number from 1 to {MOST_BITS}")
    if not np.isfinite(zero).all() or (zero != np.rint(zero)).any():
        raise named("zeropt", node, 2, zero, ~np.isfinite(zero) | (zero != np.rint(zero)), "whole numbers")
    levels = 1 << int(bits)
    low, high = (-levels // 2, levels // 2 - 1) if signed else (0, levels - 1)
    low, high = (low + narrow, high) if signed else (low, high - narrow)
    return emit_on_grid(builder, x, RealGrid(scale, zero, low, high, *ROUNDING[mode]))


def bipolar_quant(builder: GraphBuilder, node: OnnxNode) -> Value:
    """scale where x ≥ 0, else -scale. Weights are levels of 1 and -1."""
    x, scale = node.input(0), positive(node, 1, "scale")
    if x.constant is not None and x.shape:
        grid = RealGrid(scale, np.zeros((), np.float32), -1, 1, "round", lambda v: np.where(v >= 0, 1, -1))
        return emit_on_grid(builder, x, grid)
    above = builder.emit("greater_or_equal", [x, builder.scalar(0, x.dtype)], suffix="above")
    values = [builder.constant(v.astype(np.float32)) for v in (scale, -scale)]
    return builder.emit("where", [above, *values])


def positive(node: OnnxNode, index: int, what: str) -> np.ndarray:
    """A constant input of float32, each of it finite and positive. Raises `ModelError` by channel."""
    array = node.array(index, what).astype(np.float32)
    bad = ~(np.isfinite(array) & (array > 0))
    if bad.any():
        raise named(what, node, index, array, bad, "finite and positive")
    return array


def named(what: str, node: OnnxNode, index: int, array: np.ndarray, bad: np.ndarray, expected: str) -> ModelError:
    """What of an input will not do: tensor, channel, value."""
    place = int(np.flatnonzero(bad.ravel())[0])
    channel = f", channel {place}" if array.size > 1 else ""
    found = f"{node.input(index, (str(array.dtype), 'float32')).name}{channel}: {float(array.ravel()[place])}"
    return ModelError(f"{what} of {node.op} will not do", found=found, expected=expected)


IMPORTERS: dict[str, Importer] = {"Quant": quant, "IntQuant": quant, "BipolarQuant": bipolar_quant}
