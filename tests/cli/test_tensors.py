"""`--save-tensors` and `compare-tensors`: what is in the files, what is not and why, and the first difference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from vdla.element_types import numpy_dtype
from vdla.flows.difference import difference
from vdla.flows.tensor_file import writing
from vdla.zoo import build, sample_inputs


def tensors(path) -> dict[str, np.ndarray]:
    with np.load(path) as archive:
        return {name: archive[name] for name in archive.files if name != "vdla:about"}


@pytest.fixture
def saved(vdla, tmp_path):
    """Save the tensors of one executor of the digits network; what the command printed, and the file."""

    def run(source: str, *options: object):
        path = tmp_path / f"{source}.npz"
        ended = vdla("run", "digits", *options, "--save-tensors", path, "--tensors-from", source)
        assert ended.code == 0, ended.err
        return ended.out, path

    return run


def every_tensor() -> dict[str, np.ndarray]:
    """All that the nodes of the digits network compute, by onnxruntime."""
    model = build("digits", 1)
    names = [name for node in model.graph.node for name in node.output]
    known = {info.name for info in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip(names, session.run(names, dict(sample_inputs("digits", 1, 0))), strict=True))


def test_the_reference_has_every_tensor_of_the_model(saved):
    _, path = saved("reference", "--target", "cpu")
    found, expected = tensors(path), every_tensor()
    assert set(found) == {"input", *expected}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_cpu_says_what_is_inside_a_kernel(saved):
    out, path = saved("cpu", "--target", "cpu")
    assert "not there, fused into: conv1_output, conv2_output, conv3_output" in out
    found, expected = tensors(path), every_tensor()
    assert list(found) == ["input", "conv1_relu", "conv2_relu", "pool_output", "conv3_relu", "flatten_output", "output"]
    for name in set(found) - {"input"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    _, apart = saved("cpu", "--target", "cpu", "--no-fuse")
    assert set(tensors(apart)) == {"input", *expected}


def test_the_simulator_gives_values_and_levels(saved):
    out, path = saved("simulator", "--design", "tiny")
    assert "when the graph was simplified or quantised: conv1_output" in out
    found, expected = tensors(path), every_tensor()
    for name in ("conv1_relu", "pool_output", "conv3_relu"):
        levels, value = found[f"levels:{name}"], found[name]
        assert (levels.dtype, value.dtype) == (np.int8, np.float32)
        steps = np.unique(np.diff(np.unique(value)))
        assert np.allclose(steps, steps[0] * np.rint(steps / steps[0]), rtol=1e-3)  # multiples of one scale
        assert np.linalg.norm(value - expected[name]) < 0.05 * np.linalg.norm(expected[name])
    assert found["output"].dtype == np.float32


def test_compare_names_the_first_and_lists_the_rest(vdla, tmp_path):
    a = {"x": np.arange(6.0).reshape(2, 3), "late": np.ones(4, np.float32), "early": np.zeros(2), "n": np.array([1, 2])}
    b = {**a, "late": a["late"] + [0, 0, 0.5, 0.25], "n": np.array([1, 3])}
    np.savez(tmp_path / "a.npz", **a)
    np.savez(tmp_path / "b.npz", **dict(reversed(b.items())), more=np.ones(1))
    ended = vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "b.npz")
    assert ended.code == 1
    first = ended.out.splitlines()[0]
    assert first.startswith(
        "the first that differs: late float32[4]: 2 of 4 elements, by 0.5 at most, at [2] (1 in A, 1.5 in B)"
    )
    assert "4 tensors in both files, 2 differ" in ended.out
    assert "only in" in ended.out and "more" in ended.out
    document = vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "b.npz", "--json").json
    assert (document["first_difference"], document["differing"]) == ("late", ["late", "n"])
    assert document["tensors"][1]["apart"]["where"] == [2]
    loose = vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "b.npz", "--atol", 1)
    assert (loose.code, loose.out.splitlines()[0]) == (
        0,
        "4 tensors in both files, 0 differ, the others are equal within rtol 0.0001, atol 1",
    )


def test_compare_shapes_nan_and_infinity(vdla, tmp_path):
    special = np.array([np.nan, np.inf, -np.inf, 1.0])
    np.savez(tmp_path / "a.npz", same=special, shape=np.ones(3), nan=np.ones(2))
    np.savez(tmp_path / "b.npz", same=special, shape=np.ones(4), nan=np.array([1, np.nan]))
    ended = vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "b.npz")
    assert ended.code == 1
    assert "shape: float64[3] in A, float64[4] in B" in ended.out
    assert "2 differ" in ended.out


def test_compare_refuses_what_is_no_tensor_file(vdla, tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(1))
    np.savez(tmp_path / "b.npz", y=np.ones(1))
    (tmp_path / "text.npz").write_text("hello")
    np.save(tmp_path / "array.npy", np.ones(1))
    vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "b.npz").refused("no tensor in common", "'x'", "expected y")
    vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "text.npz").refused("text.npz", "not a file of tensors")
    vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "array.npy").refused("array.npy", "not a file of tensors")
    vdla("compare-tensors", tmp_path / "a.npz", tmp_path / "none.npz").refused("none.npz", "cannot read")
    vdla("compare-tensors", tmp_path, tmp_path).refused("not a file")
    objects = np.array([{}], dtype=object)
    np.savez(tmp_path / "o.npz", x=objects)
    vdla("compare-tensors", tmp_path / "o.npz", tmp_path / "a.npz").refused("o.npz", "not a file of tensors")


def test_refusals_before_the_work(vdla, tmp_path):
    vdla("run", "digits", "--save-tensors", tmp_path).refused("it is a folder")
    vdla("run", "digits", "--save-tensors", tmp_path / "t.npz", "--tensors-from", "cpu").refused(
        "--tensors-from", "--target cpu"
    )
    vdla("run", "digits", "--tensors-from", "rtl").refused("no file to write them to", "--save-tensors FILE.npz")
    vdla("run", "digits", "--target", "cpu", "--save-tensors", tmp_path / "t.npz", "--tensors-from", "rtl").refused(
        "leave --target out"
    )


def test_difference_against_numpy():
    seed = int(np.random.default_rng().integers(1 << 30))
    print(f"seed {seed}")
    random = np.random.default_rng(seed)
    for size in (1, 7, 1 << 16, (1 << 16) + 5, 200_000):
        expected = random.standard_normal(size).astype(np.float32)
        found = expected + random.standard_normal(size).astype(np.float32) * (random.random(size) < 0.01)
        apart = difference(found, expected, 1e-3, 1e-4)
        exact = np.abs(found.astype(float) - expected)
        assert apart.largest == exact.max()
        assert apart.where == (int(exact.argmax()),)
        assert apart.differing == size - np.count_nonzero(np.isclose(found.astype(float), expected, rtol=1e-3, atol=1e-4))
        assert apart.relative == pytest.approx(np.linalg.norm(exact) / np.linalg.norm(expected.astype(float)))


def test_types_that_files_lack_are_widened(tmp_path):
    values = np.array([-1.5, 0, 3], np.float32)
    with writing(tmp_path / "t.npz") as writer:
        writer.add("b", values.astype(numpy_dtype("bfloat16")))
        writer.add("i", np.array([-8, 7]).astype(numpy_dtype("int4")))
        writer.add("h", values.astype(np.float16))
        writer.add("h", values)  # not a second time
    found = tensors(tmp_path / "t.npz")
    assert {name: str(value.dtype) for name, value in found.items()} == {"b": "float32", "i": "int8", "h": "float16"}
    np.testing.assert_array_equal(found["b"], values)
    np.testing.assert_array_equal(found["i"], [-8, 7])
