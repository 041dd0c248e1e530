"""Inputs that are sequences or optional: their tensors become inputs of their own, named x[0], x[1], …"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx

from vdla.errors import ModelError

Shape = Sequence[int]
Shapes = Mapping[str, Shape | Sequence[Shape] | None]
"""Of an input by name; of a sequence the shape of each of its tensors; None for an optional input that is absent."""


@dataclass
class Inputs:
    """tensors: what the model declares, taken apart. shapes: those given, of these. parts: those of what is no tensor."""

    tensors: list[onnx.ValueInfoProto] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sequences: set[str] = field(default_factory=set)


def taken_apart(declared: Iterable[onnx.ValueInfoProto], shapes: Shapes, where: str) -> Inputs:
    """Raises `ModelError` for a sequence of which it is not said how many tensors it has, and for what holds no tensors."""
    found = Inputs()
    for info in declared:
        here, kind = f"{where}: input {info.name!r}", info.type.WhichOneof("value")
        given: Any = shapes.get(info.name)
        if kind == "tensor_type":
            found.tensors.append(info)
            if info.name in shapes:
                found.shapes[info.name] = given
            continue
        inner = info.type.optional_type.elem_type if kind == "optional_type" else info.type
        is_sequence = inner.HasField("sequence_type")
        tensor = inner.sequence_type.elem_type if is_sequence else inner
        if not tensor.HasField("tensor_type"):
            raise ModelError("only tensors can be inputs", where=here, found=(kind or "no type").removesuffix("_type"))
        if info.name not in shapes:
            expected = "input_shapes with a shape for each of its tensors, or None for what is absent"
            raise ModelError("how many tensors it holds is not known", where=here, found=kind, expected=expected)
        listed = () if given is None else given if is_sequence else (given,)
        found.parts[info.name] = tuple(f"{info.name}[{i}]" for i in range(len(listed)))
        if is_sequence and given is not None:
            found.sequences.add(info.name)
        for name, shape in zip(found.parts[info.name], listed, strict=True):
            found.tensors.append(onnx.ValueInfoProto(name=name, type=tensor))
            found.shapes[name] = shape
    return found
