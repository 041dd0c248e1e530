"""Running a model end to end with every check that there is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.design import Design
from vdla.flows import CompileOptions, load, run_model
from vdla.flows.inputs import Inputs, generated_inputs
from vdla.flows.run import Run
from vdla.isa import check_program
from vdla.sim import Simulator

LAYER_NOISE = 0.013
"""Relative error that one int8 layer adds, root mean square: rounding a range to 255 levels is noise of range/(255·√12), and
activations span some 8 standard deviations, so 0.9 %; rounding its weights adds as much again, independently."""


def inputs_of(model: onnx.ModelProto, seed: int) -> Inputs:
    """Standard normal values for each input."""
    shapes = {i.name: tuple(d.dim_value for d in i.type.tensor_type.shape.dim) for i in model.graph.input}
    return generated_inputs({name: TensorType(shape, "float32") for name, shape in shapes.items()}, seed)


def run_onnxruntime(model: onnx.ModelProto, inputs: Inputs) -> dict[str, np.ndarray]:
    """Every output by name, computed without graph optimisations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


def checked_run(model: onnx.ModelProto, design: str | Design, where: str, *, seed: int = 0, latency_hiding: bool = True) -> Run:
    """Run `model` and assert what must hold of any run: bits, programs, distance from float. Messages open with `where`.

    Calibrated with the very inputs, so that clipping does not enter into the distance.
    """
    inputs = inputs_of(model, seed)
    options = CompileOptions(calibration=[inputs], latency_hiding=latency_hiding)
    run = run_model(model, design, options, inputs=inputs)
    inexact = [layer.name for layer in run.report.layers if layer.bit_exact is False]
    assert run.succeeded, f"{where}: not bit exact: {inexact}; on the host: {run.report.host_differs}"
    check_programs(run, where)
    check_against_float(model, run, where)
    return run


def check_programs(run: Run, where: str) -> None:
    """The checker passes every program, its micro-op count is the layers', and no program beats its bound."""
    assert run.report.cycles >= run.report.bound_cycles, f"{where}: {run.report.cycles} < {run.report.bound_cycles}"
    for program in run.model.programs:
        report = check_program(program)
        assert report.ok, f"{where}: {report.problems[0]}"
        assert report.gemm_uops == sum(layer.gemm_uops for layer in program.layers), where


def check_against_float(model: onnx.ModelProto, run: Run, where: str) -> None:
    """The imported graph computes what onnxruntime does; the quantised one comes within three times the expected noise.

    The noise of independent layers adds in quadrature.
    """
    expected = run_onnxruntime(model, run.inputs)
    assert run.model.float_graph is not None
    floats = run_reference(run.model.float_graph, run.inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(
            floats[name], value, rtol=1e-3, atol=1e-4, err_msg=f"{where}: output {name} of the float graph"
        )
    if any(node.op in ("quantize", "dequantize") for node in run.model.float_graph.nodes):
        return  # it came quantised: the float graph rounds as well, and one level of one element is a large error
    layers = sum(layer.target == "vdla" or layer.op.startswith("q") for layer in run.report.layers)
    limit = 3 * LAYER_NOISE * (layers + 1) ** 0.5
    assert run.report.rel_err <= limit, f"{where}: rel_err {run.report.rel_err:.3f} over {layers} layers, at most {limit:.3f}"


def check_sanitizer(run: Run, where: str) -> None:
    """No races, no reads of what nobody wrote."""
    for program in run.model.programs:
        zeros = {slot.name: np.zeros(slot.shape, slot.dtype) for slot in program.inputs}
        result = Simulator(run.model.design, sanitize=True).run(program, zeros, timing=False)
        assert not result.warnings, f"{where}: {result.warnings[0]}"


def check_saved(run: Run, folder: Path, where: str) -> None:
    """A module read back computes the same."""
    again = load(run.module.save(folder / "model.vdla")).run(run.inputs)
    for name, value in run.result.outputs.items():
        np.testing.assert_array_equal(again.outputs[name], value, err_msg=f"{where}: output {name} of the saved module")
    assert again.cycles == run.result.cycles, where
