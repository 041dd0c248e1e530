"""Post-training quantisation: what is fused, how far the result may be from float, and the edges."""

from __future__ import annotations

import numpy as np
import pytest
from error_bound import ErrorBound
from graph_builder import GraphBuilder

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.quantise.calibrate import generate_calibration
from vdla.compiler.quantise.histogram import Method
from vdla.compiler.quantise.noise import relative_error
from vdla.compiler.quantise.quantise import QuantiseOptions, quantise, quantise_with_report
from vdla.compiler.quantise.report import quantise_report
from vdla.errors import RunError

MINMAX = QuantiseOptions(method=Method.MINMAX, bias_correction=False, equalise=False)


def text(graph: Graph) -> str:
    """One line for each node: op, what it came from, and what it reads of other nodes."""
    producer = {out: node.source for node in graph.nodes for out in node.outputs}
    return "\n".join(
        f"{n.op} {n.source} <- {', '.join(producer.get(i, i) for i in n.inputs if i not in graph.constants)}"
        for n in graph.nodes
    )


def residual_block(project: bool) -> tuple[GraphBuilder, Graph]:
    b = GraphBuilder(0)
    x = b.op("relu", b.conv2d(b.input("x", (1, 3, 12, 12)), 8, 3))
    y = b.conv2d(b.op("relu", b.conv2d(x, 8, 3)), 8, 3)
    shortcut = b.conv2d(x, 8, 1) if project else x
    return b, b.graph(b.op("relu", b.op("add", y, shortcut)))


def test_residual_block() -> None:
    b, graph = residual_block(project=False)
    assert (
        text(quantise(graph, b.sample()))
        == """\
quantize x <- x
qconv2d conv2d0+relu0 <- x
qconv2d conv2d1+relu1 <- conv2d0+relu0
qconv2d conv2d2+add0+relu2 <- conv2d1+relu1, conv2d0+relu0
dequantize relu2.out <- conv2d2+add0+relu2"""
    )


def test_projection_gets_the_residual_being_later() -> None:
    b, graph = residual_block(project=True)
    assert (
        text(quantise(graph, b.sample()))
        == """\
quantize x <- x
qconv2d conv2d0+relu0 <- x
qconv2d conv2d1+relu1 <- conv2d0+relu0
qconv2d conv2d2 <- conv2d1+relu1
qconv2d conv2d3+add0+relu2 <- conv2d0+relu0, conv2d2
dequantize relu2.out <- conv2d3+add0+relu2"""
    )


def test_residual_not_fused() -> None:
    b, graph = residual_block(project=False)
    lines = text(quantise(graph, b.sample(), QuantiseOptions(fuse_residual=False))).splitlines()
    assert lines[3:5] == ["qconv2d conv2d2 <- conv2d1+relu1", "qadd add0+relu2 <- conv2d2, conv2d0+relu0"]


def test_conv_read_twice_keeps_its_add() -> None:
    """An add whose convolution has another reader, or is the graph's output, is a qadd; what is added to itself is a table."""
    b = GraphBuilder(0)
    y = b.conv2d(b.input("x", (1, 3, 6, 6)), 3, 1)
    z = b.op("add", b.op("add", y, y), y)
    graph = b.graph(b.op("add", z, b.conv2d(z, 3, 3)), y)
    assert (
        text(quantise(graph, b.sample()))
        == """\
quantize x <- x
qconv2d conv2d0 <- x
qtable add0+add1 <- conv2d0
qconv2d conv2d1+add2 <- add0+add1, add0+add1
dequantize add2.out <- conv2d1+add2
dequantize conv2d0.out <- conv2d0"""
    )


def test_maxima_take_their_activation_and_no_convolution() -> None:
    """Unlike a sum, the lesser of two is no residual; one operand may be a constant."""
    b = GraphBuilder(0)
    y = b.conv2d(b.input("x", (1, 3, 6, 6)), 3, 1)
    lesser = b.op("relu", b.op("min", y, b.conv2d(y, 3, 3)))
    graph = b.graph(b.conv2d(b.op("max", lesser, b.constant(np.ones((1, 3, 6, 6)))), 2, 1))
    assert (
        text(quantise(graph, b.sample()))
        == """\
quantize x <- x
qconv2d conv2d0 <- x
qconv2d conv2d1 <- conv2d0
qmin min0+relu0 <- conv2d0, conv2d1
qmax max0 <- min0+relu0
qconv2d conv2d2 <- max0
dequantize conv2d2.out <- conv2d2"""
    )


