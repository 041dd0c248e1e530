"""Quantised models as QONNX, OpenVINO and tools that write fake quantisation out have them, against their own definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from qdq_models import OnnxBuilder, compare, ops

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.qdq import from_qdq, has_qdq
from vdla.errors import ModelError

SHAPE = (2, 16, 6, 8)
QONNX, OPENVINO = "qonnx.custom_op.general", "org.openvinotoolkit"


class DialectBuilder(OnnxBuilder):
    """A layer between activations of another dialect, and the same in NumPy."""

    def of_domain(self, domain: str, op: str, inputs: list[str], **attributes: Any) -> str:
        name = self.node(op, inputs, **attributes)
        self.nodes[-1].domain = domain
        return name

    def imported(self, y: str, shape: tuple[int, ...] = SHAPE) -> Graph:
        graph = helper.make_graph(
            self.nodes,
            "dialect",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(QONNX, 1), helper.make_opsetid(OPENVINO, 1)]
        return import_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=10))


def on_grid(x: np.ndarray, scale: np.ndarray, zero: float, low: int, high: int) -> np.ndarray:
    return ((np.clip(np.rint(x.astype(np.float32) / scale + zero), low, high) - zero) * scale).astype(np.float32)


def conv(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """1×1."""
    return np.einsum("nchw,oc->nohw", x.astype(np.float64), w[:, :, 0, 0].astype(np.float64))


def check(graph: Graph, x: np.ndarray, expected: np.ndarray, level: float, layers: list[str]) -> None:
    """As imported, and in integers: at most one level apart, and rarely."""
    assert has_qdq(graph)
    quantised = from_qdq(optimise(graph))
    for version in (graph, quantised):
        difference = np.rint((run_reference(version, {"x": x})[version.outputs[0]] - expected) / level)
        assert np.abs(difference).max() <= 1
        assert (difference != 0).mean() <= 0.02
    assert [op for op in ops(quantised) if op not in ("quantize", "dequantize", "requantize")] == layers


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("narrow", [0, 1])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_qonnx(bits: int, narrow: int, signed: int) -> None:
    b = DialectBuilder(bits + narrow)
    low, high = (-(1 << bits - 1) + narrow, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow)
    step = 2.7 / max(high, 1)
    w, scales = b.generator.standard_normal((8, 16, 1, 1)).astype(np.float32), np.linspace(0.3, 0.4, 8, dtype=np.float32)
    scales = scales.reshape(-1, 1, 1, 1)

    def quant(x: str, scale: Any, bits: int, **attributes: int) -> str:
        operands = [x, b.constant(np.float32(scale)), b.scalar(0), b.scalar(bits)]
        return b.of_domain(QONNX, "Quant", operands, **attributes, rounding_mode="ROUND")

    data = quant("x", step, bits, signed=signed, narrow=narrow)
    y = b.node("Conv", [data, quant(b.constant(w), scales, 4, signed=1, narrow=1)])
    y = quant(b.node("Relu", [y]), 5.3 * step, bits, signed=signed, narrow=narrow)
    x = b.generator.standard_normal(SHAPE, np.float32) * 2
    levels = conv(on_grid(x, np.float32(step), 0, low, high), on_grid(w, scales, 0, -7, 7))
    expected = on_grid(np.maximum(levels, 0), np.float32(5.3 * step), 0, low, high)
    check(b.imported(y), x, expected, 5.3 * step, ["qconv2d"])


def test_qonnx_binary_weights() -> None:
    b = DialectBuilder(1)
    w, scale = b.generator.standard_normal((8, 16, 1, 1)).astype(np.float32), np.float32(0.3)

    def quant(x: str, scale: float) -> str:
        return b.of_domain(QONNX, "Quant", [x, b.scalar(scale), b.scalar(0), b.scalar(8)], signed=1, narrow=0)

    y = b.node("Conv", [quant("x", 0.03), b.of_domain(QONNX, "BipolarQuant", [b.constant(w), b.constant(scale)])])
    x = b.generator.standard_normal(SHAPE, np.float32)
    levels = conv(on_grid(x, np.float32(0.03), 0, -128, 127), np.where(w >= 0, scale, -scale))
    check(b.imported(quant(y, 0.0417)), x, on_grid(levels, np.float32(0.0417), 0, -128, 127), 0.0417, ["qconv2d"])


BAD = {
    "scale": ([np.array([0.1, np.nan], np.float32), np.float32(0), np.float32(8)], "c0, channel 1: nan"),
    "zero scale": ([np.array([0.1, 0.2, 0.0], np.float32), np.float32(0), np.float32(8)], "c0, channel 2: 0.0"),
    "zeropt": ([np.float32(0.1), np.float32(0.5), np.float32(8)], "c1: 0.5"),
    "bitwidth": ([np.float32(0.1), np.float32(0), np.float32(2.5)], "2.5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_named(case: str) -> None:
    values, words = BAD[case]
    b = DialectBuilder(1)
    y = b.of_domain(QONNX, "Quant", ["x", *(b.constant(value) for value in values)])
    with pytest.raises(ModelError, match=words):
        b.imported(y)


@pytest.mark.parametrize(("scale", "words"), [(np.nan, "nan"), (0.0, r"0\.0"), (-0.1, r"-0\.1"), (np.inf, "inf")])
@pytest.mark.parametrize("op", ["QuantizeLinear", "DequantizeLinear"])
def test_bad_scales_are_named(op: str, scale: float, words: str) -> None:
    b = OnnxBuilder(1)
    q = b.node("QuantizeLinear", ["x", *b.parameters(scale if op == "QuantizeLinear" else 0.1, 128)])
    y = b.node("DequantizeLinear", [q, *b.parameters(scale if op == "DequantizeLinear" else 0.1, 128)])
    if op == "DequantizeLinear" and scale < 0:
        pytest.skip("a negative scale is arithmetic")
    with pytest.raises(ModelError, match=f"scale of {op} is not finite and positive; found 'c[02]: {words}"):
        import_onnx(b.model((1, 4), y))


def fake_quantize(x: np.ndarray, low: Any, high: Any, out_low: Any, out_high: Any, levels: int) -> np.ndarray:
    """As OpenVINO's specification has it."""
    inner = np.rint((x - low) / (high - low) * (levels - 1)) / (levels - 1) * (out_high - out_low) + out_low
    return np.where(x <= low, out_low, np.where(x > high, out_high, inner))


