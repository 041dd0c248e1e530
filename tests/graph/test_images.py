"""Matrix products by constant weights as convolutions, against the reference kernels of matrix products."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import Net, check_pass, macs, operators

from vdla.compiler.graph.fold_affine import fold_affine
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.images import images
from vdla.compiler.graph.pipeline import for_programs
from vdla.compiler.graph.sink_moves import sink_moves


def dense(net: Net, x: str, width: int, bias: bool = True) -> str:
    depth = net.shape(x)[-1]
    return net.op("dense", x, net.normal(width, depth, fan_in=depth), *([net.normal(width)] if bias else []))


@pytest.mark.parametrize("shape", [(2, 5, 6), (1, 5, 6), (2, 3, 4, 6), (2, 3, 2, 2, 6)])
def test_rows_are_positions(shape: tuple[int, ...]) -> None:
    net = Net()
    dense(net, net.input(*shape), 7)
    after = check_pass(images, net.graph())
    (layer,) = [node for node in after.nodes if node.op == "conv2d"]
    assert layer.name == "dense0" and layer.source == "t0_source"
    assert macs(after) == {"conv2d": int(np.prod(shape)) * 7}


def test_a_row_for_each_image_stays() -> None:
    net = Net()
    dense(net, net.input(4, 6), 3)
    assert operators(check_pass(images, net.graph())) == ["dense"]


def test_rows_of_one_image() -> None:
    """As an LSTM's input has them: 35 words of one text."""
    net = Net()
    dense(net, net.op("reshape", net.input(1, 35, 6), shape=(35, 6)), 3)
    assert operators(check_pass(images, net.graph())).count("conv2d") == 1


def test_a_matrix_of_levels() -> None:
    net = Net()
    x = net.op("dequantize", net.input(1, 5, 6, dtype="int8"), scale=0.05)
    net.op("quantize", net.op("add", net.op("matmul", x, net.levels(6, 4, axis=1)), net.normal(4)), scale=0.04)
    after = check_pass(lambda graph: fold_affine(sink_moves(images(graph))), net.graph())
    assert [op for op in operators(after) if op not in ("reshape", "transpose")] == [
        "dequantize", "dequantize", "conv2d", "quantize"
    ]  # fmt: skip
    producer = after.producer()
    (layer,) = [node for node in after.nodes if node.op == "conv2d"]
    assert len(layer.inputs) == 3  # a bias
    weights = producer[layer.inputs[1]]
    assert weights.op == "dequantize" and weights.attributes["axis"] == 0
    assert after.consumers()[layer.outputs[0]][0].op == "quantize"


def test_constant_times_tensor() -> None:
    net = Net()
    net.op("matmul", net.normal(5, 4), net.input(2, 4, 7))
    after = check_pass(images, net.graph())
    assert operators(after) == ["reshape", "conv2d", "reshape"]


def test_two_tensors_stay() -> None:
    net = Net()
    net.op("matmul", net.input(2, 4, 5), net.input(2, 5, 3))
    assert operators(check_pass(images, net.graph())) == ["matmul"]


@pytest.mark.parametrize("counted", [(0, 0, 0, 0), (1, 0, 1, 2)])
def test_averages(counted: tuple[int, ...]) -> None:
    net = Net()
    attributes = {"kernel": (3, 3), "strides": (1, 2), "pads": (1, 0, 1, 2), "dilations": (1, 1), "counted": counted}
    net.op("avg_pool", net.input(1, 2, 5, 8), **attributes)
    assert operators(check_pass(images, net.graph())) == ["avg_pool2d"]


def encoder(net: Net, x: str, heads: int) -> str:
    """One encoder block with its norms in front."""
    n, rows, depth = net.shape(x)

    def norm(x: str) -> str:
        return net.op("layer_norm", x, net.normal(depth), net.normal(depth), axis=2)

    def split(x: str, order: tuple[int, ...]) -> str:
        return net.op("transpose", net.op("reshape", x, shape=(n, rows, heads, depth // heads)), permutation=order)

    y = norm(x)
    q, k, v = (split(dense(net, y, depth), order) for order in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)))
    scores = net.op("softmax", net.op("mul", net.op("matmul", q, k), net.constant(0.5)), axis=3)
    mixed = net.op("transpose", net.op("matmul", scores, v), permutation=(0, 2, 1, 3))
    x = net.op("add", x, dense(net, net.op("reshape", mixed, shape=(n, rows, depth)), depth))
    wide = dense(net, norm(x), 3 * depth)
    wide = net.op("mul", wide, net.op("sigmoid", wide))
    return net.op("add", x, dense(net, wide, depth))


def test_an_encoder_is_convolutions_between_few_moves() -> None:
    net = Net(1)
    x = net.input(1, 6, 8)
    for _ in range(2):
        x = encoder(net, x, 2)
    after = check_pass(for_programs, net.graph())
    assert operators(after).count("conv2d") == 12 and "dense" not in operators(after)
    producer, consumers = after.producer(), after.consumers()
    wide = [node for node in after.nodes if node.op == "conv2d" and after.tensors[node.outputs[0]].shape[1] == 24]
    for layer in wide:  # conv2d → x · sigmoid(x) → conv2d → + residual
        (gate,) = (node for node in consumers[layer.outputs[0]] if node.op == "mul")
        (narrow,) = consumers[gate.outputs[0]]
        assert narrow.op == "conv2d" and consumers[narrow.outputs[0]][0].op == "add"
    keys = [producer[node.inputs[1]] for node in after.nodes if node.op == "matmul"][::2]
    assert [(node.op, producer[node.inputs[0]].op) for node in keys] == [("reshape", "conv2d")] * 2


def random_network(seed: int) -> Graph:
    net = Net(seed)
    rng = net.random
    x = net.input(int(rng.integers(1, 3)), int(rng.integers(1, 5)), int(rng.integers(2, 7)))
    for _ in range(6):
        shape = net.shape(x)
        match rng.choice(["dense", "dense", "matmul", "levels", "constant", "unary", "turn", "image", "line"]):
            case "dense":
                x = dense(net, x, int(rng.integers(1, 8)), bool(rng.integers(2)))
            case "matmul":
                x = net.op("add", net.op("matmul", x, net.normal(shape[-1], 4, fan_in=shape[-1])), net.normal(4))
            case "levels":
                w = net.levels(shape[-1], 3, axis=[None, 1][int(rng.integers(2))])
                x = net.op("matmul", x, w)
            case "constant" if len(shape) == 3:
                x = net.op("matmul", net.normal(4, shape[1], fan_in=shape[1]), x)
            case "turn":
                x = net.op("transpose", x, permutation=(*range(len(shape) - 2), len(shape) - 1, len(shape) - 2))
            case "image" if len(shape) == 3:
                x = net.op("reshape", x, shape=(shape[0], 1, *shape[1:]))
            case "line" if len(shape) == 4:
                x = net.op("reshape", x, shape=(shape[0], shape[1] * shape[2], shape[3]))
            case _:
                x = net.op("relu", net.op("add", x, net.constant(0.5)))
    return net.graph(x) if net.nodes else random_network(seed + 1)


@pytest.mark.parametrize("trial", range(40))
def test_random(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    graph = random_network(seed)
    check_pass(images, graph, f"seed {seed}")
    after = check_pass(for_programs, graph, f"seed {seed}")
    left = [node for node in after.nodes if node.op in ("dense", "matmul") and len(graph.tensors[graph.inputs[0]].shape) > 2]
    assert not [node for node in left if len(after.tensors[node.inputs[0]].shape) != 2], f"seed {seed}"
