"""Growing a Graph while a model is read: names, types and constants kept in step, what is known evaluated at once.

`emit` is the one way to add an operator. It evaluates the operator where all inputs are constants, computes in float32 what an
operator does not do in a narrow float, and brings uint8 levels into the form that the operator takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from vdla.compiler.frontend.values import Value
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.names import Names
from vdla.compiler.operators.operator import Operator
from vdla.compiler.operators.registry import OPERATORS, infer_types, operator_of, with_defaults
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

MAX_ELEMENTS = 1 << 31
MAX_RANK = 32  # what NumPy broadcasts
"""A larger tensor is a mistake or a damaged file; nothing here could run it."""
MAX_FOLDED = 1 << 29
"""Bytes of a constant that is computed, in a model whose own weights are fewer: a damaged file of a few bytes must not fill the
memory, and the largest that exporters leave to be computed (a dense layer of VGG) has 4.1 · 10⁸."""
UNFOLDED = ("dequantize",)
"""dequantize(constant) is how quantised models hold weights, and the quantiser looks for it."""
NARROW_FLOATS = tuple(name for name, t in ELEMENT_TYPES.items() if t.is_float and t.bits < 32)


def check_size(shape: tuple[int, ...], what: str, where: str = "") -> None:
    """In Python's integers, which do not overflow. Raises `ModelError`."""
    if len(shape) > MAX_RANK:
        raise ModelError("a tensor of too many dimensions", where=where, found=len(shape), expected=f"at most {MAX_RANK}")
    if prod(shape) > MAX_ELEMENTS or min(shape, default=0) < 0:
        raise ModelError(what, where=where, found=shape, expected=f"at most {MAX_ELEMENTS} elements")


class UnknownLength(ModelError):
    """An operator would count places of a tensor that may not be there."""

    def __init__(self, value: Value) -> None:
        super().__init__("a tensor whose length is data", found=value.name)
        self.value = value