def test_an_add_of_vectors_stays_float() -> None:
    """A vector has no axis of channels, which parameters of a quantised add lie along."""
    b = GraphBuilder(0)
    flat = b.op("reshape", b.conv2d(b.input("x", (1, 3, 6, 6)), 3, 1), shape=(108,))
    graph = b.graph(b.op("add", flat, flat))
    quantised = quantise(graph, b.sample())
    verify_graph(quantised)
    assert [node.op for node in quantised.nodes] == ["quantize", "qconv2d", "reshape", "dequantize", "add"]


def test_float_islands_are_minimal() -> None:
    """Softmax has no integer form: one dequantize, one quantize, and what follows it up to the convolution is float."""
    b = GraphBuilder(0)
    y = b.conv2d(b.input("x", (1, 4, 6, 6)), 4, 3)
    gated = b.op("sigmoid", b.op("softmax", y, axis=1))
    graph = b.graph(b.op("sigmoid", b.op("reshape", b.conv2d(gated, 2, 3), shape=(1, 72))))
    quantised = quantise(graph, b.sample())
    verify_graph(quantised)
    assert (
        text(quantised)
        == """\
quantize x <- x
qconv2d conv2d0 <- x
dequantize conv2d0.out <- conv2d0
softmax softmax0 <- conv2d0.out
sigmoid sigmoid0 <- softmax0
quantize sigmoid0.out <- sigmoid0
qconv2d conv2d1 <- sigmoid0.out
reshape reshape0 <- conv2d1
dequantize reshape0.out <- reshape0
sigmoid sigmoid1 <- reshape0.out"""
    )


def test_concat_shares_its_scale_or_rescales() -> None:
    """conv2d0 is read by the concat alone and adopts its scale; relu0 has another reader, and is rescaled for it."""
    b = GraphBuilder(0)
    x = b.input("x", (1, 4, 6, 6))
    left, right = b.conv2d(x, 4, 3), b.op("relu", b.conv2d(x, 4, 1))
    graph = b.graph(b.conv2d(b.op("concat", left, right, axis=1), 2, 1), b.conv2d(right, 2, 1))
    quantised = quantise_with_report(graph, b.sample())
    verify_graph(quantised.graph)
    affine = dict(quantised.int8.values())
    assert affine["conv2d0.out"] == affine["concat0.out"] != affine["relu0.out"]
    ops = [node.op for node in quantised.graph.nodes]
    assert ops.count("requantize") == 1
    assert ops.count("concat") == 1


def test_averages() -> None:
    """Those that divide every window by its size are integer; those that count fewer at the border stay float."""
    b = GraphBuilder(0)
    y = b.conv2d(b.input("x", (2, 4, 8, 8)), 4, 3)
    pools = [
        b.op("avg_pool2d", y, kernel=(2, 2), strides=(2, 2)),
        b.op("avg_pool2d", y, kernel=(3, 3), pads=(1, 1, 1, 1), count_include_pad=True),
        b.op("avg_pool2d", y, kernel=(3, 3), pads=(1, 1, 1, 1)),
        b.op("avg_pool2d", y, kernel=(3, 3), strides=(2, 2), ceil=True),
        b.op("global_avg_pool", y),
        b.op("reduce_mean", y, axes=(2, 3), keepdims=False),
        b.op("reduce_mean", y, axes=(1,), keepdims=True),
    ]
    quantised = quantise_with_report(b.graph(*pools), sample := b.sample(), MINMAX)
    verify_graph(quantised.graph)
    ops = {node.name: node.op for node in quantised.graph.nodes}
    assert [ops[pool.removesuffix(".out")] for pool in pools] == [
        "qavg_pool2d",
        "qavg_pool2d",
        "avg_pool2d",
        "avg_pool2d",
        "qavg_pool2d",
        "reshape",
        "reduce_mean",
    ]
    exact, found = run_reference(b.graph(*pools), sample[0]), run_reference(quantised.graph, sample[0], keep="all")
    step = max(affine.scale for _, affine in quantised.int8.values())
    for pool in pools:
        assert np.abs(exact[pool] - found[pool]).max() < 3 * step, pool


