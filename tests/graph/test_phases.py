"""Transposed convolutions as ordinary ones, against the reference kernel, which adds up each kernel position's products."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import Net, check_pass, macs, operators

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.phases import phases


def transposed(
    net: Net,
    x: tuple[int, ...],
    kernel: tuple[int, ...],
    channels: int,
    weights: str = "floats",
    bias: bool = True,
    **a: object,
) -> Graph:
    groups = int(a.get("groups", 1))  # type: ignore[call-overload]
    shape = (x[1], channels // groups, *kernel)
    w = (
        net.normal(*shape, fan_in=x[1])
        if weights == "floats"
        else net.levels(*shape, axis=1 if weights == "channels" else None)
    )
    inputs = [net.input(*x), w, *([net.normal(channels)] if bias else [])]
    rank = len(kernel)
    attributes = {"dilations": (1,) * rank, "before": (0,) * rank, **a}
    net.op("relu", net.op("conv_transpose", *inputs, **attributes))
    return net.graph()


def test_a_kernel_as_large_as_its_stride_is_one_convolution() -> None:
    graph = transposed(Net(), (1, 8, 5, 6), (2, 2), 4, strides=(2, 2), output=(10, 12))
    after = check_pass(phases, graph)
    assert operators(after) == ["conv2d", "depth_to_space", "relu"]
    assert macs(after) == {"conv2d": 8 * 5 * 6 * 4 * 4}
    assert after.nodes[0].name == graph.nodes[0].name and after.nodes[0].source == graph.nodes[0].source


def test_overlapping_windows_are_a_convolution_for_each_phase() -> None:
    """DCGAN's layers: no product is by a zero of the weights."""
    graph = transposed(Net(), (1, 8, 4, 4), (4, 4), 16, strides=(2, 2), before=(1, 1), output=(8, 8))
    after = check_pass(phases, graph)
    assert operators(after) == ["conv2d"] * 4 + ["concat", "depth_to_space", "relu"]
    assert macs(after) == {"conv2d": 8 * 16 * 4 * 4 * 16}
    assert [node.attributes["pads"] for node in after.nodes[:4]] == [(1, 1, 0, 0), (1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 1, 1)]


def test_few_outputs_of_all_phases_are_computed_together() -> None:
    """Colours: of 16 outputs at once, three would leave most idle four times."""
    after = check_pass(phases, transposed(Net(), (1, 8, 4, 4), (4, 4), 3, strides=(2, 2), before=(1, 1), output=(8, 8)))
    assert operators(after) == ["conv2d", "depth_to_space", "relu"]
    assert after.tensors[after.nodes[0].outputs[0]].shape == (1, 12, 4, 4)


def test_without_a_stride_it_is_one_convolution() -> None:
    after = check_pass(phases, transposed(Net(), (2, 4, 6, 7), (3, 3), 4, strides=(1, 1), before=(1, 1), output=(6, 7)))
    assert operators(after) == ["conv2d", "relu"] and after.nodes[0].attributes["pads"] == (1, 1, 1, 1)


def test_a_line_is_an_image_of_one_row() -> None:
    after = check_pass(phases, transposed(Net(), (1, 4, 9), (4,), 16, strides=(2,), before=(1,), output=(18,)))
    assert operators(after) == ["reshape", "conv2d", "conv2d", "concat", "depth_to_space", "reshape", "relu"]


def test_levels_stay_levels() -> None:
    graph = transposed(Net(), (1, 8, 4, 4), (2, 2), 6, "channels", strides=(2, 2), output=(8, 8))
    after = check_pass(phases, graph)
    assert operators(after) == ["dequantize", "conv2d", "depth_to_space", "relu"]
    (stored,) = [value for value in after.constants.values() if value.dtype == np.int8]
    assert sorted(stored.ravel()) == sorted(graph.constants["c0"].ravel())


def test_computed_weights_stay() -> None:
    net = Net()
    net.op(
        "conv_transpose",
        net.input(1, 2, 3, 3),
        net.input(2, 2, 2, 2),
        strides=(2, 2),
        dilations=(1, 1),
        before=(0, 0),
        output=(6, 6),
    )
    assert operators(check_pass(phases, net.graph())) == ["conv_transpose"]  # fmt: skip


@pytest.mark.parametrize("trial", range(120))
def test_random(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    rank = int(rng.choice([1, 2, 2]))
    axes = [[int(rng.integers(*bounds)) for _ in range(rank)] for bounds in ((1, 7), (1, 6), (1, 5), (1, 4))]
    size, kernel, strides, dilations = axes
    groups = int(rng.choice([1, 1, 2]))
    before = tuple(int(rng.integers(-1, d * (k - 1) + 2)) for d, k in zip(dilations, kernel, strict=True))
    whole = [(n - 1) * s + d * (k - 1) + 1 for n, s, d, k in zip(size, strides, dilations, kernel, strict=True)]
    output = tuple(max(1, w - b + int(rng.integers(-3, 3))) for w, b in zip(whole, before, strict=True))
    x = (int(rng.integers(1, 3)), groups * int(rng.integers(1, 4)), *size)
    weights = str(rng.choice(["floats", "one", "channels"]))
    graph = transposed(
        Net(seed), x, tuple(kernel), groups * int(rng.integers(1, 4)), weights, bool(rng.integers(2)),
        strides=tuple(strides), dilations=tuple(dilations), before=before, output=output, groups=groups,
    )  # fmt: skip
    check_pass(phases, graph, f"seed {seed}")


def test_random_ones_are_rewritten() -> None:
    """None but those of which some phase reads nothing of the input is left."""
    left = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        size, kernel, strides = ([int(n) for n in rng.integers(*bounds, 2)] for bounds in ((2, 7), (1, 6), (1, 4)))
        whole = [(n - 1) * s + k for n, s, k in zip(size, strides, kernel, strict=True)]
        before = [(k - 1) // 2 for k in kernel]
        output = tuple(w - 2 * b for w, b in zip(whole, before, strict=True))
        net = Net(trial)
        graph = transposed(net, (1, 2, *size), tuple(kernel), 2, strides=tuple(strides), before=tuple(before), output=output)
        left += "conv_transpose" in operators(phases(graph))
    assert left == 0
