"""One ONNX node as the importers see it: typed access to inputs and attributes, every refusal with its reason."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from vdla.compiler.frontend.builder import NARROW_FLOATS, GraphBuilder
from vdla.compiler.frontend.values import Anything, Sequence, Value
from vdla.compiler.graph.graph import Graph, TensorType
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

FLOAT = ("float32", "float64")
"""Narrow floats are admitted with these: the builder computes in float32 for them."""
INTEGER = tuple(name for name, t in ELEMENT_TYPES.items() if t.is_integer)
ANY = tuple(name for name in ELEMENT_TYPES if name != "bipolar")
Kind = onnx.AttributeProto


class Scope(Protocol):
    """What a node's own graphs are read by, in the scope of the node (`reader.Reader`)."""

    def inline(self, graph: onnx.GraphProto, inputs: Several[Anything], path: str) -> tuple[Any, ...]: ...

    def call(self, function: onnx.FunctionProto, node: OnnxNode) -> tuple[Any, ...]: ...

    def body(self, graph: onnx.GraphProto, types: Several[TensorType], path: str) -> tuple[Graph, list[Value]]: ...


class UnknownValue(ModelError):
    """An input that must be known when compiling is computed from the model's `inputs`."""

    inputs: tuple[str, ...] = ()


@dataclass
class OnnxNode:
    """`inputs` holds None for an absent optional input; `outputs` the model's names, "" for those nobody wants.

    Attributes not asked for are refused by `refuse_unread`. reader: for what has a graph as an attribute.
    """

    proto: onnx.NodeProto
    opset: int
    name: str
    inputs: list[Anything]
    builder: GraphBuilder
    outputs: tuple[str, ...] = ()
    reader: Scope | None = None
    read: set[str] = field(default_factory=set)

    @property
    def op(self) -> str:
        return self.proto.op_type

    @property
    def output_count(self) -> int:
        return len(self.proto.output)

    def wanted(self, index: int) -> bool:
        """Whether anything reads that output."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int, dtypes: tuple[str, ...] = FLOAT) -> Value:
        """A required input of one of `dtypes`. Raises `ModelError`."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"input {index} of {self.op} is absent")
        if isinstance(value, Sequence):
            raise ModelError(f"input {index} of {self.op} is a sequence", expected="a tensor")
        narrow = value.dtype in NARROW_FLOATS and "float32" in dtypes
        if value.dtype not in dtypes and not narrow:
            raise ModelError(
                f"unsupported dtype of input {index} of {self.op}", found=value.dtype, expected=" or ".join(dtypes)
            )
        return value

    def sequence(self, index: int) -> Sequence:
        """A required input that is a sequence. Raises `ModelError`."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(value, Sequence):
            found = "nothing" if value is None else "a tensor"
            raise ModelError(f"input {index} of {self.op} is no sequence", found=found, expected="a sequence")
        return value

    def image(self, index: int, dtypes: tuple[str, ...] = FLOAT) -> Value:
        """A required input of shape (N, C, H, W)."""
        value = self.input(index, dtypes)
        if len(value.shape) != 4:
            raise ModelError(
                f"{self.op} is supported in two dimensions only", found=f"input of shape {value.shape}", expected="(N, C, H, W)"
            )
        return value

    def optional(self, index: int, dtypes: tuple[str, ...] = FLOAT) -> Value | None:
        return self.input(index, dtypes) if self.has(index) else None

    def array(self, index: int, what: str) -> np.ndarray:
        """A required input that is known at import. Raises `UnknownValue` when it is computed from the model's inputs."""
        value = self.input(index, ANY)
        if value.constant is None:
            raise self.unknown(value, what)
        return value.constant

    def unknown(self, value: Value, what: str) -> UnknownValue:
        """The refusal of a value that must be known."""
        behind = self.builder.inputs_behind(value)
        bound = " ".join(f"--bind {name}=…" for name in behind)
        hint = f"give the value: {bound}" if bound else "export the model with it as a constant"
        called = self.builder.final_name.get(value.name, value.name)
        error = UnknownValue(
            f"{what} of {self.op} is not a constant", found=called, expected="a value known when compiling", hint=hint
        )
        error.inputs = tuple(behind)
        return error

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """A required constant input: a list of integers."""
        array = self.array(index, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise ModelError(f"{what} of {self.op} is not a list of integers", found=f"{array.dtype} of shape {array.shape}")
        return tuple(int(v) for v in array.ravel())

    def number(self, index: int, what: str, default: float | None = None) -> float:
        """A constant input of one element; `default` where it is absent."""
        if default is not None and not self.has(index):
            return default
        array = self.array(index, what)
        if array.size != 1:
            raise ModelError(f"{what} of {self.op} is not one number", found=f"shape {array.shape}")
        return array.ravel()[0].item()

    def int_(self, name: str, default: int) -> int:
        found = self.attribute(name, Kind.INT)
        return default if found is None else int(found.i)

    def float_(self, name: str, default: float) -> float:
        found = self.attribute(name, Kind.FLOAT)
        return default if found is None else float(found.f)

    def string(self, name: str, default: str) -> str:
        found = self.attribute(name, Kind.STRING)
        return default if found is None else found.s.decode(errors="replace")

    def ints(self, name: str) -> tuple[int, ...] | None:
        found = self.attribute(name, Kind.INTS)
        return None if found is None else tuple(found.ints)

    def floats(self, name: str) -> tuple[float, ...] | None:
        found = self.attribute(name, Kind.FLOATS)
        return None if found is None else tuple(found.floats)

    def strings(self, name: str) -> tuple[str, ...] | None:
        found = self.attribute(name, Kind.STRINGS)
        return None if found is None else tuple(s.decode(errors="replace") for s in found.strings)

    def tensor(self, name: str) -> np.ndarray | None:
        found = self.attribute(name, Kind.TENSOR)
        return None if found is None else numpy_helper.to_array(found.t)

    def graph(self, name: str) -> onnx.GraphProto:
        """A required graph."""
        found = self.attribute(name, Kind.GRAPH)
        if found is None:
            raise ModelError(f"{self.op} needs attribute {name}")
        return found.g

    def given(self, name: str) -> bool:
        """Whether the model sets this attribute."""
        return any(attribute.name == name for attribute in self.proto.attribute)

    def attribute(self, name: str, kind: int) -> onnx.AttributeProto | None:
        self.read.add(name)
        for attribute in self.proto.attribute:
            if attribute.name == name:
                if attribute.type != kind:
                    expected = Kind.AttributeType.Name(kind)
                    raise ModelError(
                        f"attribute {name} of {self.op} has the wrong type", found=attribute.type, expected=expected
                    )
                return attribute
        return None

    def require(self, name: str, value: object, allowed: object) -> None:
        """Refuse an attribute value that has no equal here."""
        if value != allowed:
            raise ModelError(f"unsupported attribute {name} of {self.op}", found=value, expected=repr(allowed))

    def refuse_unread(self) -> None:
        """An attribute nobody asked for would change what the operator means."""
        for attribute in self.proto.attribute:
            if attribute.name not in self.read:
                raise ModelError(f"unsupported attribute of {self.op} in opset {self.opset}", found=attribute.name)

    def axis(self, value: int, rank: int) -> int:
        """A possibly negative axis → 0..rank-1."""
        if not -rank <= value < rank:
            raise ModelError(f"axis of {self.op} is out of range", found=value, expected=f"{-rank}..{rank - 1}")
        return value % rank

    def axes(self, since: int, rank: int) -> tuple[int, ...] | None:
        """`axes`, sorted: an attribute before opset `since`, the second input from then on; None when absent."""
        found = self.ints("axes") if self.opset < since else None
        if self.opset >= since and self.has(1):
            found = self.integers(1, "axes")
        if found is None:
            return None
        axes = sorted({self.axis(a, rank) for a in found})
        if len(axes) != len(found):
            raise ModelError(f"axes of {self.op} repeat", found=found)
        return tuple(axes)


Importer = Callable[[GraphBuilder, OnnxNode], Anything | tuple[Anything, ...]]
"""A node's outputs: one, or as many of the first as are supported. Raises `ModelError`."""
