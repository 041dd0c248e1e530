"""What stands between DequantizeLinear and QuantizeLinear besides layers, in integers and within a level of onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from qdq_models import MAY_DIFFER, OnnxBuilder, compare, imported, onnxruntime_outputs, ops

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.qdq import from_qdq_with_levels

SHAPE = (2, 16, 6, 8)
AT_THE_SHORES = {"quantize", "dequantize"}


def compared(
    b: OnnxBuilder, y: str, level: float, zero: int = 128, shape: tuple[int, ...] = SHAPE, may_differ: float = MAY_DIFFER
) -> Graph:
    model = b.model(shape, b.requantised(y, level, zero))
    return compare(model, b.generator.standard_normal(shape, np.float32) * 2, [level], may_differ=may_differ)


def inside(graph: Graph) -> list[str]:
    return [op for op in ops(graph) if op not in AT_THE_SHORES]


UNARY = {
    "Sigmoid": 1 / 256,
    "Tanh": 1 / 128,
    "HardSwish": 0.02,
    "LeakyRelu": 0.03,
    "Elu": 0.03,
    "Softplus": 0.03,
    "Erf": 0.008,
    "Exp": 0.5,
    "Abs": 0.0213,
    "Neg": 0.03,
    "Mish": 0.03,
}


@pytest.mark.parametrize("op", UNARY)
def test_functions_of_one_number(op: str) -> None:
    b = OnnxBuilder(1)
    y = b.node(op, [b.requantised("x", 0.031, 120)])
    assert inside(compared(b, y, UNARY[op], 20)) in (["qtable"], ["requantize"])


REGIONS: dict[str, Callable[[OnnxBuilder, str], str]] = {
    "silu": lambda b, x: b.node("Mul", [x, b.node("Sigmoid", [x])]),
    "hard swish": lambda b, x: b.node(
        "Mul",
        [
            b.node("Mul", [x, b.node("Clip", [b.node("Add", [x, b.scalar(3)]), b.scalar(0), b.scalar(6)])]),
            b.scalar(1 / 6),
        ],
    ),
    "gelu": lambda b, x: b.node(
        "Mul",
        [
            b.node("Mul", [x, b.scalar(0.5)]),
            b.node("Add", [b.node("Erf", [b.node("Div", [x, b.scalar(np.sqrt(2))])]), b.scalar(1)]),
        ],
    ),
    "clipped power": lambda b, x: b.node("Min", [b.node("Pow", [b.node("Relu", [x]), b.scalar(1.5)]), b.scalar(4)]),
}


@pytest.mark.parametrize("name", REGIONS)
def test_regions_of_one_number(name: str) -> None:
    b = OnnxBuilder(2)
    assert inside(compared(b, REGIONS[name](b, b.requantised("x", 0.031, 120)), 0.03, 20)) == ["qtable"]


BROADCAST = {"same": SHAPE, "channels": (1, 16, 1, 1), "of images": (2, 16, 1, 1), "lower rank": (16, 1, 1), "one": (1,)}


@pytest.mark.parametrize("kind", BROADCAST)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("op", "form"), [("Add", "qadd"), ("Sub", "qsub"), ("Mul", "qmul"), ("Max", "qmax"), ("Min", "qmin")])
def test_pairs_with_constants(op: str, form: str, kind: str, turned: bool) -> None:
    b = OnnxBuilder(4)
    levels = b.constant(b.generator.integers(0, 256, BROADCAST[kind], dtype=np.uint8))
    k = b.node("DequantizeLinear", [levels, *b.parameters(0.021, 100)])
    operands = [b.requantised("x", 0.031, 120), k]
    y = b.node(op, operands[::-1] if turned else operands)
    found = set(inside(compared(b, y, 0.0417)))
    assert found <= {form, "qconv2d", "requantize", "qtable"}
    assert found


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max"])
@pytest.mark.parametrize("turned", [False, True])
def test_pairs_broadcast(op: str, turned: bool) -> None:
    b = OnnxBuilder(5)
    x = b.requantised("x", 0.031, 120)
    mean = b.requantised(b.node("GlobalAveragePool", [x]), 0.0109, 131)
    y = b.node(op, [mean, x] if turned else [x, mean])
    form = {"Add": "qadd", "Sub": "qsub", "Mul": "qmul", "Max": "qmax"}[op]
    assert inside(compared(b, y, 0.0217)) == ["qavg_pool2d", form]


def test_squeeze_and_excite() -> None:
    b = OnnxBuilder(6)
    x = b.requantised("x", 0.031, 120)
    pooled = b.requantised(b.node("GlobalAveragePool", [x]), 0.0109, 131)
    gate = b.requantised(b.node("Conv", [pooled, b.weights((16, 16, 1, 1), 0)]), 0.02, 128)
    gate = b.requantised(b.node("HardSigmoid", [gate]), 1 / 256, 0)
    assert inside(compared(b, b.node("Mul", [x, gate]), 0.0217)) == ["qavg_pool2d", "qconv2d", "qtable", "qmul"]


def test_a_float_constant_of_every_element() -> None:
    b = OnnxBuilder(7)
    k = b.constant(b.generator.standard_normal(SHAPE[1:]).astype(np.float32))
    assert inside(compared(b, b.node("Add", [b.requantised("x", 0.031, 120), k]), 0.041, may_differ=0.5)) == ["qadd"]


@pytest.mark.parametrize("count", [3, 4, 5])
def test_sums_of_several(count: int) -> None:
    b = OnnxBuilder(8)
    parts = [b.requantised(b.node("Mul", ["x", b.scalar(0.2 + 0.3 * k)]), 0.011 + 0.002 * k, 118 + k) for k in range(count)]
    total = parts[0]
    for part in parts[1:]:
        total = b.node("Add", [total, part])
    graph = compared(b, total, 0.013 * count, may_differ=0.5)
    assert [op for op in inside(graph) if op != "mul"] == ["qadd"] * (count - 1)


@pytest.mark.parametrize("relu", [False, True])
def test_batch_norm_in_front_of_a_convolution(relu: bool) -> None:
    """Factors of both signs, and 0, between levels and what the convolution reads."""
    b = OnnxBuilder(9)
    factor = np.linspace(-1.5, 2, 16).astype(np.float32)
    factor[3] = 0
    parameters = [factor, np.linspace(-1, 1, 16, dtype=np.float32), np.full(16, 0.1, np.float32), np.ones(16, np.float32)]
    y = b.node("BatchNormalization", [b.requantised("x", 0.031, 120), *map(b.constant, parameters)])
    y = b.requantised(b.node("Relu", [y]) if relu else y, 0.04, 0 if relu else 128)
    y = b.node("Conv", [y, b.weights((8, 16, 3, 3), 0)], pads=[1, 1, 1, 1])
    assert inside(compared(b, y, 0.1, may_differ=0.12)) == ["qconv2d", "qconv2d"]


@pytest.mark.parametrize("shape", [(4, 16), (2, 16, 9), (1, 16, 3, 4, 5)])
def test_constants_of_channels_in_any_rank(shape: tuple[int, ...]) -> None:
    b = OnnxBuilder(10)
    row = np.linspace(-1.5, 2, 16, dtype=np.float32).reshape(16, *[1] * (len(shape) - 2))
    y = b.node("Add", [b.node("Mul", [b.requantised("x", 0.031, 120), b.constant(row)]), b.constant(row)])
    assert "qconv2d" in inside(compared(b, y, 0.04, shape=shape))


TAILS: dict[str, tuple[Callable[[OnnxBuilder, str], str], list[str]]] = {
    "flatten": (lambda b, y: b.node("Flatten", [y]), ["reshape"]),
    "transpose": (lambda b, y: b.node("Transpose", [y], perm=[0, 2, 3, 1]), ["transpose"]),
    "slice": (lambda b, y: b.node("Slice", [y, b.whole([1]), b.whole([5]), b.whole([2])]), ["slice"]),
    "resize": (
        lambda b, y: b.node("Resize", [y, "", b.constant(np.array([1, 1, 2, 2], np.float32))], mode="nearest"),
        ["repeat"],
    ),
    "max pool": (lambda b, y: b.node("MaxPool", [y], kernel_shape=[2, 2]), ["qmax_pool2d"]),
    "pad": (lambda b, y: b.node("Pad", [y, b.whole([0, 0, 1, 1, 0, 0, 1, 1])]), ["pad"]),
    "relu, pool, clip": (
        lambda b, y: b.node("Clip", [b.node("MaxPool", [b.node("Relu", [y])], kernel_shape=[2, 2]), b.scalar(-1), b.scalar(3)]),
        ["qmax_pool2d"],
    ),
}


@pytest.mark.parametrize("name", TAILS)
def test_movement_before_the_quantisation(name: str) -> None:
    b = OnnxBuilder(11)
    tail, expected = TAILS[name]
    y = tail(b, b.node("Conv", [b.requantised("x", 0.031, 120), b.weights((8, 16, 3, 3), 0)]))
    found = inside(compared(b, y, 0.1))
    assert found[0] == "qconv2d"
    assert [op for op in found[1:] if op != "reshape" or op in expected] == expected


def test_pool_flatten_and_one_output() -> None:
    """global average → flatten → quantize, then a dense layer of one neuron."""
    b = OnnxBuilder(12)
    y = b.requantised(b.node("Flatten", [b.node("GlobalAveragePool", [b.requantised("x", 0.031, 120)])]), 0.0109, 131)
    y = b.node("Gemm", [y, b.weights((1, 16), None), b.constant(np.ones(1, np.float32))], transB=1)
    assert inside(compared(b, y, 0.01)) == ["qavg_pool2d", "reshape", "qdense"]


@pytest.mark.parametrize("shape", [(1, 10, 64), (2, 3, 5, 64)])
def test_products_of_any_rank(shape: tuple[int, ...]) -> None:
    b = OnnxBuilder(19)
    y = b.node("MatMul", [b.requantised("x", 0.03, 121), b.weights((64, 32), 1)])
    y = b.node("Add", [y, b.constant(b.generator.standard_normal(32).astype(np.float32))])
    found = inside(compared(b, y, 0.111, shape=shape))
    assert [op for op in found if op not in ("reshape", "transpose")] == ["qconv2d"]


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_convolutions_of_lines_and_transposed_ones(op: str) -> None:
    b = OnnxBuilder(20)
    shape, kernel = ((2, 16, 20), (16, 16, 3)) if op == "Conv" else ((2, 16, 6, 6), (16, 16, 2, 2))
    w = b.weights(kernel, 0 if op == "Conv" else None)
    y = b.node(op, [b.requantised("x", 0.03, 121), w], strides=[2] * (len(shape) - 2))
    found = inside(compared(b, y, 0.111, shape=shape))
    assert [op for op in found if op not in ("reshape", "depth_to_space")] == ["qconv2d"]


def test_split_and_concat_with_a_constant() -> None:
    b = OnnxBuilder(13)
    b.nodes.append(helper.make_node("Split", [b.requantised("x", 0.031, 120)], ["s0", "s1"], axis=1, num_outputs=2))
    k = b.constant(b.generator.standard_normal((2, 4, 6, 8)).astype(np.float32))
    joined = b.node("Concat", ["s1", k, b.node("Relu", ["s0"])], axis=1)
    graph = compared(b, joined, 0.0312)
    assert sorted(inside(graph)) == ["concat", "requantize", "requantize", "split"]


def test_clips_that_levels_know_are_clips_of_levels() -> None:
    """A relu that two convolutions read, with nothing quantised behind it."""
    b = OnnxBuilder(14)
    y = b.node("Relu", [b.requantised("x", 0.031, 120)])
    left, right = (b.requantised(b.node("Conv", [y, b.weights((8, 16, 1, 1), 0)]), 0.1, 128) for _ in range(2))
    assert inside(compared(b, b.node("Add", [left, right]), 0.2113)) == ["requantize", "qconv2d", "qconv2d", "qadd"]


def test_a_tensor_quantised_once_for_each_reader() -> None:
    """As TensorRT's tools export: what is alike is one, and at another scale the layer runs again."""
    b = OnnxBuilder(15)
    y = b.node("Relu", [b.node("Conv", [b.requantised("x", 0.031, 120), b.weights((16, 16, 1, 1), 0)])])
    left, same, other = (b.requantised(y, scale, 0) for scale in (0.05, 0.05, 0.0613))
    left = b.requantised(b.node("Conv", [left, b.weights((16, 16, 1, 1), 0)]), 0.1, 128)
    total = b.requantised(b.node("Add", [left, same]), 0.11, 128)
    graph = compared(b, b.node("Add", [total, other]), 0.13)
    assert sorted(inside(graph)) == ["qadd", "qadd", "qconv2d", "qconv2d", "qconv2d"]


