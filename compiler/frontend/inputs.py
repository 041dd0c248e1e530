"""The model's own inputs: their names, dtypes and static shapes, and the values that some are bound to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from vdla.compiler.frontend.builder import check_size
from vdla.compiler.frontend.composite import Shape, Shapes
from vdla.compiler.graph.graph import TensorType
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

Dims = Mapping[str, int]
"""Name of an open dimension → its size."""
Values = Mapping[str, np.ndarray]
"""Name of an input → the value it is compiled for."""


def element_type(number: int, where: str = "") -> str:
    """ONNX's number of a tensor's type as a name of ours. Raises `ModelError` for strings and what is not known."""
    try:
        name = str(helper.tensor_dtype_to_np_dtype(number))
    except (KeyError, ValueError):
        name = ""
    if name not in ELEMENT_TYPES:
        hint = "compute on strings before the model, which gets numbers" if number == onnx.TensorProto.STRING else ""
        expected = ", ".join(name for name in ELEMENT_TYPES if name != "bipolar")
        raise ModelError("unsupported dtype", where=where, found=dtype_name(number), expected=expected, hint=hint)
    return name


def dtype_name(number: int) -> str:
    """As ONNX spells it, for messages."""
    names = {value: name.lower() for name, value in onnx.TensorProto.DataType.items()}
    return names.get(number, f"number {number}")


def model_inputs(
    inputs: Sequence[onnx.ValueInfoProto], shapes: Mapping[str, Shape], dims: Dims, bind: Values, where: str
) -> dict[str, TensorType]:
    """Name → type of every input; all are tensors.

    `shapes`, `dims` and the values of `bind` fill in what the model leaves open. Raises `ModelError` on dimensions still open,
    dtypes that there are not, and names in `shapes` and `dims` that the model does not have.
    """
    declared = {info.name: declared_shape(info) for info in inputs}
    open_names = dict.fromkeys(d for shape in declared.values() for d in shape or () if isinstance(d, str) and d != "?")
    if unknown := sorted(set(dims) - set(open_names)):
        expected = ", ".join(open_names) or "none: every dimension with a name is fixed"
        raise ModelError("the model has no open dimension of this name", where=where, found=unknown[0], expected=expected)
    if len(declared) < len(inputs):
        repeated = next(name for name, count in Counter(info.name for info in inputs).items() if count > 1)
        raise ModelError("two inputs have one name", where=where, found=repeated)
    types = {}
    for info in inputs:
        here = f"{where}: input {info.name!r}"
        known = bound_dims(declared[info.name], dims)
        given = shapes.get(info.name)
        if given is None and info.name in bind and (known is None or any(isinstance(d, str) for d in known)):
            given = np.shape(bind[info.name])
        shape = static_shape(info.name, known, given, here)
        check_size(shape, "an input of impossible size", here)
        types[info.name] = TensorType(shape, element_type(info.type.tensor_type.elem_type, here))
    return types


def declared_shape(info: onnx.ValueInfoProto) -> list[int | str] | None:
    """Sizes, with the name ("?" when it has none) of one left open; None when the model says nothing."""
    tensor = info.type.tensor_type
    return [declared_dim(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None


def declared_inputs(graph: onnx.GraphProto, shapes: Shapes, where: str) -> list[onnx.ValueInfoProto]:
    """Those that are no initialisers, which before IR version 4 are listed too. Raises `ModelError` on a shape for no input."""
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in stored]
    if unknown := sorted(set(shapes) - {info.name for info in inputs}):
        names = ", ".join(info.name for info in inputs)
        raise ModelError("a shape is given for an input the model does not have", where=where, found=unknown[0], expected=names)
    return inputs


def declared_dim(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return dim.dim_value
    return dim.dim_param or "?"


def bound_dims(declared: list[int | str] | None, dims: Dims) -> list[int | str] | None:
    return declared and [dims.get(d, d) if isinstance(d, str) else d for d in declared]


def static_shape(name: str, declared: list[int | str] | None, given: Sequence[int] | None, where: str) -> tuple[int, ...]:
    """The declared shape with open dimensions taken from the given one."""
    if given is None:
        if declared is None:
            raise ModelError(
                "the shape is missing", where=where, expected="a static shape", hint=suggestion(name, [1, 3, 224, 224])
            )
        for index, dim in enumerate(declared):
            if isinstance(dim, str):
                named = f"--dim {dim}=1 or " if dim.isidentifier() else ""
                raise ModelError(
                    f"dimension {index} is dynamic",
                    where=where,
                    found=dim,
                    expected="a static shape",
                    hint=named + suggestion(name, declared),
                )
        return tuple(int(dim) for dim in declared)
    if any(int(size) < 0 for size in given):
        raise ModelError("a given dimension is negative", where=where, found=tuple(given))
    if declared is not None and (
        len(declared) != len(given) or any(isinstance(d, int) and d != g for d, g in zip(declared, given, strict=True))
    ):
        raise ModelError(
            "the given shape contradicts the model's", where=where, found=tuple(given), expected=f"{tuple(declared)}"
        )
    return tuple(int(size) for size in given)


def suggestion(name: str, dims: Sequence[int | str]) -> str:
    """The option that would help, with 1 or an image's size for what is open."""
    guess = {0: 1, 1: 3, 2: 224, 3: 224} if len(dims) == 4 else {}
    sizes = [str(guess.get(i, 1) if isinstance(dim, str) else dim) for i, dim in enumerate(dims)]
    return f"--input-shape {name}={','.join(sizes)}"


def bound_values(types: Mapping[str, TensorType], bind: Values, where: str) -> dict[str, np.ndarray]:
    """The values in the inputs' own types. Raises `ModelError` for a name, a shape or a value that does not fit."""
    bound = {}
    for name, given in bind.items():
        if name not in types:
            what = "a value is given for an input the model does not have"
            raise ModelError(what, where=where, found=name, expected=", ".join(types) or "none")
        here, wanted, value = f"{where}: {name}", types[name], np.asarray(given)
        if value.size == wanted.elements:
            value = value.reshape(wanted.shape)
        if value.shape != wanted.shape:
            raise ModelError("the value has another shape", where=here, found=value.shape, expected=f"{wanted.shape}")
        converted = value.astype(wanted.numpy_dtype)
        if not ELEMENT_TYPES[wanted.dtype].is_float and not np.array_equal(converted, value):
            raise ModelError("the input does not hold this value", where=here, found=given, expected=wanted.dtype)
        bound[name] = converted
    return bound
