"""Small ONNX models for tests, and onnxruntime to run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

LATEST_OPSET = 26  # the newest this onnxruntime runs
Arrays = Mapping[str, np.ndarray]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Arrays,
    outputs: Sequence[str],
    constants: Arrays | None = None,
    opset: int = 17,
    dtype: str = "float32",
) -> onnx.ModelProto:
    """A model of `nodes`; outputs are declared without a shape."""
    stored = [numpy_helper.from_array(np.asarray(a), name) for name, a in (constants or {}).items()]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    declared = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in inputs.items()]
    results = [helper.make_tensor_value_info(name, kind, None) for name in outputs]
    graph = helper.make_graph(list(nodes), "test", declared, results, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    """`inputs` separated by spaces; "-" is an absent one."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, [output], name=f"{output}_{op}", **attributes)


def run_onnxruntime(model: onnx.ModelProto, inputs: Arrays) -> dict[str, np.ndarray]:
    """Every output by name, computed without graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def opsets_of(op: str, first: int = 7, last: int = LATEST_OPSET) -> list[int]:
    """The opsets between `first` and `last` in which the operator changed, and both ends."""
    changes = {s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op and s.domain == ""}
    first = max(first, min(changes))
    return sorted({first, last} | {v for v in changes if first < v < last})


def random(*shape: int, seed: int = 0, low: float = -2, high: float = 2) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(low, high, shape).astype(np.float32)
