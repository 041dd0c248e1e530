"""A rigorous bound, for every element of every tensor, of how far a quantised graph may be from its float graph.

For ŷ = Σ x̂·ŵ + b̂ against y = Σ x·w + b:  |ŷ - y| ≤ Σ |x̂ - x|·|w| + Σ |x̂|·|ŵ - w| + |b̂ - b|, and so on for each operator; then
half an output level for rounding, and 2⁻¹⁸ of the value for the fixed-point multipliers. Clipping to a range that holds the
true value never adds to an error, so the ranges must come from the very inputs that are compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.reference import run_node
from vdla.compiler.quantise.quantise import Quantised

MULTIPLIER_ERROR = 2.0**-18


class ErrorBound:
    """Walks the quantised graph; `bound` maps a float tensor to an array of error bounds."""

    def __init__(self, graph: Graph, quantised: Quantised, exact: Mapping[str, np.ndarray]) -> None:
        self.graph, self.quantised = graph, quantised
        self.exact = {**graph.constants, **exact}
        self.float_nodes = {node.name: node for node in graph.nodes}
        self.bound: dict[str, np.ndarray] = {}
        for node in quantised.graph.nodes:
            if node.outputs[0] in quantised.int8:
                self._visit(node)

    def _visit(self, node: Node) -> None:
        tensor, affine = self.quantised.int8[node.outputs[0]]
        error = self._before_rounding(node, tensor)
        if node.op not in ("qmax_pool2d", "reshape", "transpose", "pad", "concat"):
            error = (
                error
                + affine.scale / 2
                + MULTIPLIER_ERROR * (np.abs(self.exact[tensor]) + error)
                + 1e-6 * np.abs(self.exact[tensor]).max()
            )
        self.bound[tensor] = error

    def _before_rounding(self, node: Node, tensor: str) -> np.ndarray:
        if node.op == "quantize":
            return np.zeros(self.graph.tensors[tensor].shape)
        original = self.float_nodes[node.name]
        if node.op in ("qconv2d", "qdense"):
            return self._linear(node, original)
        if node.op in ("qadd", "qsub", "qmax", "qmin"):  # |max(x̂, ŷ) - max(x, y)| ≤ max(|x̂ - x|, |ŷ - y|)
            x, y = (self._of(name) for name in original.inputs)
            both = x + y if node.op in ("qadd", "qsub") else np.maximum(x, y)
            return both + self.quantised.int8[node.outputs[0]][1].scale * 2.0**-8
        if node.op == "qmax_pool2d":  # |max x̂ - max x| ≤ max |x̂ - x|
            return run_node(original, {original.inputs[0]: self._of(original.inputs[0])})[original.outputs[0]]
        if node.op == "concat":
            half = self.quantised.int8[node.outputs[0]][1].scale * 0.51  # where an input had to be rescaled
            parts = [self._of(name) + half for name in original.inputs]
            return np.concatenate(parts, axis=original.attributes["axis"])
        return (
            run_node(original, {original.inputs[0]: self._of(original.inputs[0])})[original.outputs[0]]
            if original.op not in ("relu", "clip")
            else self._of(original.inputs[0])
        )

    def _of(self, name: str) -> np.ndarray:
        return self.bound[name]

    def _linear(self, node: Node, original: Node) -> np.ndarray:
        x, w = self.exact[original.inputs[0]], self.exact[original.inputs[1]]
        x_error = self._of(original.inputs[0])
        levels = self.quantised.graph.constants[f"{node.name}.weight"].astype(np.float64)
        unit = self._weight_scale(levels, w)
        along = (-1,) + (1,) * (w.ndim - 1)
        w_error = np.abs(levels * unit.reshape(along) - w)

        def run(data: np.ndarray, weights: np.ndarray) -> np.ndarray:
            return run_node(Node("", original.op, ("x", "w"), ("y",), original.attributes), {"x": data, "w": weights})["y"]

        x_scale = next(affine.scale for tensor, affine in self.quantised.int8.values() if tensor == original.inputs[0])
        error = run(x_error, np.abs(w)) + run(np.abs(x) + x_error, w_error)
        shape = (1, -1) + (1,) * (error.ndim - 2)
        error = error + (0.5 * unit * x_scale).reshape(shape)
        if len(node.inputs) > 4:
            add = next(n for n in self.graph.nodes if n.op == "add" and original.outputs[0] in n.inputs)
            residual = next(name for name in add.inputs if name != original.outputs[0])
            error = (
                error + self._of(residual) + MULTIPLIER_ERROR * np.abs(self.exact[residual]) + (unit * x_scale).reshape(shape)
            )
        return error

    @staticmethod
    def _weight_scale(levels: np.ndarray, w: np.ndarray) -> np.ndarray:
        """The real size of one weight level for each channel: least squares, exact up to the weights' own rounding."""
        flat, real = levels.reshape(len(levels), -1), w.reshape(len(w), -1).astype(np.float64)
        return (flat * real).sum(axis=1) / np.maximum((flat * flat).sum(axis=1), 1)
