"""Quantised models, int8 and uint8, in QDQ and QLinear form, against onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import model_of, node, opsets_of, random, run_onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from vdla.compiler.frontend.microsoft import IMPORTERS as MICROSOFT
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import ModelError
from vdla.zoo import build, digits_test, sample_inputs

OUT_SCALE = 0.1117  # no tie between levels from the input scales, which executors may round either way


def scale(*values: float) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 else values, np.float32)


def integers(dtype: str, *shape: int, seed: int = 5) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(max(info.min, -900), min(info.max, 900), shape, dtype, endpoint=True)


def check(model, inputs, step: float = 0.0) -> list[str]:
    """Agreement with onnxruntime, imported and optimised, but for one quantisation `step` in one element of a hundred."""
    expected = run_onnxruntime(model, inputs)["y"]
    graph = import_onnx(model)
    verify_graph(graph)
    for version in (graph, optimise(graph)):
        error = np.abs(run_reference(version, inputs)["y"].astype(np.float64) - expected)
        assert error.max() <= 1.001 * step + 1e-5 * np.abs(expected).max()
        assert (error > 1e-5 * np.abs(expected).max()).mean() <= 0.01
    return [n.op for n in optimise(graph).nodes]


@pytest.mark.parametrize("opset", opsets_of("QuantizeLinear", 10))
@pytest.mark.parametrize(("dtype", "zero_point"), [("int8", -3), ("uint8", 131), ("uint8", None)])
def test_quantise_and_back(dtype: str, zero_point: int | None, opset: int) -> None:
    operands = "s" if zero_point is None else "s z"
    constants = {"s": scale(0.013)} | ({} if zero_point is None else {"z": np.array(zero_point, dtype)})
    nodes = [node("QuantizeLinear", f"x {operands}", "q"), node("DequantizeLinear", f"q {operands}")]
    inputs = {"x": random(2, 3, 4, 5)}
    assert check(model_of(nodes, inputs, ["y"], constants, opset), inputs, 0.013) == ["quantize", "dequantize"]


def test_output_dtype_attribute() -> None:
    nodes = [node("QuantizeLinear", "x s", "q", output_dtype=TensorProto.INT8), node("DequantizeLinear", "q s")]
    inputs = {"x": random(2, 3)}
    check(model_of(nodes, inputs, ["y"], {"s": scale(0.02)}, 21), inputs, 0.02)


@pytest.mark.parametrize("channel_zero_points", [(0, 0, 0), (1, -2, 3)])
@pytest.mark.parametrize("activation", ["int8", "uint8"])
def test_qdq_convolution(activation: str, channel_zero_points: tuple[int, ...]) -> None:
    """x and y per tensor, weights per channel, the bias int32 in units of the product's scale."""
    wscale = scale(0.01, 0.02, 0.03)
    constants = {
        "xs": scale(0.017),
        "xz": np.array(7, activation),
        "w": integers("int8", 3, 4, 3, 3),
        "ws": wscale,
        "wz": np.array(channel_zero_points, np.int8),
        "b": integers("int32", 3),
        "bs": wscale * np.float32(0.017),
        "bz": np.zeros(3, np.int32),
        "ys": scale(OUT_SCALE),
        "yz": np.array(9, activation),
    }
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xd"),
        node("DequantizeLinear", "w ws wz", "wd", axis=0),
        node("DequantizeLinear", "b bs bz", "bd", axis=0),
        node("Conv", "xd wd bd", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r ys yz", "yq"),
        node("DequantizeLinear", "yq ys yz"),
    ]
    inputs = {"x": random(1, 4, 8, 8)}
    ops = check(model_of(nodes, inputs, ["y"], constants), inputs, OUT_SCALE)
    assert ops == ["quantize", "dequantize", "dequantize", "conv2d", "relu", "quantize", "dequantize"]


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("weight", ["int8", "uint8"])
def test_qdq_dense(weight: str, transposed: int) -> None:
    """Weights stay `dense(x, dequantize(constant))`, whichever way round they were stored."""
    shape = (5, 6) if transposed else (6, 5)
    constants = {
        "w": integers(weight, *shape),
        "ws": scale(0.01, 0.02, 0.03, 0.04, 0.05),
        "wz": np.full(5, 128 if weight == "uint8" else 0, weight),
        "b": random(5),
    }
    nodes = [node("DequantizeLinear", "w ws wz", "wd", axis=0 if transposed else 1), node("Gemm", "x wd b", transB=transposed)]
    inputs = {"x": random(3, 6)}
    assert check(model_of(nodes, inputs, ["y"], constants), inputs) == ["dequantize", "dense"]