@dataclass
class GraphBuilder:
    """Names handed out are provisional until `bind` gives them the model's own."""

    names: Names  # every tensor name of the model, so that none is handed out twice
    outputs: frozenset[str] = frozenset()  # the model's
    source: str = ""  # the ONNX node being imported
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    final_name: dict[str, str] = field(default_factory=dict)  # provisional name → the model's
    node_names: Names = field(default_factory=lambda: Names(separator="."))
    output_names: list[str] = field(default_factory=list)
    stored: int = 0  # bytes of the model's own weights
    folded: int = 0  # bytes of constants computed so far
    takes_bounded: bool = False

    def input(self, name: str, tensor_type: TensorType) -> Value:
        """An input of the graph. One without elements is known: there is nothing to know."""
        self.inputs.append(name)
        self.tensors[name] = tensor_type
        empty = np.empty(tensor_type.shape, tensor_type.numpy_dtype) if 0 in tensor_type.shape else None
        return Value(name, tensor_type, empty)

    def constant(self, array: np.ndarray, name: str = "") -> Value:
        """An array as a value; it enters the graph when a node reads it, not under a name that an output will have."""
        if not name or name in self.outputs:
            name = self.fresh(f"{name or self.source}.constant")
        return Value(name, TensorType(array.shape, str(array.dtype)), array)

    def scalar(self, number: float, dtype: str) -> Value:
        """One number as a constant of shape ()."""
        return self.constant(np.array(number, TensorType((), dtype).numpy_dtype))

    def emit(self, op: str, inputs: Sequence[Value | None], *, suffix: str = "", **attributes: Any) -> Value:
        """What an operator of one output computes; `suffix` tells a helper node from the main one.

        Raises `ModelError` on inputs that do not fit `op`.
        """
        (output,) = self.emit_all(op, inputs, suffix=suffix, **attributes)
        return output

    def emit_all(self, op: str, inputs: Sequence[Value | None], *, suffix: str = "", **attributes: Any) -> tuple[Value, ...]:
        """All outputs of an operator; further as `emit`."""
        operator = operator_of(op)
        read = list(inputs)
        if not self.takes_bounded and (bounded := next((v for v in read if v is not None and v.length is not None), None)):
            raise UnknownLength(bounded)
        while read and read[-1] is None:
            read.pop()
        read, unsigned = self.levelled(operator, read)
        narrow = next((v.dtype for i, v in enumerate(read) if v is not None and promoted(operator, i, v)), "")
        if narrow:
            read = [self.converted(v, "float32") if v and promoted(operator, i, v) else v for i, v in enumerate(read)]
        outputs = self.outputs_of(op, read, suffix, with_defaults(op, attributes))
        if narrow:
            outputs = tuple(self.converted(v, narrow) if v.dtype == "float32" else v for v in outputs)
        return tuple(replace(v, unsigned=True) for v in outputs) if unsigned else outputs

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Within, operators take tensors of unknown length: their caller knows what becomes of it."""
        before, self.takes_bounded = self.takes_bounded, True
        try:
            yield
        finally:
            self.takes_bounded = before

    def outputs_of(
        self, op: str, read: Sequence[Value | None], suffix: str, attributes: Mapping[str, Any]
    ) -> tuple[Value, ...]:
        """The outputs of an operator on inputs that it takes as they are: evaluated, or those of a new node."""
        results = infer_types(op, tuple(None if v is None else v.type for v in read), attributes)
        for result in results:
            check_size(result.shape, f"{op} gives a tensor of impossible size")
        known = all(v is None or v.constant is not None for v in read) or all(0 in result.shape for result in results)
        if known and op not in UNFOLDED:
            return self.evaluated(op, read, results, attributes, suffix)
        if any(0 in t.shape for t in (*results, *(v.type for v in read if v is not None))):
            raise ModelError(f"{op} of a tensor without elements", found=[v.shape for v in read if v is not None])
        return self.append(op, read, results, attributes, suffix)

    def evaluated(
        self,
        op: str,
        read: Sequence[Value | None],
        results: Sequence[TensorType],
        attributes: Mapping[str, Any],
        suffix: str,
    ) -> tuple[Value, ...]:
        """The outputs as constants. Raises `ModelError` when they would be too large."""
        if all(0 in result.shape for result in results):
            arrays: tuple[np.ndarray, ...] = tuple(np.empty(t.shape, t.numpy_dtype) for t in results)
        else:
            self.check_foldable(results)
            found = OPERATORS[op].kernel([None if v is None else v.constant for v in read], attributes)
            arrays = tuple(map(np.asarray, found if isinstance(found, tuple) else (found,)))
        for array, result in zip(arrays, results, strict=True):
            assert TensorType(array.shape, str(array.dtype)) == result, f"{op}: {array.dtype}{array.shape} for {result}"
        return tuple(self.constant(array, self.fresh(f"{self.source}.{suffix or op}")) for array in arrays)

    def check_foldable(self, types: Sequence[TensorType]) -> None:
        """Whether constants of these types may be computed, after all that was. Raises `ModelError`."""
        largest, in_all = max(MAX_FOLDED, self.stored), 2 * MAX_FOLDED + 4 * self.stored
        for tensor in types:
            check_size(tensor.shape, "a constant of impossible size")
            if tensor.bytes > largest:
                raise ModelError("a constant of impossible size", found=tensor.shape, expected=f"at most {largest} bytes")
        self.folded += sum(tensor.bytes for tensor in types)
        if self.folded > in_all:
            expected = f"at most {in_all} bytes, by the size of the model's weights"
            raise ModelError("constants of impossible size are computed", found=self.folded, expected=expected)

    def append(
        self,
        op: str,
        read: Sequence[Value | None],
        results: Sequence[TensorType],
        attributes: Mapping[str, Any],
        suffix: str,
    ) -> tuple[Value, ...]:
        """A new node's outputs."""
        operands = [None if v is None else self.as_operand(v) for v in read]
        outputs = tuple(self.fresh(f"{self.source}.{suffix or op}") for _ in results)
        self.tensors.update(zip(outputs, results, strict=True))
        names = tuple("" if v is None else v.name for v in operands)
        self.nodes.append(Node(self.node_name(suffix), op, names, outputs, MappingProxyType(dict(attributes)), self.source))
        static = all(v is None or v.static or v.constant is not None for v in read)
        return tuple(Value(o, t, static=static) for o, t in zip(outputs, results, strict=True))

    def levelled(self, operator: Operator, read: Sequence[Value | None]) -> tuple[list[Value | None], bool]:
        """Inputs with uint8 as the operator wants it, and whether its outputs are levels of uint8.

        What commutes with dequantisation takes levels, if any is one already or it has no other form; all else true uint8.
        """
        bytes_ = [v for v in read if v is not None and v.dtype == "uint8"]
        direct = all("uint8" in operator.input_at(i).dtypes for i, v in enumerate(read) if v is not None and v.dtype == "uint8")
        as_levels = operator.commutes and bool(bytes_) and (not direct or any(v.unsigned for v in bytes_))
        if as_levels and any(v is not None and v.dtype == "int8" for v in read):
            raise ModelError(f"{operator.name} mixes int8 and uint8 tensors")
        change = self.levels if as_levels else self.true_uint8
        return [change(v) if v is not None and v.dtype == "uint8" else v for v in read], as_levels

    def levels(self, value: Value) -> Value:
        """uint8 as int8, each element less 128."""
        if value.unsigned:
            return value
        if value.constant is not None:
            shifted = (value.constant.astype(np.int16) - 128).astype(np.int8)
            return replace(self.constant(shifted, self.fresh(f"{value.name}.int8")), unsigned=True)
        wide = self.emit("add", [self.converted(value, "int32"), self.scalar(-128, "int32")], suffix="levels")
        return replace(self.converted(wide, "int8"), unsigned=True)

    def true_uint8(self, value: Value) -> Value:
        """Levels as the model's own uint8."""
        if not value.unsigned:
            return value
        signed = replace(value, unsigned=False)
        wide = self.emit("add", [self.converted(signed, "int32"), self.scalar(128, "int32")], suffix="unsigned")
        return self.converted(wide, "uint8")

    def converted(self, value: Value, dtype: str) -> Value:
        """`value` in another dtype."""
        return value if value.dtype == dtype else self.emit("cast", [value], suffix="cast", to=dtype)

    def as_operand(self, value: Value) -> Value:
        """Enter a constant into the graph."""
        if value.constant is not None:
            self.constants[value.name] = np.ascontiguousarray(value.constant).reshape(value.shape)
            self.tensors[value.name] = value.type
        return value

    def bind(self, name: str, value: Value) -> None:
        """The model calls this value `name`; the first name it gives wins."""
        if value.constant is None and value.name not in self.inputs:
            self.final_name.setdefault(value.name, name)

    def output(self, name: str, value: Value) -> None:
        """Make `value` the graph's output `name`: a constant as one, an input or an output already by a copy."""
        levels, value = value, self.true_uint8(value)
        if value is not levels and self.final_name.get(levels.name) == name:
            self.final_name[levels.name] = self.fresh(f"{name}.levels")
        given = self.final_name.get(value.name)
        if value.constant is not None:
            self.as_operand(replace(value, name=name))
        elif given is not None and given not in self.output_names:
            self.final_name[value.name] = name
        elif value.name != name or name in self.output_names:
            self.source = name
            copy = self.emit("reshape", [value], shape=value.shape)
            self.final_name[copy.name] = name
        self.output_names.append(name)

    def fresh(self, base: str) -> str:
        return self.names.fresh(base)

    def node_name(self, suffix: str) -> str:
        return self.node_names.fresh(f"{self.source}.{suffix}" if suffix else self.source)

    def inputs_behind(self, value: Value) -> list[str]:
        """The graph's inputs that a tensor is computed from."""
        producer = {output: node for node in self.nodes for output in node.outputs}
        pending, seen = [value.name], set()
        while pending:
            name = pending.pop()
            if name not in seen:
                seen.add(name)
                pending += producer[name].inputs if name in producer else ()
        return [name for name in self.inputs if name in seen]

    def graph(self, name: str) -> Graph:
        """The finished graph, in the model's names."""

        def final(tensor: str) -> str:
            return self.final_name.get(tensor, tensor)

        nodes = tuple(replace(n, inputs=tuple(map(final, n.inputs)), outputs=tuple(map(final, n.outputs))) for n in self.nodes)
        tensors: Mapping[str, TensorType] = {final(k): v for k, v in self.tensors.items()}
        return Graph(name, tuple(self.inputs), tuple(self.output_names), nodes, tensors, dict(self.constants))


def promoted(operator: Operator, index: int, value: Value) -> bool:
    """Whether an input is of a narrow float that the operator computes in float32."""
    dtypes = operator.input_at(index).dtypes
    return value.dtype in NARROW_FLOATS and value.dtype not in dtypes and "float32" in dtypes
