"""A graph's text and summary, and what the verifier refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.text import graph_summary, graph_text
from vdla.compiler.graph.verify import verify_graph
from vdla.errors import CompileError
from vdla.zoo import build

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", ["digits", "mobilenet"])
def test_text(name: str) -> None:
    """After a wanted change: write the text anew and read the difference."""
    text = graph_text(optimise(import_onnx(build(name))))
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_weights_show_in_the_text() -> None:
    graph = import_onnx(build("digits"))
    changed = replace(graph, constants={**graph.constants, "conv1.bias": graph.constants["conv1.bias"] + 1})
    assert graph_text(graph) != graph_text(changed)


def test_summary() -> None:
    summary = json.loads(json.dumps(graph_summary(import_onnx(build("digits")))))
    assert summary["operators"] == {"conv2d": 3, "dense": 1, "max_pool2d": 1, "relu": 3, "reshape": 1}
    assert summary["inputs"] == {"input": "float32[1, 1, 8, 8]"} and summary["outputs"] == {"output": "float32[1, 10]"}
    assert summary["constant_bytes"] == 4 * (12 * 10 + 24 * 109 + 40 * 217 + 10 * 161)
    assert summary["nodes"][0] == {"name": "conv1", "op": "conv2d", "source": "conv1", "output": "float32[1, 12, 8, 8]"}


RELU = Node("r", "relu", ("x",), ("y",))
X = TensorType((1, 2), "float32")


def graph_of(*nodes: Node, **tensors: TensorType) -> Graph:
    return Graph("g", ("x",), ("y",), nodes, {"x": X, "y": X, **tensors}, {})


BROKEN = {
    "node 'r' (warp): unknown operator": graph_of(replace(RELU, op="warp")),
    "two nodes share a name": graph_of(RELU, replace(RELU, outputs=("z",)), z=X),
    "wrong number of inputs; found ('x', 'x'); expected 1 to 1": graph_of(replace(RELU, inputs=("x", "x"))),
    "wrong number of inputs; found ('x', '')": graph_of(Node("a", "add", ("x", ""), ("y",))),
    "reads a tensor not yet computed; found 'z'": graph_of(
        replace(RELU, inputs=("z",)), Node("s", "relu", ("x",), ("z",)), z=X
    ),
    "an output is computed already": graph_of(RELU, replace(RELU, name="s")),
    "relu has no attribute ['alpha']": graph_of(replace(RELU, attributes=MappingProxyType({"alpha": 1}))),
    "softmax needs attribute ['axis']": graph_of(replace(RELU, op="softmax")),
    "output type is wrong": graph_of(RELU, y=TensorType((2, 1), "float32")),
    "an input or output is computed by no node; found 'y'": graph_of(),
    "a constant's type is wrong; found 'k: None'": replace(graph_of(RELU), constants={"k": np.zeros(3)}),
}


@pytest.mark.parametrize("words", BROKEN)
def test_verifier_refuses(words: str) -> None:
    with pytest.raises(CompileError) as caught:
        verify_graph(BROKEN[words], "some_pass")
    assert words in str(caught.value) and "graph 'g' after some_pass" in str(caught.value)


def test_verifier_accepts() -> None:
    verify_graph(graph_of(RELU))