def test_weights_quantised_in_the_model() -> None:
    """float weights → QuantizeLinear → DequantizeLinear, as quantisation-aware training exports them."""
    constants = {"w": random(3, 4, 1, 1), "ws": scale(0.01, 0.02, 0.03), "wz": np.zeros(3, np.int8)}
    nodes = [
        node("QuantizeLinear", "w ws wz", "wq", axis=0),
        node("DequantizeLinear", "wq ws wz", "wd", axis=0),
        node("Conv", "x wd"),
    ]
    inputs = {"x": random(1, 4, 5, 5)}
    assert check(model_of(nodes, inputs, ["y"], constants), inputs) == ["dequantize", "conv2d"]


@pytest.mark.parametrize("opset", opsets_of("QLinearConv", 10))
@pytest.mark.parametrize(("x", "w"), [("uint8", "uint8"), ("uint8", "int8"), ("int8", "int8")])
def test_qlinear_conv(x: str, w: str, opset: int) -> None:
    per_channel = w == "int8"
    constants = {
        "xs": scale(0.017),
        "xz": np.array(5, x),
        "w": integers(w, 6, 2, 3, 3),
        "ws": scale(*[0.01, 0.02, 0.03] * 2) if per_channel else scale(0.02),
        "wz": np.zeros(6, w) if per_channel else np.array(99, w),
        "ys": scale(OUT_SCALE),
        "yz": np.array(17, x),
        "b": integers("int32", 6),
    }
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz b", "r", group=2, strides=[2, 1], pads=[1, 0, 1, 2]),
        node("DequantizeLinear", "r ys yz"),
    ]
    inputs = {"x": random(2, 4, 7, 6)}
    check(model_of(nodes, inputs, ["y"], constants, opset), inputs, OUT_SCALE)


@pytest.mark.parametrize("size", [(9,), (4, 5, 3)])
def test_qlinear_conv_of_lines_and_volumes(size: tuple[int, ...]) -> None:
    constants = {
        "xs": scale(0.017),
        "xz": np.array(5, np.uint8),
        "w": integers("int8", 6, 4, *[2] * len(size)),
        "ws": scale(0.02),
        "wz": np.array(0, np.int8),
        "ys": scale(OUT_SCALE),
        "yz": np.array(17, np.uint8),
    }
    nodes = [
        node("QuantizeLinear", "x xs xz", "q"),
        node("QLinearConv", "q xs xz w ws wz ys yz", "r", pads=[1] * len(size) + [0] * len(size)),
        node("DequantizeLinear", "r ys yz"),
    ]
    inputs = {"x": random(2, 4, *size)}
    check(model_of(nodes, inputs, ["y"], constants), inputs, OUT_SCALE)


@pytest.mark.parametrize(("opset", "constant"), [(10, True), (21, True), (21, False)])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_qlinear_matmul(dtype: str, constant: bool, opset: int) -> None:
    constants = {
        "as": scale(0.017),
        "az": np.array(5, dtype),
        "bs": scale(0.02),
        "bz": np.array(3, dtype),
        "ys": scale(OUT_SCALE),
        "yz": np.array(17, dtype),
    }
    inputs = {"x": random(3, 6)}
    if constant:
        constants["b"] = integers(dtype, 6, 5)
    else:
        inputs["x2"] = random(6, 5)
    nodes = [] if constant else [node("QuantizeLinear", "x2 bs bz", "b")]
    nodes += [
        node("QuantizeLinear", "x as az", "a"),
        node("QLinearMatMul", "a as az b bs bz ys yz", "r"),
        node("DequantizeLinear", "r ys yz"),
    ]
    check(model_of(nodes, inputs, ["y"], constants, opset), inputs, OUT_SCALE)


def test_uint8_passes_through_moves_and_max_pool() -> None:
    constants = {
        "s": scale(0.01),
        "z": np.array(128, np.uint8),
        "shape": np.array([1, 6, 2, 4]),
        "more": integers("uint8", 1, 2, 2, 4),
    }
    nodes = [
        node("QuantizeLinear", "x s z", "q"),
        node("Transpose", "q", "t", perm=[0, 1, 3, 2]),
        node("MaxPool", "t", "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Reshape", "p shape", "r"),
        node("Concat", "r more", "c", axis=1),
        node("DequantizeLinear", "c s z"),
    ]
    inputs = {"x": random(1, 3, 16, 4)}
    assert "qmax_pool2d" in check(model_of(nodes, inputs, ["y"], constants), inputs, 0.01)


def test_mixed_signs_are_refused() -> None:
    constants = {"s": scale(0.01), "z": np.array(128, np.uint8), "k": integers("int8", 2, 3)}
    nodes = [node("QuantizeLinear", "x s z", "q"), node("Concat", "q k", "c", axis=0), node("DequantizeLinear", "c s z")]
    with pytest.raises(ModelError, match=r"node 'c_Concat' \(Concat, opset 17\): Concat mixes dtypes"):
        import_onnx(model_of(nodes, {"x": random(2, 3)}, ["y"], constants))


