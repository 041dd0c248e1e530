"""`vdla graph`: the stages of a model, whole, as differences and as counts."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import vdla as package


@pytest.fixture
def model(tmp_path):
    """conv → batch norm → relu, so that a pass has something to do."""
    random = np.random.default_rng(0)
    arrays = {"w": random.standard_normal((4, 2, 3, 3)), **{n: random.random(4) + 0.5 for n in ("g", "b", "m", "v")}}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv"),
        helper.make_node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"], name="bn"),
        helper.make_node("Relu", ["n"], ["y"], name="act"),
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", ["batch", 2, 8, 8]), ("y", None))
    )
    weights = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()]
    proto = helper.make_model(helper.make_graph(nodes, "small", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)])
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


SHAPE = ("--input-shape", "x=1,2,8,8")


def headings(text: str) -> list[str]:
    return [line.strip("─ ") for line in text.splitlines() if line.startswith("──")]


def test_only_what_changes_something_is_printed(vdla, model):
    ended = vdla("graph", model, *SHAPE)
    assert (ended.code, ended.err) == (0, "")
    assert headings(ended.out)[0] == "import"
    assert "fold_affine" in headings(ended.out)
    assert "fold_constants" not in headings(ended.out)
    assert ended.out.count("graph small") == len(headings(ended.out))
    every = vdla("graph", model, *SHAPE, "--all").out
    assert "── fold_constants ──\n(unchanged)" in every
    assert "batch_norm" in ended.out


def test_differences(vdla, model):
    text = vdla("graph", model, *SHAPE, "--diff").out
    assert text.count("graph small") == 1
    lines = text.splitlines()
    assert any(line.startswith("-  n: float32[1, 4, 6, 6] = batch_norm(") for line in lines)
    assert any(line.startswith("+  n: float32[1, 4, 6, 6] = conv2d(") for line in lines)


def test_one_stage_and_counts(vdla, model):
    assert headings(vdla("graph", model, *SHAPE, "--stage", "import").out) == ["import"]
    counts = vdla("graph", model, *SHAPE, "--counts").out.splitlines()
    assert counts[0].split() == ["after", "nodes", "constants", "MiB", "operators"]
    assert "1 batch_norm, 1 conv2d, 1 relu" in counts[2]
    assert any("-1 batch_norm" in line for line in counts)


def test_up_to_the_placed_graph_of_a_design(vdla, model):
    text = vdla("graph", model, *SHAPE, "--design", "tiny").out
    assert headings(text)[-1] == "placed"
    assert "qconv2d" in text
    document = vdla("graph", model, *SHAPE, "--design", "tiny", "--json").json
    stages = {stage["stage"]: stage for stage in document["stages"]}
    assert {"import", "quantised", "placed"} <= set(stages)
    compiled = package.compile(str(model), "tiny", package.flows.CompileOptions(input_shapes={"x": (1, 2, 8, 8)})).model
    assert [node["name"] for node in stages["placed"]["nodes"]] == [node.name for node in compiled.placed.nodes]
    assert {run["target"] for run in stages["placed"]["runs"]} == {"cpu", "vdla"}


def test_refusals(vdla, model, tmp_path):
    vdla("graph", model, *SHAPE, "--stage", "placed").refused("--stage: no such stage", "--design NAME")
    vdla("graph", model, *SHAPE, "--stage", "fold_afine").refused("did you mean fold_affine?")
    vdla("graph", model, *SHAPE, "--diff", "--counts").refused("these exclude each other")
    np.savez(tmp_path / "c.npz", x=np.zeros((1, 2, 8, 8), np.float32))
    vdla("graph", model, *SHAPE, "--calibration", tmp_path / "c.npz").refused("--calibration", "--design NAME")
    vdla("graph", model, *SHAPE, "--design", "no_such").refused("no_such")
    vdla("graph", "nothing.onnx").refused("no such model")
