"""qmatmul as a product of images: the same levels, whatever surrounds it, and no more turning than needed."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.product_images import products_as_images
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.compiler.ops.vdla.layers import refusal
from vdla.design_file import load_design
from vdla.isa.semantics import pack_scale

TINY = load_design("tiny")


class Builder:
    def __init__(self, **inputs: tuple[int, ...]) -> None:
        self.inputs, self.nodes = tuple(inputs), []
        self.tensors = {name: TensorType(shape, "int8") for name, shape in inputs.items()}
        self.constants = {"bias": np.array([3], np.int32), "scale": pack_scale([1 << 16], [26], [2])}
        self.tensors |= {name: TensorType((1,), "int32") for name in self.constants}

    def op(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs, (name,), attributes))
        self.tensors[name] = infer_type(op, tuple(self.tensors[i] for i in inputs), with_defaults(op, attributes))
        return name

    def product(self, a: str, b: str, **attributes: int) -> str:
        return self.op("qmatmul", a, b, "bias", "scale", **attributes)

    def graph(self, output: str) -> Graph:
        graph = Graph("g", self.inputs, (output,), tuple(self.nodes), self.tensors, self.constants)
        verify_graph(graph, "test")
        return graph


def rewritten(graph: Graph, design=TINY) -> Graph:
    """Checked against the graph on random levels."""
    result = products_as_images(graph, design.channel_block, lambda node, around: not refusal(node, around, design))
    verify_graph(result, "products_as_images")
    rng = np.random.default_rng(0)
    values = {name: rng.integers(-128, 128, graph.type_of(name).shape, np.int8) for name in graph.inputs}
    (output,) = graph.outputs
    np.testing.assert_array_equal(run_reference(result, values)[output], run_reference(graph, values)[output])
    return result


@pytest.mark.parametrize(
    ("a", "b", "padded"),
    [
        ((8, 12), (12, 5), 0),  # the weights are the rows of a
        ((3, 8, 12), (3, 12, 5), 0),
        ((2, 3, 7, 12), (2, 3, 12, 8), 1),
        ((2, 3, 7, 10), (2, 3, 10, 5), 2),
    ],
)
def test_shapes(a: tuple[int, ...], b: tuple[int, ...], padded: int) -> None:
    net = Builder(a=a, b=b)
    ops = [node.op for node in rewritten(net.graph(net.product("a", "b", low=-100))).nodes]
    assert ops.count("qmatmul2d") == 1
    assert ops.count("pad") == padded
    assert "qmatmul" not in ops


def test_attention_between_layers_of_images_turns_nothing_but_what_softmax_and_values_need() -> None:
    """Queries, keys and values are images of 2 · 8 channels and 12 positions."""
    net = Builder(q=(1, 16, 12, 1), k=(1, 16, 12, 1), v=(1, 16, 12, 1))
    q, k, v = (net.op("reshape", name, shape=(1, 2, 8, 12)) for name in "qkv")
    scores = net.product(net.op("transpose", q, permutation=(0, 1, 3, 2)), k)
    mixed = net.product(scores, net.op("transpose", v, permutation=(0, 1, 3, 2)))
    out = net.op("reshape", net.op("transpose", mixed, permutation=(0, 1, 3, 2)), shape=(1, 16, 12, 1))
    ops = [node.op for node in rewritten(net.graph(out)).nodes]
    assert ops.count("qmatmul2d") == 2
    assert ops.count("transpose") == 2  # the values, and the probabilities to channels


@pytest.mark.parametrize("attributes", [{"a_zero_point": 1}, {"b_zero_point": -3}])
def test_zero_points_stay_on_the_host(attributes: dict[str, int]) -> None:
    net = Builder(a=(8, 12), b=(12, 8))
    graph = net.graph(net.product("a", "b", **attributes))
    assert rewritten(graph).nodes == graph.nodes
    assert "zero point" in refusal(graph.nodes[0], graph, TINY)


def test_broadcast_factors_stay_on_the_host() -> None:
    net = Builder(a=(2, 8, 12), b=(1, 12, 8))
    graph = net.graph(net.product("a", "b"))
    assert rewritten(graph).nodes == graph.nodes
