"""`vdla run --target cpu`: the float model as it is on this machine, beside the reference executor, timed kernel by kernel."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vdla.compiler.backends.llvm.thread_pool import thread_count
from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_node
from vdla.compiler.graph.rewrite import joined
from vdla.compiler.graph.text import type_text
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import Step
from vdla.element_types import ELEMENT_TYPES
from vdla.flows.compilation import CompileOptions, bound, compile_to_model, model_name
from vdla.flows.difference import TOLERANCE, difference, tolerance_of
from vdla.flows.inputs import Inputs
from vdla.flows.provenance import command_line, graph_hash
from vdla.flows.run import default_inputs
from vdla.report.cpu_report import CpuReport, KernelReport, TensorReport
from vdla.runtime.module import Module, dead_after
from vdla.version import __version__

REPEATS = 5
CPU_ONLY = ("cpu",)


@dataclass(frozen=True)
class CpuRun:
    """Everything a run left: for the report, and tests."""

    report: CpuReport
    module: Module
    outputs: Mapping[str, np.ndarray]
    inputs: Mapping[str, np.ndarray]

    @property
    def succeeded(self) -> bool:
        """Whether every check of the run passed."""
        return self.report.agrees


def run_on_cpu(
    model: object,
    options: CompileOptions | None = None,
    *,
    inputs: Inputs | None = None,
    repeats: int = REPEATS,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> CpuRun:
    """Compile `model` for targets without programs (`options.targets`), run it beside the reference, then `repeats` times.

    inputs: by default the zoo's sample of the seed, or generated. Errors are those of `compile_to_model` and `Module.run`.
    """
    options = options or CompileOptions(targets=CPU_ONLY)
    compiled = compile_to_model(model, None, options, on_stage=on_stage)
    module = bound(compiled)
    inputs = inputs or default_inputs(model, compiled, options)

    begun = time.perf_counter()
    count = len(compiled.steps)
    module.make_ready(lambda number: on_stage(f"compiling kernel {number + 1} of {count}"))
    kernel_seconds = time.perf_counter() - begun

    on_stage("running beside the reference")
    lockstep = Lockstep(compiled, inputs)
    outputs = module.run(inputs, timing=False, on_step=lockstep).outputs

    seconds: dict[str, list[float]] = {step.name: [] for step in compiled.steps}
    whole = []
    for number in range(repeats):
        on_stage(f"timing run {number + 1} of {repeats}")
        begun = time.perf_counter()
        module.run(inputs, timing=False, on_step=lambda step, made, took: seconds[step.name].append(took))
        whole.append(time.perf_counter() - begun)

    graph = compiled.quantised
    final = tuple(lockstep.reports.get(name) or untouched(graph, name) for name in graph.outputs)
    report = CpuReport(
        model=model_name(model),
        target=",".join(options.targets),
        batch=options.batch,
        fused=options.fuse,
        threads=thread_count(),
        repeats=repeats,
        seconds=median(whole),
        agrees=all(tensor.rel_err <= tolerance_of(ELEMENT_TYPES[graph.type_of(tensor.name).dtype]) for tensor in final),
        tolerance=max((tolerance_of(ELEMENT_TYPES[graph.type_of(tensor.name).dtype]) for tensor in final), default=TOLERANCE),
        max_abs_err=max((tensor.max_abs_err for tensor in final), default=0.0),
        rel_err=max((tensor.rel_err for tensor in final), default=0.0),
        outputs=final,
        kernels=tuple(kernel_report(step, median(seconds[step.name]), lockstep.reports) for step in compiled.steps),
        wall={
            "compile_s": compiled.seconds["compile_s"],
            "kernels_s": kernel_seconds,
            "run_s": median(whole),
            "reference_s": lockstep.seconds,
        },
        provenance={
            "version": __version__,
            "model_hash": graph_hash(graph),
            "seed": options.seed,
            "command": command_line(),
        },
    )
    return CpuRun(report, module, outputs, inputs)


@dataclass
class Lockstep:
    """The reference executor, taken along step by step: after each the tensors are compared and those not needed again dropped.

    Its values are its own throughout, so that a difference is the sum of all that the steps so far have made.
    """

    model: CompiledModel
    inputs: Mapping[str, np.ndarray]
    reports: dict[str, TensorReport] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._values = {**self.model.placed.constants, **self.inputs}
        names = [step.name for step in self.model.steps]
        self._dead = dict(zip(names, dead_after(self.model.steps, self.model.placed), strict=True))

    def __call__(self, step: Step, made: Mapping[str, np.ndarray], seconds: float) -> None:
        begun = time.perf_counter()
        for node in step.nodes:
            self._values.update(run_node(node, self._values))
        self.seconds += time.perf_counter() - begun
        for name, value in made.items():
            apart = difference(value, self._values[name])
            kind = type_text(self.model.placed.type_of(name))
            self.reports[name] = TensorReport(name, kind, apart.largest, apart.relative)
        for name in self._dead[step.name]:
            self._values.pop(name, None)


def untouched(graph: Graph, name: str) -> TensorReport:
    """An output that no step computes: an input, or a constant."""
    return TensorReport(name, type_text(graph.type_of(name)), 0.0, 0.0)


def kernel_report(step: Step, seconds: float, tensors: Mapping[str, TensorReport]) -> KernelReport:
    source = joined(*(node.source or node.name for node in step.nodes))
    outputs = tuple(tensors[name] for name in step.nodes[-1].outputs if name in tensors)
    return KernelReport(step.name, source, "+".join(node.op for node in step.nodes), step.target, seconds, outputs)


def median(seconds: list[float]) -> float:
    return statistics.median(seconds) if seconds else 0.0
