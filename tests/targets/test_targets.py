"""The registry of targets: a third one takes one file and one line, and the whole chain carries it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy_target
import pytest

import vdla
from vdla.compiler.targets import BuildOptions, backend_of, host, registered, target_names
from vdla.errors import CompileError, RunError
from vdla.flows import CompileOptions, prepare, run_model
from vdla.flows.compilation import compile_to_model
from vdla.zoo import sample_inputs


def targets_of(run: object) -> list[str]:
    return list(run.model.placement.targets.values())  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def digits():
    return prepare("digits")


def test_the_shipped_targets():
    assert target_names() == ("vdla", "cpu")
    assert host() is backend_of("cpu")
    with pytest.raises(CompileError, match="no such target.*gpu.*vdla or cpu"):
        backend_of("gpu")
    with pytest.raises(CompileError, match="no such target"):
        compile_to_model("digits", "tiny", CompileOptions(targets=("gpu",)))


def test_a_third_target_takes_what_the_accelerator_leaves(digits):
    plain = run_model(digits, "tiny")
    with registered(numpy_target.BACKEND):
        run = run_model(digits, "tiny", CompileOptions(targets=("vdla", "numpy")))
        elsewhere = {layer.target for layer in run.report.layers if not layer.on_device}
    assert elsewhere == {"numpy", "cpu"}  # the CPU packs, which NumPy refuses
    assert {"vdla", "numpy"} <= set(targets_of(run))
    assert run.report.bit_exact
    assert run.report.cycles == plain.report.cycles
    for name, value in plain.result.outputs.items():
        np.testing.assert_allclose(run.result.outputs[name], value, rtol=1e-5, atol=1e-6)


def test_the_order_of_targets_is_preference(digits):
    with registered(numpy_target.BACKEND):
        run = run_model(digits, "tiny", CompileOptions(targets=("numpy", "vdla")))
    assert set(targets_of(run)) == {"numpy"}
    assert not run.model.programs
    plain = run_model(digits, "tiny")
    for name, value in plain.result.outputs.items():
        np.testing.assert_allclose(run.result.outputs[name], value, rtol=1e-5, atol=1e-6)


def test_no_target_but_the_host(digits):
    run = run_model(digits, "tiny", CompileOptions(targets=()))
    assert set(targets_of(run)) == {"cpu"}
    assert run.report.cycles == 0
    plain = run_model(digits, "tiny")
    for name, value in plain.result.outputs.items():
        np.testing.assert_array_equal(run.result.outputs[name], value)


def test_a_module_of_three_targets_survives_its_file(digits, tmp_path: Path):
    inputs = sample_inputs("digits", 1, seed=5)
    with registered(numpy_target.BACKEND):
        module = vdla.compile(digits, "tiny", CompileOptions(targets=("vdla", "numpy")))
        path = module.save(tmp_path / "m.vdla")
        loaded = vdla.load(path)
        assert [step.work for step in loaded.model.steps] == [step.work for step in module.model.steps]
        expected = module.run(inputs).outputs
        for name, value in loaded.run(inputs).outputs.items():
            np.testing.assert_array_equal(value, expected[name])
    with pytest.raises(RunError, match="no such target.*numpy"):
        vdla.load(path)


def test_build_options_know_only_names():
    assert BuildOptions().targets == ("vdla",)
