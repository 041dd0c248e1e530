"""Fusion groups: the paper's classes on small graphs, and what must hold for any graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import model_of, node, random
from test_passes import WEIGHTS, X, random_nodes

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.fuse import TREE_LIMIT, fuse, kind_of, tree_size
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.operators.registry import OPERATORS
from vdla.zoo import build

CONV = node("Conv", "x w44", "c")
CASES = {
    "elementwise rides on a convolution": (
        [CONV, node("Relu", "c", "r"), node("Add", "r x")],
        [("complex", "conv2d relu add")],
    ),
    "injective chain": (
        [node("Relu", "x", "r"), node("Transpose", "r", "t", perm=[0, 2, 3, 1]), node("Tanh", "t")],
        [("injective", "relu transpose tanh")],
    ),
    "reduction takes its inputs": (
        [node("Relu", "x", "r"), node("GlobalAveragePool", "r")],
        [("reduction", "relu global_avg_pool")],
    ),
    "nothing rides on a reduction": (
        [node("GlobalAveragePool", "x", "p"), node("Relu", "p")],
        [("reduction", "global_avg_pool"), ("injective", "relu")],
    ),
    "nor on an opaque one": ([node("Softmax", "x", "s"), node("Relu", "s")], [("opaque", "softmax"), ("injective", "relu")]),
    "a layer does not take what feeds it": (
        [node("Relu", "x", "r"), node("Conv", "r w44")],
        [("injective", "relu"), ("complex", "conv2d")],
    ),
    "layouts do not ride": (
        [CONV, node("Transpose", "c", perm=[0, 2, 3, 1])],
        [("complex", "conv2d"), ("injective", "transpose")],
    ),
    "two readers in the group": ([CONV, node("Sigmoid", "c", "s"), node("Mul", "s c")], [("complex", "conv2d sigmoid mul")]),
    "two readers, one outside": (
        [CONV, node("Relu", "c", "r"), node("GlobalAveragePool", "c", "p"), node("Add", "r p")],
        [("complex", "conv2d"), ("reduction", "global_avg_pool"), ("injective", "relu add")],
    ),
    "read twice by one": ([CONV, node("Mul", "c c")], [("complex", "conv2d mul")]),
    "both operands of a rider": (
        [node("Relu", "x", "r"), CONV, node("Tanh", "r", "t"), node("Add", "t c")],
        [("complex", "relu conv2d tanh add")],
    ),
    "what a layer reads does not ride on it": (
        [node("Relu", "x", "r"), node("Conv", "r w44", "c"), node("Add", "r c")],
        [("injective", "relu"), ("complex", "conv2d add")],
    ),
    "of two layers, the later": (
        [CONV, node("Conv", "x w44", "d"), node("Add", "c d")],
        [("complex", "conv2d"), ("complex", "conv2d add")],
    ),
    "broadcasting changes the shape": (
        [node("GlobalAveragePool", "x", "p"), node("Conv", "p w44", "c"), node("Add", "x c")],
        None,
    ),
}


def groups_of(nodes: list[Any], outputs: tuple[str, ...] = ("y",)) -> list[tuple[str, str]]:
    graph = import_onnx(model_of(nodes, X, outputs, WEIGHTS))
    return [(group.kind, " ".join(n.op for n in group.nodes)) for group in fuse(graph)]


@pytest.mark.parametrize("name", CASES)
def test_groups(name: str) -> None:
    nodes, expected = CASES[name]
    broadcast = [("reduction", "global_avg_pool"), ("complex", "conv2d"), ("injective", "add")]
    assert groups_of(nodes) == (broadcast if expected is None else expected)


def test_outputs_end_their_group() -> None:
    assert groups_of([CONV, node("Relu", "c")], ("c", "y")) == [("complex", "conv2d"), ("injective", "relu")]


def test_nodes_placed_elsewhere_stay_alone() -> None:
    graph = import_onnx(model_of([CONV, node("Relu", "c", "r"), node("Tanh", "r")], X, ["y"], WEIGHTS))
    groups = fuse(graph, lambda n: n.op != "relu")
    assert [[n.op for n in group.nodes] for group in groups] == [["conv2d"], ["relu"], ["tanh"]]


def test_every_operator_has_one_of_the_four_classes() -> None:
    assert {kind_of(op) for op in OPERATORS} == {"injective", "reduction", "complex", "opaque"}
    assert kind_of("softmax") == "opaque"
    assert kind_of("pack_nchwc") == kind_of("unpack_nchwc") == kind_of("im2col") == kind_of("add") == "injective"


def check_groups(graph: Graph, message: str = "") -> None:
    """Each node in one group; groups in an order that can run; nothing outside reads the middle of a group."""
    groups = fuse(graph)
    assert sorted(n.name for g in groups for n in g.nodes) == sorted(n.name for n in graph.nodes), message
    known = {*graph.inputs, *graph.constants}
    for group in groups:
        assert set(group.inputs) <= known, message
        inner = {n.outputs[0] for n in group.nodes[:-1]}
        outside = {name for other in groups if other is not group for name in other.inputs} | set(graph.outputs)
        assert not inner & outside, message
        known.add(group.output)


def test_a_tensor_read_again_and_again_does_not_make_code_without_end() -> None:
    """x → x·x → … doubles the tree each time."""
    nodes = [node("Mul", f"x{i} x{i}", f"x{i + 1}") for i in range(12)]
    graph = import_onnx(model_of(nodes, {"x0": next(iter(X.values()))}, ["x12"], {}))
    groups = fuse(graph)
    assert all(tree_size(group) <= TREE_LIMIT for group in groups)
    assert len(groups) == 3
    check_groups(graph)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet", "digits"])
def test_zoo(name: str) -> None:
    graph = optimise(import_onnx(build(name)))
    check_groups(graph)
    for group in fuse(graph):
        assert sum(n.op in ("conv2d", "dense") for n in group.nodes) <= 1
        assert group.nodes[0].op not in ("relu", "clip", "add")  # each rides on a layer


@pytest.mark.parametrize("trial", range(25))
def test_random_networks(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    nodes = random_nodes(np.random.default_rng(seed), 15)
    constants = {**WEIGHTS, "w45": random(4, 4, 4, 4)}
    check_groups(import_onnx(model_of(nodes, X, [nodes[-1].output[0]], constants)), f"seed {seed}")
