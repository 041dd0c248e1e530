"""Small graphs built operator by operator, and what every pass on them must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.operators.registry import infer_types


class Net:
    """A graph under construction; `op` returns the name of what a node computes."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.tensors: dict[str, TensorType] = {}
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []

    def input(self, *shape: int, dtype: str = "float32") -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        self.tensors[name] = TensorType(shape, dtype)
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        name, array = f"c{len(self.constants)}", np.array(value, dtype, order="C")
        self.constants[name], self.tensors[name] = array, TensorType(array.shape, dtype)
        return name

    def normal(self, *shape: int, fan_in: int = 1) -> str:
        return self.constant(self.random.standard_normal(shape) / np.sqrt(fan_in))

    def levels(self, *shape: int, axis: int | None = None) -> str:
        """Weights behind a dequantize, with a scale for each index of `axis` or one for all."""
        stored = self.constant(self.random.integers(-127, 128, shape), "int8")
        if axis is None:
            return self.op("dequantize", stored, scale=0.007)
        return self.op("dequantize", stored, scale=tuple(self.random.uniform(0.002, 0.01, shape[axis])), axis=axis)

    def ops(self, op: str, *inputs: str, **attributes: Any) -> tuple[str, ...]:
        types = infer_types(op, tuple(self.tensors[i] if i else None for i in inputs), attributes)
        base = f"t{len(self.nodes)}"
        names = (base,) if len(types) == 1 else tuple(f"{base}.{k}" for k in range(len(types)))
        self.tensors.update(zip(names, types, strict=True))
        self.nodes.append(Node(f"{op}{len(self.nodes)}", op, inputs, names, attributes, f"{base}_source"))
        return names

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        (name,) = self.ops(op, *inputs, **attributes)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name].shape

    def graph(self, *outputs: str) -> Graph:
        """With every tensor nobody reads as an output where none are named."""
        read = {name for node in self.nodes for name in node.inputs}
        ends = [name for n in self.nodes for name in n.outputs if name not in read]
        return Graph("net", tuple(self.inputs), outputs or tuple(ends), tuple(self.nodes), self.tensors, self.constants)


def samples(graph: Graph, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for name in graph.inputs:
        t = graph.tensors[name]
        values = rng.standard_normal(t.shape) if t.dtype == "float32" else rng.integers(-128, 128, t.shape)
        inputs[name] = values.astype(t.dtype)
    return inputs


def check_pass(function: Callable[[Graph], Graph], graph: Graph, message: str = "") -> Graph:
    """The pass leaves a valid graph of the same inputs and outputs, and what NumPy computes for the graph before."""
    verify_graph(graph)
    after = function(graph)
    verify_graph(after, "the pass")
    assert (after.inputs, after.outputs) == (graph.inputs, graph.outputs), message
    assert [after.tensors[n] for n in after.outputs] == [graph.tensors[n] for n in graph.outputs], message
    inputs = samples(graph)
    expected, found = run_reference(graph, inputs), run_reference(after, inputs)
    for name in graph.outputs:
        size = max(float(np.abs(expected[name].astype(np.float64)).max(initial=0)), 1e-6)
        error = np.abs(found[name].astype(np.float64) - expected[name]).max(initial=0) / size
        assert error < 2e-5 if expected[name].dtype.kind == "f" else error == 0, f"{message}: {name}: {error}"
    return after


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def macs(graph: Graph) -> dict[str, int]:
    """Products of every layer with weights or of two tensors, by operator."""
    found: dict[str, int] = {}
    for node in graph.nodes:
        if node.op in ("conv2d", "dense", "matmul", "conv"):
            x, w, y = (graph.tensors[name].shape for name in (*node.inputs[:2], node.outputs[0]))
            each = x[-1] if node.op == "matmul" else int(np.prod(w[1:]))
            found[node.op] = found.get(node.op, 0) + int(np.prod(y)) * each
    return found
