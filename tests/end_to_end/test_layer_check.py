"""Which layer a difference is charged to: runs of which a tensor was changed on the way, as a faulty layer would."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import vdla
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_node
from vdla.flows import prepare, run_model
from vdla.flows.layer_check import LayerCheck
from vdla.zoo import sample_inputs

Change = Callable[[np.ndarray], np.ndarray]
HOST_OPS = ("quantize", "dequantize", "reshape")


@pytest.fixture(scope="module")
def graph() -> Graph:
    return prepare("digits").quantised


def replay(graph: Graph, changes: dict[str, Change], hidden: frozenset[str] = frozenset()) -> LayerCheck:
    """A run whose every later tensor follows from the changed ones; those in `hidden` are inside some kernel."""
    inputs = sample_inputs("digits", 1, 0)
    check = LayerCheck(graph, inputs, {node.outputs[0] for node in graph.nodes if node.op not in HOST_OPS})
    values = {**graph.constants, **inputs}
    step = vdla.compile("digits", "tiny").model.steps[0]
    for node in graph.nodes:
        for name, value in run_node(node, values).items():
            values[name] = changes[name](value) if name in changes else value
        made = {name: values[name] for name in node.outputs if name not in hidden}
        if node.op in HOST_OPS:
            check.on_step(step, made, 0.0)
        else:
            for name, value in made.items():
                check.observe(name, value)
            check.on_step(step, {}, 0.0)
    return check


def one_more(x: np.ndarray) -> np.ndarray:
    return np.minimum(x, x.dtype.type(126)) + x.dtype.type(1)


def test_an_honest_run(graph):
    check = replay(graph, {})
    assert len(check.exact) == 5
    assert all(check.exact.values())
    assert not check.differing


@pytest.mark.parametrize("op", ["qconv2d", "qmax_pool2d", "qdense"])
def test_a_wrong_layer_is_the_only_wrong_one(graph, op):
    node = next(node for node in graph.nodes if node.op == op)
    check = replay(graph, {node.outputs[0]: one_more})
    assert [name for name, exact in check.exact.items() if not exact] == [node.outputs[0]]
    assert not check.differing


def test_a_level_on_the_other_side_of_a_rounding_is_nobodys_fault(graph):
    quantize = next(node for node in graph.nodes if node.op == "quantize")
    check = replay(graph, {quantize.outputs[0]: one_more})
    assert all(check.exact.values())
    assert not check.differing


def test_levels_far_off_are_the_hosts(graph):
    quantize = next(node for node in graph.nodes if node.op == "quantize")
    check = replay(graph, {quantize.outputs[0]: lambda x: x // 2})
    assert all(check.exact.values())
    assert check.differing == [quantize.outputs[0]]


@pytest.mark.parametrize(("factor", "differs"), [(1 + 1e-6, False), (1.01, True)])
def test_floats_of_the_host_have_a_tolerance(graph, factor, differs):
    (output,) = graph.outputs
    assert bool(replay(graph, {output: lambda x: x * np.float32(factor)}).differing) == differs


def test_what_is_not_shown_is_computed(graph):
    """A layer inside another's kernel: the check is of both together."""
    inside = next(node for node in graph.nodes if node.op == "qmax_pool2d").outputs[0]
    check = replay(graph, {}, frozenset({inside}))
    assert inside not in check.exact
    assert all(check.exact.values())
    wrong = replay(graph, {inside: one_more}, frozenset({inside}))
    assert not all(wrong.exact.values())


def test_what_no_layer_needs_any_more_is_dropped(graph):
    check = replay(graph, {})
    assert set(check._values) <= {*graph.constants, *graph.outputs, *graph.inputs}


def test_nothing_on_the_accelerator_is_neither_true_nor_false():
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 3, 3]) for name in "xy")
    model = helper.make_model(helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "host", [x], [y]))
    run = run_model(model, "tiny")
    assert run.report.bit_exact is None
    assert run.report.exactness == "nothing ran on the accelerator"
    assert run.succeeded
