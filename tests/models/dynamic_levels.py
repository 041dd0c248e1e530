"""Models that quantise while they run, compared where rounding has not yet spread.

A last bit that differs before DynamicQuantizeLinear can make one level of 255 differ, and so all that follows. Therefore the
model is taken apart at these operators: each reads what we compute, but what comes after reads the levels that onnxruntime
computed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

OURS = ".ours"


def level_names(graph: onnx.GraphProto) -> list[str]:
    """Levels, scales and zero points that are computed."""
    return [name for node in graph.node if node.op_type == "DynamicQuantizeLinear" for name in node.output]


def observed(model: onnx.ModelProto) -> onnx.ModelProto:
    """With the levels among its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in level_names(model.graph))
    return copy


def taken_apart(model: onnx.ModelProto, levels: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """With the levels among its inputs, and what is computed for them among its outputs, under other names."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            node.output[:] = [name + OURS for name in node.output]
    for name, array in levels.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        copy.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))
        copy.graph.output.append(helper.make_tensor_value_info(name + OURS, kind, array.shape))
    return copy
