"""ONNX's DepthToSpace in both of its orders, as exporters write it, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_models import model_of, node, random, run_onnxruntime
from small_graphs import operators

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import for_programs, optimise
from vdla.compiler.graph.reference import run_reference

X = {"x": random(2, 3, 4, 5)}
CONSTANTS = {"w": random(12, 3, 3, 3), "b": random(12, seed=1), "one": np.float32(1)}
CONV = node("Conv", "x w b", "c", pads=[1, 1, 1, 1])


def check(nodes: list[Any], expected: list[str]) -> None:
    model = model_of(nodes, X, ["y"], CONSTANTS)
    graph = for_programs(optimise(import_onnx(model)))
    np.testing.assert_allclose(run_reference(graph, X)["y"], run_onnxruntime(model, X)["y"], rtol=1e-5, atol=1e-5)
    assert operators(graph) == expected


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_behind_a_convolution(mode: str) -> None:
    check([CONV, node("DepthToSpace", "c", blocksize=2, mode=mode)], ["conv2d", "depth_to_space"])


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_behind_an_activation(mode: str) -> None:
    nodes = [CONV, node("Relu", "c", "r"), node("Add", "r one", "a"), node("DepthToSpace", "a", blocksize=2, mode=mode)]
    check(nodes, ["conv2d", "relu", "add", "depth_to_space"])


def test_what_a_convolution_cannot_reorder() -> None:
    sums = [CONV, node("Tanh", "c", "t"), node("Add", "c t", "s"), node("DepthToSpace", "s", blocksize=2, mode="CRD")]
    check(sums, ["conv2d", "tanh", "add", "reshape", "transpose", "reshape"])
    check([*sums[:3], node("DepthToSpace", "s", blocksize=2)], ["conv2d", "tanh", "add", "depth_to_space"])


def test_back_to_channels_stays() -> None:
    nodes = [node("Conv", "x w b", "c", pads=[1, 1, 1, 2]), node("SpaceToDepth", "c", blocksize=2)]
    check(nodes, ["conv2d", "reshape", "transpose", "reshape"])
