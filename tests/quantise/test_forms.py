"""Each integer form against the float operator on the very values that the levels mean: what is left is rounding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from graph_builder import GraphBuilder

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_node, run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.quantise.histogram import Method
from vdla.compiler.quantise.quantise import Quantised, QuantiseOptions, quantise_with_report

MINMAX = QuantiseOptions(method=Method.MINMAX, bias_correction=False, equalise=False)
SHAPE = (2, 6, 5, 7)

Make = Callable[[GraphBuilder, str, str], str]
"""Appends what is tested to two tensors of SHAPE, and returns its output."""


def channels(b: GraphBuilder, positive: bool = False) -> str:
    values = b.generator.uniform(0.3, 2, (6, 1, 1)) * (1 if positive else b.generator.choice([-1, 1], (6, 1, 1)))
    return b.constant(values)


def gate(b: GraphBuilder, x: str) -> str:
    """One number for each channel."""
    return b.op("sigmoid", b.op("global_avg_pool", x))


def silu(b: GraphBuilder, x: str) -> str:
    return b.op("mul", x, b.op("sigmoid", x))


def gelu(b: GraphBuilder, x: str) -> str:
    inner = b.op("erf", b.op("mul", x, b.constant(0.5**0.5)))
    return b.op("mul", b.op("mul", x, b.op("add", inner, b.constant(1.0))), b.constant(0.5))


def hard_swish(b: GraphBuilder, x: str) -> str:
    clipped = b.op("clip", b.op("add", x, b.constant([[[[3.0]]]])), low=0.0, high=6.0)
    return b.op("mul", b.op("mul", x, clipped), b.constant(1 / 6))


CASES: dict[str, tuple[Make, list[str], float]] = {
    # what is made, the operators it becomes, the error in levels of the output: half for rounding, and what else there is
    "silu": (lambda b, x, y: silu(b, x), ["qtable"], 0.5),
    "gelu": (lambda b, x, y: gelu(b, x), ["qtable"], 0.5),
    "hard swish": (lambda b, x, y: hard_swish(b, x), ["qtable"], 0.5),
    "exp": (lambda b, x, y: b.op("exp", x), ["qtable"], 0.5),
    "leaky relu": (lambda b, x, y: b.op("leaky_relu", x), ["qtable"], 0.5),
    "two numbers": (lambda b, x, y: b.op("add", b.op("mul", x, b.constant(-0.3)), b.constant([2.0])), ["qtable"], 0.5),
    "from a constant": (lambda b, x, y: b.op("sub", b.constant(1.0), x), ["qtable"], 0.5),
    "add": (lambda b, x, y: b.op("add", x, y), ["qadd"], 0.52),
    "sub": (lambda b, x, y: b.op("sub", x, y), ["qsub"], 0.52),
    "sub relu": (lambda b, x, y: b.op("relu", b.op("sub", x, y)), ["qsub"], 0.52),
    "max": (lambda b, x, y: b.op("max", x, y), ["qmax"], 0.52),
    "min": (lambda b, x, y: b.op("min", x, y), ["qmin"], 0.52),
    "mul": (lambda b, x, y: b.op("mul", x, y), ["qmul"], 0.52),
    "sum of three": (lambda b, x, y: b.op("add", b.op("add", x, y), gelu(b, x)), ["qadd", "qtable", "qadd"], 1.6),
    "gated": (lambda b, x, y: b.op("mul", x, gate(b, y)), ["qavg_pool2d", "qtable", "qmul"], 1.1),
    "gated from the left": (lambda b, x, y: b.op("mul", gate(b, y), x), ["qavg_pool2d", "qtable", "qmul"], 1.1),
    "add of means": (lambda b, x, y: b.op("add", b.op("global_avg_pool", y), x), ["qavg_pool2d", "qadd"], 1.1),
    "add channels": (lambda b, x, y: b.op("add", x, channels(b)), ["qconv2d"], 0.55),
    "sub channels": (lambda b, x, y: b.op("sub", channels(b), x), ["qconv2d"], 0.55),
    "mul channels": (lambda b, x, y: b.op("mul", x, channels(b)), ["qconv2d"], 0.52),
    "mul positive channels": (lambda b, x, y: b.op("mul", channels(b, True), x), ["requantize"], 0.52),
    "scale, shift, relu": (
        lambda b, x, y: b.op("relu", b.op("add", b.op("mul", x, channels(b)), channels(b))), ["qconv2d"], 0.55,
    ),
    "add rows": (lambda b, x, y: b.op("add", x, b.constant(b.generator.standard_normal((5, 7)))), ["qadd"], 1.1),
    "mul rows": (lambda b, x, y: b.op("mul", b.constant(b.generator.standard_normal((1, 5, 7))), x), ["qmul"], 2.0),
    "max rows": (lambda b, x, y: b.op("max", x, b.constant(b.generator.standard_normal((1, 1, 1, 7)))), ["qmax"], 1.1),
    "split": (lambda b, x, y: b.op("add", *b.split(x, 1, 3, 3)), ["split", "qadd"], 0.52),
    "slice": (lambda b, x, y: b.op("slice", x, starts=(0, 1, 0, 2), steps=(1, 1, 1, 2), sizes=(2, 3, 5, 2)), ["slice"], 0.0),
    "transpose": (lambda b, x, y: b.op("transpose", x, permutation=(0, 2, 3, 1)), ["transpose"], 0.0),
    "repeat": (lambda b, x, y: b.op("repeat", x, repeats=(1, 1, 2, 2)), ["repeat"], 0.0),
    "concat with a constant": (
        lambda b, x, y: b.op("concat", x, b.constant(b.generator.standard_normal((2, 1, 5, 7))), axis=1), ["concat"], 1.1,
    ),
}  # fmt: skip


def network(make: Make, seed: int) -> tuple[GraphBuilder, Graph]:
    """Between convolutions, so that nothing is at a shore."""
    b = GraphBuilder(seed)
    x = b.input("x", SHAPE)
    out = make(b, b.conv2d(x, 6, 3), b.conv2d(x, 6, 1))
    shape = b.tensors[out].shape
    w = b.constant(b.generator.standard_normal((2, shape[1], 1, 1)))
    return b, b.graph(b.op("conv2d", out, w))


def levels_of(quantised: Quantised) -> dict[str, str]:
    return {tensor: name for name, (tensor, _) in quantised.int8.items()}


@pytest.mark.parametrize("case", CASES)
def test_form(case: str) -> None:
    make, ops, limit = CASES[case]
    seed = sorted(CASES).index(case)
    b, graph = network(make, seed)
    sample = b.sample()
    quantised = quantise_with_report(graph, sample, replace(MINMAX, fuse_residual=False))
    verify_graph(quantised.graph)
    found = [node.op for node in quantised.graph.nodes]
    assert found == ["quantize", "qconv2d", "qconv2d", *ops, "qconv2d", "dequantize"]
    values = run_reference(quantised.graph, sample[0], keep="all")
    name_of = levels_of(quantised)
    floats = {name: quantised.int8[level][1].to_real(values[level]).astype(np.float32) for name, level in name_of.items()}
    known = {**graph.constants, "x": floats["x"], **{f"conv2d{i}.out": floats[f"conv2d{i}.out"] for i in (0, 1)}}
    for node in graph.nodes[2:-1]:
        known |= run_node(node, known)
    last = graph.nodes[-2].outputs[0]
    affine = quantised.int8[name_of[last]][1]
    wanted = np.clip(known[last], *affine.range)
    error = np.abs(floats[last].astype(np.float64) - wanted).max() / affine.scale
    assert error <= limit + 1e-3, f"seed {seed}: {error} levels"


def test_logarithms_of_nothing() -> None:
    """Levels at which a function is no number, or infinite, take what is nearest."""
    b = GraphBuilder(3)
    x = b.op("relu", b.conv2d(b.input("x", SHAPE), 6, 3))
    graph = b.graph(b.conv2d(b.op("log", b.op("add", x, b.constant(0.5))), 2, 1))
    sample = b.sample()
    quantised = quantise_with_report(graph, sample, MINMAX)
    table = next(quantised.graph.constants[node.inputs[1]] for node in quantised.graph.nodes if node.op == "qtable")
    assert table.min() == -128 and table.max() == 127
    assert (np.diff(table.astype(int)) >= 0).all()


def ops(graph: Graph, b: GraphBuilder) -> list[str]:
    return [node.op for node in quantise_with_report(graph, b.sample(), MINMAX).graph.nodes]


def test_networks_without_layers() -> None:
    """Two operators that compute are worth the conversions; one is not, nor are any number of tables and moves."""
    b = GraphBuilder(0)
    x = b.input("x", SHAPE)
    pooled = b.op("max_pool2d", x, kernel=(2, 2), strides=(2, 2))
    assert ops(b.graph(b.op("sigmoid", pooled)), b) == ["max_pool2d", "sigmoid"]
    b.op("global_avg_pool", b.nodes.pop().inputs[0])
    assert ops(b.graph(b.nodes[-1].outputs[0]), b) == ["quantize", "qmax_pool2d", "qavg_pool2d", "dequantize"]
    b = GraphBuilder(0)
    x, y = b.input("x", SHAPE), b.input("y", SHAPE)
    total = b.op("relu", b.op("add", b.op("add", x, y), x))
    assert ops(b.graph(total), b) == ["quantize", "quantize", "qadd", "qadd", "dequantize"]
    b = GraphBuilder(0)
    x = b.input("x", SHAPE)
    y = b.op(
        "transpose", b.op("sigmoid", b.op("slice", x, starts=(0,) * 4, steps=(1,) * 4, sizes=SHAPE)), permutation=(0, 2, 3, 1)
    )
    assert ops(b.graph(b.op("exp", y)), b) == ["slice", "sigmoid", "transpose", "exp"]


def test_shores_stay_float() -> None:
    """What leads in from floats, or ends in them, is computed there unless it is a layer or saves work."""
    b = GraphBuilder(0)
    x, y = b.input("x", SHAPE), b.input("y", SHAPE)
    inner = b.conv2d(b.op("tanh", b.op("add", x, y)), 6, 3)
    joined = b.op("concat", b.op("sigmoid", inner), b.op("max_pool2d", inner, kernel=(1, 1)), axis=1)
    assert ops(b.graph(joined), b) == [
        "add", "tanh", "quantize", "qconv2d", "dequantize", "sigmoid", "qmax_pool2d", "dequantize", "concat",
    ]  # fmt: skip
