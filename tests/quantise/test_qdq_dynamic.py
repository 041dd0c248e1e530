"""Models that quantise while they run: for an accelerator by static scales, against onnxruntime's dynamic ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from qdq_models import OnnxBuilder, onnxruntime_outputs, ops

import vdla
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.frontend.static import StaticImporters
from vdla.compiler.graph.reference import run_reference
from vdla.flows.compilation import CompileOptions, prepare

SHAPE = (1, 8, 12, 12)


def network() -> tuple[OnnxBuilder, onnx.ModelProto]:
    b = OnnxBuilder(31)

    def weights(*shape: int) -> str:
        return b.constant((b.generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    y = b.node("Relu", [b.node("Conv", ["x", weights(16, 8, 3, 3), weights(16)], pads=[1] * 4)])
    y = b.node("Relu", [b.node("Conv", [y, weights(16, 16, 3, 3), weights(16)], strides=[2, 2])])
    y = b.node("Flatten", [b.node("GlobalAveragePool", [y])])
    y = b.node("Relu", [b.node("Add", [b.node("MatMul", [y, weights(16, 24)]), weights(24)])])
    return b, b.model(SHAPE, b.node("Gemm", [y, weights(10, 24), weights(10)], transB=1))


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
@pytest.mark.parametrize("fused", [False, True])
def test_static_scales_for_an_accelerator(kind: QuantType, fused: bool, tmp_path: Path) -> None:
    """Every layer in integers, and the answers onnxruntime's but for quantisation's own error."""
    b, model = network()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_dynamic(
        tmp_path / "float.onnx", tmp_path / "dynamic.onnx", weight_type=kind, op_types_to_quantize=["Conv", "MatMul", "Gemm"]
    )
    dynamic = onnx.load(tmp_path / "dynamic.onnx")
    assert "DynamicQuantizeLinear" in {node.op_type for node in dynamic.graph.node}
    calibration = [{"x": b.generator.standard_normal(SHAPE, np.float32)} for _ in range(8)]
    prepared = prepare(fused_by_onnxruntime(dynamic, tmp_path) if fused else dynamic, CompileOptions(calibration=calibration))
    found = [op for op in ops(prepared.quantised) if op in ("conv", "conv2d", "dense", "matmul", "qconv2d", "qdense")]
    assert found == ["qconv2d", "qconv2d", "qdense", "qdense"]
    assert "quantised while the model runs" in prepared.notes[0]
    for _ in range(5):
        x = b.generator.standard_normal(SHAPE, np.float32)
        expected = onnxruntime_outputs(dynamic, x)[0]
        result = run_reference(prepared.quantised, {"x": x})[prepared.quantised.outputs[0]]
        assert np.linalg.norm(result - expected) < 0.08 * np.linalg.norm(expected)


def fused_by_onnxruntime(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """As onnxruntime's optimiser saves it, with MatMulIntegerToFloat and the like."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "fused.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "fused.onnx")


def test_the_processor_quantises_as_the_model_does(tmp_path: Path) -> None:
    b, model = network()
    onnx.save(model, tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx", op_types_to_quantize=["MatMul"])
    dynamic, x = onnx.load(tmp_path / "dynamic.onnx"), b.generator.standard_normal(SHAPE, np.float32)
    found = vdla.compile(dynamic, targets=("cpu",)).run({"x": x}).outputs
    expected = onnxruntime_outputs(dynamic, x, optimised=False)[0]
    assert np.linalg.norm(next(iter(found.values())) - expected) < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_dynamic_lstm_becomes_a_float_one(direction: str) -> None:
    """Its weights dequantised: what onnxruntime's own float LSTM makes of them."""
    generator = np.random.default_rng(5)
    count, inputs, hidden, steps = (2 if direction == "bidirectional" else 1), 6, 5, 7
    values = {
        "w": generator.integers(-127, 128, (count, inputs, 4 * hidden), np.int8),
        "r": generator.integers(-127, 128, (count, hidden, 4 * hidden), np.int8),
        "b": generator.standard_normal((count, 8 * hidden)).astype(np.float32) * 0.3,
        "ws": np.full(count, 0.005, np.float32),
        "wz": np.zeros(count, np.int8),
        "rs": np.full(count, 0.004, np.float32),
        "rz": np.zeros(count, np.int8),
    }
    x = generator.standard_normal((steps, 2, inputs)).astype(np.float32)

    def model(op: str, operands: str, arrays: dict[str, np.ndarray], **attributes: Any) -> onnx.ModelProto:
        node = helper.make_node(op, [n.strip(".") for n in operands.split()], ["y"], hidden_size=hidden, direction=direction)
        node.domain = attributes.get("domain", "")
        graph = helper.make_graph(
            [node],
            "lstm",
            [helper.make_tensor_value_info("x", 1, x.shape)],
            [helper.make_tensor_value_info("y", 1, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    dynamic = model("DynamicQuantizeLSTM", "x w r b . . . . ws wz rs rz", values, domain="com.microsoft")
    plain = {
        "w": (values["w"].astype(np.float32) * np.float32(0.005)).transpose(0, 2, 1).copy(),
        "r": (values["r"].astype(np.float32) * np.float32(0.004)).transpose(0, 2, 1).copy(),
        "b": values["b"],
    }
    expected = onnxruntime_outputs(model("LSTM", "x w r b", plain), x)[0]
    graph = import_onnx(dynamic, find=StaticImporters().find)
    np.testing.assert_allclose(run_reference(graph, {"x": x})["y"], expected, atol=1e-5)
