"""What a run says of where a network runs: shares that add up, estimates that follow from the host's model, true causes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vdla.cli.placement_text import placement_lines
from vdla.compiler.graph.work import work_of
from vdla.compiler.targets.wishes import parse_wishes
from vdla.flows import CompileOptions, Run, run_model
from vdla.host_models import HOST_MODELS, kernel_seconds


@pytest.fixture(scope="module")
def run() -> Run:
    return run_model("digits", "pynq_z1")


def test_the_shares_add_up_to_the_network(run):
    placement, layers = run.report.placement, run.report.layers
    assert [share.target for share in placement.targets] == ["vdla", "cpu"]
    assert sum(share.operators for share in placement.targets) == len(layers)
    assert placement.macs == 208_960  # three convolutions and a classifier
    assert placement.share(placement.targets[0]) == 1.0
    assert placement.targets[0].seconds == pytest.approx(run.report.ms / 1e3)
    for key in ("macs", "bytes", "seconds"):
        assert sum(getattr(share, key) for share in placement.targets) == pytest.approx(sum(getattr(x, key) for x in layers))


def test_an_operator_of_the_host_has_its_time_in_the_hosts_model(run):
    graph, host = run.model.placed, HOST_MODELS["cortex-a9"]
    nodes = {node.name: node for node in graph.nodes}
    for layer in run.report.layers:
        if not layer.on_device:
            work = work_of(nodes[layer.name], graph)
            assert layer.seconds == kernel_seconds(host, work.macs, work.operations, work.bytes, work.floats)
    assert run.report.placement.estimate == "estimate, in the model of cortex-a9"


def test_a_design_without_a_host_is_said_to_be(run):
    placement = run_model("digits", "tiny").report.placement
    assert placement.estimate == "estimate, in the model of cortex-a53: the design names no host"


def test_layers_on_the_host_have_their_macs_and_execution_switches(run):
    moved = ("conv2", "conv3")
    wishes = parse_wishes([f"{name}=cpu" for name in moved], ("vdla", "cpu"))
    placement = run_model("digits", "tiny", CompileOptions(place=wishes)).report.placement
    accelerator, cpu = placement.targets
    assert cpu.macs == sum(layer.macs for layer in run.report.layers if layer.name in moved) > 0
    assert accelerator.macs + cpu.macs == 208_960
    assert placement.switches == 6  # to the accelerator and back for conv1, the pool, the classifier
    assert any(cause.cause == "asked for: --place conv2=cpu" for cause in placement.causes)


def test_causes_are_grouped_and_the_costliest_first(run):
    causes = run.report.placement.causes
    assert [cause.seconds for cause in causes] == sorted((cause.seconds for cause in causes), reverse=True)
    assert sum(cause.operators for cause in causes) == sum(not layer.on_device for layer in run.report.layers)
    assert Counter(cause.cause for cause in causes)["layout, on the host"] == 1
    lines = placement_lines(run.report.placement)
    assert len(lines) == 2 + 1 + 3
    assert all(len(line) <= 120 for line in lines)


def test_a_reason_names_its_cause_not_its_operators_usual_one():
    """A convolution whose weights are an input stays in float: that is the reason, and that of what stands behind it."""
    names = {"x": [1, 8, 6, 6], "w": [8, 8, 3, 3], "y": [1, 8, 6, 6]}
    x, w, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in names.items())
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="computed", pads=[1] * 4),
        helper.make_node("Conv", ["a", "v"], ["y"], name="constant", pads=[1] * 4),
    ]
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((8, 8, 3, 3)).astype(np.float32), "v")
    graph = helper.make_graph(nodes, "weights", [x, w], [y], [weight])
    report = run_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "tiny").report
    layers = {layer.name: layer for layer in report.layers}
    assert layers["computed"].target == "cpu"
    assert layers["computed"].why == "its parameters are not constant: w is computed"
    assert layers["computed"].macs == layers["constant"].macs == 8 * 36 * 8 * 9
    assert report.placement.share(report.placement.targets[0]) == 0.5
