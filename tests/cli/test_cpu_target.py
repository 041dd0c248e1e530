"""`--target cpu`: the float model as it is on this machine, beside onnxruntime and the reference; modules without a design."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
from cli_models import relu, save
from onnx import TensorProto, helper

import vdla as package
from vdla.compiler.graph.graph import TensorType
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import CompileError, RunError
from vdla.flows import CompileOptions, run_on_cpu
from vdla.flows.difference import tolerance_of
from vdla.flows.inputs import generated_inputs
from vdla.runtime.module import Module
from vdla.zoo import build, sample_inputs

KEYS = {"model", "target", "batch", "fused", "threads", "repeats", "seconds", "agrees", "outputs", "kernels", "wall"}


def test_json_has_a_row_for_each_kernel_and_output(vdla, tmp_path):
    ended = vdla("run", "digits", "--target", "cpu", "--json", "--report", tmp_path / "report")
    assert (ended.code, ended.err) == (0, "")
    document = ended.json
    assert document.keys() >= KEYS
    assert document["agrees"]
    assert document["rel_err"] < 1e-5
    assert [output["name"] for output in document["outputs"]] == ["output"]
    assert [kernel["op"] for kernel in document["kernels"]][0] == "conv2d+relu"
    assert all(kernel["seconds"] > 0 and kernel["outputs"] for kernel in document["kernels"])
    assert document["provenance"].keys() >= {"version", "model_hash", "seed", "command"}
    assert json.loads((tmp_path / "report" / "run.json").read_text())["model"] == "digits"
    page = (tmp_path / "report" / "index.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "conv1+conv1.relu" in page
    assert "<script" not in page


def test_text_is_within_120_columns(vdla):
    ended = vdla("run", "mobilenet", "--target", "cpu")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 120
    assert "agree with the reference executor's" in ended.out


def test_node_by_node_every_operator_is_a_kernel(vdla):
    fused, apart = (vdla("run", "digits", "--target", "cpu", "--json", *more).json for more in ([], ["--no-fuse"]))
    assert (len(fused["kernels"]), len(apart["kernels"])) == (6, 9)
    assert all("+" not in kernel["op"] for kernel in apart["kernels"])


def test_outputs_are_those_of_onnxruntime():
    inputs = sample_inputs("digits", 3, 5)
    session = onnxruntime.InferenceSession(build("digits", 3).SerializeToString())
    (expected,) = session.run(None, dict(inputs))
    for fuse in (True, False):
        module = package.compile("digits", options=CompileOptions(batch=3, fuse=fuse), targets=("cpu",))
        np.testing.assert_allclose(module.run(inputs).outputs["output"], expected, rtol=1e-4, atol=1e-4)


def test_a_difference_is_shown_and_is_exit_code_1(vdla, monkeypatch):
    import vdla.flows.run_cpu as flow

    honest = flow.run_node
    monkeypatch.setattr(flow, "run_node", lambda node, values: {k: v * 1.01 for k, v in honest(node, values).items()})
    ended = vdla("run", "digits", "--target", "cpu")
    assert ended.code == 1
    assert "DIFFER from the reference" in ended.out


def test_errors_are_end_to_end(monkeypatch):
    """What the table says of the output is the difference from a reference run apart."""
    report = run_on_cpu("digits", CompileOptions(targets=("cpu",), seed=3)).report
    inputs = sample_inputs("digits", 1, 3)
    found = package.compile("digits", targets=("cpu",)).run(inputs).outputs["output"]
    from vdla.compiler.graph.reference import run_reference
    from vdla.flows import prepare

    expected = run_reference(prepare("digits", CompileOptions(targets=("cpu",))).float_graph, inputs)["output"]
    assert report.max_abs_err == pytest.approx(np.abs(found.astype(float) - expected).max(), rel=1e-6)


def test_compile_save_load_run(vdla, tmp_path):
    path = tmp_path / "m.vdla"
    summary = vdla("compile", "digits", "-o", path, "--target", "cpu", "--json").json
    assert (summary["design"], summary["programs"], summary["nodes_on_cpu"]) == (None, 0, 9)
    assert "kernels of the CPU" in vdla("compile", "digits", "-o", path, "--target", "cpu").out
    inputs = sample_inputs("digits", 1, 0)
    loaded = package.load(path)
    expected = package.compile("digits", targets=("cpu",)).run(inputs).outputs["output"]
    np.testing.assert_array_equal(loaded.run(inputs).outputs["output"], expected)
    assert loaded.run(inputs).cycles == 0
    with pytest.raises(RunError, match="without a design"):
        _ = loaded.design


def test_a_model_for_the_cpu_needs_no_simulator(tmp_path):
    """Numba takes a second to import, and is not there on every machine."""
    code = "import sys, vdla; from vdla.zoo import sample_inputs\n"
    code += "module = vdla.compile('digits', targets=('cpu',)); module.run(sample_inputs('digits', 1, 0))\n"
    code += f"module.save({str(tmp_path / 'm.vdla')!r}); vdla.load({str(tmp_path / 'm.vdla')!r})\n"
    code += "assert not {'numba', 'vdla.sim.device'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_module_of_a_design_wants_its_device(digits):
    with pytest.raises(RunError, match="needs a device.*'tiny'"):
        Module(digits)


def test_the_accelerator_wants_a_design(digits):
    from vdla.compiler.driver import BuildOptions, build_model

    with pytest.raises(CompileError, match="needs a design"):
        build_model(digits.quantised, None, BuildOptions())


def test_options_without_meaning_for_the_cpu(vdla, tmp_path):
    on_cpu = ("run", "digits", "--target", "cpu")
    vdla(*on_cpu, "--design", "tiny").refused("--design with --target cpu", "leave --design out")
    vdla(*on_cpu, "--no-latency-hiding").refused("--no-latency-hiding with --target cpu")
    vdla(*on_cpu, "--trace", tmp_path / "t.json").refused("--trace with --target cpu")
    np.savez(tmp_path / "c.npz", input=np.zeros((1, 1, 8, 8), np.float32))
    vdla(*on_cpu, "--calibration", tmp_path / "c.npz").refused("--calibration with --target cpu")
    vdla("run", "digits", "--target", "gpu").refused("no such target", "'gpu'", "vdla or cpu")
    vdla("compile", "digits", "-o", tmp_path / "m.vdla", "--target", "cpu", "--design", "tiny").refused("--design")
    assert not (tmp_path / "m.vdla").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("batch", ["not a dimension", "name=1"]), ("batch=0", ["not a dimension"]), ("batch=1,3", ["--input-shape batch=1,3"]),
     ("=1", ["not a dimension"]), ("batch=" + "9" * 40, ["not a dimension"]), ("batch=x", ["not a dimension"])],
)  # fmt: skip
def test_dimension_nonsense(vdla, tmp_path, text, words):
    vdla("run", relu(tmp_path / "m.onnx", [1, 3]), "--dim", text).refused("--dim", *words)


@pytest.mark.parametrize("text", ["sr", "sr=", "=1", "sr=a", "sr=1,true", "sr=" + "1," * 70, "sr=1,,2"])
def test_constant_nonsense(vdla, tmp_path, text):
    vdla("run", relu(tmp_path / "m.onnx", [1, 3]), "--bind", text).refused("--bind: not a constant", "name=16000")


def test_twice_and_for_the_zoo(vdla, tmp_path):
    model = relu(tmp_path / "m.onnx", [1, 3])
    vdla("run", model, "--dim", "n=1", "--dim", "n=2").refused("two sizes for one dimension", "'n'")
    vdla("run", model, "--bind", "x=1", "--bind", "x=2").refused("two values for one input", "'x'")
    vdla("run", "digits", "--dim", "n=1").refused("--dim: the zoo's inputs have fixed shapes", "--batch")
    vdla("run", "digits", "--bind", "n=1").refused("--bind: the zoo's inputs have fixed shapes")


def test_constants_are_read_as_they_look():
    from vdla.flows.inputs import parse_constants

    found = parse_constants(["sr=16000", "axes=1,2", "one=3,", "p=0.5", "t=true", "a=b=7"])
    assert {name: (str(x.dtype), x.tolist()) for name, x in found.items()} == {
        "sr": ("int64", 16000), "axes": ("int64", [1, 2]), "one": ("int64", [3]), "p": ("float64", 0.5), "t": ("bool", True),
        "a=b": ("int64", 7),
    }  # fmt: skip


def test_a_graph_without_work(vdla, tmp_path):
    """An output that is its input but for its name."""
    model = save(tmp_path / "m.onnx", [helper.make_node("Identity", ["x"], ["y"])], [2, 3], TensorProto.FLOAT)
    assert vdla("run", model, "--target", "cpu").code == 0


def open_model(path):
    """x[batch, 3, steps] scaled by a scalar input, and another axis put where a third input says."""
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["scaled"], name="scale"),
        helper.make_node("Unsqueeze", ["scaled", "axes"], ["y"], name="unsqueeze"),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, "steps"]),
        helper.make_tensor_value_info("gain", TensorProto.FLOAT, []),
        helper.make_tensor_value_info("axes", TensorProto.INT64, [1]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "open", inputs, [y])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    return path


def test_dimensions_by_name_and_inputs_that_become_constants(vdla, tmp_path):
    model = open_model(tmp_path / "m.onnx")
    options = ("--dim", "batch=2", "--dim", "steps=4", "--bind", "axes=1", "--bind", "gain=0.5")
    document = vdla("run", model, "--target", "cpu", "--json", *options).json
    assert document["outputs"][0]["type"] == "float32[2, 1, 3, 4]"
    path = tmp_path / "m.vdla"
    for command in (["compile", model, "-o", path, "--target", "cpu"], ["graph", model], ["run", model, "--design", "tiny"]):
        assert vdla(*command, *options).code == 0, command
    module = package.load(path)
    assert list(module.model.inputs) == ["x"]
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(module.run({"x": x}).outputs["y"], 0.5 * x.reshape(2, 1, 3, 4))


def test_what_is_open_names_the_option(vdla, tmp_path):
    model = open_model(tmp_path / "m.onnx")
    on_cpu = ("run", model, "--target", "cpu")
    vdla(*on_cpu).refused("dimension 0 is dynamic", "'batch'", "--dim batch=1", "--input-shape x=1,3,1")
    dims = ("--dim", "batch=2", "--dim", "steps=4")
    vdla(*on_cpu, *dims).refused("axes", "--bind axes=")
    vdla(*on_cpu, *dims, "--dim", "depth=2").refused("no open dimension of this name", "'depth'", "batch, steps")
    vdla(*on_cpu, *dims, "--bind", "axis=1").refused("an input the model does not have", "'axis'", "expected x, gain, axes")
    vdla(*on_cpu, *dims, "--bind", "axes=1,2").refused("axes", "another shape")


def test_a_module_of_the_cpu_has_nothing_to_simulate(vdla, tmp_path):
    path = tmp_path / "m.vdla"
    vdla("compile", "digits", "-o", path, "--target", "cpu")
    for command in (["simulate", path], ["isa", "check", path]):
        vdla(*command).refused("m.vdla: the module runs on the host alone", "vdla.load(FILE)")


def test_inputs_from_a_file(vdla, tmp_path):
    inputs = sample_inputs("digits", 1, 9)
    np.savez(tmp_path / "i.npz", **inputs)
    for more in (["--target", "cpu"], ["--design", "tiny"]):
        ended = vdla("run", "digits", *more, "--inputs", tmp_path / "i.npz", "--save-tensors", tmp_path / "t.npz")
        assert ended.code == 0
        with np.load(tmp_path / "t.npz") as saved:
            np.testing.assert_allclose(saved["input"], inputs["input"], atol=0 if "cpu" in more else 0.01)
    np.savez(tmp_path / "other.npz", image=inputs["input"])
    on_cpu = ("run", "digits", "--target", "cpu", "--inputs")
    vdla(*on_cpu, tmp_path / "other.npz").refused("unknown input", "'image'", "input float32[1, 1, 8, 8]")
    vdla(*on_cpu, tmp_path / "none.npz").refused("none.npz: cannot read the inputs")
    (tmp_path / "text.npz").write_text("hello")
    vdla(*on_cpu, tmp_path / "text.npz").refused("text.npz: not inputs, or damaged")


def test_generated_integers_are_plausible():
    types = {name: TensorType((1000,), name) for name in ("int64", "int32", "uint8", "int8", "bool", "float32")}
    found = generated_inputs(types, 0)
    assert {name: str(x.dtype) for name, x in found.items()} == {name: name for name in types}
    assert set(found["int64"].tolist()) == set(found["int32"].tolist()) == {0, 1}
    assert found["uint8"].max() == 255
    assert found["int8"].min() == -128


def test_narrow_types_may_err_by_their_own_rounding():
    kinds = {"float32": 1e-3, "float64": 1e-3, "int8": 1e-3, "float16": 8 * 2**-10, "bfloat16": 8 * 2**-7}
    assert {name: tolerance_of(ELEMENT_TYPES[name]) for name in kinds} == kinds
