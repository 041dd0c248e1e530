"""Small float graphs for tests, built operator by operator."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults


class GraphBuilder:
    """Methods append an operator and return its output's name; types are inferred. Weights come from `generator`."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.tensors: dict[str, TensorType] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> str:
        self.tensors[name] = TensorType(shape, dtype)
        self.inputs.append(name)
        return name

    def constant(self, value: Any, dtype: str = "float32") -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value, dtype)
        self.tensors[name] = TensorType(self.constants[name].shape, dtype)
        return name

    def op(self, op: str, *inputs: str, **attributes: Any) -> str:
        merged = with_defaults(op, attributes)
        count = sum(node.op == op for node in self.nodes)
        name = f"{op}{count}"
        self.tensors[f"{name}.out"] = infer_type(op, tuple(self.tensors[i] if i else None for i in inputs), merged)
        self.nodes.append(Node(name, op, inputs, (f"{name}.out",), MappingProxyType(merged), name))
        return f"{name}.out"

    def split(self, x: str, axis: int, *sizes: int) -> list[str]:
        """The parts, in order."""
        name, shape = f"split{sum(node.op == 'split' for node in self.nodes)}", self.tensors[x].shape
        parts = [f"{name}.out{i}" for i in range(len(sizes))]
        for part, size in zip(parts, sizes, strict=True):
            self.tensors[part] = TensorType((*shape[:axis], size, *shape[axis + 1 :]), self.tensors[x].dtype)
        attributes = MappingProxyType({"axis": axis, "sizes": sizes})
        self.nodes.append(Node(name, "split", (x,), tuple(parts), attributes, name))
        return parts

    def conv2d(self, x: str, channels: int, kernel: int, bias: bool = True, **attributes: Any) -> str:
        """Kaiming weights, so that activations keep their size; padded to keep the image's unless said otherwise."""
        fan_in = self.tensors[x].shape[1] // attributes.get("groups", 1)
        spread = np.sqrt(2 / (fan_in * kernel * kernel))
        w = self.constant(self.generator.standard_normal((channels, fan_in, kernel, kernel)) * spread)
        operands = [x, w, self.constant(self.generator.standard_normal(channels) * 0.2)] if bias else [x, w]
        pad = attributes.get("dilations", (1, 1))[0] * (kernel - 1) // 2
        return self.op("conv2d", *operands, **{"pads": (pad,) * 4, **attributes})

    def dense(self, x: str, features: int) -> str:
        fan_in = self.tensors[x].shape[1]
        w = self.constant(self.generator.standard_normal((features, fan_in)) / np.sqrt(fan_in))
        return self.op("dense", x, w, self.constant(self.generator.standard_normal(features) * 0.2))

    def graph(self, *outputs: str) -> Graph:
        return Graph("test", tuple(self.inputs), outputs, tuple(self.nodes), self.tensors, self.constants)

    def sample(self, count: int = 1) -> list[dict[str, np.ndarray]]:
        shapes = {name: self.tensors[name].shape for name in self.inputs}
        return [
            {name: self.generator.standard_normal(shape, np.float32) for name, shape in shapes.items()} for _ in range(count)
        ]
