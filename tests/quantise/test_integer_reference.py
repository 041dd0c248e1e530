"""Every quantised operator against plain loops over Python integers, and the accumulators against onnxruntime."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from quantise_naive import at, pool2d, qconv2d, requantise_one, rescale_one, wrap

from vdla.compiler.operators.integer_arithmetic import FLOAT32_EXACT, conv_accumulate, exact_matmul
from vdla.compiler.operators.registry import OPERATORS, with_defaults
from vdla.compiler.quantise.scales import scale_words


def execute(op: str, operands: list[np.ndarray], **attributes: Any) -> np.ndarray:
    return OPERATORS[op].kernel(operands, with_defaults(op, attributes))


def int8(generator: np.random.Generator, *shape: int) -> np.ndarray:
    return generator.integers(-128, 128, shape, dtype=np.int8)


def parameters(generator: np.random.Generator, channels: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """A bias and scale words that bring accumulators of about `reach` to the int8 range, zero points mixed."""
    ratio = 100 / reach * generator.uniform(0.5, 2, channels)
    words = np.concatenate([scale_words(r, int(generator.integers(-128, 128))) for r in ratio])
    return generator.integers(-int(reach), int(reach) + 1, channels).astype(np.int32), words


@pytest.mark.parametrize("seed", range(25))
def test_qconv2d_against_loops(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = int(generator.choice([1, 1, 2, 3]))
    c_group, o = int(generator.integers(1, 4)), groups * int(generator.integers(1, 4))
    kernel, dilations = tuple(generator.integers(1, 4, 2).tolist()), tuple(generator.integers(1, 3, 2).tolist())
    x = int8(generator, int(generator.integers(1, 3)), groups * c_group, *generator.integers(5, 8, 2).tolist())
    w = int8(generator, o, c_group, *kernel)
    low, high = sorted(generator.integers(-128, 128, 2).tolist())
    attributes = {
        "strides": tuple(generator.integers(1, 4, 2).tolist()),
        "pads": tuple(generator.integers(0, 3, 4).tolist()),
        "dilations": dilations,
        "groups": groups,
        "low": low,
        "high": high,
        "pad_value": int(generator.integers(-128, 128)),
    }
    operands = [x, w, *parameters(generator, o, 128.0 * 128 * w[0].size)]
    if seed % 2:
        shape = execute("qconv2d", operands, **attributes).shape
        operands += [int8(generator, *shape), *parameters(generator, o, 0.01)]
    assert np.array_equal(execute("qconv2d", operands, **attributes), qconv2d(*operands, **attributes)), f"seed {seed}"


@pytest.mark.parametrize("channels", [1, 6])
def test_depthwise_against_loops(channels: int) -> None:
    generator = np.random.default_rng(channels)
    attributes = {
        "strides": (2, 1),
        "pads": (1, 1, 1, 1),
        "dilations": (1, 1),
        "groups": channels,
        "pad_value": -7,
        "low": -128,
        "high": 127,
    }
    operands = [
        int8(generator, 2, channels, 7, 6),
        int8(generator, channels, 1, 3, 3),
        *parameters(generator, channels, 50000.0),
    ]
    assert np.array_equal(execute("qconv2d", operands, **attributes), qconv2d(*operands, **attributes))


@pytest.mark.parametrize("seed", range(5))
def test_qdense_against_loops(seed: int) -> None:
    generator = np.random.default_rng(seed)
    n, i, o = generator.integers(1, 12, 3).tolist()
    x, w, (bias, scale) = int8(generator, n, i), int8(generator, o, i), parameters(generator, o, 16384.0 * i)
    got = execute("qdense", [x, w, bias, scale], low=-100, high=90)
    for b, k in itertools.product(range(n), range(o)):
        acc = sum(int(x[b, j]) * int(w[k, j]) for j in range(i))
        assert got[b, k] == requantise_one(acc, int(bias[k]), int(scale[k]), -100, 90), f"seed {seed}"


JOINS = [
    ("qadd", lambda left, right: wrap(left + right)),
    ("qsub", lambda left, right: wrap(left - right)),
    ("qmax", max),
    ("qmin", min),
]
SHAPES = [
    ((2, 3, 4, 5), (2, 3, 4, 5)),
    ((2, 3, 4, 5), (1, 3, 1, 1)),
    ((2, 3, 4, 5), (2, 1, 4, 5)),
    ((1, 3, 1, 1), (2, 3, 4, 5)),
    ((2, 1, 4, 1), (1, 3, 1, 5)),
    ((2, 3), (1, 3)),
]


def operand_at(x: np.ndarray, index: tuple[int, ...]) -> int:
    """The element that is broadcast to `index`."""
    return int(x[tuple(min(i, size - 1) for i, size in zip(index, x.shape, strict=True))])


@pytest.mark.parametrize(("op", "join"), JOINS)
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("for_all", [True, False])
def test_rescaled_pairs_against_loops(
    for_all: bool, shapes: tuple[tuple[int, ...], ...], op: str, join: Callable[[int, int], int]
) -> None:
    """Parameters for each channel of the first and, as one element, for all; the second operand's reach int32's ends."""
    generator = np.random.default_rng(len(op))
    a, b = (int8(generator, *shape) for shape in shapes)
    channels = 1 if for_all else a.shape[1]
    a_bias, a_scale = parameters(generator, channels, 0.01)
    b_bias, b_scale = parameters(generator, channels, 0.001)
    bias, scale = parameters(generator, channels, 5e6)
    got = execute(op, [a, b, a_bias, a_scale, b_bias, b_scale, bias, scale], low=-128, high=127)
    assert got.shape == np.broadcast_shapes(a.shape, b.shape)
    for index in np.ndindex(got.shape):
        c = index[1]
        left = rescale_one(operand_at(a, index), at(a_bias, c), at(a_scale, c))
        right = rescale_one(operand_at(b, index), at(b_bias, c), at(b_scale, c))
        assert got[index] == requantise_one(join(left, right), at(bias, c), at(scale, c), -128, 127)


@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("for_all", [True, False])
def test_products_of_two_against_loops(for_all: bool, shapes: tuple[tuple[int, ...], ...]) -> None:
    generator = np.random.default_rng(3)
    a, b = (int8(generator, *shape) for shape in shapes)
    a.flat[0] = b.flat[0] = -128  # with zero points of 127, the largest product there is
    bias, scale = parameters(generator, 1 if for_all else a.shape[1], 20000.0)
    got = execute("qmul", [a, b, bias, scale], low=-90, high=127, a_zero_point=127, b_zero_point=-128)
    assert got.shape == np.broadcast_shapes(a.shape, b.shape)
    for index in np.ndindex(got.shape):
        product = (operand_at(a, index) - 127) * (operand_at(b, index) + 128)
        assert got[index] == requantise_one(product, at(bias, index[1]), at(scale, index[1]), -90, 127)


@pytest.mark.parametrize("shapes", [((3, 7), (7, 4)), ((2, 1, 3, 300), (4, 300, 2))])
def test_matrix_products_of_two_against_loops(shapes: tuple[tuple[int, ...], ...]) -> None:
    generator = np.random.default_rng(5)
    a, b = (int8(generator, *shape) for shape in shapes)
    bias, scale = parameters(generator, 1, 200000.0)
    got = execute("qmatmul", [a, b, bias, scale], low=-90, high=127, a_zero_point=127, b_zero_point=-128)
    assert got.shape == (*np.broadcast_shapes(shapes[0][:-2], shapes[1][:-2]), shapes[0][-2], shapes[1][-1])
    for *batch, m, n in np.ndindex(got.shape):
        left, right = (np.broadcast_to(t, (*got.shape[:-2], *t.shape[-2:]))[tuple(batch)] for t in (a, b))
        total = sum((int(left[m, k]) - 127) * (int(right[k, n]) + 128) for k in range(shapes[0][-1]))
        assert got[*batch, m, n] == requantise_one(total, int(bias[0]), int(scale[0]), -90, 127)


def test_products_of_images_against_loops() -> None:
    generator = np.random.default_rng(6)
    a, b = int8(generator, 2, 9, 3, 2), int8(generator, 2, 9, 5, 1)
    bias, scale = parameters(generator, 1, 20000.0)
    got = execute("qmatmul2d", [a, b, bias, scale], low=-128, high=100, a_zero_point=-3, b_zero_point=8)
    assert got.shape == (2, 5, 3, 2)
    for n, p, h, w in np.ndindex(got.shape):
        total = sum((int(a[n, k, h, w]) + 3) * (int(b[n, k, p, 0]) - 8) for k in range(9))
        assert got[n, p, h, w] == requantise_one(total, int(bias[0]), int(scale[0]), -128, 100)


def test_tables_against_loops() -> None:
    generator = np.random.default_rng(4)
    x, table = int8(generator, 3, 4, 50), int8(generator, 256)
    x.flat[:256] = np.arange(-128, 128)
    got = execute("qtable", [x, table])
    for index in np.ndindex(x.shape):
        assert got[index] == table[int(x[index]) + 128]


@pytest.mark.parametrize("channels", [1, 4])
def test_requantize_against_loops(channels: int) -> None:
    generator = np.random.default_rng(channels)
    x, (bias, scale) = int8(generator, 2, 4, 3, 3), parameters(generator, channels, 300.0)
    got = execute("requantize", [x, bias, scale], low=-7, high=127)
    for index in np.ndindex(x.shape):
        assert got[index] == requantise_one(int(x[index]), at(bias, index[1]), at(scale, index[1]), -7, 127)


POOLS = [
    {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "ceil": False},
    {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "ceil": False},
    {"kernel": (3, 2), "strides": (2, 3), "pads": (1, 0, 0, 1), "ceil": True},
    {"kernel": (7, 6), "strides": (1, 1), "pads": (0, 0, 0, 0), "ceil": False},
]


@pytest.mark.parametrize("window", POOLS)
def test_pools_against_loops(window: dict[str, Any]) -> None:
    generator = np.random.default_rng(0)
    x = int8(generator, 2, 3, 7, 6)
    expected = pool2d(x, **window, value=-128, reduce=lambda values, c: max(values))
    assert np.array_equal(execute("qmax_pool2d", [x], **window), expected)
    for channels in (1, 3):
        bias, scale = parameters(generator, channels, 500.0)

        def average(values: list[int], c: int, bias: np.ndarray = bias, scale: np.ndarray = scale) -> int:
            return requantise_one(sum(values), at(bias, c), at(scale, c), -128, 127)

        expected = pool2d(x, **window, value=11, reduce=average)
        assert np.array_equal(execute("qavg_pool2d", [x, bias, scale], **window, pad_value=11), expected)


@pytest.mark.parametrize("depth", [1, 1032, 1033, 3000, 9000])
def test_matmul_is_exact_at_its_worst(depth: int) -> None:
    """Every product the largest there is: a float32 sum would be wrong from 1025 products on (2²⁴ / 2¹⁴)."""
    for value in (-128, 127):
        w, x = np.full((2, depth), -128, np.int8), np.full((depth, 3), value, np.int8)
        assert (exact_matmul(w, x) == -128 * value * depth).all()
    generator = np.random.default_rng(depth)
    w, x = int8(generator, 4, depth), int8(generator, depth, 5)
    w[:, ::2] |= 1  # odd products, so that a lost low bit shows
    assert np.array_equal(exact_matmul(w, x), w.astype(np.int64) @ x.astype(np.int64))


def test_matmul_wraps() -> None:
    depth = (1 << 31) // (128 * 128) + 5
    product = exact_matmul(np.full((1, depth), -128, np.int8), np.full((depth, 1), -128, np.int8))
    assert product[0, 0] == wrap(128 * 128 * depth) < 0


def test_deep_depthwise_is_exact() -> None:
    """A kernel too large for float32 sums takes the integer way."""
    x, w = np.full((1, 2, 40, 40), -128, np.int8), np.full((2, 1, 40, 40), -128, np.int8)
    assert FLOAT32_EXACT < 40 * 40 * 128 * 128
    acc = conv_accumulate(x, w, with_defaults("qconv2d", {"groups": 2}))
    assert (acc == 40 * 40 * 128 * 128).all()


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 16, 14, 14), (24, 16, 3, 3), {"pads": (1, 1, 1, 1)}),
        ((2, 3, 33, 31), (8, 3, 7, 7), {"strides": (2, 2), "pads": (3, 3, 3, 3)}),
        ((1, 12, 9, 9), (12, 1, 3, 3), {"groups": 12, "pads": (1, 1, 1, 1)}),
        ((1, 256, 6, 6), (8, 256, 3, 3), {"dilations": (2, 2), "pads": (2, 1, 2, 1)}),
    ],
)
def test_accumulator_against_onnxruntime(shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]) -> None:
    """ConvInteger on uint8 x with zero point z: ours on x - 128 with pad value z - 128, plus what the shift adds."""
    generator = np.random.default_rng(0)
    x, w, zero_point = generator.integers(0, 256, shape, dtype=np.uint8), int8(generator, *weight), 77
    a = with_defaults("qconv2d", {**attributes, "pad_value": zero_point - 128})
    node = helper.make_node(
        "ConvInteger", ["x", "w", "z"], ["y"], pads=a["pads"], strides=a["strides"], dilations=a["dilations"], group=a["groups"]
    )
    expected = run_onnx([node], {"x": x}, {"w": w, "z": np.array(zero_point, np.uint8)}, TensorProto.INT32)
    acc = conv_accumulate((x.astype(np.int32) - 128).astype(np.int8), w, a)
    folded = (zero_point - 128) * w.reshape(len(w), -1).astype(np.int32).sum(axis=1)
    assert np.array_equal(acc - folded.reshape(1, -1, 1, 1), expected)


def test_matmul_against_onnxruntime() -> None:
    generator = np.random.default_rng(0)
    x, w = int8(generator, 5, 2500), int8(generator, 2500, 7)
    expected = run_onnx([helper.make_node("MatMulInteger", ["x", "w"], ["y"])], {"x": x}, {"w": w}, TensorProto.INT32)
    assert np.array_equal(exact_matmul(x, w), expected)


def run_onnx(nodes: list, inputs: dict[str, np.ndarray], constants: dict[str, np.ndarray], output: int) -> np.ndarray:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info("y", output, None)],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)[0]


@pytest.mark.parametrize(("batch", "block"), [(1, 16), (2, 4), (3, 5)])
@pytest.mark.parametrize("shape", [(1, 16, 2, 3), (3, 7, 2, 2), (5, 9)])
def test_pack_and_unpack(batch: int, block: int, shape: tuple[int, ...]) -> None:
    x = int8(np.random.default_rng(0), *shape)
    packed = execute("pack_nchwc", [x], batch=batch, block=block)
    n, c, h, w = (*shape, 1, 1)[:4]
    assert packed.shape == (-(-n // batch), -(-c // block), h, w, batch, block)
    image = x.reshape(n, c, h, w)
    for i, j, y, column, k, m in np.ndindex(packed.shape):
        inside = i * batch + k < n and j * block + m < c
        assert packed[i, j, y, column, k, m] == (image[i * batch + k, j * block + m, y, column] if inside else 0)
    assert np.array_equal(execute("unpack_nchwc", [packed], shape=shape), x)


def test_im2col_against_its_definition() -> None:
    x = int8(np.random.default_rng(0), 2, 3, 8, 9)
    a = {"kernel": (3, 2), "strides": (2, 3), "pads": (1, 2, 1, 0), "dilations": (2, 1), "pad_value": 5}

    def padded(n: int, c: int, row: int, column: int) -> int:
        inside = 0 <= row < 8 and 0 <= column < 9
        return int(x[n, c, row, column]) if inside else 5

    window = execute("im2col", [x], **a, fold="window")
    assert window.shape == (2, 18, 3, 4)
    for n, k, oh, ow in np.ndindex(window.shape):
        i, j, c = k // 6, k // 3 % 2, k % 3
        assert window[n, k, oh, ow] == padded(n, c, oh * 2 + i * 2 - 1, ow * 3 + j - 2)
    columns = execute("im2col", [x], **a, fold="columns")
    assert columns.shape == (2, 6, 8, 4)
    for n, k, h, ow in np.ndindex(columns.shape):
        assert columns[n, k, h, ow] == padded(n, k % 3, h, ow * 3 + k // 3 - 2)