def test_batch_norm_left_alone_becomes_depthwise() -> None:
    b = GraphBuilder(0)
    y = b.op("relu", b.conv2d(b.input("x", (1, 3, 8, 8)), 6, 3))
    gamma = b.constant(b.generator.uniform(0.5, 2, 6) * [1, -1, 1, -1, 1, -1])
    parameters = [gamma, *(b.constant(b.generator.uniform(0.1, 1, 6)) for _ in range(3))]
    graph = b.graph(b.op("relu", b.op("batch_norm", y, *parameters)))
    sample = b.sample()
    quantised = quantise(graph, sample)
    assert [node.op for node in quantised.nodes] == ["quantize", "qconv2d", "qconv2d", "dequantize"]
    found, exact = run_reference(quantised, sample[0], keep="all"), run_reference(graph, sample[0])
    assert relative_error(exact[graph.outputs[0]], found[graph.outputs[0]]) < 0.02


def random_graph(seed: int) -> tuple[GraphBuilder, Graph]:
    """Six to fourteen random operators over a few images, all fusions among them; every image still unread is an output."""
    b = GraphBuilder(seed)
    pick = b.generator
    images = [b.conv2d(b.input("x", (1, 3, 10, 10)), 4, 3)]
    for _ in range(int(pick.integers(6, 15))):
        x = images[int(pick.integers(max(0, len(images) - 3), len(images)))]
        channels, size = b.tensors[x].shape[1:3]
        same = [name for name in images if b.tensors[name].shape == b.tensors[x].shape]
        choice = str(
            pick.choice(
                [
                    "conv",
                    "conv",
                    "strided",
                    "depthwise",
                    "grouped",
                    "relu",
                    "clip",
                    "add",
                    "residual",
                    "max_pool",
                    "max",
                    "min",
                    "avg",
                    "concat",
                    "pad",
                ]
            )
        )
        match choice:
            case "conv":
                y = b.conv2d(x, int(pick.integers(2, 9)), int(pick.choice([1, 3])), bias=bool(pick.integers(2)))
            case "strided" if size > 4:
                y = b.conv2d(x, 4, 3, strides=(2, 2))
            case "depthwise":
                y = b.conv2d(x, channels, 3, groups=channels)
            case "grouped" if channels % 2 == 0:
                y = b.conv2d(x, 4, 3, groups=2, dilations=(2, 2))
            case "clip":
                y = b.op("clip", x, low=float(pick.uniform(-2, 0)), high=float(pick.uniform(0.5, 6)))
            case "add" | "max" | "min":
                y = b.op(choice, x, same[int(pick.integers(len(same)))])
            case "residual":
                y = b.op("relu", b.op("add", b.conv2d(x, channels, 3), x))
            case "max_pool" if size > 4:
                y = b.op("max_pool2d", x, kernel=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1), ceil=bool(pick.integers(2)))
            case "avg" if size > 4:
                y = b.op("avg_pool2d", x, kernel=(2, 2), strides=(1, 1))
            case "concat":
                y = b.op("concat", x, same[int(pick.integers(len(same)))], axis=1)
            case "pad" if size < 12:
                y = b.op("pad", x, before=(0, 0, 1, 0), after=(0, 0, 1, 2))
            case _:
                y = b.op("relu", x)
        images.append(y)
    flat = b.op("reshape", b.op("global_avg_pool", images[-1]), shape=(1, b.tensors[images[-1]].shape[1]))
    b.dense(flat, 5)
    read = {name for node in b.nodes for name in node.inputs}
    outputs = [node.outputs[0] for node in b.nodes if node.outputs[0] not in read]
    return b, b.graph(*outputs)


@pytest.mark.parametrize("seed", range(60))
def test_random_graph_is_within_the_bound(seed: int) -> None:
    """Each element of each int8 tensor is within what roundings can add up to; and typically far within."""
    b, graph = random_graph(seed)
    sample = b.sample()
    quantised = quantise_with_report(graph, sample, MINMAX)
    verify_graph(quantised.graph)
    exact, found = run_reference(graph, sample[0], keep="all"), run_reference(quantised.graph, sample[0], keep="all")
    bound = ErrorBound(graph, quantised, exact).bound
    for name, (tensor, affine) in quantised.int8.items():
        error = np.abs(affine.to_real(found[name]) - exact[tensor])
        assert (error <= bound[tensor]).all(), f"seed {seed}, {tensor}: {error.max()}"
    for (
        name
    ) in graph.outputs:  # 40 roundings of 2⁻⁸/√12 of the range, adding as noise does, are 0.7 % of it; range is about 4 rms
        assert relative_error(exact[name], found[name]) < 0.15, f"seed {seed}, {name}"


