"""Bias correction and cross-layer equalisation: what they leave alone in float, and what they mend in int8."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_builder import GraphBuilder

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.equalise import equalise
from vdla.compiler.quantise.histogram import Method
from vdla.compiler.quantise.noise import sqnr_db
from vdla.compiler.quantise.quantise import QuantiseOptions, quantise, quantise_with_report

PLAIN = QuantiseOptions(method=Method.MINMAX, bias_correction=False)


def unlike_channels(seed: int, depthwise: bool) -> tuple[GraphBuilder, Graph]:
    """Convolutions between which channels differ in size by three orders of magnitude."""
    b = GraphBuilder(seed)
    y = b.conv2d(b.input("x", (2, 3, 8, 8)), 16, 3)
    size = 10.0 ** np.linspace(-3, 0, 16)
    b.constants["c0"] *= size.reshape(-1, 1, 1, 1).astype(np.float32)
    b.constants["c1"] *= size.astype(np.float32)
    y = b.op("max_pool2d", b.op("relu", y), kernel=(2, 2), strides=(2, 2))
    w = b.generator.standard_normal((16, 1, 3, 3) if depthwise else (4, 16, 3, 3))
    w /= size.reshape((-1, 1, 1, 1) if depthwise else (1, -1, 1, 1))
    y = b.op("conv2d", y, b.constant(w), pads=(1,) * 4, groups=16 if depthwise else 1)
    return b, b.graph(y)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_equalised_channels(seed: int, depthwise: bool) -> None:
    """The float network stays what it was, and int8 gains more than 10 dB."""
    b, graph = unlike_channels(seed, depthwise)
    samples, fresh = b.sample(4), b.sample()[0]
    exact = run_reference(graph, fresh)[graph.outputs[0]]
    same = run_reference(equalise(graph, samples), fresh)[graph.outputs[0]]
    assert np.allclose(same, exact, rtol=1e-4, atol=1e-5 * np.abs(exact).max())

    def quality(options: QuantiseOptions) -> float:
        return sqnr_db(exact, run_reference(quantise(graph, samples, options), fresh)[graph.outputs[0]])

    assert quality(replace(PLAIN, equalise=True)) > quality(PLAIN) + 10, f"seed {seed}"


def test_what_is_not_equalised() -> None:
    """A clip with an upper bound is not homogeneous; a tensor with another reader keeps its size; so do shared weights."""
    b = GraphBuilder(0)
    x = b.input("x", (1, 4, 6, 6))
    clipped = b.conv2d(b.op("clip", b.conv2d(x, 4, 3), low=0.0, high=6.0), 4, 3)
    read_twice = b.op("relu", clipped)
    once = b.conv2d(read_twice, 4, 3)
    w = b.constant(b.generator.standard_normal((4, 4, 1, 1)))
    shared = b.op("conv2d", b.op("conv2d", once, w), w)
    graph = b.graph(b.op("add", shared, read_twice))
    found = equalise(graph, b.sample(2))
    assert all(np.array_equal(found.constants[name], value) for name, value in graph.constants.items())


@pytest.mark.parametrize("seed", range(4))
def test_bias_correction_takes_the_mean_error_away(seed: int) -> None:
    """On the data it saw, each channel's mean error shrinks to what an output level leaves; the layers are strided, grouped,
    padded, with residuals and activations, and a dense one."""
    b = GraphBuilder(seed)
    x = b.input("x", (2, 3, 12, 12))
    y = b.op("relu", b.conv2d(x, 8, 5, strides=(2, 2)))
    y = b.op("relu", b.op("add", b.conv2d(y, 8, 3, groups=4, dilations=(2, 2)), y))
    y = b.conv2d(y, 8, 3, groups=8)
    flat = b.op("reshape", b.op("max_pool2d", y, kernel=(6, 6)), shape=(2, 8))
    graph = b.graph(b.dense(flat, 6), y)
    for name, value in graph.constants.items():  # weights whose rounding is all to one side
        if value.ndim == 4:
            step = np.abs(value).max(axis=(1, 2, 3), keepdims=True) / 127
            b.constants[name][...] = np.where(np.abs(value) < step * 126, np.floor(value / step) * step + 0.4 * step, value)
    samples = b.sample(4)
    errors = {}
    for on in (False, True):
        found = quantise_with_report(graph, samples, replace(PLAIN, bias_correction=on)).graph
        pairs = [(run_reference(graph, s)[y], run_reference(found, s)[y]) for s in samples]
        errors[on] = np.abs(np.mean([(a.astype(np.float64) - c).mean(axis=(0, 2, 3)) for a, c in pairs], axis=0)).max()
    assert errors[True] < errors[False] / 3, f"seed {seed}: {errors}"