BITS = {"8 narrow": (-127, 127), "4": (-8, 7), "4 narrow": (-7, 7), "2": (-2, 1), "unsigned 4": (0, 15), "unsigned 2": (0, 3)}


@pytest.mark.parametrize("bits", BITS)
def test_clipped_levels(bits: str) -> None:
    """QuantizeLinear → Clip → DequantizeLinear, as Brevitas exports: of inputs, results and weights."""
    low, high = BITS[bits]
    unsigned = low == 0
    b = OnnxBuilder(16, np.uint8 if unsigned else np.int8)

    def clipped(x: str, scale: float, kind: type, ends: tuple[int, int]) -> str:
        parameters = [b.constant(np.float32(scale)), b.constant(kind(0))]
        levels = b.node("QuantizeLinear", [x, *parameters])
        levels = b.node("Clip", [levels, b.constant(kind(ends[0])), b.constant(kind(ends[1]))])
        return b.node("DequantizeLinear", [levels, *parameters])

    kind, step = (np.uint8 if unsigned else np.int8), 2.6 / high
    w = clipped(b.constant(b.generator.standard_normal((8, 16, 3, 3)).astype(np.float32)), 0.02, np.int8, (-8, 7))
    y = b.node("Relu", [b.node("Conv", [clipped("x", step, kind, (low, high)), w])])
    model = b.model(SHAPE, clipped(y, 5 * step, kind, (low, high)))
    graph = compare(model, b.generator.standard_normal(SHAPE, np.float32) * 2, [5 * step])
    assert inside(graph) == ["requantize", "qconv2d"]
    (conv,) = (node for node in graph.nodes if node.op == "qconv2d")
    assert (conv.attributes["low"], conv.attributes["high"]) == ((-128, high - 128) if unsigned else (0, high))


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_integer_inputs_and_outputs(kind: type) -> None:
    """No float between a graph's bytes and its layers."""
    b = OnnxBuilder(17, kind)
    shift = 128 if kind is np.uint8 else 0
    x = b.node("DequantizeLinear", ["x", *b.parameters(0.031, shift - 9)])
    y = b.node("Relu", [b.node("Conv", [x, b.weights((8, 16, 3, 3), 0)])])
    q = b.node("QuantizeLinear", [y, *b.parameters(0.1, shift - 100)])
    number = TensorProto.UINT8 if kind is np.uint8 else TensorProto.INT8
    declared = [helper.make_tensor_value_info(name, number, shape) for name, shape in (("x", SHAPE), (q, None))]
    graph = helper.make_graph(b.nodes, "bytes", declared[:1], declared[1:], b.constants)
    model = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )
    info = np.iinfo(kind)
    bytes_ = b.generator.integers(info.min, info.max, SHAPE, kind, endpoint=True)
    ours = imported(model)
    assert not {"quantize", "dequantize", "conv2d"} & set(ops(ours))
    assert all(ours.tensors[name].dtype != "float32" for node in ours.nodes for name in (*node.inputs, *node.outputs))
    found, expected = run_reference(ours, {"x": bytes_})[ours.outputs[0]], onnxruntime_outputs(model, bytes_)[0]
    assert found.dtype == expected.dtype
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_scales_of_channels_are_refused_by_name() -> None:
    b = OnnxBuilder(18)
    parameters = [b.constant(np.linspace(0.02, 0.03, 16, dtype=np.float32)), b.constant(np.full(16, 128, np.uint8))]
    levels = b.node("QuantizeLinear", ["x", *parameters], axis=1)
    x = b.node("DequantizeLinear", [levels, *parameters], axis=1)
    model = b.model(SHAPE, b.requantised(b.node("Conv", [x, b.weights((8, 16, 1, 1), 0)]), 0.1, 128))
    found = from_qdq_with_levels(optimise(import_onnx(model)))
    (conv,) = (node for node in found.graph.nodes if node.op == "conv2d")
    assert found.reasons[conv.name].endswith("has a scale for each channel")