@pytest.mark.parametrize("seed", range(60, 80))
def test_random_graph_on_new_inputs(seed: int) -> None:
    """The noise is a few levels: 256 of them span what calibration saw, and a dozen roundings add up like noise."""
    b, graph = random_graph(seed)
    quantised = quantise_with_report(graph, b.sample(32))
    new = b.sample()[0]
    exact, found = run_reference(graph, new), run_reference(quantised.graph, new, keep="outputs")
    level = {tensor: affine.scale for tensor, affine in quantised.int8.values()}
    for name in graph.outputs:
        error = np.sqrt(np.mean((exact[name] - found[name]) ** 2))
        assert error < 5 * level.get(name, max(level.values())), f"seed {seed}, {name}"


def test_dead_channels_and_constant_activations() -> None:
    """Weights of zero with and without bias, and a tensor that is one constant: the results are right to a level."""
    b = GraphBuilder(0)
    x = b.input("x", (1, 4, 6, 6))
    w, bias = b.generator.standard_normal((4, 4, 3, 3)), np.array([0.0, 2.0, -1.0, 0.3])
    w[[0, 1]] = 0
    y = b.op("conv2d", x, b.constant(w), b.constant(bias), pads=(1, 1, 1, 1))
    zero = b.op("conv2d", x, b.constant(0 * w), b.constant([0.0] * 4))
    constant = b.op("conv2d", b.op("relu", zero), b.constant(0 * w[:, :, :1, :1]), b.constant([1.5, 1.5, 1.5, 1.5]))
    graph = b.graph(y, constant)
    quantised = quantise_with_report(graph, sample := b.sample(), MINMAX)
    exact, found = run_reference(graph, sample[0]), run_reference(quantised.graph, sample[0], keep="all")
    assert np.abs(exact[y] - found[y])[:, :2].max() < 0.55 * max(
        affine.scale for t, affine in quantised.int8.values() if t == y
    )
    assert np.allclose(found[constant], 1.5, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e-30, 1e-9, 1e9, 1e30])
def test_scales_far_from_one(factor: float) -> None:
    """The error does not depend on the size of the values, as long as float32 holds them."""
    b = GraphBuilder(0)
    y = b.op("relu", b.conv2d(b.input("x", (1, 4, 8, 8)), 8, 3, bias=False))
    graph = b.graph(b.conv2d(y, 4, 3, bias=False))
    samples = b.sample(9)

    def error(size: float) -> float:
        scaled = [{"x": sample["x"] * np.float32(size)} for sample in samples]
        exact, found = run_reference(graph, scaled[0]), run_reference(quantise(graph, scaled[1:]), scaled[0], keep="all")
        return relative_error(exact[graph.outputs[0]], found[graph.outputs[0]])

    assert error(factor) == pytest.approx(error(1.0), rel=0.01)
    assert error(factor) < 0.03


def test_branches_of_very_different_size() -> None:
    """A residual a million times the convolution, and the reverse: the sum is right to a level either way."""
    for factor in (1e-6, 1e6):
        b = GraphBuilder(0)
        x = b.input("x", (1, 4, 8, 8))
        w = b.constant(b.generator.standard_normal((4, 4, 3, 3)) * factor)
        y = b.op("conv2d", x, w, pads=(1, 1, 1, 1))
        graph = b.graph(b.op("add", y, b.conv2d(x, 4, 1)))
        exact_sample = b.sample()
        for options in (MINMAX, QuantiseOptions(method=Method.MINMAX, fuse_residual=False)):
            found = run_reference(quantise(graph, exact_sample, options), exact_sample[0], keep="all")
            exact = run_reference(graph, exact_sample[0])
            assert relative_error(exact[graph.outputs[0]], found[graph.outputs[0]]) < 0.02, (factor, options)


def test_report() -> None:
    b, graph = residual_block(project=True)
    quantised = quantise_with_report(graph, b.sample(4))
    report = quantise_report(graph, quantised, b.sample()[0])
    assert [layer.source for layer in report.layers] == [node.source for node in quantised.graph.nodes[:-1]]
    assert all(20 < layer.sqnr_db < 60 for layer in report.layers)
    assert all(layer.clipped < 0.02 for layer in report.layers)
    assert "conv2d3+add0+relu2" in str(report)
    assert report.relative_error[graph.outputs[0]] < 0.03


def test_empty_calibration_is_refused() -> None:
    _, graph = residual_block(project=False)
    with pytest.raises(RunError, match="no calibration inputs"):
        quantise(graph, [])


def test_quantising_is_deterministic() -> None:
    _, graph = residual_block(project=True)
    first, second = (quantise(graph, generate_calibration(graph, 2, seed=5)) for _ in range(2))
    assert first.nodes == second.nodes
    assert all(np.array_equal(first.constants[name], second.constants[name]) for name in first.constants)
