"""Concats in place: chains, tensors read elsewhere too, outputs in the middle, and what is copied instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import check_sanitizer, check_saved, checked_run
from onnx import helper
from random_models import Network, model_of

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.targets.vdla_views import placed
from vdla.design_file import load_design
from vdla.flows.run import Run

Body = Callable[[Network, str], list[str]]


def run_body(name: str, body: Body, tmp_path: Path, batch: int = 1, design: str = "tiny") -> tuple[Run, dict[str, str]]:
    """The run, and the reason of each concat on the host."""
    net = Network(np.random.default_rng(0))
    net.outputs += body(net, net.same("Relu", net.conv(net.input(batch, 8, 6, 5), 8)))
    run = checked_run(model_of(net, name), design, name)
    check_sanitizer(run, name)
    check_saved(run, tmp_path, name)
    on_host = {layer.name: layer.why for layer in run.report.layers if layer.op == "concat" and not layer.on_device}
    return run, on_host


def relu_conv(net: Network, x: str, out: int = 8) -> str:
    return net.same("Relu", net.conv(x, out, (3, 3)))


def plain(net: Network, x: str) -> list[str]:
    return [relu_conv(net, net.concat([relu_conv(net, x, 4), relu_conv(net, x, 12), relu_conv(net, x, 7)]))]


def chain(net: Network, x: str) -> list[str]:
    """As DenseNet grows, each concat part of the next."""
    for _ in range(3):
        x = net.concat([x, relu_conv(net, x, 4)])
    return [relu_conv(net, x)]


def read_elsewhere(net: Network, x: str) -> list[str]:
    """A piece has other readers before and after the concat, and is an output."""
    a, b = relu_conv(net, x), relu_conv(net, x)
    joined = net.concat([a, b])
    return [net.same("Add", relu_conv(net, joined), relu_conv(net, a)), a, net.same("Tanh", b)]


def concat_is_the_output(net: Network, x: str) -> list[str]:
    return [net.concat([relu_conv(net, x), relu_conv(net, x)])]


def through_a_flatten(net: Network, x: str) -> list[str]:
    """Views of views: each map is pooled and flattened before."""
    a, b = (net.flatten(net.global_pool(relu_conv(net, x))) for _ in range(2))
    return [net.dense(net.concat([a, b]), 5)]


def split_and_joined(net: Network, x: str) -> list[str]:
    """As YOLO's blocks are: both halves of a split, and what grows on the second."""
    whole = relu_conv(net, x, 16)
    sizes = net.constant(np.array([8, 8], np.int64))
    net.nodes.append(helper.make_node("Split", [whole, sizes], ["left", "right"], name="halves", axis=1))
    net.shapes["left"] = net.shapes["right"] = net.shapes[x]
    return [relu_conv(net, net.concat(["left", "right", relu_conv(net, "right")]))]


def partly_from_the_host(net: Network, x: str) -> list[str]:
    return [relu_conv(net, net.concat([relu_conv(net, x), net.same("Sigmoid", relu_conv(net, x))]))]


@pytest.mark.parametrize(
    "body", [plain, chain, read_elsewhere, concat_is_the_output, through_a_flatten, split_and_joined, partly_from_the_host]
)
def test_in_place(body: Body, tmp_path: Path) -> None:
    run, _ = run_body(body.__name__, body, tmp_path)
    assert not [layer.name for layer in run.report.layers if layer.op == "concat"]


def with_itself(net: Network, x: str) -> list[str]:
    return [relu_conv(net, net.concat([x, x]))]


def part_of_a_block(net: Network, x: str) -> list[str]:
    return [relu_conv(net, net.concat([relu_conv(net, x, 6), relu_conv(net, x, 8)]))]


def along_the_width(net: Network, x: str) -> list[str]:
    n, c, h, w = net.shapes[x]
    return [relu_conv(net, net.add("Concat", [relu_conv(net, x), relu_conv(net, x)], (n, c, h, 2 * w), axis=3))]


def along_the_height(net: Network, x: str) -> list[str]:
    n, c, h, w = net.shapes[x]
    joined = net.add("Concat", [relu_conv(net, x), x, relu_conv(net, x)], (n, c, 3 * h, w), axis=2)
    return [relu_conv(net, joined)]


def of_images(net: Network, x: str) -> list[str]:
    n, *rest = net.shapes[x]
    return [relu_conv(net, net.add("Concat", [relu_conv(net, x), x], (2 * n, *rest), axis=0))]


def in_two_concats(net: Network, x: str) -> list[str]:
    a, b = relu_conv(net, x), relu_conv(net, x)
    return [relu_conv(net, net.concat([a, b])), relu_conv(net, net.concat([b, a]))]


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    "body", [plain, with_itself, part_of_a_block, along_the_width, along_the_height, of_images, in_two_concats]
)
def test_copied_by_the_accelerator(body: Body, batch: int, tmp_path: Path) -> None:
    _, on_host = run_body(body.__name__, body, tmp_path, batch)
    assert not on_host


def test_several_images_in_a_tile(tmp_path: Path) -> None:
    _, on_host = run_body(
        "16 images", lambda n, x: [n.concat([relu_conv(n, x, 64), relu_conv(n, x)])], tmp_path, 16, "datacenter"
    )
    assert not on_host


def test_a_tensor_has_one_place_in_memory() -> None:
    """Even where a concat reads it by way of a view; whatever else wants it is a copy."""
    types = {name: TensorType((1, 8, 1, 1), "int8") for name in ("x", "a", "b")}
    types |= {"ab": TensorType((1, 16, 1, 1), "int8"), "flat": TensorType((1, 8), "int8"), "ba": TensorType((1, 16), "int8")}
    nodes = [Node(f"make_{name}", "requantize", ("x",), (name,)) for name in "ab"]
    nodes += [
        Node("first", "concat", ("a", "b"), ("ab",), {"axis": 1}),
        Node("view", "reshape", ("a",), ("flat",), {"shape": (1, 8)}),
        Node("second", "concat", ("flat", "flat"), ("ba",), {"axis": 1}),
    ]
    graph = Graph("g", ("x",), ("ab", "ba"), tuple(nodes), types, {})
    places = placed(nodes, graph, load_design("tiny"))
    assert {name: len(copies) for name, copies in places.copies.items()} == {"first": 0, "view": 0, "second": 2}
    assert [places.of(name) for name in ("a", "b", "flat", "ba")] == [("ab", 0), ("ab", 8), ("ab", 0), ("ba", 0)]


def test_a_view_with_no_layer_beside_it_is_copied(tmp_path: Path) -> None:
    """Two programs make the pieces, and only the host reads the whole."""

    def body(net: Network, x: str) -> list[str]:
        a = relu_conv(net, x)
        b = relu_conv(net, net.same("Sigmoid", a))
        return [net.same("Tanh", net.concat([a, net.same("Tanh", b)]))]

    run, _ = run_body("lone view", body, tmp_path)
    assert all(program.layers for program in run.model.programs)
