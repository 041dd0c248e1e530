"""Operators evaluated while importing: constants, and the integer arithmetic exporters write around Reshape.

They run on NumPy arrays of any dtype and leave no node behind. Shape is always a constant, since shapes are static.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import onnx
from onnx import helper

from vdla.compiler.frontend.builder import limited
from vdla.compiler.frontend.elementwise import FUNCTIONS
from vdla.compiler.frontend.movement import read_permutation, resolve_shape, squeezed, unsqueezed
from vdla.compiler.frontend.node import OnnxNode
from vdla.errors import ModelError

Fold = Callable[[OnnxNode], np.ndarray]


def data(node: OnnxNode, index: int = 0) -> np.ndarray:
    return node.array(index, f"input {index}")


def constant(node: OnnxNode) -> np.ndarray:
    """Constant: exactly one of its value attributes."""
    if (value := node.tensor("value")) is not None:
        return value
    if (floats := node.floats("value_floats")) is not None:
        return np.array(floats, np.float32)
    if (ints := node.ints("value_ints")) is not None:
        return np.array(ints, np.int64)
    names = {attribute.name for attribute in node.proto.attribute}
    if "value_float" in names:
        return np.array(node.float_("value_float", 0.0), np.float32)
    if "value_int" in names:
        return np.array(node.int_("value_int", 0), np.int64)
    raise ModelError("Constant has no numeric value", found=sorted(names))


def constant_of_shape(node: OnnxNode) -> np.ndarray:
    shape = limited(node.integers(0, "shape"))
    value = node.tensor("value")
    return np.zeros(shape, np.float32) if value is None else np.full(shape, value.ravel()[0], value.dtype)


def shape(node: OnnxNode) -> np.ndarray:
    """start and end from opset 15."""
    value = node.inputs[0] if node.inputs else None
    if value is None:
        raise ModelError("input 0 of Shape is absent")
    dims = np.array(value.shape, np.int64)
    return dims[node.int_("start", 0) : node.int_("end", len(dims))]


def size(node: OnnxNode) -> np.ndarray:
    return np.array(prod(shape(node).tolist()), np.int64)


def gather(node: OnnxNode) -> np.ndarray:
    array, indices = data(node), data(node, 1)
    axis = node.axis(node.int_("axis", 0), array.ndim)
    limited(array.shape[:axis] + indices.shape + array.shape[axis + 1 :])
    return np.take(array, indices, axis)


def slice_(node: OnnxNode) -> np.ndarray:
    """Attributes before opset 10, inputs from then on."""
    array = data(node)
    if node.opset < 10:
        starts, ends, axes, steps = node.ints("starts") or (), node.ints("ends") or (), node.ints("axes"), None
    else:
        starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
        axes = node.integers(3, "axes") if node.has(3) else None
        steps = node.integers(4, "steps") if node.has(4) else None
    region = [slice(None)] * array.ndim
    places = axes or tuple(range(len(starts)))
    for axis, start, end, step in zip(places, starts, ends, steps or (1,) * len(starts), strict=True):
        stop = None if step < 0 and end < -array.shape[axis] else end
        region[node.axis(axis, array.ndim)] = slice(start, stop, step)
    return array[tuple(region)]


def concat(node: OnnxNode) -> np.ndarray:
    arrays = [data(node, i) for i in range(len(node.inputs))]
    return np.concatenate(arrays, node.int_("axis", 0))


def reshape(node: OnnxNode) -> np.ndarray:
    array = data(node)
    return array.reshape(resolve_shape(array.shape, node.integers(1, "shape"), node.int_("allowzero", 0) != 0))


def squeeze(node: OnnxNode) -> np.ndarray:
    array = data(node)
    return array.reshape(squeezed(array.shape, node.axes(13, array.ndim)))


def unsqueeze(node: OnnxNode) -> np.ndarray:
    array = data(node)
    return array.reshape(unsqueezed(node, array.shape))


def transpose(node: OnnxNode) -> np.ndarray:
    array = data(node)
    return np.ascontiguousarray(array.transpose(read_permutation(node, array.ndim)))


def cast(node: OnnxNode) -> np.ndarray:
    node.int_("saturate", 1)
    node.string("round_mode", "up")  # both about float8 alone
    return data(node).astype(helper.tensor_dtype_to_np_dtype(node.int_("to", onnx.TensorProto.UNDEFINED)))


def expand(node: OnnxNode) -> np.ndarray:
    array = data(node)
    return np.broadcast_to(array, limited(np.broadcast_shapes(array.shape, node.integers(1, "shape")))).copy()


def divide(node: OnnxNode) -> np.ndarray:
    if data(node).dtype.kind in "iu" and not data(node, 1).all():
        raise ModelError("division by zero")
    return FUNCTIONS["Div"].fold(node)


FOLDS: dict[str, Fold] = {
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "Shape": shape,
    "Size": size,
    "Gather": gather,
    "Slice": slice_,
    "Concat": concat,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Cast": cast,
    "Expand": expand,
    **{name: direct.fold for name, direct in FUNCTIONS.items()},
    "Div": divide,
}
