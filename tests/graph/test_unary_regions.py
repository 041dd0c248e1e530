"""Which pieces of a graph are functions of one number, and that their values are what the whole graph computes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx_models import model_of, node, random, run_onnxruntime
from test_passes import WEIGHTS, X, random_nodes

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.unary_regions import unary_regions
from vdla.compiler.operators.registry import infer_type

SCALARS = {
    "three": np.float32(3),
    "six": np.float32(6),
    "zero": np.zeros((1, 1, 1, 1), np.float32),
    "half": np.full((1,), 0.5, np.float32),
    "one": np.ones((), np.float32),
    "root": np.float32(1.4142135),
    "cube": np.float32(3),
    "little": np.float32(0.044715),
    "inner": np.float32(0.7978846),
    "c4": random(4, 1, 1, seed=5),
}
FORMS = {
    "silu": [node("Sigmoid", "x", "s"), node("Mul", "x s")],
    "hard swish": [
        node("Add", "x three", "a"),
        node("Clip", "a zero0 six", "k"),
        node("Mul", "x k", "m"),
        node("Div", "m six"),
    ],
    "gelu": [
        node("Div", "x root", "d"),
        node("Erf", "d", "e"),
        node("Add", "e one", "a"),
        node("Mul", "x a", "m"),
        node("Mul", "m half"),
    ],
    "gelu by tanh": [
        node("Pow", "x cube", "p"),
        node("Mul", "p little", "q"),
        node("Add", "x q", "a"),
        node("Mul", "a inner", "i"),
        node("Tanh", "i", "t"),
        node("Add", "t one", "u"),
        node("Mul", "x half", "h"),
        node("Mul", "h u"),
    ],
    "mish": [node("Softplus", "x", "s"), node("Tanh", "s", "t"), node("Mul", "x t")],
    "leaky by where": [
        node("Less", "x zero", "l"),
        node("Mul", "x half", "h"),
        node("Where", "l h x"),
    ],
}


@pytest.mark.parametrize("name", FORMS)
def test_activations_spelt_out_are_one_region(name: str) -> None:
    model = model_of(FORMS[name], X, ["y"], {**SCALARS, "zero0": np.float32(0)})
    (region,) = unary_regions(optimise(import_onnx(model)))
    assert (region.input, region.output) == ("x", "y")
    expected = run_onnxruntime(model, X)["y"]
    np.testing.assert_allclose(region.evaluate(X["x"]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(region.evaluate(X["x"].ravel()[:256]), expected.ravel()[:256], rtol=1e-5, atol=1e-6)


def regions_of(nodes: list, outputs: tuple[str, ...] = ("y",)) -> list[tuple[str, str, int]]:
    graph = import_onnx(model_of(nodes, X, outputs, SCALARS))
    return [(region.input, region.output, len(region.nodes)) for region in unary_regions(graph)]


def test_what_ends_a_region() -> None:
    silu = [node("Sigmoid", "x", "s"), node("Mul", "x s", "m")]
    assert regions_of([*silu, node("Tanh", "m")]) == [("x", "y", 3)]
    assert regions_of([*silu, node("Tanh", "m")], ("y", "m")) == [("x", "m", 2), ("m", "y", 1)]  # an output in its middle
    assert regions_of([*silu, node("Tanh", "m")], ("y", "s")) == [("x", "s", 1), ("m", "y", 1)]
    assert regions_of([*silu, node("Mul", "m c4", "n"), node("Tanh", "n")]) == [("x", "m", 2), ("n", "y", 1)]  # of channels
    two = [node("Sigmoid", "x", "s"), node("MaxPool", "x", "p", kernel_shape=[1, 1]), node("Tanh", "p", "t")]
    assert regions_of([*two, node("Mul", "s t")]) == [("x", "s", 1), ("p", "t", 1)]  # of two tensors
    branches = [node("Tanh", "x", "t"), node("Sigmoid", "t", "a"), node("Relu", "t", "b"), node("Conv", "b w", "c")]
    graph = import_onnx(model_of(branches, X, ("a", "c"), {"w": WEIGHTS["w"]}))
    assert [(r.input, r.output) for r in unary_regions(graph)] == [("x", "t"), ("t", "a"), ("t", "b")]


def level_graph() -> Graph:
    """q ─ dequantize ─┬─ sigmoid ─ quantize ─ dequantize ─┐
                       └────────────────────────────────── mul ─ quantize → y, twice, and a dequantize per channel.
    """  # fmt: skip
    tensors = {"q": TensorType((1, 2, 3), "int8")}
    nodes = []

    def add(op: str, inputs: str, output: str, **attributes: object) -> None:
        tensors[output] = infer_type(op, [tensors[name] for name in inputs.split()], attributes)
        nodes.append(Node(f"n{len(nodes)}", op, tuple(inputs.split()), (output,), attributes))

    for x, y in (("q", "r"), ("r", "y")):
        add("dequantize", x, f"{y}x", scale=0.05, zero_point=3)
        add("sigmoid", f"{y}x", f"{y}s")
        add("quantize", f"{y}s", f"{y}sq", scale=1 / 256, zero_point=-128)
        add("dequantize", f"{y}sq", f"{y}sd", scale=1 / 256, zero_point=-128)
        add("mul", f"{y}x {y}sd", f"{y}m")
        add("quantize", f"{y}m", y, scale=0.04, zero_point=-9)
    add("dequantize", "y", "z", scale=(0.1, 0.2), zero_point=0, axis=1)
    return Graph("g", ("q",), ("r", "z"), tuple(nodes), tensors, {})


def test_regions_of_levels() -> None:
    graph = level_graph()
    assert [(r.input, r.output, len(r.nodes)) for r in unary_regions(graph)] == [("rx", "rs", 1), ("yx", "ys", 1)]
    regions = unary_regions(graph, "int8")
    assert [(r.input, r.output, len(r.nodes)) for r in regions] == [("q", "r", 6), ("r", "y", 6)]
    levels = np.random.default_rng(0).integers(-128, 128, (1, 2, 3)).astype(np.int8)
    table = regions[0].evaluate(np.arange(-128, 128).astype(np.int8))
    assert table.dtype == np.int8
    assert (table[levels.astype(int) + 128] == run_reference(graph, {"q": levels})["r"]).all()


@pytest.mark.parametrize("trial", range(20))
def test_random_networks(trial: int) -> None:
    """Regions share no node, nothing outside reads their middle, they compute what the graph does, none could be larger."""
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    nodes = random_nodes(np.random.default_rng(seed), 15)
    graph = import_onnx(model_of(nodes, X, [nodes[-1].output[0]], {**WEIGHTS, "w45": random(4, 4, 4, 4)}))
    values = {**graph.constants, **run_reference(graph, X, keep="all")}
    regions = unary_regions(graph)
    assert max(Counter(n.name for r in regions for n in r.nodes).values(), default=1) == 1, f"seed {seed}"
    readers = graph.consumers()
    for region in regions:
        names = {n.name for n in region.nodes}
        inner = {n.outputs[0] for n in region.nodes} - {region.output}
        assert not inner & set(graph.outputs), f"seed {seed}"
        assert all(reader.name in names for name in inner for reader in readers[name]), f"seed {seed}"
        np.testing.assert_array_equal(region.evaluate(values[region.input]), values[region.output], f"seed {seed}")
    ends = {region.output: region for region in regions}
    for region in regions:
        if region.input in ends and readers[region.input] and region.input not in graph.outputs:
            names = {n.name for n in region.nodes}
            assert any(reader.name not in names for reader in readers[region.input]), f"seed {seed}: {region.output} is cut"
