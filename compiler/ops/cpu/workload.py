"""What a CPU kernel is to compute, as a value: groups of different networks that are equal but for names and constants' values
share kernels and configurations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from vdla.compiler.graph.fuse import FusionGroup
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.registry import OPERATORS, with_defaults

TypeOf = Callable[[str], TensorType]
NAME_LENGTH = 60


@dataclass(frozen=True)
class Member:
    """One node of a workload: what its operator's definition is made from."""

    node: Node
    types: Types
    attributes: Attributes


@dataclass(frozen=True)
class Workload:
    """A fused group over tensors t0, t1, … in order of appearance.

    operators: of each node its name, attributes, inputs and outputs. types: of t0, t1, … fixed: the tensors whose values will
    not change between calls. group: the nodes themselves; it says nothing that `operators` does not.
    """

    operators: tuple[tuple[Any, ...], ...]
    types: tuple[TensorType, ...]
    fixed: frozenset[str]
    group: FusionGroup = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """The kernel's: its operators' in order."""
        return "_".join(node.op for node in self.group.nodes)[:NAME_LENGTH]

    @cached_property
    def members(self) -> tuple[Member, ...]:
        """Raises `ModelError` for attributes an operator does not have."""
        return tuple(self._member(node) for node in self.group.nodes)

    @property
    def anchor(self) -> Member:
        """The node whose kind of kernel it is."""
        return next(m for m in self.members if m.node is self.group.anchor)

    def type_of(self, tensor: str) -> TensorType:
        return self.types[int(tensor[1:])]

    @property
    def outputs(self) -> tuple[TensorType, ...]:
        return tuple(map(self.type_of, self.group.outputs))

    @property
    def output(self) -> TensorType:
        """The only one, or the last."""
        return self.outputs[-1]

    def _member(self, node: Node) -> Member:
        attributes = with_defaults(node.op, node.attributes) if node.op in OPERATORS else dict(node.attributes)
        return Member(node, tuple(self.type_of(name) if name else None for name in node.inputs), attributes)


def numbered(group: FusionGroup) -> dict[str, str]:
    """The group's tensors in order of appearance → t0, t1, …"""
    names = dict.fromkeys(name for node in group.nodes for name in (*node.inputs, *node.outputs) if name)
    return {name: f"t{k}" for k, name in enumerate(names)}


def workload_of(group: FusionGroup, type_of: TypeOf, fixed: Collection[str] = ()) -> Workload:
    """What `group` computes; `fixed` are tensors whose values will not change between calls."""
    numbers = numbered(group)
    nodes = tuple(_renamed(node, numbers) for node in group.nodes)
    operators = tuple((node.op, frozen(node.attributes), node.inputs, node.outputs) for node in nodes)
    constant = frozenset(numbers[name] for name in group.inputs if name in fixed)
    return Workload(operators, tuple(type_of(name) for name in numbers), constant, FusionGroup(nodes))


def _renamed(node: Node, numbers: Mapping[str, str]) -> Node:
    inputs, outputs = (tuple(numbers[name] if name else "" for name in names) for names in (node.inputs, node.outputs))
    return replace(node, name=outputs[0], inputs=inputs, outputs=outputs)


def frozen(value: Any) -> Any:
    """A hashable stand-in for attribute values."""
    if isinstance(value, Mapping):
        return tuple(sorted((k, frozen(v)) for k, v in value.items()))
    if isinstance(value, Graph):  # the body of a scan, which has no constants
        nodes = tuple((node.op, frozen(node.attributes), node.inputs, node.outputs) for node in value.nodes)
        return (value.inputs, value.outputs, nodes, tuple(sorted(value.tensors.items())))
    if isinstance(value, np.ndarray):
        return (value.shape, str(value.dtype), value.tobytes())
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value
