"""Factors and terms in front of layers, of levels and of products, against the reference kernels of the graph before."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import Net, check_pass, operators

from vdla.compiler.graph.channel_factors import channel_factors


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("what", ["both", "factor", "term", "one factor"])
def test_in_front_of_a_convolution(what: str, groups: int) -> None:
    net = Net(1)
    x = net.op("relu", net.input(2, 4, 5, 5))
    if what != "term":
        x = net.op("mul", x, net.normal(4, 1, 1) if what != "one factor" else net.constant(0.3))
    if what in ("both", "term"):
        x = net.op("add", x, net.normal(1, 4, 1, 1))
    net.op("conv2d", x, net.normal(6, 4 // groups, 3, 3), net.normal(6), groups=groups, strides=(2, 1))
    assert operators(check_pass(channel_factors, net.graph())) == ["relu", "conv2d"]


def test_borders() -> None:
    """Zeros around x · s + t are no zeros around x, but those around x · s are."""
    net = Net(2)
    x = net.input(1, 3, 4, 4)
    scaled = net.op("mul", x, net.normal(3, 1, 1))
    net.op("conv2d", net.op("add", scaled, net.normal(3, 1, 1)), net.normal(2, 3, 3, 3), pads=(1, 1, 0, 0))
    net.op("conv2d", net.op("mul", x, net.normal(3, 1, 1)), net.normal(2, 3, 3, 3), pads=(1, 1, 0, 0))
    assert operators(check_pass(channel_factors, net.graph())) == ["mul", "add", "conv2d", "conv2d"]


def test_what_others_read_stays() -> None:
    net = Net(3)
    scaled = net.op("mul", net.input(1, 3, 4, 4), net.normal(3, 1, 1))
    net.op("conv2d", scaled, net.normal(2, 3, 1, 1))
    net.op("relu", scaled)
    assert operators(check_pass(channel_factors, net.graph())) == ["mul", "conv2d", "relu"]


def test_in_front_of_a_dense_layer() -> None:
    net = Net(4)
    x = net.op("add", net.op("mul", net.input(3, 5), net.normal(5)), net.constant(0.5))
    net.op("dense", x, net.normal(4, 5))
    assert operators(check_pass(channel_factors, net.graph())) == ["dense"]


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("op", ["conv2d", "dense"])
def test_factors_of_levels(op: str, axis: int | None) -> None:
    """The levels stay, or change their sign."""
    net = Net(5)
    x, shape = (net.input(2, 3, 4, 4), (5, 3, 3, 3)) if op == "conv2d" else (net.input(2, 3), (5, 3))
    factors = np.array([1.5, -0.5, 0.0, 2.0, 0.1]).reshape(-1, *[1] * (len(shape) - 2))
    net.op("mul", net.op(op, x, net.levels(*shape, axis=axis), net.normal(5)), net.constant(factors))
    after = check_pass(channel_factors, net.graph())
    assert operators(after) == ["dequantize", op]
    (before,), (stored,) = ([v for v in g.constants.values() if v.dtype == np.int8] for g in (net.graph(), after))
    np.testing.assert_array_equal(stored, before * np.sign(factors).reshape(-1, *[1] * (len(shape) - 1)).astype(np.int8))


def test_levels_without_an_opposite() -> None:
    net = Net(6)
    levels = net.op("dequantize", net.constant([[-128, 5]], "int8"), scale=0.1)
    net.op("mul", net.op("dense", net.input(1, 2), levels), net.constant([-1.0]))
    assert operators(check_pass(channel_factors, net.graph())) == ["dequantize", "dense", "mul"]


def test_a_factor_of_scores() -> None:
    net = Net(7)
    x = net.input(1, 6, 4, 1)

    def heads(order: tuple[int, ...]) -> str:
        y = net.op("conv2d", x, net.normal(6, 6, 1, 1), net.normal(6))
        return net.op("transpose", net.op("reshape", y, shape=(1, 2, 3, 4)), permutation=order)

    scores = net.op("matmul", heads((0, 1, 3, 2)), heads((0, 1, 2, 3)))
    net.op("softmax", net.op("mul", scores, net.constant(0.577)), axis=3)
    assert "mul" not in operators(check_pass(channel_factors, net.graph()))


def test_several_operands() -> None:
    net = Net(8)
    net.op("max", net.input(2, 3), net.input(2, 3), net.input(2, 3), net.input(1, 3))
    assert operators(check_pass(channel_factors, net.graph())) == ["max"] * 3


@pytest.mark.parametrize("trial", range(30))
def test_random(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    net = Net(seed)
    rng = net.random
    tensors = [net.input(1, 4, 5, 5)]
    for _ in range(10):
        x = tensors[-1 - int(rng.integers(min(2, len(tensors))))]
        match rng.choice(["mul", "mul", "add", "conv", "conv", "levels", "max"]):
            case "conv":
                pad, groups = int(rng.integers(2)), int(rng.choice([1, 2, 4]))
                w = net.normal(4, 4 // groups, 1 + 2 * pad, 1 + 2 * pad, fan_in=4)
                x = net.op("conv2d", x, w, *([net.normal(4)] if rng.integers(2) else []), pads=(pad,) * 4, groups=groups)
            case "levels":
                x = net.op("conv2d", x, net.levels(4, 4, 1, 1, axis=[None, 0][int(rng.integers(2))]))
            case "max":
                x = net.op("max", x, *rng.choice(tensors, int(rng.integers(1, 3))))
            case op:
                x = net.op(op, x, net.normal(*[(4, 1, 1), (1,), (1, 4, 1, 1), (5, 5)][int(rng.integers(4))]))
        tensors.append(x)
    check_pass(channel_factors, net.graph(), f"seed {seed}")
