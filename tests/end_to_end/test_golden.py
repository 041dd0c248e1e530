"""The code of a handful of layers on `tiny`, as assembly: a change of what the compiler generates is seen in review.

The texts are in golden/: `VDLA_UPDATE_GOLDEN=1 pytest tests/end_to_end/test_golden.py` writes them anew, to be read in the
diff. What they compute is for other tests; these only change with the compiler's choices.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vdla.compiler.backends.vdla.link import UOP_SEGMENT
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type
from vdla.compiler.program import build_program
from vdla.design_file import load_design
from vdla.isa.program_text import disassemble_program

GOLDEN = Path(__file__).parent / "golden"
TINY = load_design("tiny")
SAME = {"pads": (1, 1, 1, 1), "pad_value": -3}


def channels(count: int, roles: str) -> dict[str, np.ndarray]:
    return {role: np.zeros(count, np.int32) for role in roles.split()}


def weights(*shape: int) -> dict[str, np.ndarray]:
    return {"w": np.zeros(shape, np.int8)} | channels(shape[0], "bias scale")


Layer = tuple[str, dict[str, tuple[int, ...]], dict[str, np.ndarray], dict[str, Any], tuple[str, ...]]
"""Operator, activations, constants, attributes, and the operator's inputs in order."""

LAYERS: dict[str, Layer] = {
    "conv3x3": ("qconv2d", {"x": (1, 8, 6, 6)}, weights(8, 8, 3, 3), SAME, ("x", "w", "bias", "scale")),
    "conv1x1_stride2": (
        "qconv2d", {"x": (1, 8, 6, 6)}, weights(4, 8, 1, 1), {"strides": (2, 2)}, ("x", "w", "bias", "scale"),
    ),
    "conv_residual": (
        "qconv2d", {"x": (1, 4, 6, 6), "r": (1, 4, 6, 6)}, weights(4, 4, 3, 3) | channels(4, "r_bias r_scale"), SAME,
        ("x", "w", "bias", "scale", "r", "r_bias", "r_scale"),
    ),
    "depthwise": ("qconv2d", {"x": (1, 8, 6, 6)}, weights(8, 1, 3, 3), {**SAME, "groups": 8}, ("x", "w", "bias", "scale")),
    "groups_of_three": ("qconv2d", {"x": (1, 12, 4, 4)}, weights(12, 3, 1, 1), {"groups": 4}, ("x", "w", "bias", "scale")),
    "dense": ("qdense", {"x": (1, 20)}, weights(10, 20), {"low": 0}, ("x", "w", "bias", "scale")),
    "max_pool": ("qmax_pool2d", {"x": (1, 4, 7, 7)}, {}, {"kernel": (3, 3), "strides": (2, 2), "pads": (1, 1, 0, 0)}, ("x",)),
    "average": ("qavg_pool2d", {"x": (1, 8, 4, 4)}, channels(1, "bias scale"), {"kernel": (4, 4)}, ("x", "bias", "scale")),
    "add": (
        "qadd", {"a": (1, 8, 5, 5), "b": (1, 8, 5, 5)}, channels(1, "a_bias a_scale b_bias b_scale bias scale"), {},
        ("a", "b", "a_bias", "a_scale", "b_bias", "b_scale", "bias", "scale"),
    ),
}  # fmt: skip


def code_of(layer: Layer) -> str:
    """The layer's program; of its segments the micro-ops alone."""
    op, activations, constants, attributes, inputs = layer
    tensors = {name: TensorType(shape, "int8") for name, shape in activations.items()}
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    node = Node("layer", op, inputs, ("y",), attributes)
    tensors["y"] = infer_type(op, tuple(tensors[name] for name in inputs), attributes)
    graph = Graph("golden", tuple(activations), ("y",), (node,), tensors, constants)
    program = build_program([node], graph, TINY, True, None)
    return disassemble_program(replace(program, segments=tuple(s for s in program.segments if s.name == UOP_SEGMENT)))


@pytest.mark.parametrize("name", LAYERS)
def test_code(name: str) -> None:
    text, path = code_of(LAYERS[name]), GOLDEN / f"{name}.s"
    if os.environ.get("VDLA_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), "VDLA_UPDATE_GOLDEN=1 pytest tests/end_to_end/test_golden.py, and read the diff"
