"""Growing a Graph while a model is read: names, types and constants kept in step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.names import unused
from vdla.compiler.operators.registry import OPERATORS, infer_types, with_defaults
from vdla.errors import ModelError

MAX_ELEMENTS = 1 << 31  # a larger tensor is a mistake or a damaged file; nothing here could run it
MAX_FOLDED = 1 << 26  # elements; a damaged model must not fill the memory


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What a name of the model stands for: a tensor of the graph, or an array known at import."""

    name: str
    type: TensorType
    constant: np.ndarray | None = None
    unsigned: bool = False  # uint8 in the model, held as int8: each value less 128
    static: bool = False  # computed from constants alone (dequantised weights)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> str:
        return self.type.dtype


def check_size(shape: tuple[int, ...], what: str, where: str = "") -> None:
    """In Python's integers, which do not overflow. Raises `ModelError`."""
    if prod(shape) > MAX_ELEMENTS or min(shape, default=1) < 1:
        raise ModelError(what, where=where, found=shape, expected=f"1 to {MAX_ELEMENTS} elements")


def limited(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a constant that may be computed. Raises `ModelError`."""
    if prod(shape) > MAX_FOLDED or min(shape, default=0) < 0:
        raise ModelError("a constant of impossible size", found=shape, expected=f"at most {MAX_FOLDED} elements")
    return shape


@dataclass
class GraphBuilder:
    """Names handed out are provisional until `call` binds them to the model's own."""

    taken: set[str]  # every tensor name of the model, so that none is handed out twice
    outputs: frozenset[str] = frozenset()  # the model's
    source: str = ""  # the ONNX node being imported
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    final_name: dict[str, str] = field(default_factory=dict)  # provisional name → the model's
    node_names: set[str] = field(default_factory=set)
    output_names: list[str] = field(default_factory=list)

    def input(self, name: str, tensor_type: TensorType) -> Value:
        self.inputs.append(name)
        self.tensors[name] = tensor_type
        return Value(name, tensor_type)

    def constant(self, array: np.ndarray, name: str = "") -> Value:
        """An array as a value; it enters the graph when a node reads it, not under a name that an output will have."""
        if not name or name in self.outputs:
            name = self.fresh(f"{name or self.source}.constant")
        return Value(name, TensorType(array.shape, str(array.dtype)), array)

    def emit(self, op: str, inputs: Sequence[Value | None], *, suffix: str = "", **attributes: Any) -> Value:
        """Append a node of one output; `suffix` tells a helper node from the main one.

        Raises `ModelError` on inputs that do not fit `op`.
        """
        (output,) = self.emit_all(op, inputs, suffix=suffix, **attributes)
        return output

    def emit_all(self, op: str, inputs: Sequence[Value | None], *, suffix: str = "", **attributes: Any) -> tuple[Value, ...]:
        """Append a node, and return all its outputs; further as `emit`."""
        read = [None if v is None else self.as_operand(v) for v in inputs]
        while read and read[-1] is None:
            read.pop()
        merged = with_defaults(op, attributes)
        results = infer_types(op, tuple(None if v is None else v.type for v in read), merged)
        for result in results:
            check_size(result.shape, f"{op} gives a tensor of impossible size")
        unsigned = OPERATORS[op].commutes and self.same_sign(op, read)
        outputs = tuple(self.fresh(f"{self.source}.{suffix or op}") for _ in results)
        self.tensors.update(zip(outputs, results, strict=True))
        names = tuple("" if v is None else v.name for v in read)
        self.nodes.append(Node(self.node_name(suffix), op, names, outputs, MappingProxyType(merged), self.source))
        static = all(v is None or v.static or v.constant is not None for v in read)
        return tuple(Value(o, t, unsigned=unsigned, static=static) for o, t in zip(outputs, results, strict=True))

    def same_sign(self, op: str, read: Sequence[Value | None]) -> bool:
        signs = {v.unsigned for v in read if v is not None}
        if len(signs) > 1:
            raise ModelError(f"{op} mixes int8 and uint8 tensors")
        return signs.pop()

    def as_operand(self, value: Value) -> Value:
        """Enter a constant into the graph, uint8 as int8 less 128."""
        if value.constant is None:
            return value
        if value.dtype == "uint8":
            shifted = (value.constant.astype(np.int16) - 128).astype(np.int8)
            value = replace(self.constant(shifted, self.fresh(f"{value.name}.int8")), unsigned=True)
        assert value.constant is not None
        self.constants[value.name] = np.ascontiguousarray(value.constant).reshape(value.shape)
        self.tensors[value.name] = value.type
        return value

    def bind(self, name: str, value: Value) -> None:
        """The model calls this value `name`; the first name it gives wins."""
        if value.constant is None and value.name not in self.inputs:
            self.final_name.setdefault(value.name, name)

    def output(self, name: str, value: Value) -> None:
        """Make `value` the graph's output `name`, copying it when that name cannot simply be its own."""
        given = self.final_name.get(value.name)
        if value.constant is None and given is not None and given not in self.output_names:
            self.final_name[value.name] = name
        else:  # an input, a constant, or an output already: reshape to its own shape
            self.source = name
            copy = self.emit("reshape", [value], shape=value.shape)
            self.final_name[copy.name] = name
        self.output_names.append(name)

    def fresh(self, base: str) -> str:
        name = unused(base, self.taken, ".")
        self.taken.add(name)
        return name

    def node_name(self, suffix: str) -> str:
        name = unused(f"{self.source}.{suffix}" if suffix else self.source, self.node_names, ".")
        self.node_names.add(name)
        return name

    def graph(self, name: str) -> Graph:
        """The finished graph, in the model's names."""

        def final(tensor: str) -> str:
            return self.final_name.get(tensor, tensor)

        nodes = tuple(replace(n, inputs=tuple(map(final, n.inputs)), outputs=tuple(map(final, n.outputs))) for n in self.nodes)
        tensors: Mapping[str, TensorType] = {final(k): v for k, v in self.tensors.items()}
        return Graph(name, tuple(self.inputs), tuple(self.output_names), nodes, tensors, dict(self.constants))
