"""Reshapes and transposes sink and cancel, and everything is computed as before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from small_graphs import Net, check_pass, operators

from vdla.compiler.graph.sink_moves import sink_moves

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def conv(net: Net, x: str, channels: int = 6) -> str:
    depth = net.shape(x)[1]
    return net.op("conv2d", x, net.normal(channels, depth, 1, 1, fan_in=depth), net.normal(channels))


def channels_last(net: Net, x: str) -> str:
    return net.op("transpose", x, permutation=LAST)


def channels_first(net: Net, x: str) -> str:
    return net.op("transpose", x, permutation=FIRST)


def line(net: Net, x: str) -> str:
    n, c, h, w = net.shape(x)
    return net.op("reshape", x, shape=(n, c, h * w))


def image(net: Net, x: str) -> str:
    return net.op("reshape", x, shape=(*net.shape(x)[:2], 1, net.shape(x)[2]))


def tokens(net: Net, x: str) -> str:
    return net.op("transpose", line(net, x), permutation=(0, 2, 1))


def of_tokens(net: Net, x: str) -> str:
    flipped = net.op("transpose", x, permutation=(0, 2, 1))
    return net.op("reshape", flipped, shape=(*net.shape(flipped), 1))


def elementwise_between(net: Net, x: str) -> str:
    y = channels_last(net, conv(net, x))
    return conv(net, channels_first(net, net.op("mul", y, net.op("sigmoid", y))))


def constants_between(net: Net, x: str) -> str:
    y = net.op("add", channels_last(net, conv(net, x)), net.normal(6))
    return conv(net, channels_first(net, net.op("mul", net.normal(1, 5, 1, 1), y)))


def levels_between(net: Net, x: str) -> str:
    y = net.op("quantize", tokens(net, conv(net, x)), scale=0.03, zero_point=3)
    return conv(net, of_tokens(net, net.op("dequantize", y, scale=0.03, zero_point=3)))


def levels_of_channels(net: Net, x: str) -> str:
    y = net.op("quantize", channels_last(net, conv(net, x)), scale=0.03)
    return conv(net, channels_first(net, net.op("dequantize", y, scale=(0.01, 0.02, 0.03, 0.04, 0.05, 0.06), axis=3)))


def sums_of_both(net: Net, x: str) -> str:
    a, b = tokens(net, conv(net, x)), tokens(net, conv(net, x))
    return conv(net, of_tokens(net, net.op("add", a, b)))


def lines_between(net: Net, x: str) -> str:
    y = net.op("relu", line(net, conv(net, image(net, line(net, conv(net, x))))))
    return conv(net, image(net, y))


def a_gate_of_channels(net: Net, x: str) -> str:
    y = channels_last(net, conv(net, x))
    gate = net.op("sigmoid", net.op("reduce_mean", y, axes=(1, 2), keepdims=True))
    return conv(net, channels_first(net, net.op("mul", y, gate)))


def joined_channels(net: Net, x: str) -> str:
    a, b = channels_last(net, conv(net, x)), channels_last(net, conv(net, x, 3))
    return conv(net, channels_first(net, net.op("concat", a, b, axis=-1)))


def joined_with_a_constant(net: Net, x: str) -> str:
    y = channels_last(net, conv(net, x))
    return conv(net, channels_first(net, net.op("concat", net.normal(2, 1, 7, 6), y, axis=1)))


def padded_and_cut(net: Net, x: str) -> str:
    y = net.op("pad", channels_last(net, conv(net, x)), before=(0, 1, 2, 0), after=(0, 0, 1, 0), value=0.5)
    y = net.op("slice", y, starts=(0, 1, 8, 0), steps=(1, 1, -2, 1), sizes=(2, 4, 4, 6))
    return conv(net, channels_first(net, y))


def heads(net: Net, x: str) -> str:
    """Queries, split into heads and joined again."""
    y = tokens(net, conv(net, x))
    n, rows, depth = net.shape(y)
    split = net.op("transpose", net.op("reshape", y, shape=(n, rows, 2, depth // 2)), permutation=(0, 2, 1, 3))
    joined = net.op("reshape", net.op("transpose", split, permutation=(0, 2, 1, 3)), shape=(n, rows, depth))
    return conv(net, of_tokens(net, joined))


GONE: dict[Callable[[Net, str], str], list[str]] = {
    elementwise_between: ["conv2d", "sigmoid", "mul", "conv2d"],
    constants_between: ["conv2d", "add", "mul", "conv2d"],
    levels_of_channels: ["conv2d", "quantize", "dequantize", "conv2d"],
    a_gate_of_channels: ["conv2d", "reduce_mean", "sigmoid", "mul", "conv2d"],
    joined_channels: ["conv2d", "conv2d", "concat", "conv2d"],
    joined_with_a_constant: ["conv2d", "concat", "conv2d"],
    padded_and_cut: ["conv2d", "pad", "slice", "conv2d"],
}
"""Of images: nothing is left of the transposes."""
ONE: dict[Callable[[Net, str], str], list[str]] = {
    levels_between: ["conv2d", "quantize", "dequantize", "reshape", "conv2d"],
    sums_of_both: ["conv2d", "conv2d", "add", "reshape", "conv2d"],
    lines_between: ["conv2d", "reshape", "conv2d", "relu", "conv2d"],
    heads: ["conv2d", "reshape", "conv2d"],
}
"""Where an image of rows becomes one of a line, which its elements do not notice."""


@pytest.mark.parametrize("make", [*GONE, *ONE], ids=lambda make: make.__name__)
def test_moves_cancel(make: Callable[[Net, str], str]) -> None:
    net = Net(1)
    make(net, net.input(2, 4, 5, 7))
    assert operators(check_pass(sink_moves, net.graph())) == (GONE | ONE)[make]


def test_a_residual_follows_the_layer() -> None:
    """Each sum is where the layers are; what a row normalisation reads is moved for it alone."""
    net = Net(2)
    x = net.input(1, 8, 4)
    for _ in range(2):
        normal = net.op("layer_norm", x, net.normal(4), net.normal(4), axis=2)
        x = net.op("add", x, tokens(net, conv(net, of_tokens(net, normal), 4)))
    after = check_pass(sink_moves, net.graph())
    sums = [node for node in after.nodes if node.op == "add"]
    assert [after.tensors[node.outputs[0]].shape for node in sums] == [(1, 4, 8, 1)] * 2
    producer = after.producer()
    assert all("conv2d" in {producer[name].op for name in node.inputs} for node in sums)


def test_one_move_for_several_readers() -> None:
    net = Net(3)
    x = net.input(1, 8, 4)
    total = [conv(net, of_tokens(net, x)) for _ in range(3)]
    net.op("concat", *total, axis=1)
    after = check_pass(sink_moves, net.graph())
    assert operators(after).count("transpose") == 1


def test_clips_go_into_the_phases() -> None:
    net = Net(4)
    x = net.input(1, 4, 3, 3)
    y = net.op("depth_to_space", net.op("concat", *(conv(net, x) for _ in range(4)), axis=1), blocks=(2, 2))
    net.op("relu", net.op("add", net.op("mul", y, net.normal(6, 1, 1)), net.constant(1.0)))
    after = check_pass(sink_moves, net.graph())
    assert operators(after) == [*["conv2d"] * 4, "concat", "mul", "add", "relu", "depth_to_space"]
    net = Net(5)
    x = net.input(1, 4, 3, 3)
    y = net.op("relu", net.op("depth_to_space", net.op("concat", *(conv(net, x) for _ in range(4)), axis=1), blocks=(2, 2)))
    net.op("dequantize", net.op("quantize", y, scale=0.1), scale=0.1)
    after = check_pass(sink_moves, net.graph())
    assert operators(after) == [
        *["conv2d"] * 4, *["relu"] * 4, *["quantize"] * 4, "concat", "dequantize", "depth_to_space"
    ]  # fmt: skip


def random_step(net: Net, x: str, others: list[str]) -> str:
    shape, rng = net.shape(x), net.random
    same = [name for name in others if net.shape(name) == shape]
    match rng.choice(
        ["move", "move", "reshape", "unary", "constant", "sum", "conv", "reduce", "concat", "pad", "slice", "levels"]
    ):
        case "move":
            return net.op("transpose", x, permutation=tuple(int(i) for i in rng.permutation(len(shape))))
        case "reshape" if len(shape) > 1:
            at = int(rng.integers(len(shape) - 1))
            if rng.integers(2) or len(shape) > 4:
                return net.op("reshape", x, shape=(*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]))
            factor = next((n for n in (2, 3, 1) if shape[at] % n == 0), 1)
            return net.op("reshape", x, shape=(*shape[:at], factor, shape[at] // factor, *shape[at + 1 :]))
        case "constant":
            own = tuple(size if rng.integers(2) else 1 for size in shape)[int(rng.integers(len(shape) + 1)) :]
            return net.op(str(rng.choice(["add", "mul", "max"])), *rng.permutation([x, net.normal(*own)]))
        case "sum" if same:
            return net.op(str(rng.choice(["add", "mul"])), x, same[int(rng.integers(len(same)))])
        case "conv" if len(shape) == 4:
            return net.op("conv2d", x, net.normal(shape[1], shape[1], 1, 1, fan_in=shape[1]))
        case "reduce" if max(shape) > 1 and len(shape) > 1:
            axes = tuple(int(i) for i in rng.choice(len(shape), int(rng.integers(1, len(shape))), replace=False))
            mean = net.op("reduce_mean", x, axes=axes, keepdims=bool(rng.integers(4)))
            return mean if net.shape(mean) and rng.integers(2) else x
        case "concat" if same:
            return net.op("concat", x, same[0], axis=int(rng.integers(len(shape))))
        case "pad":
            before, after = (tuple(int(n) for n in rng.integers(0, 2, len(shape))) for _ in range(2))
            return net.op("pad", x, before=before, after=after, value=1.0)
        case "slice":
            return net.op(
                "slice", x, starts=(0,) * len(shape), steps=(1,) * len(shape), sizes=tuple((n + 1) // 2 for n in shape)
            )
        case "levels":
            return net.op("dequantize", net.op("quantize", x, scale=0.05), scale=0.05)
        case _:
            return net.op(str(rng.choice(["relu", "tanh", "abs"])), x)


@pytest.mark.parametrize("trial", range(80))
def test_random(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    net = Net(seed)
    tensors = [net.input(2, 4, 3, 6)]
    for _ in range(14):
        tensors.append(random_step(net, tensors[-1 - int(net.random.integers(min(len(tensors), 2)))], tensors))
    check_pass(sink_moves, net.graph(*({tensors[-1], tensors[-3]} - set(net.inputs))), f"seed {seed}")