@pytest.mark.parametrize("levels", [256, 16])
@pytest.mark.parametrize("symmetric", [False, True])
def test_openvino(levels: int, symmetric: bool) -> None:
    b = DialectBuilder(levels)
    w = b.generator.standard_normal((8, 16, 1, 1)).astype(np.float32)
    reach = np.linspace(2, 3, 8, dtype=np.float32).reshape(-1, 1, 1, 1)
    low = np.float32(-(levels // 2) * 0.02 * 256 / levels) if symmetric else np.float32(0)
    high = np.float32(low + 0.02 * 256 / levels * (levels - 1))
    ends = (np.float32(-128 * 0.0513), np.float32(127 * 0.0513))

    def fake(x: str, low: Any, high: Any, levels: int) -> str:
        limits = [b.constant(np.asarray(v, np.float32)) for v in (low, high, low, high)]
        return b.of_domain(OPENVINO, "FakeQuantize", [x, *limits], levels=levels)

    y = b.node("Conv", [fake("x", low, high, levels), fake(b.constant(w), -reach, reach, 255)])
    y = fake(y, *ends, 256)
    x = b.generator.standard_normal(SHAPE, np.float32) * 2
    sums = conv(fake_quantize(x, low, high, low, high, levels), fake_quantize(w, -reach, reach, -reach, reach, 255))
    check(b.imported(y), x, fake_quantize(sums, *ends, *ends, 256), 0.0513, ["qconv2d"])


def test_openvino_without_a_level_at_zero() -> None:
    """Stays in floats, and is what its specification says."""
    b = DialectBuilder(3)
    limits = [b.scalar(v) for v in (-1.03, 2.0, -1.0, 2.5)]
    y = b.of_domain(OPENVINO, "FakeQuantize", ["x", *limits], levels=16)
    x = b.generator.standard_normal(SHAPE, np.float32) * 2
    found = run_reference(b.imported(y), {"x": x})[y]
    difference = np.rint((found - fake_quantize(x, -1.03, 2.0, -1.0, 2.5, 16)) / (3.5 / 15))
    assert (difference != 0).mean() < 1e-3


@pytest.mark.parametrize("zero", [0, 37])
@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("rounded_first", [False, True])
def test_written_out(zero: int, multiplied: bool, rounded_first: bool) -> None:
    """Div, Round, Clip, Mul, of activations and of weights, which are constants on a grid once they are read."""
    b = OnnxBuilder(5)

    def fake(x: str, scale: Any, low: int, high: int, zero: int = 0) -> str:
        step = np.asarray(scale, np.float32)
        factor = b.constant((1 / step).astype(np.float32) if multiplied else step)
        y = b.node("Mul" if multiplied else "Div", [x, factor])
        order = ["Round", "Add", "Clip"] if rounded_first else ["Add", "Clip", "Round"]
        for op in order:
            if op == "Add" and zero:
                y = b.node("Add", [y, b.scalar(zero)])
            elif op == "Clip":
                y = b.node("Clip", [y, b.scalar(low), b.scalar(high)])
            elif op == "Round":
                y = b.node("Round", [y])
        y = b.node("Sub", [y, b.scalar(zero)]) if zero else y
        return b.node("Mul", [y, b.constant(step)])

    w = b.constant(b.generator.standard_normal((8, 16, 3, 3)).astype(np.float32))
    scales = np.linspace(0.02, 0.03, 8).reshape(-1, 1, 1, 1)
    y = b.node("Conv", [fake("x", 0.023, 0, 255, 120 + zero), fake(w, scales, -127, 127)])
    y = fake(b.node("Relu", [y]), 0.0917, -128, 127, zero - 100)
    model = b.model(SHAPE, y)
    x = b.generator.standard_normal(SHAPE, np.float32) * 2
    graph = compare(model, x, [0.0917])
    assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


def test_weights_on_no_grid_stay_float() -> None:
    b = OnnxBuilder(6)
    w = b.constant(b.generator.standard_normal((8, 16, 1, 1)).astype(np.float32))
    graph = compare(
        b.model(SHAPE, b.requantised(b.node("Conv", [b.requantised("x", 0.03, 128), w]), 0.1, 128)),
        b.generator.standard_normal(SHAPE, np.float32),
        [0.1],
        integer_kernels=False,  # which quantise the weights
    )
    assert "conv2d" in ops(graph)


def test_model_has_four_bit_weights() -> None:
    """int4 and uint4 of opset 21, with zero points."""
    for kind, low, high in ((TensorProto.INT4, -8, 8), (TensorProto.UINT4, 0, 16)):
        b = OnnxBuilder(7, opset=21)
        levels, zeros = b.generator.integers(low, high, (8, 16, 1, 1)), b.generator.integers(low, high, 8)
        names = []
        for name, array in (("levels", levels), ("zeros", zeros)):
            b.constants.append(helper.make_tensor(name, kind, array.shape, array.ravel().tolist()))
            names.append(name)
        scales = b.constant(np.linspace(0.1, 0.2, 8, dtype=np.float32))
        w = b.node("DequantizeLinear", [names[0], scales, names[1]], axis=0)
        y = b.requantised(b.node("Conv", [b.requantised("x", 0.03, 128), w]), 0.1, 128)
        graph = compare(b.model(SHAPE, y), b.generator.standard_normal(SHAPE, np.float32), [0.1])
        assert ops(graph) == ["quantize", "qconv2d", "dequantize"]


def test_an_unknown_dialect_is_refused_by_name() -> None:
    b = DialectBuilder(8)
    y = b.of_domain(QONNX, "Trunc", ["x", b.scalar(0.1), b.scalar(0), b.scalar(8), b.scalar(4)])
    with pytest.raises(ModelError, match=r"qonnx.custom_op.general::Trunc'.*qonnx-convert"):
        b.imported(y)
