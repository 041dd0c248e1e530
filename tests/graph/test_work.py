"""How much work nodes are, against counts made by hand from shapes."""

from __future__ import annotations

import numpy as np
import pytest

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.work import Work, work_of
from vdla.compiler.operators.registry import infer_types
from vdla.flows import prepare


def work(op: str, *shapes: tuple[int, ...], dtype: str = "float32", dtypes: tuple[str, ...] = (), **attributes: object) -> Work:
    """Of one node on inputs of these shapes."""
    kinds = dtypes or (dtype,) * len(shapes)
    types = [TensorType(shape, kind) for shape, kind in zip(shapes, kinds, strict=True)]
    outputs = infer_types(op, types, attributes)
    names = [f"x{k}" for k in range(len(types))]
    made = [f"y{k}" for k in range(len(outputs))]
    node = Node("n", op, tuple(names), tuple(made), attributes)
    tensors = dict(zip([*names, *made], [*types, *outputs], strict=True))
    return work_of(node, Graph("g", tuple(names), tuple(made), (node,), tensors, {}))


@pytest.mark.parametrize(
    ("found", "macs"),
    [
        (lambda: work("conv2d", (2, 6, 9, 9), (8, 3, 3, 3), groups=2, pads=(1, 1, 1, 1)), 2 * 8 * 81 * 3 * 9),
        (lambda: work("conv2d", (1, 4, 8, 8), (8, 4, 2, 2), strides=(2, 2)), 8 * 16 * 4 * 4),
        (lambda: work("conv", (1, 3, 20), (5, 3, 4), strides=(1,), pads=(0, 0), dilations=(1,)), 5 * 17 * 3 * 4),
        (
            lambda: work("conv", (1, 2, 4, 5, 6), (3, 2, 1, 2, 3), strides=(1,) * 3, pads=(0,) * 6, dilations=(1,) * 3),
            3 * 4 * 4 * 4 * 2 * 6,
        ),
        (lambda: work("dense", (7, 10), (4, 10), (4,)), 7 * 10 * 4),
        (lambda: work("matmul", (2, 3, 5, 7), (2, 3, 7, 4)), 2 * 3 * 5 * 7 * 4),
        (
            lambda: work(
                "conv_transpose", (1, 3, 5, 5), (3, 4, 4, 4), strides=(2, 2), dilations=(1, 1), before=(1, 1), output=(10, 10)
            ),
            4 * 100 * 3 * 4,  # each output element meets a quarter of the window
        ),
        (lambda: work("lstm", (6, 2, 20), (20, 5), (2, 5), (2, 5)), 6 * 2 * 20 * 5),
        (lambda: work("gru", (6, 2, 15), (15, 5), (2, 5)), 6 * 2 * 15 * 5),
        (lambda: work("rnn", (6, 2, 5), (5, 5), (2, 5)), 6 * 2 * 5 * 5),
        (
            lambda: work("qdense", (3, 8), (4, 8), (4,), (4,), dtypes=("int8", "int8", "int32", "int32")),
            3 * 8 * 4,
        ),
        (lambda: work("relu", (3, 8)), 0),
        (lambda: work("max_pool2d", (1, 3, 8, 8), kernel=(2, 2)), 0),
        (lambda: work("avg_pool2d", (1, 3, 8, 8), kernel=(2, 2)), 0),
        (lambda: work("softmax", (3, 8), axis=1), 0),
        (lambda: work("layer_norm", (3, 8), (8,), (8,), axis=1), 0),
    ],
)
def test_multiply_accumulates(found, macs):
    assert found().macs == macs


def test_integers_and_floats():
    assert not work("qdense", (3, 8), (4, 8), (4,), (4,), dtypes=("int8", "int8", "int32", "int32")).floats
    assert work("dense", (3, 8), (4, 8)).floats


def test_bytes_are_what_is_read_and_written():
    assert work("add", (3, 8), (1, 8)).bytes == 4 * (24 + 8 + 24)
    assert work("gather", (1000, 16), (5,), dtypes=("float32", "int64"), axis=0).bytes == 4 * 80 + 8 * 5 + 4 * 80


def test_functions_cost_more_than_sums():
    assert work("exp", (100,)).operations > 5 * work("add", (100,), (100,)).operations > 0


def test_nothing_on_empty_tensors():
    assert work("add", (0, 8), (1, 8)) == Work()


@pytest.mark.parametrize(("name", "macs"), [("resnet18", 1_814_073_344), ("mobilenet", 568_740_352)])
def test_networks_have_their_published_macs_before_and_after_quantising(name, macs):
    prepared = prepare(name)
    for graph in (prepared.float_graph, prepared.quantised):
        assert sum(work_of(node, graph).macs for node in graph.nodes) == macs


def test_the_count_is_the_reference_kernels_products():
    """A convolution over ones sums its window: with no padding, all products together are the multiply-accumulates."""
    x, w = np.ones((1, 3, 7, 7), np.float32), np.ones((4, 3, 3, 3), np.float32)
    from vdla.compiler.operators.registry import OPERATORS, with_defaults

    y = OPERATORS["conv2d"].kernel([x, w], with_defaults("conv2d", {}))
    assert work("conv2d", x.shape, w.shape).macs == int(np.sum(y))
