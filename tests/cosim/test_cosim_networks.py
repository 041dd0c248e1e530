"""Whole networks on the simulator and on the RTL, through the flow behind `vdla cosim`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from vdla.cli.main import main
from vdla.design_file import load_design
from vdla.errors import RunError
from vdla.flows.cosim import CosimOptions, CosimReport, choose_layers, cosimulate
from vdla.flows.run import run_model

NAMES = ["conv1", "conv2", "pool", "a..b", "fc"]


def require_same(report: CosimReport) -> None:
    assert report.differences == []
    assert [layer.rtl_cycles for layer in report.layers] == [layer.sim_cycles for layer in report.layers]
    assert report.total.rtl_cycles == report.total.sim_cycles
    assert report.within_tolerance


def test_digits_on_tiny() -> None:
    report = cosimulate("digits", "tiny")
    require_same(report)
    assert report.total.sim_cycles == run_model("digits", "tiny").report.cycles


def test_some_layers_are_as_long_as_in_the_whole() -> None:
    """A cut layer starts with its units at rest, so it may differ from its share of the whole, but from one another not."""
    report = cosimulate("digits", "tiny", options=CosimOptions(layers="conv2,2..3"))
    require_same(report)
    assert [layer.name for layer in report.layers] == ["conv2", "pool", "conv3"]


def test_stress_changes_times_only() -> None:
    report = cosimulate("digits", "tiny", options=CosimOptions(stress=3))
    assert report.bit_exact
    assert report.total.rtl_cycles > report.total.sim_cycles


def test_another_latency() -> None:
    require_same(cosimulate("digits", "tiny", options=CosimOptions(read_latency=77)))


@pytest.mark.parametrize("model", ["digits", "mobilenet", "resnet18"])
def test_whole_networks_on_the_papers_design(model: str) -> None:
    require_same(cosimulate(model, "pynq_z1"))


@pytest.mark.parametrize("name", ["tiny", "pynq_z1"])
def test_activations_by_table(name: str) -> None:
    """One behind a pool, a layer of its own, and one at the end of a convolution."""
    rng = np.random.default_rng(0)
    weights = {k: rng.standard_normal((8, 8, 3, 3)).astype(np.float32) for k in ("first", "second")}
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "second"], ["d"]),
        helper.make_node("Sigmoid", ["d"], ["e"]),
        helper.make_node("Mul", ["d", "e"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in (("x", (1, 8, 9, 9)), ("y", None)))
    tensors = [numpy_helper.from_array(value, key) for key, value in weights.items()]
    model = helper.make_model(helper.make_graph(nodes, "activations", [x], [y], tensors))
    report = cosimulate(model, load_design(name).varied(board=None))
    assert len(report.layers) == 4
    require_same(report)


@pytest.mark.slow
@pytest.mark.parametrize("design", ["zynq_4port", "kv260"])
def test_resnet18_on_a_port_for_each_unit(design: str) -> None:
    require_same(cosimulate("resnet18", design))


def test_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cosim", "digits", "-d", "tiny", "--layers", "0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bit_exact"] is True
    assert document["cycles"].keys() >= {"sim", "rtl"}
    assert [layer["name"] for layer in document["layers"]] == ["conv1"]
    assert document["rtl_cycles_per_s"] > 0


def test_waves(tmp_path: Path) -> None:
    waves = tmp_path / "conv1.fst"
    assert main(["cosim", "digits", "-d", "tiny", "--layers", "conv1", "--waves", str(waves)]) == 0
    assert waves.read_bytes()[:1] == b"\0"  # the first block of an FST file is its header
    assert waves.stat().st_size > 10_000


@pytest.mark.parametrize(
    ("text", "chosen"),
    [("", {0, 1, 2, 3, 4}), ("conv2", {1}), ("1..pool, 4", {1, 2, 4}), ("a..b", {3}), ("fc,conv1", {0, 4})],
)
def test_layers_by_name_and_position(text: str, chosen: set[int]) -> None:
    assert choose_layers(text, NAMES) == chosen


@pytest.mark.parametrize("text", ["conv9", "5", "0..9", "..", "-1"])
def test_unknown_layers_are_refused(text: str) -> None:
    with pytest.raises(RunError, match="no such layer"):
        choose_layers(text, NAMES)


def test_empty_ranges_are_refused() -> None:
    with pytest.raises(RunError, match="no layer in the range"):
        choose_layers("3..2", NAMES)
