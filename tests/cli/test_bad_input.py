"""Bad input: one line that says what, where, what was expected and what to try; a non-zero exit; no file left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from cli_models import relu, save
from onnx import TensorProto, helper

import vdla as package
from vdla.errors import RunError
from vdla.runtime.module import check_inputs
from vdla.zoo import build

ON_TINY = ("--design", "tiny")


# -- models --------------------------------------------------------------------------------------------------------------


def test_model_that_does_not_exist(vdla):
    vdla("run", "resnet19").refused("resnet19: no such model", ".onnx", "resnet18, mobilenet, digits", "did you mean resnet18?")
    vdla("run", "no/such.onnx").refused("no/such.onnx: no such model")
    vdla("compile", "no.onnx", "-o", "x.vdla").refused("no.onnx: no such model")
    vdla("run", "").refused("expected an .onnx file")


def test_model_that_is_no_file(vdla, tmp_path):
    vdla("run", tmp_path).refused(f"{tmp_path}: not a file", "an .onnx file")
    vdla("run", "/dev/zero").refused("/dev/zero: not a file")


@pytest.mark.parametrize("content", [b"", b"hello\n", bytes(range(256)) * 8, b"\x7fELF" + bytes(500)])
def test_model_that_is_not_onnx(vdla, tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    vdla("run", tmp_path / "m.onnx").refused("m.onnx: not an ONNX model, or truncated")


def test_truncated_model(vdla, tmp_path):
    whole = build("digits").SerializeToString()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "m.onnx").write_bytes(whole[: int(share * len(whole))])
        vdla("run", tmp_path / "m.onnx", *ON_TINY).refused("m.onnx")


def test_dynamic_and_missing_shapes(vdla, tmp_path):
    model = relu(tmp_path / "m.onnx", ["N", 3, 8, 8])
    vdla("run", model).refused("input 'x': dimension 0 is dynamic", "'N'", "--input-shape x=1,3,8,8")
    missing = relu(tmp_path / "n.onnx", None)
    vdla("run", missing).refused("input 'x': the shape is missing", "--input-shape x=")
    vdla("run", model, "--input-shape", "y=1,3,8,8").refused("an input the model does not have", "'y'", "expected x")
    vdla("run", model, "--input-shape", "x=1,4,8,8").refused("contradicts", "(1, 4, 8, 8)", "('N', 3, 8, 8)")
    vdla("run", model, "--input-shape", "x=1,3,8").refused("contradicts")
    vdla("run", model, "--input-shape", "x=99999999999,3,8,8").refused("impossible size", "99999999999")


@pytest.mark.parametrize("text", ["", "x", "x=", "=1,2", "x=1,-3", "x=1,0", "x=1.5", "x=a,b", "x=1,,2", "x=" + "9" * 5000])
def test_input_shape_nonsense(vdla, tmp_path, text):
    model = relu(tmp_path / "m.onnx", ["N", 3])
    vdla("run", model, "--input-shape", text).refused("--input-shape: not a shape", "name=1,3,224,224")


def test_options_without_meaning_for_the_model(vdla, tmp_path):
    model = relu(tmp_path / "m.onnx", [1, 3])
    vdla("run", model, "--batch", 4).refused("--batch: only zoo models take a batch", "--input-shape")
    vdla("run", "digits", "--input-shape", "input=1,1,8,8").refused(
        "--input-shape: the zoo's inputs have fixed shapes", "--batch"
    )
    vdla("run", model, "--input-shape", "x=1,3", "--input-shape", "x=1,3").refused("two shapes for one input", "'x'")


def test_unsupported_operator_names_node_and_what_is_supported(vdla, tmp_path):
    model = save(tmp_path / "m.onnx", [helper.make_node("Frobnicate", ["x"], ["y"], name="mine")], [1, 3])
    vdla("run", model).refused("m.onnx", "node 'mine'", "Frobnicate", "unsupported operator", "try: ")


def test_unsupported_type(vdla, tmp_path):
    vdla("run", relu(tmp_path / "m.onnx", [1, 3], TensorProto.STRING)).refused("input 'x'", "string", "float32", "int8")


@pytest.mark.parametrize(
    "option", [["--batch", "0"], ["--batch", "1e9"], ["--seed", "-1"], ["--seed", "9" * 6000], ["--frobnicate"]]
)
def test_options_out_of_range(vdla, option):
    vdla("run", "digits", *option).refused(option[0], "vdla run --help")


def test_unknown_commands_and_missing_arguments(vdla):
    vdla("frobnicate").refused("frobnicate", "vdla --help")
    vdla("design", "frobnicate").refused("frobnicate", "vdla design --help")
    vdla("run").refused("MODEL", "vdla run --help")
    vdla("compile", "digits").refused("--output", "vdla compile --help")


# -- inputs and calibration ----------------------------------------------------------------------------------------------


def calibration(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_calibration_data_that_does_not_fit(vdla, tmp_path):
    image = np.zeros((2, 1, 8, 8), np.float32)
    cases = {
        "names": ({"image": image}, ["calibration sample 0", "unknown input", "'image'", "input float32[1, 1, 8, 8]"]),
        "extra": ({"input": image, "more": image}, ["calibration sample 0", "unknown input", "'more'"]),
        "shape": ({"input": image[:, :, :7]}, ["calibration sample 0: input", "float32[1, 1, 7, 8]", "float32[1, 1, 8, 8]"]),
        "dtype": ({"input": image.astype(float)}, ["calibration sample 0: input", "float64", "float32[1, 1, 8, 8]"]),
        "none": ({"input": image[:0]}, ["calibration arrays hold no samples", "float32[0, 1, 8, 8]", "first axis"]),
        "scalar": ({"input": np.float32(1)}, ["calibration arrays hold no samples"]),
        "counts": ({"a": image, "b": image[:1]}, ["not equally many", "a float32[2, 1, 8, 8]", "b float32[1, 1, 8, 8]"]),
        "nan": ({"input": image * np.nan}, ["not finite", "calibration"]),
        "empty": ({}, ["calibration arrays hold no samples", "no arrays"]),
    }
    for name, (arrays, words) in cases.items():
        path = calibration(tmp_path / f"{name}.npz", **arrays)
        vdla("run", "digits", *ON_TINY, "--calibration", path).refused(*words)


def test_calibration_file_that_is_none(vdla, tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "one.npy").write_text("hello")
    np.savez(tmp_path / "objects.npz", input=np.array([None, {}], object))
    for name in ("text.npz", "one.npy", "objects.npz"):
        vdla("run", "digits", "--calibration", tmp_path / name).refused(f"{name}: not calibration data", ".npz")
    vdla("run", "digits", "--calibration", tmp_path / "no.npz").refused("cannot read", "No such file", "numpy.savez")
    (tmp_path / "empty").mkdir()
    vdla("run", "digits", "--calibration", tmp_path / "empty").refused("a folder without calibration data", ".npz")
    np.save(tmp_path / "three.npy", np.zeros(3))
    vdla("run", "digits", "--calibration", tmp_path / "three.npy").refused("calibration sample 0: input", "float64[1]")


def test_inputs_through_the_python_interface(digits):
    good = np.zeros((1, 1, 8, 8), np.float32)
    for inputs, words in (
        ({}, ["input: missing input", "no inputs", "input float32[1, 1, 8, 8]"]),
        ({"image": good}, ["unknown input", "'image'", "input float32[1, 1, 8, 8]"]),
        ({"input": good[0]}, ["input: input of the wrong shape or type", "float32[1, 8, 8]", "float32[1, 1, 8, 8]"]),
        ({"input": good.astype(np.float64)}, ["float64[1, 1, 8, 8]", "float32[1, 1, 8, 8]"]),
        ({"input": good.astype(">f4")}, [">f4", "float32[1, 1, 8, 8]"]),
        ({"input": [1, 2]}, ["int64[2]", "float32[1, 1, 8, 8]"]),
        (good, ["not a mapping", "ndarray", 'run({"input": …})']),
    ):
        with pytest.raises(RunError) as caught:
            check_inputs(digits.inputs, inputs)
        assert all(word in str(caught.value) for word in words), str(caught.value)


# -- programs ------------------------------------------------------------------------------------------------------------


def test_programs_for_another_design(vdla, digits_file, program_file, tmp_path):
    for path in (digits_file, program_file):
        vdla("simulate", path, "--design", "kv260").refused(
            "design kv260: the program was built for another design, tiny: ",
            "gemm.block_in: 4 in the program, 32 in the design",
            "vdla compile",
        )
        vdla("isa", "check", path, "--design", "kv260").refused("built for another design")
    text = tmp_path / "d.s"
    vdla("isa", "disassemble", program_file, "-o", text)
    vdla("simulate", text, "--design", "kv260").refused("another design, tiny: ", "gemm.block_in: 4 in the program, 32 in the")
    text.write_text(text.read_text().replace(".design tiny", ".design mine", 1))  # no design that ships
    vdla("simulate", text, "--design", "kv260").refused("d.s:1", "mine", "only this hash is known")


def test_module_on_a_device_of_another_design(digits):
    from vdla.runtime.module import Module
    from vdla.sim.device import Simulator

    with pytest.raises(RunError, match="design kv260: the module was .*, tiny: .*block_in: 4 in the module, 32 in .*try: "):
        Module(digits, Simulator(package.load_design("kv260")))


def test_files_that_are_no_programs(vdla, program_file, tmp_path):
    (tmp_path / "t.vdla").write_text("hello")
    for command in (["simulate"], ["isa", "disassemble"], ["isa", "check"]):
        vdla(*command, tmp_path / "t.vdla").refused("t.vdla: not a VDLA program or module", ".vprog or .vdla", "vdla compile")
        vdla(*command, tmp_path).refused("not a file", ".vdla")
        vdla(*command, tmp_path / "no.vdla").refused("cannot read", "No such file")
        vdla(*command, "/dev/zero").refused("not a file")
    with pytest.raises(RunError, match="another kind of file; found 'vdla-program'; expected vdla-module"):
        package.load(program_file)


def test_assembly_that_is_none(vdla, tmp_path):
    source = tmp_path / "a.s"
    source.write_text("FROB x=1\nLOAD inp sram=99999999 dram=0 y=1 x=1\n")
    vdla("isa", "assemble", source, "-o", tmp_path / "a.vprog").refused("a.s:1", ".design")
    vdla("isa", "assemble", source, "-o", tmp_path / "a.vprog", "-d", "tiny").refused("a.s:1", "'FROB'", "a.s:2", "sram")
    source.write_bytes(b"\xff\xfe\x00")
    vdla("isa", "check", source).refused("a.s: cannot read the assembly", "text")
    vdla("isa", "check", tmp_path / "no.s").refused("cannot read the assembly", "No such file")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.s"]


def test_which_program(vdla, program_file):
    vdla("isa", "disassemble", program_file, "--program", 3).refused("no such program", "1 programs", "--program 0 to 0")


# -- designs (tests/design has the words of every refusal) ---------------------------------------------------------------


def test_designs_that_are_none(vdla, tmp_path):
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    (tmp_path / "empty.yaml").write_text("")
    vdla("run", "digits", "-d", "pynq").refused("pynq: cannot read the design", "did you mean pynq_z1?", "tiny")
    vdla("run", "digits", "-d", tmp_path).refused("cannot read the design", "directory")
    vdla("run", "digits", "-d", tmp_path / "binary.yaml").refused("binary.yaml: cannot read the design", "not text")
    vdla("run", "digits", "-d", tmp_path / "empty.yaml").refused("empty.yaml: not a design", "nothing", "a mapping")
    vdla("design", "show", "/dev/zero").refused("/dev/zero: too long for a design")


def test_design_check_tells_of_each_file(vdla, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nfoo: 1\n")
    ended = vdla("design", "check", tmp_path / "a.yaml", "tiny", tmp_path / "b.yaml", "--json")
    assert ended.code == 2
    assert [d["ok"] for d in ended.json] == [True, False, False]
    assert all("foo: unknown key" in " ".join(d["problems"]) for d in ended.json[1:])
    assert ended.err.count("\n") == 1
    assert "a.yaml" in ended.err
    assert "b.yaml" in ended.err


# -- outputs -------------------------------------------------------------------------------------------------------------


def test_outputs_that_cannot_be_written_are_refused_before_the_work(vdla, tmp_path, monkeypatch):
    import vdla.flows.compilation as compilation

    monkeypatch.setattr(compilation, "import_onnx", lambda *_: pytest.fail("worked for nothing"))
    (tmp_path / "file").write_text("")
    vdla("run", "digits", "--report", tmp_path / "file").refused("cannot write into the folder", "is a file, not a folder")
    vdla("run", "digits", "--report", tmp_path / "file" / "below").refused("cannot write into the folder")
    vdla("run", "digits", "--report", "/proc/here").refused("/proc/here: cannot write into the folder", "another folder")
    vdla("run", "digits", "--dump-ir", tmp_path / "file").refused("cannot write into the folder")
    vdla("run", "digits", "--trace", tmp_path).refused("it is a folder", "a file name inside it")
    vdla("compile", "digits", "-o", tmp_path).refused("it is a folder")
    vdla("compile", "digits", "-o", "/proc/here.vdla").refused("cannot write into the folder")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_refused_run_leaves_no_report_folder(vdla, tmp_path):
    vdla("run", "nothing.onnx", "--report", tmp_path / "a" / "b", "--dump-ir", tmp_path / "ir").refused("no such model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_full_disk_leaves_what_was_there(vdla, tmp_path, program_file, monkeypatch, failing):
    target, report = tmp_path / "out.vprog", tmp_path / "report"
    target.write_text("before")
    text = tmp_path / "d.s"
    assert vdla("isa", "disassemble", program_file, "-o", text).code == 0

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, failing, full)
    vdla("isa", "assemble", text, "-o", target).refused(
        "out.vprog: cannot write the file (No space left on device)", "free some space"
    )
    vdla("run", "digits", *ON_TINY, "--report", report).refused("cannot write the file (No space left on device)")
    assert target.read_text() == "before"
    assert not list(report.iterdir())
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_full_device(vdla, program_file, tmp_path):
    text = tmp_path / "d.s"
    vdla("isa", "disassemble", program_file, "-o", text)
    vdla("isa", "assemble", text, "-o", "/dev/full").refused("/dev/full: cannot write the file (No space left on device)")
    assert Path("/dev/full").is_char_device()


def test_interrupt_leaves_no_temporary_file(vdla, tmp_path, program_file, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    ended = vdla("isa", "disassemble", program_file, "-o", tmp_path / "out.s")
    ended.refused("interrupted", code=130)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits.vprog"]


def test_a_fault_of_ours_is_one_line_too(vdla, monkeypatch):
    import vdla.design_file as design_file

    def broken() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.setattr(design_file, "shipped_designs", broken)
    vdla("design", "list").refused("internal error: ZeroDivisionError: by zero", "VDLA_TRACEBACK=1", code=70)
