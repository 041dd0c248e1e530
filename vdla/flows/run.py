"""`vdla run`: compile, simulate bit-exactly, check against the references, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdla.compiler.graph.reference import run_reference
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets.vdla_layout import quantised_name
from vdla.design import Design
from vdla.flows.compilation import CompileOptions, Prepared, bound, compile_to_model, model_name
from vdla.flows.inputs import Inputs, generated_inputs
from vdla.flows.layer_check import LayerCheck
from vdla.flows.provenance import command_line, graph_hash
from vdla.report.placement_report import placement_report
from vdla.report.run_report import RunReport, layer_reports, network_bound, totals
from vdla.runtime.module import Module, Result
from vdla.version import __version__
from vdla.zoo import sample_inputs, zoo_models


@dataclass(frozen=True)
class Run:
    """Everything a run left: for the report, the trace, and tests."""

    report: RunReport
    module: Module
    result: Result
    inputs: Mapping[str, np.ndarray]

    @property
    def model(self) -> CompiledModel:
        return self.module.model

    @property
    def succeeded(self) -> bool:
        """Whether every check of the run passed."""
        return self.report.bit_exact is not False and not self.report.host_differs


def run_model(
    model: object,
    design: str | Path | Design | None = None,
    options: CompileOptions | None = None,
    *,
    inputs: Inputs | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Run:
    """Compile `model`, run it once on the simulator, and compare every layer with the integer reference on what came in.

    inputs: by default the zoo's sample of the seed, or generated. Errors are those of `compile_to_model` and `Module.run`.
    """
    options = options or CompileOptions()
    compiled = compile_to_model(model, design, options, on_stage=on_stage)
    module = bound(compiled)
    inputs = inputs or default_inputs(model, compiled, options)

    on_stage("simulating, each layer beside the integer reference")
    layer_outputs = {quantised_name(slot.name) for p in compiled.programs for layer in p.layers for slot in layer.outputs}
    check = LayerCheck(compiled.quantised, inputs, layer_outputs)
    result = module.run(inputs, observe=check.observe, on_step=check.on_step)

    on_stage("running the float model")
    begun = time.perf_counter()
    assert compiled.float_graph is not None
    exact_floats = run_reference(compiled.float_graph, inputs)
    reference_seconds = check.seconds + time.perf_counter() - begun
    cycles = result.cycles
    layers = tuple(layer_reports(compiled, result.profiles, check.exact))
    verdicts = [layer.bit_exact for layer in layers if layer.bit_exact is not None]
    largest, relative = float_error(exact_floats, result.outputs)
    report = RunReport(
        model=model_name(model),
        design=compiled.design.name,
        batch=options.batch,
        latency_hiding=options.latency_hiding,
        cycles=cycles,
        **totals(compiled, cycles),
        bound_cycles=network_bound(compiled),
        bit_exact=all(verdicts) if verdicts else None,
        compared_layers=len(verdicts),
        exact_layers=sum(verdicts),
        host_differs=tuple(check.differing),
        max_abs_err=largest,
        rel_err=relative,
        placement=placement_report(compiled, layers),
        layers=layers,
        wall={
            "compile_s": compiled.seconds["compile_s"],
            "simulate_s": result.device_seconds,
            "host_s": result.host_seconds,
            "reference_s": reference_seconds,
        },
        provenance={
            "version": __version__,
            "design_hash": compiled.design.hash_hex,
            "build_hash": compiled.design.build_hash,
            "model_hash": graph_hash(compiled.float_graph),
            "seed": options.seed,
            "command": command_line(),
        },
    )
    return Run(report, module, result, inputs)


def default_inputs(model: object, compiled: CompiledModel, options: CompileOptions) -> Inputs:
    """The zoo's sample of the seed, or generated ones."""
    if isinstance(model, Prepared):
        model = model.model
    if isinstance(model, str) and model in zoo_models():
        return sample_inputs(model, options.batch, options.seed)
    return generated_inputs(compiled.inputs, options.seed)


def float_error(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Largest absolute difference over all outputs, and ‖found − expected‖ / ‖expected‖ over all of them together."""
    differences = [
        np.asarray(found[name], np.float64).ravel() - np.asarray(expected[name], np.float64).ravel() for name in found
    ]
    difference = np.concatenate(differences)
    norm = float(np.linalg.norm(np.concatenate([np.asarray(expected[name], np.float64).ravel() for name in found])))
    largest = float(np.abs(difference).max(initial=0.0))
    return largest, float(np.linalg.norm(difference)) / norm if norm else largest
