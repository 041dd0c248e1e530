"""The graph IR: a whole network as immutable nodes over named tensors. Layout NCHW, as ONNX has it.

A graph is in one of two dialects, or a mixture: float operators, and quantised ones (names beginning with `q`) whose
arithmetic is integer and exact (see vdla.compiler.operators.quantised). Passes are pure functions Graph → Graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.element_types import ELEMENT_TYPES, numpy_dtype


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype: a name of `vdla.element_types.ELEMENT_TYPES`, never "bipolar"."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Of an array of the host."""
        return self.elements * ELEMENT_TYPES[self.dtype].item_bytes

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of arrays that hold the tensor."""
        return numpy_dtype(self.dtype)


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `op` names an entry of `registry.OPERATORS`; an absent optional input is ""."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""  # the model's own name(s) for what this node computes, for messages and tables


@dataclass(frozen=True)
class Graph:
    """nodes are in topological order; `tensors` has the type of every tensor, constants included."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, TensorType]
    constants: Mapping[str, np.ndarray]

    def type_of(self, tensor: str) -> TensorType:
        return self.tensors[tensor]

    def producer(self) -> dict[str, Node]:
        """Tensor → the node that computes it."""
        return {out: node for node in self.nodes for out in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """Tensor → the nodes that read it, in order."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return users

    def with_nodes(
        self,
        nodes: Iterable[Node],
        tensors: Mapping[str, TensorType] | None = None,
        constants: Mapping[str, np.ndarray] | None = None,
    ) -> Graph:
        """A graph with other nodes; new tensors and constants are added, unused ones dropped."""
        nodes = tuple(nodes)
        all_tensors = {**self.tensors, **(tensors or {})}
        all_constants = {**self.constants, **(constants or {})}
        used = {name for node in nodes for name in (*node.inputs, *node.outputs)} | set(self.inputs) | set(self.outputs)
        kept = {k: v for k, v in all_constants.items() if k in used}
        for name, value in kept.items():
            all_tensors.setdefault(name, TensorType(value.shape, str(value.dtype)))
        return replace(self, nodes=nodes, tensors={k: v for k, v in all_tensors.items() if k in used}, constants=kept)
