"""Small ONNX models, good and bad, made with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def save(
    path: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[int | str] | None, dtype: int = TensorProto.FLOAT
) -> Path:
    """A model with one input x of `shape` and one output y."""
    x, y = (helper.make_tensor_value_info(name, dtype, shape) for name in "xy")
    graph = helper.make_graph(list(nodes), "small", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def relu(path: Path, shape: Sequence[int | str] | None, dtype: int = TensorProto.FLOAT) -> Path:
    return save(path, [helper.make_node("Relu", ["x"], ["y"], name="the_relu")], shape, dtype)
