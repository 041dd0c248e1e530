"""The registry of targets: a third one takes one file and one line, and the whole chain carries it."""

from __future__ import annotations

from pathlib import Path

import interpreter_target
import numpy as np
import pytest

import vdla
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.compiler.targets import backend_of, host, registered, target_names
from vdla.design_file import load_design
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
    with registered(interpreter_target.BACKEND):
        run = run_model(digits, "tiny", CompileOptions(targets=("vdla", "interpreter")))
        elsewhere = {layer.target for layer in run.report.layers if not layer.on_device}
    assert elsewhere == {"interpreter", "cpu"}  # what it refuses
    assert {"vdla", "interpreter"} <= set(targets_of(run))
    assert run.report.bit_exact
    assert run.report.cycles == plain.report.cycles
    for name, value in plain.result.outputs.items():
        np.testing.assert_allclose(run.result.outputs[name], value, rtol=1e-5, atol=1e-6)


def test_the_order_of_targets_is_preference(digits):
    """The accelerator would take the requantisation of a pool's output too: who is asked first has it."""
    with registered(interpreter_target.BACKEND):
        first = run_model(digits, "tiny", CompileOptions(targets=("interpreter", "vdla")))
        second = run_model(digits, "tiny", CompileOptions(targets=("vdla", "interpreter")))
        refused = [n for n in first.model.placed.nodes if first.model.placement.targets.get(n.name) == "vdla"]
        for node in refused:
            assert interpreter_target.refusal(node, first.model.placed, first.model.design)
    assert targets_of(first).count("interpreter") >= targets_of(second).count("interpreter") > 0
    for name, value in first.result.outputs.items():
        np.testing.assert_allclose(second.result.outputs[name], value, rtol=1e-5, atol=1e-6)


def test_no_target_but_the_host(digits):
    run = run_model(digits, "tiny", CompileOptions(targets=()))
    assert set(targets_of(run)) == {"cpu"}
    assert run.report.cycles == 0
    plain = run_model(digits, "tiny")
    for name, value in plain.result.outputs.items():
        np.testing.assert_array_equal(run.result.outputs[name], value)


def test_a_module_of_three_targets_survives_its_file(digits, tmp_path: Path):
    inputs = sample_inputs("digits", 1, seed=5)
    with registered(interpreter_target.BACKEND):
        module = vdla.compile(digits, "tiny", CompileOptions(targets=("vdla", "interpreter")))
        path = module.save(tmp_path / "m.vdla")
        loaded = vdla.load(path)
        assert [step.work for step in loaded.model.steps] == [step.work for step in module.model.steps]
        expected = module.run(inputs).outputs
        for name, value in loaded.run(inputs).outputs.items():
            np.testing.assert_array_equal(value, expected[name])
    with pytest.raises(RunError, match="for a target that is not here; found 'interpreter'; expected vdla or cpu"):
        vdla.load(path)


def test_a_target_is_asked_for_its_templates():
    workload = ConvWorkload(1, 1, 2, 2, 6, 6)
    design = load_design("tiny")
    template = backend_of("vdla").template_of(workload)
    config = template.default(workload, design)
    assert config in template.space(workload, design)
    assert Config.parse(str(config)) == config
    compiled = compile_to_model("digits", "tiny", CompileOptions(configs={workload: config}))  # of no layer of it: ignored
    assert compiled.programs
