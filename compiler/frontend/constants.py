"""Operators that are known when compiling whatever they are given: constants and shapes."""

from __future__ import annotations

from math import ceil, isfinite, prod

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import ANY, Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.graph.graph import TensorType
from vdla.errors import ModelError


def constant(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Constant: exactly one of its value attributes."""
    return builder.constant(value_of(node), node.proto.output[0] if not node.name.count("/") else "")


def value_of(node: OnnxNode) -> np.ndarray:
    if (value := node.tensor("value")) is not None:
        return value
    if (floats := node.floats("value_floats")) is not None:
        return np.array(floats, np.float32)
    if (ints := node.ints("value_ints")) is not None:
        return np.array(ints, np.int64)
    if node.given("value_float"):
        return np.array(node.float_("value_float", 0.0), np.float32)
    if node.given("value_int"):
        return np.array(node.int_("value_int", 0), np.int64)
    raise ModelError("Constant has no numeric value", found=sorted(attribute.name for attribute in node.proto.attribute))


def constant_of_shape(builder: GraphBuilder, node: OnnxNode) -> Value:
    """One number everywhere; it takes no memory until something reads it."""
    shape = node.integers(0, "shape")
    value = node.tensor("value")
    if value is None:
        value = np.zeros(1, np.float32)
    if value.size != 1:
        raise ModelError("value of ConstantOfShape is not one number", found=f"shape {value.shape}")
    builder.check_foldable([TensorType(shape, str(value.dtype))])
    return builder.constant(np.broadcast_to(value.ravel()[0], shape))


def shape(builder: GraphBuilder, node: OnnxNode) -> Value:
    """start and end from opset 15."""
    dims = np.array(node.input(0, ANY).shape, np.int64)
    return builder.constant(dims[node.int_("start", 0) : node.int_("end", len(dims))])


def size(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.constant(np.array(prod(node.input(0, ANY).shape), np.int64))


def eye_like(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Ones on the diagonal j - i = k of a matrix of the input's shape."""
    like = node.input(0, ANY)
    dtype = element_type(node.int_("dtype", 0)) if node.given("dtype") else like.dtype
    if len(like.shape) != 2:
        raise ModelError("EyeLike of what is no matrix", found=like.shape, expected="two dimensions")
    result = TensorType(like.shape, dtype)
    builder.check_foldable([result])
    return builder.constant(np.eye(*like.shape, node.int_("k", 0)).astype(result.numpy_dtype))


def range_(builder: GraphBuilder, node: OnnxNode) -> Value:
    """start, start + delta … below limit, or above it for a negative delta; whole numbers exactly, floats rounded once."""
    node.int_("stash_type", 1)  # of what precision exporters' own loops have
    ends = [node.array(i, name).ravel() for i, name in enumerate(("start", "limit", "delta"))]
    if any(end.size != 1 for end in ends) or not ends[2][0]:
        raise ModelError("Range of what are no three numbers, or by 0", found=[end.tolist() for end in ends])
    start, limit, delta = (end[0].item() for end in ends)
    whole = isinstance(start, int)
    steps = -((start - limit) // delta) if whole else -((start - limit) / delta)
    if not isfinite(steps):
        raise ModelError("Range without end", found=[start, limit, delta], expected="finite numbers")
    result = TensorType((max(ceil(steps), 0),), str(ends[0].dtype))
    builder.check_foldable([result])
    if whole:  # modulo 2⁶⁴, which every 64-bit type reads as its own
        first, step = (np.uint64(number % 2**64) for number in (start, delta))
        return builder.constant((np.arange(result.shape[0], dtype=np.uint64) * step + first).astype(result.numpy_dtype))
    return builder.constant((start + np.arange(result.shape[0]) * delta).astype(result.numpy_dtype))


IMPORTERS: dict[str, Importer] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Shape": shape,
    "Size": size,
    "EyeLike": eye_like,
    "Range": range_,
}
