"""Weights of quantised models that the machine does not hold as they are: zero points, dead channels, biases of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qdq_models import OnnxBuilder, compare, ops

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.quantise.qdq import from_qdq_with_levels
from vdla.compiler.quantise.qdq_weights import LayerWeights, NoIntegerForm, as_bytes, fitted

RNG = np.random.default_rng(20261201)


def weights(b: OnnxBuilder, shape: tuple[int, ...], dtype: str, axis: int | None, zero: str) -> str:
    """Bell-shaped levels, so that few reach beyond int8 less the zero point; or ones at the type's ends."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    channels = () if axis is None else (shape[axis],)
    zeros = {
        "middle": np.full(channels, (low + high + 1) // 2),
        "near": b.generator.integers((low + high) // 2 - 20, (low + high) // 2 + 20, channels),
        "any": b.generator.integers(low, high, channels, endpoint=True),
        "end": np.full(channels, low),
    }[zero]
    spread = zeros.reshape([-1 if d == axis else 1 for d in range(len(shape))] if channels else ())
    levels = np.clip(np.rint(b.generator.standard_normal(shape) * 40 + spread), low, high).astype(dtype)
    levels.flat[:2] = low, high
    scale = b.generator.uniform(0.002, 0.01, channels).astype(np.float32)
    inputs = [b.constant(levels), b.constant(scale), b.constant(np.asarray(zeros, dtype))]
    return b.node("DequantizeLinear", inputs, **({} if axis is None else {"axis": axis}))


LAYERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "first": ((1, 3, 12, 12), (16, 3, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "blocks": ((1, 32, 9, 9), (16, 32, 3, 3), {"pads": [1, 1, 1, 1]}),
    "odd": ((1, 24, 7, 7), (20, 24, 1, 1), {}),
    "depthwise": ((1, 16, 10, 10), (16, 1, 3, 3), {"group": 16, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    "dilated": ((1, 8, 12, 10), (12, 2, 3, 2), {"group": 4, "pads": [1, 0, 2, 1], "dilations": [2, 1]}),
    "dense": ((30, 48), (48, 10), {}),
    "odd dense": ((30, 50), (50, 10), {}),
}


@pytest.mark.parametrize("zero", ["middle", "near", "any", "end"])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("layer", LAYERS)
def test_asymmetric_weights(layer: str, dtype: str, per_channel: bool, zero: str) -> None:
    """Every layer in integers, and within a level of onnxruntime."""
    shape, kernel, attributes = LAYERS[layer]
    b = OnnxBuilder(RNG.integers(1 << 30))
    x = b.requantised("x", 0.03, 121)
    is_dense = len(kernel) == 2
    w = weights(b, kernel, dtype, (1 if is_dense else 0) if per_channel else None, zero)
    y = b.node("MatMul" if is_dense else "Conv", [x, w], **attributes)
    level = 0.03 * np.sqrt(np.prod(kernel) / kernel[1 if is_dense else 0])
    graph = compare(b.model(shape, b.requantised(y, level, 128)), b.generator.standard_normal(shape, np.float32), [level])
    found = set(ops(graph))
    assert ("qdense" if is_dense else "qconv2d") in found
    assert not found & {"conv2d", "dense", "matmul"}
    if zero == "middle":
        assert found == {"quantize", "qdense" if is_dense else "qconv2d", "dequantize"}, "needs no second sum"


def test_few_outliers_cost_few_channels() -> None:
    b = OnnxBuilder(3)
    w = weights(b, (32, 64, 3, 3), "uint8", None, "near")
    y = b.node("Conv", [b.requantised("x", 0.03, 121), w], pads=[1, 1, 1, 1])
    shape = (1, 64, 6, 6)
    graph = compare(b.model(shape, b.requantised(y, 0.5, 128)), b.generator.standard_normal(shape, np.float32), [0.5])
    *_, conv = (node for node in graph.nodes if node.op == "qconv2d")
    assert 64 < graph.tensors[conv.inputs[0]].shape[1] <= 80


@pytest.mark.parametrize("low", [-255, -128, -200])
@pytest.mark.parametrize("high", [255, 127, 128])
def test_bytes_sum_to_the_weights(low: int, high: int) -> None:
    levels = RNG.integers(low, high, (4, 7), np.int16, endpoint=True)
    levels.flat[:2] = low, high
    parts = as_bytes(levels)
    assert all(part.dtype == np.int8 for part in parts)
    assert (sum(part.astype(int) for part in parts) == levels).all()
    assert len(parts) == (1 if low == -128 and high == 127 else 3 if high == 255 else 2)


@pytest.mark.parametrize("scale", [1e-13, 1e-30, 1e-38, 1e-43, 0.0])
@pytest.mark.parametrize("bias", [0.0, 0.7, -3.0, 1e4])
def test_a_dead_channel_leaves_its_layer_alone(scale: float, bias: float) -> None:
    """Channel 2 has weights of no account and a bias that its own unit could not hold; onnxruntime's integers overflow."""
    b = OnnxBuilder(5)
    x = b.requantised("x", 0.03, 121)
    levels = b.generator.integers(-127, 128, (8, 16, 3, 3), dtype=np.int8)
    scales = np.full(8, 0.004, np.float32)
    scales[2] = scale
    w = b.node("DequantizeLinear", [b.constant(levels), b.constant(scales), b.constant(np.zeros(8, np.int8))], axis=0)
    biases = np.linspace(-1, 1, 8).astype(np.float32)
    biases[2] = bias
    y = b.node("Conv", [x, w, b.constant(biases)], pads=[1, 1, 1, 1])
    shape = (1, 16, 8, 8)
    inputs = b.generator.standard_normal(shape, np.float32)
    graph = compare(b.model(shape, b.requantised(y, 0.05, 120)), inputs, [0.05], integer_kernels=False)
    assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


def test_what_would_show_is_refused_by_channel() -> None:
    b = OnnxBuilder(6)
    x = b.requantised("x", 1.0, 128)
    scales = np.array([1e-3, 1e-3, 1e-9, 1e-3], np.float32)
    operands = [b.constant(b.generator.integers(-127, 128, (4, 64), dtype=np.int8)), b.constant(scales)]
    w = b.node("DequantizeLinear", [*operands, b.constant(np.zeros(4, np.int8))], axis=0)
    y = b.node("Gemm", [x, w, b.constant(np.array([0, 0, 1e3, 0], np.float32))], transB=1)
    model = b.model((2, 64), b.requantised(y, 1e-9, 128))
    found = from_qdq_with_levels(optimise(import_onnx(model)))
    (dense,) = (node for node in found.graph.nodes if node.op == "dense")
    assert found.reasons[dense.name].startswith("channel 2: weights in steps of 1e-09 do not fit an int32 accumulator beside")


def test_fitted_channels_overflow_nowhere() -> None:
    """Against Python's integers, for weights, biases and residuals over forty orders of magnitude."""
    for _ in range(300):
        shape = (3, int(RNG.integers(1, 5000)))
        levels = RNG.integers(-255, 256, shape, np.int16)
        w = LayerWeights(levels, 10.0 ** RNG.uniform(-40, 1, 3), RNG.standard_normal(3) * 10.0 ** RNG.uniform(-20, 10))
        x, y, residual = 10.0 ** RNG.uniform(-6, 2, 3)
        try:
            fit = fitted(w, x, y, residual)
        except NoIntegerForm:
            continue
        for row, scale, bias in zip(fit.levels, fit.scale, fit.bias, strict=True):
            reach = 255 * (sum(abs(int(v)) for v in row) + residual / (x * scale)) + abs(int(bias))
            assert reach < 1 << 31
        unchanged = fit.scale == w.scale
        assert (fit.levels[unchanged] == levels[unchanged]).all()


BIASES = ["float", "int32", "int32 at another scale", "int8", "added", "QDQ added", "scaled", "subtracted"]


@pytest.mark.parametrize("kind", BIASES)
def test_biases(kind: str) -> None:
    b = OnnxBuilder(7)
    x, w = b.requantised("x", 0.03, 121), b.weights((8, 16, 3, 3), 0)
    values = b.generator.standard_normal(8).astype(np.float32) * 2
    row = values.reshape(8, 1, 1)

    def dequantised(scale: float, dtype: str, array: np.ndarray) -> str:
        levels = np.rint(array / scale).astype(dtype)
        return b.node("DequantizeLinear", [b.constant(levels), b.constant(np.float32(scale)), b.constant(np.zeros((), dtype))])

    operands = {
        "float": lambda: [b.constant(values)],
        "int32": lambda: [dequantised(1.5e-4, "int32", values)],
        "int32 at another scale": lambda: [dequantised(0.01, "int32", values)],
        "int8": lambda: [dequantised(0.06, "int8", values)],
    }
    y = b.node("Conv", [x, w, *operands.get(kind, list)()], pads=[1, 1, 1, 1])
    if kind == "added":
        y = b.node("Add", [y, b.constant(row)])
    elif kind == "QDQ added":
        y = b.node("Add", [dequantised(0.06, "int8", row), y])
    elif kind == "scaled":
        y = b.node("Add", [b.node("Mul", [y, b.constant(row / 2)]), b.constant(row)])
    elif kind == "subtracted":
        y = b.node("Sub", [b.constant(row), y])
    shape = (1, 16, 8, 8)
    graph = compare(b.model(shape, b.requantised(y, 0.05, 120)), b.generator.standard_normal(shape, np.float32), [0.05])
    assert set(ops(graph)) <= {"quantize", "qconv2d", "dequantize", "concat"}


def test_matmul_with_a_bias_behind_it() -> None:
    b = OnnxBuilder(9)
    y = b.node("MatMul", [b.requantised("x", 0.03, 121), b.weights((64, 10), 1)])
    y = b.node("Add", [y, b.constant(b.generator.standard_normal(10).astype(np.float32))])
    graph = compare(b.model((20, 64), b.requantised(y, 0.1, 100)), b.generator.standard_normal((20, 64), np.float32), [0.1])
    assert ops(graph) == ["quantize", "qdense", "dequantize"]
