"""Layers in parts: the same levels, in parts that the accelerator takes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.in_parts import in_parts
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.compiler.ops.vdla.layers import refusal, workload_of
from vdla.design_file import load_design
from vdla.isa.semantics import pack_scale

TINY = load_design("tiny")


def layer(op: str, shapes: dict[str, tuple[int, ...]], constants: dict[str, np.ndarray], **attributes: object) -> Graph:
    tensors = {name: TensorType(shape, "int8") for name, shape in shapes.items()}
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    order = [name for name in ("x", "w", "bias", "scale", "residual", "residual_bias", "residual_scale") if name in tensors]
    node = Node("layer", op, tuple(order), ("y",), attributes)
    tensors["y"] = infer_type(op, tuple(tensors[name] for name in order), with_defaults(op, attributes))
    return Graph("g", tuple(shapes), ("y",), (node,), tensors, constants)


def parts_of(graph: Graph) -> Graph:
    """Checked against the whole on random levels; what is left is accepted."""
    result = in_parts(graph, TINY.channel_block, lambda node, around: not refusal(node, around, TINY))
    verify_graph(result, "in_parts")
    rng = np.random.default_rng(0)
    values = {name: rng.integers(-128, 128, graph.type_of(name).shape, np.int8) for name in graph.inputs}
    np.testing.assert_array_equal(run_reference(result, values)["y"], run_reference(graph, values)["y"])
    assert not [refusal(node, result, TINY) for node in result.nodes if refusal(node, result, TINY)]
    return result


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "ceil"),
    [
        ((40, 40), (40, 40), (0, 0, 0, 0), False),
        ((1, 41), (1, 7), (0, 3, 0, 20), False),
        ((41, 1), (1, 1), (0, 0, 0, 0), False),
        ((19, 21), (2, 3), (9, 10, 9, 10), True),
        ((33, 40), (5, 1), (0, 1, 1, 0), True),
        ((3, 3), (2, 2), (1, 1, 1, 1), True),
    ],
)
def test_max_pools_of_any_window(kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, ...], ceil: bool) -> None:
    shapes = {"x": (1, 5, 41, 43)}
    result = parts_of(layer("qmax_pool2d", shapes, {}, kernel=kernel, strides=strides, pads=pads, ceil=ceil))
    assert (len(result.nodes) == 1) == (kernel == (3, 3))


@pytest.mark.parametrize(
    ("groups", "inputs", "outputs"), [(401, 1, 3), (403, 1, 3), (7, 2, 6), (9, 6, 6), (12, 4, 2), (5, 3, 3)]
)
@pytest.mark.parametrize("residual", [False, True])
def test_groups_that_leave_part_of_a_tile_over_run_apart(groups: int, inputs: int, outputs: int, residual: bool) -> None:
    rng, o = np.random.default_rng(1), groups * outputs
    constants: dict[str, np.ndarray] = {"w": rng.integers(-128, 128, (o, inputs, 2, 2), np.int8)}
    for name in ("", *(["residual_"] if residual else [])):
        constants |= {
            f"{name}bias": rng.integers(-99, 99, o).astype(np.int32),
            f"{name}scale": pack_scale(np.full(o, 1 << 18), np.full(o, 24), np.zeros(o)),
        }
    shapes = {"x": (1, groups * inputs, 4, 4), **({"residual": (1, o, 3, 3)} if residual else {})}
    graph = layer("qconv2d", shapes, constants, groups=groups)
    result = parts_of(graph)
    layers = [node for node in result.nodes if node.op == "qconv2d"]
    before, after = (
        sum(workload_of(node, g, TINY).gemm_uops for node in nodes) for g, nodes in ((graph, graph.nodes), (result, layers))
    )
    assert after < before if len(layers) > 1 else after == before
    if groups == 401:
        assert after < before / 50


def test_what_is_not_known_stays_whole() -> None:
    graph = layer("qmax_pool2d", {"x": (1, 5, 8, 8)}, {}, kernel=(2, 2))
    assert in_parts(replace(graph), 4, lambda node, around: True).nodes == graph.nodes
