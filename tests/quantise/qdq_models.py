"""QDQ models made of pieces, and their comparison with onnxruntime. For tests of models that come quantised."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import for_programs, optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.quantise.qdq import from_qdq
from vdla.compiler.quantise.written_out import with_written_out

MAY_DIFFER = 0.01


class OnnxBuilder:
    """An ONNX model of QDQ pieces; int8 or uint8 activations and seeded parameters."""

    def __init__(self, seed: int, activations: type = np.uint8, opset: int = 18) -> None:
        self.generator = np.random.default_rng(seed)
        self.activations, self.opset = activations, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def scalar(self, value: float) -> str:
        return self.constant(np.float32(value))

    def whole(self, values: list[int]) -> str:
        return self.constant(np.array(values, np.int64))

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def parameters(self, scale: float, zero_point: int) -> list[str]:
        return [self.constant(np.float32(scale)), self.constant(self.activations(zero_point))]

    def requantised(self, x: str, scale: float, zero_point: int) -> str:
        """quantize, then dequantize."""
        parameters = self.parameters(scale, zero_point)
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *parameters]), *parameters])

    def weights(self, shape: tuple[int, ...], axis: int | None) -> str:
        w = self.generator.integers(-127, 128, shape, dtype=np.int8)
        scale = self.generator.uniform(0.002, 0.01, () if axis is None else shape[axis]).astype(np.float32)
        zero = np.zeros(scale.shape, np.int8)
        attributes = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", [self.constant(w), self.constant(scale), self.constant(zero)], **attributes)

    def model(self, shape: tuple[int, ...], *outputs: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "qdq",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
        return onnx.shape_inference.infer_shapes(model)


def onnxruntime_outputs(model: onnx.ModelProto, x: np.ndarray, optimised: bool = True) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def imported(model: onnx.ModelProto, optimised: bool = True) -> Graph:
    graph = import_onnx(model)
    graph = from_qdq(for_programs(with_written_out(optimise(graph))) if optimised else graph)
    verify_graph(graph, "from_qdq")
    return graph


def compare(
    model: onnx.ModelProto,
    x: np.ndarray,
    levels: list[float],
    integer_kernels: bool = True,
    may_differ: float = MAY_DIFFER,
) -> Graph:
    """Within one level everywhere and equal nearly everywhere, for onnxruntime's float kernels and its integer ones."""
    graph = imported(model)
    found = run_reference(graph, {graph.inputs[0]: x}, keep="outputs")
    for optimised in (False, True) if integer_kernels else (False,):
        for name, expected, level in zip(graph.outputs, onnxruntime_outputs(model, x, optimised), levels, strict=True):
            difference = np.rint((found[name] - expected) / level)
            assert np.abs(difference).max() <= 1, (name, optimised)
            assert (difference != 0).mean() <= may_differ, (name, optimised)
    return graph


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]
