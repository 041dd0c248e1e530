"""One ONNX node as the importers see it: typed access to inputs and attributes, every refusal with its reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import numpy_helper

from vdla.compiler.frontend.builder import GraphBuilder, Value
from vdla.errors import ModelError

FLOAT = ("float32",)
EXACT = ("float32", "int32", "int64", "bool")  # what elements of tensors may be that are not quantised levels
MOVABLE = (*EXACT, "int8")  # what shape operators carry
Kind = onnx.AttributeProto


@dataclass
class OnnxNode:
    """`inputs` holds None for an absent optional input. Attributes not asked for are refused by `refuse_unread`."""

    proto: onnx.NodeProto
    opset: int
    name: str
    inputs: list[Value | None]
    read: set[str] = field(default_factory=set)

    @property
    def op(self) -> str:
        return self.proto.op_type

    @property
    def output_count(self) -> int:
        return len(self.proto.output)

    def wanted(self, index: int) -> bool:
        """Whether the node names its output `index`."""
        return index < len(self.proto.output) and bool(self.proto.output[index])

    def has(self, index: int) -> bool:
        return index < len(self.inputs) and self.inputs[index] is not None

    def input(self, index: int, dtypes: tuple[str, ...] = FLOAT) -> Value:
        """A required input of one of `dtypes`; "int8" admits uint8 constants too. Raises `ModelError`."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"input {index} of {self.op} is absent")
        if value.dtype not in dtypes and not (value.dtype == "uint8" and "int8" in dtypes):
            hint = "export the model in float32" if dtypes == FLOAT else ""
            raise ModelError(
                f"unsupported dtype of input {index} of {self.op}", found=value.dtype, expected=" or ".join(dtypes), hint=hint
            )
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
        """A required input that is known at import. Raises `ModelError` when it is computed from the model's inputs."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"{what} of {self.op} is absent")
        if value.constant is None:
            raise ModelError(
                f"{what} of {self.op} is not a constant", found=value.name, expected="an initialiser or a Constant"
            )
        return value.constant

    def integers(self, index: int, what: str) -> tuple[int, ...]:
        """A required constant input: a list of integers."""
        array = self.array(index, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise ModelError(f"{what} of {self.op} is not a list of integers", found=f"{array.dtype} of shape {array.shape}")
        return tuple(int(v) for v in array.ravel())

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

    def tensor(self, name: str) -> np.ndarray | None:
        found = self.attribute(name, Kind.TENSOR)
        return None if found is None else numpy_helper.to_array(found.t)

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


Importer = Callable[[GraphBuilder, OnnxNode], Value | tuple[Value, ...]]
"""A node's outputs: one, or as many of the first as are supported. Raises `ModelError`."""