MICROSOFT_CASES = {
    "QLinearAdd": ("q s z q2 s2 z ys yz", {}),
    "QLinearMul": ("q s z q2 s2 z ys yz", {}),
    "QLinearSigmoid": ("q s z ys yz", {}),
    "QLinearLeakyRelu": ("q s z ys yz", {"alpha": 0.3}),
    "QLinearWhere": ("choice q s z q2 s2 z ys yz", {}),
    "QLinearSoftmax": ("q s z ys yz", {"axis": 1, "opset": 11}),
    "QLinearGlobalAveragePool": ("q s z ys yz", {"channels_last": 0}),
    "QLinearAveragePool": ("q s z ys yz", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1}),
    "QLinearConcat": ("ys yz q s z q2 s2 z", {"axis": 1}),
    "QGemm": ("m s z w ws wz c ys yz", {"transB": 1}),
    "DequantizeLinear": ("q s z", {}),
}


@pytest.mark.parametrize("op", MICROSOFT_CASES)
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_onnxruntimes_own_operators(op: str, dtype: str) -> None:
    operands, attributes = MICROSOFT_CASES[op]
    constants = {
        "s": scale(0.013),
        "z": np.array(5, dtype),
        "s2": scale(0.02),
        "ys": scale({"QLinearSigmoid": 0.004, "QLinearSoftmax": 0.001}.get(op, OUT_SCALE)),
        "yz": np.array(17, dtype),
        "flat": np.array([2, -1]),
        "w": integers("int8", 6, 90),
        "ws": scale(0.01, 0.02, 0.03, 0.01, 0.02, 0.03),
        "wz": np.zeros(6, np.int8),
        "c": integers("int32", 6),
        "choice": integers("int8", 2, 3, 6, 5) > 0,
    }
    theirs = helper.make_node(op, operands.split(), ["r"], name="theirs", domain="com.microsoft", **attributes)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], domain="com.microsoft"),
        node("QuantizeLinear", "x2 s2 z", "q2"),
        node("Reshape", "q flat", "m"),
        theirs,
        node("Identity", "r", "y") if op == "DequantizeLinear" else node("DequantizeLinear", "r ys yz"),
    ]
    inputs = {"x": random(2, 3, 6, 5), "x2": random(2, 3, 6, 5, seed=1)}
    model = model_of(nodes, inputs, ["y"], constants)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    check(model, inputs, float(constants["ys"]))


def test_a_mean_of_levels() -> None:
    """onnxruntime writes it and has no kernel for it: against the same model with ONNX's own operators."""
    constants = {"s": scale(0.013), "z": np.array(5, np.uint8), "ys": scale(0.0117), "yz": np.array(17, np.uint8)}
    first, last = node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "r ys yz")
    theirs = [helper.make_node("QLinearReduceMean", ["q", "s", "z", "ys", "yz"], ["r"], domain="com.microsoft", axes=[2, 3])]
    plain = [node("DequantizeLinear", "q s z", "d"), node("ReduceMean", "d", "m", axes=[2, 3])]
    inputs = {"x": random(2, 3, 6, 5)}
    model, same = (
        model_of([first, *middle, last], inputs, ["y"], constants)
        for middle in (theirs, [*plain, node("QuantizeLinear", "m ys yz", "r")])
    )
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    error = run_reference(import_onnx(model), inputs)["y"] - run_onnxruntime(same, inputs)["y"]
    assert np.abs(error).max() <= 0.0118


def test_every_one_of_them_is_tested() -> None:
    assert set(MICROSOFT) == set(MICROSOFT_CASES) | {"QuantizeLinear", "QLinearReduceMean"}


class Samples(CalibrationDataReader):
    """What onnxruntime's quantiser reads its calibration data from."""

    def __init__(self) -> None:
        self.rest = iter([sample_inputs("digits", 40, seed) for seed in range(4)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rest, None)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("style", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_digits_quantised_by_onnxruntime(style: QuantFormat, kind: QuantType, per_channel: bool, tmp_path: Path) -> None:
    """A whole quantised network predicts what onnxruntime predicts."""
    path = tmp_path / "quantised.onnx"
    options = {"quant_format": style, "activation_type": kind, "weight_type": QuantType.QInt8, "per_channel": per_channel}
    quantize_static(build("digits", 40), path, Samples(), **options)
    images = {"input": digits_test()[0][:40]}
    expected = run_onnxruntime(onnx.load(path), images)["output"]
    actual = run_reference(optimise(import_onnx(path)), images)["output"]
    assert np.linalg.norm(actual - expected) < 0.03 * np.linalg.norm(expected)  # a level here and there
    assert (actual.argmax(1) == expected.argmax(1)).all()
