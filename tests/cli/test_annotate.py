"""`--annotate`: the model's own file with what a run found on its nodes. ONNX's checker and onnxruntime read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from vdla.zoo import build, sample_inputs


def facts(properties) -> dict[str, str]:
    return {entry.key.removeprefix("vdla."): entry.value for entry in properties if entry.key.startswith("vdla.")}


def annotated(vdla, model: object, path: Path, *options: object) -> tuple[onnx.ModelProto, dict]:
    """The model that a run wrote, and the run's document."""
    ended = vdla("run", model, "--design", "tiny", "--json", "--annotate", path, *options)
    assert (ended.code, ended.err) == (0, "")
    written = onnx.load(path)
    onnx.checker.check_model(written, full_check=True)
    return written, ended.json


def test_nodes_say_what_the_report_says(vdla, tmp_path):
    model, document = annotated(vdla, "digits", tmp_path / "a.onnx", "--place", "pool=cpu")
    layers = {layer["source"]: layer for layer in document["layers"] if layer["op"].startswith("q")}
    nodes = {node.name: facts(node.metadata_props) for node in model.graph.node}
    for member in ("conv1", "conv1.relu"):  # one layer, written onto both
        layer = layers["conv1+conv1.relu"]
        assert nodes[member]["target"] == "vdla"
        assert int(nodes[member]["cycles"]) == layer["cycles"]
        assert int(nodes[member]["macs"]) == layer["macs"]
        assert nodes[member]["bit_exact"] == "true"
        assert nodes[member]["also"] == "im2col on cpu"
    assert nodes["pool"]["target"] == "cpu"
    assert nodes["pool"]["reason"] == "asked for: --place pool=cpu"
    assert "cycles" not in nodes["pool"]
    assert float(nodes["pool"]["estimated_seconds"]) == pytest.approx(layers["pool"]["seconds"], rel=0.01)
    assert all(node["reason"] for node in nodes.values())
    whole = facts(model.metadata_props)
    assert (whole["design"], int(whole["cycles"])) == ("tiny", document["cycles"])
    assert int(whole["switches"]) == document["placement"]["switches"]


def test_scales_are_those_of_the_levels(vdla, tmp_path):
    """Of a ReLU the least level is zero, and the greatest stands for about the largest value that the model computes."""
    model, _ = annotated(vdla, "digits", tmp_path / "a.onnx")
    relu = next(node for node in model.graph.node if node.name == "conv1.relu")
    found = facts(relu.metadata_props)
    assert found["output_zero_point"] == "-128"
    watched = build("digits")
    watched.graph.output.append(helper.make_tensor_value_info(relu.output[0], TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    largest = max(session.run([relu.output[0]], sample_inputs("digits", 1, seed))[0].max() for seed in range(1, 5))
    assert 0.5 < 255 * float(found["output_scale"]) / largest < 1.5


def test_the_model_is_as_it_was_but_for_metadata(vdla, tmp_path):
    model, _ = annotated(vdla, "digits", tmp_path / "a.onnx")
    inputs = sample_inputs("digits", 1, 3)
    found, expected = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, inputs)
        for m in (model, build("digits"))
    )
    np.testing.assert_array_equal(found[0], expected[0])
    for node in model.graph.node:
        del node.metadata_props[:]
    del model.metadata_props[:]
    assert model == build("digits")


def test_a_file_without_names_and_with_weights_beside_it(vdla, tmp_path):
    """Nodes are called by their first outputs; what others wrote stays, and a second run replaces the first one's."""
    shapes = {"x": [1, 4, 6, 6], "y": [1, 4, 6, 6]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    nodes[0].metadata_props.add(key="mine", value="stays")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight]), opset_imports=[helper.make_opsetid("", 13)])
    file = tmp_path / "m.onnx"
    onnx.save(model, file, save_as_external_data=True, location="weights.bin", size_threshold=0)
    once, _ = annotated(vdla, file, tmp_path / "once.onnx")
    twice, _ = annotated(vdla, tmp_path / "once.onnx", tmp_path / "twice.onnx")
    for written in (once, twice):
        conv, identity, relu = written.graph.node
        assert facts(conv.metadata_props)["layer"] == facts(relu.metadata_props)["layer"] == "a+y"
        assert facts(identity.metadata_props)["reason"].startswith("simplified away")
        assert [entry.value for entry in conv.metadata_props if entry.key == "mine"] == ["stays"]
        assert len({entry.key for entry in conv.metadata_props}) == len(conv.metadata_props)
        np.testing.assert_array_equal(numpy_helper.to_array(written.graph.initializer[0]), numpy_helper.to_array(weight))


def test_refusals(vdla, tmp_path):
    file = tmp_path / "d.onnx"
    onnx.save(build("digits"), file)
    before = file.read_bytes()
    vdla("run", file, "--design", "tiny", "--annotate", file).refused("this is the model itself", "--annotate")
    assert file.read_bytes() == before
    vdla("run", "digits", "--target", "cpu", "--annotate", tmp_path / "a.onnx").refused("--annotate with --target cpu")
    vdla("run", "digits", "--design", "tiny", "--annotate", file / "a.onnx").refused("cannot write")
