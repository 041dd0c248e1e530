"""The model's own inputs: their names, dtypes and static shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from vdla.compiler.frontend.builder import check_size
from vdla.compiler.graph.graph import TensorType
from vdla.errors import ModelError

DTYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.BOOL: "bool",
}
ALLOWED = " or ".join(DTYPES.values())
Shapes = Mapping[str, Sequence[int]]


def model_inputs(graph: onnx.GraphProto, shapes: Shapes, where: str) -> dict[str, TensorType]:
    """Name → type of every input that is not an initialiser (before IR version 4 those are listed too).

    `shapes` fills in what the model leaves open. Raises `ModelError` on dimensions still open, dtypes that tensors may
    not have here, and names in `shapes` that are no inputs.
    """
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [info for info in graph.input if info.name not in stored]
    if unknown := sorted(set(shapes) - {info.name for info in inputs}):
        names = ", ".join(info.name for info in inputs)
        raise ModelError("a shape is given for an input the model does not have", where=where, found=unknown[0], expected=names)
    return {info.name: input_type(info, shapes.get(info.name), where) for info in inputs}


def input_type(info: onnx.ValueInfoProto, given: Sequence[int] | None, where: str) -> TensorType:
    where = f"{where}: input {info.name!r}"
    if not info.type.HasField("tensor_type"):
        raise ModelError("only tensors can be inputs", where=where, found=info.type.WhichOneof("value"))
    tensor = info.type.tensor_type
    if tensor.elem_type not in DTYPES:
        hint = "export with float32 inputs; quantised models keep QuantizeLinear as their first node"
        raise ModelError("unsupported dtype", where=where, found=dtype_name(tensor.elem_type), expected=ALLOWED, hint=hint)
    declared = [declared_dim(dim) for dim in tensor.shape.dim] if tensor.HasField("shape") else None
    shape = static_shape(info.name, declared, given, where)
    check_size(shape, "an input of impossible size", where)
    return TensorType(shape, DTYPES[tensor.elem_type])


def dtype_name(number: int) -> str:
    """As ONNX spells it, for messages."""
    names = {value: name.lower() for name, value in onnx.TensorProto.DataType.items()}
    return names.get(number, f"number {number}")


def declared_dim(dim: onnx.TensorShapeProto.Dimension) -> int | str:
    """A size, or the name ("?" when it has none) of one left open."""
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return dim.dim_value
    return dim.dim_param or "?"


def static_shape(name: str, declared: list[int | str] | None, given: Sequence[int] | None, where: str) -> tuple[int, ...]:
    """The declared shape with open dimensions taken from the given one."""
    if given is None:
        if declared is None:
            raise ModelError(
                "the shape is missing", where=where, expected="a static shape", hint=suggestion(name, [1, 3, 224, 224])
            )
        for index, dim in enumerate(declared):
            if isinstance(dim, str):
                raise ModelError(
                    f"dimension {index} is dynamic",
                    where=where,
                    found=dim,
                    expected="a static shape",
                    hint=suggestion(name, declared),
                )
        return tuple(int(dim) for dim in declared)
    if any(int(size) < 1 for size in given):
        raise ModelError("a given dimension is not positive", where=where, found=tuple(given))
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
