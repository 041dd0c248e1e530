"""Histograms and the ranges chosen from them."""

from __future__ import annotations

import numpy as np
import pytest
from graph_builder import GraphBuilder

from vdla.compiler.quantise.calibrate import calibrate, generate_calibration
from vdla.compiler.quantise.histogram import Histogram, Method
from vdla.compiler.quantise.quantise import quantise
from vdla.compiler.quantise.scales import affine_from_range
from vdla.errors import ModelError, RunError


def quantised_error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of int8 levels over [low, high]."""
    affine = affine_from_range(low, high)
    levels = np.clip(np.rint(values / affine.scale) + affine.zero_point, -128, 127)
    return float(np.mean((affine.to_real(levels) - values) ** 2))


DISTRIBUTIONS = {
    "normal": lambda g: g.standard_normal(20_000),
    "relu": lambda g: np.maximum(g.standard_normal(20_000), 0),
    "laplace": lambda g: g.laplace(size=20_000),
    "outliers": lambda g: np.tile(np.append(g.standard_normal(1_999), 60.0), 10),
    "uniform": lambda g: g.uniform(-1, 3, 20_000),
    "negative": lambda g: -np.abs(g.standard_normal(20_000)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_mse_is_near_the_best_range_there_is(name: str) -> None:
    """Within 3 % of the best of an exhaustive search that really quantises: the model's uniform noise is not quite that."""
    values = DISTRIBUTIONS[name](np.random.default_rng(0)).astype(np.float32)
    histogram = Histogram()
    for part in np.array_split(values, 7):
        histogram.add(part)
    chosen = histogram.choose(Method.MSE, 0.0)
    steps = np.linspace(0.04, 1.04, 26)
    lows = min(values.min(), 0) * steps if values.min() < 0 else [0.0]
    highs = max(values.max(), 0) * steps if values.max() > 0 else [0.0]
    best = min(quantised_error(values, low, high) for low in lows for high in highs)
    assert quantised_error(values, chosen.low, chosen.high) <= best * 1.03


@pytest.mark.parametrize("seed", range(3))
def test_histogram_widens_without_losing_counts(seed: int) -> None:
    generator = np.random.default_rng(seed)
    histogram, parts = Histogram(), [generator.standard_normal(1000).astype(np.float32) * 10.0**k for k in (-3, 0, -1, 4)]
    for part in parts:
        histogram.add(part)
    values = np.concatenate(parts)
    assert histogram.counts.sum() == len(values)
    assert (histogram.low, histogram.high) == (values.min(), values.max())
    width = 2 * histogram.reach / len(histogram.counts)
    exact = np.histogram(values, np.arange(len(histogram.counts) + 1) * width - histogram.reach)[0]
    assert np.abs(exact.cumsum() - histogram.counts.cumsum()).max() <= 2, f"seed {seed}"  # float32 rounding at bin edges


def test_zeros_do_not_count() -> None:
    sparse, dense = Histogram(), Histogram()
    values = np.abs(np.random.default_rng(0).standard_normal(1000)).astype(np.float32)
    dense.add(values)
    sparse.add(np.concatenate([values, np.zeros(9000, np.float32)]))
    assert sparse.choose(Method.MSE, 0.0).high == dense.choose(Method.MSE, 0.0).high


def test_percentile_drops_the_tails() -> None:
    histogram = Histogram()
    histogram.add(np.arange(1, 10_001, dtype=np.float32))
    histogram.add(-np.arange(1, 10_001, dtype=np.float32))
    chosen = histogram.choose(Method.PERCENTILE, 99.0)
    assert chosen.low == pytest.approx(-9800, rel=0.01)
    assert chosen.high == pytest.approx(9800, rel=0.01)
    assert (chosen.observed_low, chosen.observed_high) == (-10_000, 10_000)


@pytest.mark.parametrize("method", sorted(set(Method) - {Method.BEST}))
@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-35])
def test_constant_tensor(method: Method, value: float) -> None:
    histogram = Histogram()
    histogram.add(np.full(1000, value, np.float32))
    chosen = histogram.choose(method, 99.9)
    assert chosen.low <= min(value, 0) * 0.9
    assert chosen.high >= max(value, 0) * 0.9
    assert chosen.low <= 0 <= chosen.high


def test_not_finite_is_named() -> None:
    """Activations, calibration data and weights; what is infinite and no layer stays float."""
    b = GraphBuilder(0)
    x = b.input("x", (1, 4, 2, 2))
    graph = b.graph(b.conv2d(b.op("div", x, x), 2, 1))
    zeros = {"x": np.zeros((1, 4, 2, 2), np.float32)}
    with pytest.raises(ModelError, match=r"div0\.out, at conv2d0: an activation is not finite"):
        quantise(graph, [zeros])
    bad = zeros["x"].copy()
    bad[0, 2, 1, 0] = np.nan
    with pytest.raises(RunError, match=r"calibration sample 1: x\[0, 2, 1, 0\]: .*nan"):
        quantise(graph, [zeros, {"x": bad}])
    b.constants["c0"][1, 3, 0, 0] = np.inf
    with pytest.raises(ModelError, match="conv2d0: c0, channel 1: a weight is not finite.*inf at"):
        quantise(graph, b.sample())
    b = GraphBuilder(0)
    y = b.conv2d(b.input("x", (1, 4, 2, 2)), 4, 1)
    masked = b.op("add", y, b.constant([[[[0.0, -np.inf]]]]))
    graph = b.graph(b.op("softmax", masked, axis=3))
    assert [node.op for node in quantise(graph, b.sample()).nodes] == ["quantize", "qconv2d", "dequantize", "add", "softmax"]


def test_generated_inputs() -> None:
    b = GraphBuilder(0)
    graph = b.graph(b.op("relu", b.input("x", (2, 4))))
    first, second = generate_calibration(graph, 3, seed=7), generate_calibration(graph, 3, seed=7)
    assert len(first) == 3
    assert all(np.array_equal(a["x"], b["x"]) and a["x"].dtype == np.float32 for a, b in zip(first, second, strict=True))
    b.input("labels", (2, 4), "int8")
    with pytest.raises(ModelError, match="labels"):
        generate_calibration(b.graph("relu0.out"))


def test_wrong_input_is_named() -> None:
    b = GraphBuilder(0)
    graph = b.graph(b.op("relu", b.input("x", (2, 4))))
    with pytest.raises(RunError, match="wrong shape"):
        calibrate(graph, [{"x": np.zeros((1, 4), np.float32)}], ["relu0.out"])
