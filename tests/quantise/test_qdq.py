"""Models that come quantised, against onnxruntime.

Tolerance: our scales are multipliers of 19 bits, off by at most 2⁻¹⁹; onnxruntime's are float32. On results of at most 255
levels that moves a value by under 255·2⁻¹⁹ = 0.0005 levels, so an element differs, by one level, only when it lies that near
to a tie: of evenly spread values at most 0.1 %. The scales here are round decimals, whose ties (15 · 0.011 = 5.5 · 0.03) are
none of their float32 values: there each may go its own way. What is exact, `test_exactness` says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from qdq_models import OnnxBuilder, compare, imported, onnxruntime_outputs, ops

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.qdq import from_qdq_with_levels, has_qdq, with_real_weights

CONVS = [
    ((1, 8, 12, 12), (16, 8, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((2, 6, 11, 9), (12, 2, 3, 3), {"group": 3, "strides": [2, 1], "pads": [0, 1, 1, 0]}),
    ((1, 16, 10, 10), (16, 1, 3, 3), {"group": 16, "pads": [1, 1, 1, 1]}),
    ((1, 32, 7, 7), (24, 32, 1, 1), {}),
]


@pytest.mark.parametrize("activations", [np.uint8, np.int8])
@pytest.mark.parametrize(("shape", "weight", "attributes"), CONVS)
@pytest.mark.parametrize("tail", ["", "Relu", "Clip"])
def test_conv(
    shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any], tail: str, activations: type
) -> None:
    b = OnnxBuilder(0, activations)
    shift = 128 if activations is np.uint8 else 0
    x = b.requantised("x", 0.03, 7 + shift)
    w = b.weights(weight, 0)
    bias = b.constant(b.generator.standard_normal(weight[0]).astype(np.float32))
    y = b.node("Conv", [x, w, bias], **attributes)
    if tail:
        y = b.node(tail, [y] if tail == "Relu" else [y, b.constant(np.float32(-1.5)), b.constant(np.float32(4))])
    level = 0.05 * np.sqrt(np.prod(weight[1:])) / 4
    model = b.model(shape, b.requantised(y, level, shift - 11))
    graph = compare(model, b.generator.standard_normal(shape, np.float32), [level])
    assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
@pytest.mark.parametrize("axis", [0, None])
def test_dense(op: str, axis: int | None) -> None:
    b = OnnxBuilder(1)
    x = b.requantised("x", 0.03, 120)
    if op == "Gemm":
        y = b.node("Gemm", [x, b.weights((10, 64), axis), b.constant(np.ones(10, np.float32))], transB=1)
    else:
        y = b.node("MatMul", [x, b.weights((64, 10), None if axis is None else 1)])
    graph = compare(b.model((50, 64), b.requantised(y, 0.1, 100)), b.generator.standard_normal((50, 64), np.float32), [0.1])
    assert ops(graph) == ["quantize", "qdense", "dequantize"]


@pytest.mark.parametrize(("op", "form"), [("Add", "qadd"), ("Max", "qmax"), ("Min", "qmin")])
@pytest.mark.parametrize("relu", [True, False])
def test_pairs_of_different_scales(op: str, form: str, relu: bool) -> None:
    """The second operand is turned about, so that each is the greater one somewhere."""
    b = OnnxBuilder(2)
    left, right = b.requantised("x", 0.03, 100), b.requantised(b.node("Neg", ["x"]), 0.011, 140)
    y = b.node(op, [left, right])
    model = b.model((1, 4, 16, 16), b.requantised(b.node("Relu", [y]) if relu else y, 0.017, 3 if relu else 120))
    graph = compare(model, b.generator.standard_normal((1, 4, 16, 16), np.float32), [0.017])
    assert ops(graph) == ["quantize", "neg", "quantize", form, "dequantize"]


def test_max_of_three_stays_float() -> None:
    b = OnnxBuilder(2, opset=17)
    left, right = b.requantised("x", 0.03, 100), b.requantised("x", 0.011, 140)
    row = b.requantised(b.node("ReduceMean", [left], axes=[2, 3], keepdims=1), 0.01, 128)
    three, wide = b.node("Max", [left, right, left]), b.node("Min", [left, row])
    model = b.model((1, 4, 8, 8), b.requantised(three, 0.03, 100), b.requantised(wide, 0.03, 100))
    graph = compare(model, b.generator.standard_normal((1, 4, 8, 8), np.float32), [0.03, 0.03])
    assert [op for op in ops(graph) if op in ("max", "min", "qmax", "qmin")] == ["max", "qmin"]


def test_conv_whose_sum_alone_is_quantised_takes_the_residual() -> None:
    b = OnnxBuilder(3)
    x = b.requantised("x", 0.03, 128)
    conv = b.node("Conv", [x, b.weights((8, 8, 3, 3), 0)], pads=[1, 1, 1, 1])
    model = b.model((1, 8, 9, 9), b.requantised(b.node("Relu", [b.node("Add", [x, conv])]), 0.1, 0))
    graph = compare(model, b.generator.standard_normal((1, 8, 9, 9), np.float32), [0.1])
    assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


def test_pools_and_movement() -> None:
    b = OnnxBuilder(4)
    x = b.requantised("x", 0.03, 128)
    pooled = b.requantised(b.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 0.03, 128)
    average = b.requantised(b.node("AveragePool", [pooled], kernel_shape=[2, 2], strides=[2, 2]), 0.0213, 120)
    whole = b.requantised(b.node("GlobalAveragePool", [average]), 0.00437, 120)
    flat = b.requantised(b.node("Flatten", [whole]), 0.00437, 120)
    model = b.model((2, 8, 16, 16), pooled, average, flat)
    graph = compare(model, b.generator.standard_normal((2, 8, 16, 16), np.float32), [0.03, 0.0213, 0.00437])
    assert sorted(ops(graph)) == sorted(
        ["quantize", "qmax_pool2d", "qavg_pool2d", "qavg_pool2d", "reshape"] + ["dequantize"] * 3
    )


def test_concat_at_another_scale() -> None:
    b = OnnxBuilder(5)
    left, right = b.requantised("x", 0.03, 100), b.requantised("x", 0.011, 140)
    model = b.model((1, 4, 16, 16), b.requantised(b.node("Concat", [left, right], axis=1), 0.03, 100))
    graph = compare(model, b.generator.standard_normal((1, 4, 16, 16), np.float32), [0.03])
    assert ops(graph) == ["quantize", "quantize", "requantize", "concat", "dequantize"]


def test_qlinear_conv() -> None:
    b = OnnxBuilder(6)
    x_parameters, y_parameters = b.parameters(0.03, 130), b.parameters(0.2, 90)
    w = b.constant(b.generator.integers(-127, 128, (8, 4, 3, 3), dtype=np.int8))
    w_scale = b.constant(b.generator.uniform(0.002, 0.01, 8).astype(np.float32))
    zero = b.constant(np.zeros(8, np.int8))
    bias = b.constant(b.generator.integers(-5000, 5000, 8, dtype=np.int32))
    x = b.node("QuantizeLinear", ["x", *x_parameters])
    y = b.node("QLinearConv", [x, *x_parameters, w, w_scale, zero, *y_parameters, bias], pads=[1, 1, 1, 1])
    model = b.model((1, 4, 14, 14), b.node("DequantizeLinear", [y, *y_parameters]))
    graph = compare(model, b.generator.standard_normal((1, 4, 14, 14), np.float32), [0.2])
    assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


def test_qlinear_matmul() -> None:
    b = OnnxBuilder(7)
    x_parameters, y_parameters = b.parameters(0.03, 130), b.parameters(0.2, 90)
    w = [
        b.constant(b.generator.integers(-127, 128, (32, 6), dtype=np.int8)),
        b.constant(np.float32(0.01)),
        b.constant(np.int8(0)),
    ]
    y = b.node("QLinearMatMul", [b.node("QuantizeLinear", ["x", *x_parameters]), *x_parameters, *w, *y_parameters])
    model = b.model((40, 32), b.node("DequantizeLinear", [y, *y_parameters]))
    graph = compare(model, b.generator.standard_normal((40, 32), np.float32), [0.2])
    assert ops(graph) == ["quantize", "qdense", "dequantize"]


def test_what_does_not_match_stays_float_and_says_why() -> None:
    b = OnnxBuilder(8, opset=17)
    x = b.requantised("x", 0.03, 128)
    mean = b.node("ReduceMean", [b.node("Softmax", [x], axis=1)], axes=[0, 2, 3], keepdims=1)
    w = b.node("Concat", [b.node("Reshape", [mean, b.constant(np.array([1, 4, 1, 1]))])] * 4, axis=0)
    model = b.model((1, 4, 8, 8), b.requantised(b.node("Conv", [x, w]), 0.02, 128))
    compare(model, b.generator.standard_normal((1, 4, 8, 8), np.float32), [0.02])
    found = from_qdq_with_levels(optimise(import_onnx(model)))
    (conv,) = (node for node in found.graph.nodes if node.op == "conv2d")
    assert found.reasons[conv.name] == "its weights are computed from the model's inputs"


class Reader(CalibrationDataReader):
    def __init__(self, samples: list[np.ndarray]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> dict[str, np.ndarray] | None:
        sample = next(self.samples, None)
        return None if sample is None else {"x": sample}


def small_network() -> tuple[OnnxBuilder, onnx.ModelProto]:
    """Convolutions, a residual block with a projection, depthwise, pools, concat and a classifier, in float."""
    b = OnnxBuilder(9)

    def conv(x: str, before: int, after: int, kernel: int, **attributes: Any) -> str:
        fan_in = before // attributes.get("group", 1)
        w = b.generator.standard_normal((after, fan_in, kernel, kernel)) * np.sqrt(2 / (fan_in * kernel**2))
        operands = [
            x,
            b.constant(w.astype(np.float32)),
            b.constant(b.generator.standard_normal(after).astype(np.float32) * 0.1),
        ]
        return b.node("Conv", operands, pads=[kernel // 2] * 4, **attributes)

    y = b.node("MaxPool", [b.node("Relu", [conv("x", 3, 8, 3)])], kernel_shape=[2, 2], strides=[2, 2])
    z = conv(b.node("Relu", [conv(y, 8, 16, 3)]), 16, 16, 3)
    y = b.node("Relu", [b.node("Add", [z, conv(y, 8, 16, 1)])])
    y = b.node("Concat", [y, b.node("Relu", [conv(y, 16, 16, 3, group=16)])], axis=1)
    y = b.node("Flatten", [b.node("GlobalAveragePool", [y])])
    w = (b.generator.standard_normal((10, 32)) / 6).astype(np.float32)
    return b, b.model((1, 3, 16, 16), b.node("Gemm", [y, b.constant(w), b.constant(np.zeros(10, np.float32))], transB=1))


@pytest.mark.parametrize("kind", [QuantType.QUInt8, QuantType.QInt8])
def test_network_quantised_by_onnxruntime(tmp_path: Path, kind: QuantType) -> None:
    """A whole network through onnxruntime's own quantiser: all integer here, and the answers agree to two levels."""
    b, model = small_network()
    onnx.save(model, tmp_path / "float.onnx")
    reader = Reader([b.generator.standard_normal((1, 3, 16, 16), np.float32) for _ in range(8)])
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        reader,
        quant_format=QuantFormat.QDQ,
        activation_type=kind,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )
    graph = imported(quantised := onnx.load(tmp_path / "int8.onnx"))
    level = next(
        float(node.attributes["scale"]) for node in graph.nodes if node.op == "dequantize" and node.outputs[0] in graph.outputs
    )
    float_ops = set(ops(graph)) - {"quantize", "dequantize", "reshape", "concat"}
    assert float_ops == {"qconv2d", "qadd", "qmax_pool2d", "qavg_pool2d", "qdense"} | ({"requantize"} & float_ops)
    for _ in range(20):
        x = b.generator.standard_normal((1, 3, 16, 16), np.float32)
        found, expected = run_reference(graph, {"x": x}, keep="all")[graph.outputs[0]], onnxruntime_outputs(quantised, x)[0]
        assert np.abs(found - expected).max() <= 2.01 * level


def test_has_qdq() -> None:
    b, model = small_network()
    assert not has_qdq(import_onnx(model))
    b = OnnxBuilder(0)
    assert has_qdq(import_onnx(b.model((1, 4), b.requantised("x", 0.1, 3))))


def test_weights_in_bytes_alone_leave_a_float_model() -> None:
    b = OnnxBuilder(1)
    y = b.node("Conv", ["x", b.weights((8, 16, 1, 1), 0)])
    graph = optimise(import_onnx(b.model((1, 16, 4, 4), y)))
    assert not has_qdq(graph)
    real = with_real_weights(graph)
    assert ops(real) == ["conv2d"]
    x = b.generator.standard_normal((1, 16, 4, 4), np.float32)
    assert np.array_equal(run_reference(real, {"x": x})[y], run_reference(graph, {"x": x})[y])
