"""What fusing the host's operators gains, whole networks at a time, beside onnxruntime.

    [VDLA_THREADS=1] python tests/bench/bench_fusion.py [--repeat N] [--design pynq_z1] [--models resnet18 mobilenet]

Prints one JSON document of two parts. "host": `Module.run` of a network on an accelerator that takes no time, so what is left
is the host's side (quantise, lay out, dequantise); in a first run with its compilation, and in later ones. "float": the same
networks in float32 wholly on the CPU, fused, unfused and in onnxruntime. Times are medians of runs by turns, so that load on
the machine falls on all alike; with one thread they are the CPU's time, which load hardly changes. Ratios above 1 say that the
fused form is faster.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnxruntime

from vdla.compiler.backends.llvm.thread_pool import thread_count
from vdla.compiler.driver import build_model
from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.model import CompiledModel
from vdla.compiler.ops.cpu import kernel
from vdla.compiler.targets import BuildOptions, Step
from vdla.design import Design
from vdla.design_file import load_design
from vdla.device import DeviceResult, Observer
from vdla.flows.compilation import compile_to_model
from vdla.isa.program import Program
from vdla.runtime.module import Module
from vdla.zoo import build, sample_inputs


def unfused(model: CompiledModel) -> CompiledModel:
    """The model with a step for each operator on the host."""
    steps: list[Step] = []
    for step in model.steps:
        steps += [step] if step.program else [Step(step.target, node.name, (node,)) for node in step.nodes]
    return replace(model, steps=tuple(steps))


def float_model(name: str, design: Design) -> CompiledModel:
    """The network in float, on the host alone."""
    return build_model(optimise(import_onnx(build(name))), design, BuildOptions(targets=()))


class Instant:
    """A device that answers at once, with zeros."""

    def __init__(self, design: Design) -> None:
        self.design = design

    def run(
        self, program: Program, inputs: Mapping[str, np.ndarray], *, timing: bool = True, observe: Observer | None = None
    ) -> DeviceResult:
        return DeviceResult({slot.name: np.zeros(slot.shape, slot.dtype) for slot in program.outputs}, None)


def by_turns(runs: list[Callable[[], float]], repeat: int) -> list[float]:
    """The median of what each run returns, in milliseconds."""
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeat):
        for run, found in zip(runs, seconds, strict=True):
            found.append(run())
    return [round(statistics.median(found) * 1e3, 3) for found in seconds]


clock = time.thread_time if thread_count() == 1 else time.perf_counter


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        begun = clock()
        work()
        return clock() - begun

    return run


def host_part(name: str, design: Design, repeat: int) -> dict[str, float]:
    model, x = compile_to_model(name, design), sample_inputs(name, 1, 0)
    Module(model, Instant(design)).run(x)  # LLVM itself starts slowly
    runs, first = [], []
    for form in (model, unfused(model)):
        module = Module(form, Instant(design))
        runs.append(timed(lambda m=module: m.run(x)))
        kernel.cache_clear()  # first runs compile
        first.append(round(runs[-1]() * 1e3, 1))
    fused_ms, unfused_ms = by_turns(runs, repeat)
    return {
        "first_ms": first[0], "first_unfused_ms": first[1], "ms": fused_ms, "unfused_ms": unfused_ms,
        "unfused_by_fused": round(unfused_ms / fused_ms, 2),
    }  # fmt: skip


def float_part(name: str, design: Design, repeat: int, threads: int) -> dict[str, float]:
    model, x = float_model(name, design), sample_inputs(name, 1, 0)
    modules = [Module(model, Instant(design)), Module(unfused(model), Instant(design))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(build(name).SerializeToString(), options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, dict(x))
    for module in modules:
        (found,) = module.run(x).outputs.values()
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))
    runs = [timed(lambda m=m: m.run(x)) for m in modules]
    fused_ms, unfused_ms, theirs_ms = by_turns([*runs, timed(lambda: session.run(None, dict(x)))], repeat)
    return {
        "kernels": len(model.steps), "operators": len(unfused(model).steps),
        "ms": fused_ms, "unfused_ms": unfused_ms, "onnxruntime_ms": theirs_ms,
        "unfused_by_fused": round(unfused_ms / fused_ms, 2), "onnxruntime_by_fused": round(theirs_ms / fused_ms, 2),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--design", default="pynq_z1")
    parser.add_argument("--models", nargs="+", default=["resnet18", "mobilenet"])
    options = parser.parse_args()
    design, threads = load_design(options.design), thread_count()
    document = {
        "threads": threads,
        "host": {name: host_part(name, design, options.repeat) for name in options.models},
        "float": {name: float_part(name, design, options.repeat, threads) for name in options.models},
    }
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
