"""A table behind a convolution becomes its end, where nobody else reads what the convolution computes."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler.graph.fold_tables import tables_into_convolutions
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.isa.semantics import pack_scale

SHAPE = (1, 4, 5, 5)


def network(residual: bool = False, read_twice: bool = False, is_output: bool = False) -> Graph:
    """x ─ qconv2d [+ x] ─ a ─ qtable ─ b ─ qtable ─ c."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-128, 128, (4, 4, 1, 1), np.int8),
        "bias": rng.integers(-99, 99, 4, np.int32),
        "scale": pack_scale(np.full(4, 1 << 18), np.full(4, 25), np.zeros(4)),
        "first": rng.integers(-128, 128, 256, np.int8),
        "second": rng.integers(-128, 128, 256, np.int8),
    }
    more = ("x", "bias", "scale") if residual else ()
    nodes = [
        Node("conv", "qconv2d", ("x", "w", "bias", "scale", *more), ("a",)),
        Node("table", "qtable", ("a", "first"), ("b",)),
        Node("again", "qtable", ("a" if read_twice else "b", "second"), ("c",)),
    ]
    tensors = {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    tensors |= dict.fromkeys("xabc", TensorType(SHAPE, "int8"))
    outputs = ("b", "c") if read_twice else ("a", "c") if is_output else ("c",)
    return Graph("tables", ("x",), outputs, tuple(nodes), tensors, constants)


@pytest.mark.parametrize("residual", [False, True])
def test_alone_behind_a_convolution(residual: bool) -> None:
    graph = network(residual)
    joined = tables_into_convolutions(graph, lambda node, around: True)
    conv, table = joined.nodes
    assert (conv.name, conv.op, conv.outputs, conv.inputs[7:], table.inputs) == (
        "conv",
        "qconv2d",
        ("b",),
        ("first",),
        ("b", "second"),
    )
    x = {"x": np.random.default_rng(1).integers(-128, 128, SHAPE, np.int8)}
    np.testing.assert_array_equal(run_reference(joined, x)["c"], run_reference(graph, x)["c"])
    assert "a" not in joined.tensors


def test_left_alone() -> None:
    """Its levels are read elsewhere, or leave the graph; or the device takes no such convolution."""
    for graph in (network(read_twice=True), network(is_output=True)):
        assert tables_into_convolutions(graph, lambda node, around: True).nodes == graph.nodes
    graph = network()
    assert tables_into_convolutions(graph, lambda node, around: False).nodes == graph.nodes
