"""`vdla run --save-tensors`: every tensor of a model by its ONNX name, as one of its executors computes it.

reference   the float graph as it was imported, node by node in NumPy: every tensor that some node computes
cpu         the compiled kernels: what leaves one. What is inside a fused kernel, or merged by a graph pass, is missing
simulator   the accelerator's layers and the host's kernels; int8 tensors as the values their levels stand for, and the levels
rtl         the same from the Verilog
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import Step
from vdla.flows.compilation import CompileOptions, import_model
from vdla.flows.tensor_file import LEVELS, TensorWriter, writing
from vdla.runtime.module import Module

Add = Callable[[str, np.ndarray], None]
MOST_NAMED = 6
"""Missing tensors that are named on the terminal; the file has all."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds. missing: a tensor of the model's → why the executor does not show it."""

    source: str
    names: tuple[str, ...]
    missing: Mapping[str, str]


def sources_of(options: CompileOptions) -> tuple[str, ...]:
    """The executors that tensors can come from, the one that is meant when nothing is said first."""
    return ("simulator", "rtl", "reference") if options.for_design else ("cpu", "reference")


def write_tensors(
    path: Path, source: str, model: object, options: CompileOptions, module: Module, inputs: Mapping[str, np.ndarray]
) -> Saved:
    """Run `source` once on `inputs` and write what it computes, in order. module: `model` compiled under `options`.

    Raises `OutputError` when the file cannot be written, and what importing and running raise.
    """
    imported = import_model(model, options)
    with writing(path) as writer:
        if source == "reference":
            run_reference(imported, inputs, observe=writer.add)
        else:
            module_tensors(on_rtl(module) if source == "rtl" else module, imported, inputs, writer.add)
        missing = missing_tensors(imported, module.model, writer)
        writer.about({"from": source, "model": imported.name, "missing": missing})
    return Saved(source, tuple(writer.names), missing)


def on_rtl(module: Module) -> Module:
    from vdla.hw.device import RtlDevice  # Verilator

    return Module(module.model, RtlDevice(module.design))


def module_tensors(module: Module, imported: Graph, inputs: Mapping[str, np.ndarray], add: Add) -> None:
    """What the steps of a module compute, layer by layer where they are programs."""
    model = module.model
    for name, value in inputs.items():
        add(name, value)

    def show(name: str, value: np.ndarray) -> None:
        if name in model.levels:
            tensor, affine = model.levels[name]
            add(tensor, affine.to_real(value).astype(np.float32))
            add(LEVELS + tensor, value)
        if name in imported.tensors:
            add(name, value)

    def after(step: Step, made: Mapping[str, np.ndarray], seconds: float) -> None:
        for name, value in made.items():
            show(name, value)

    module.run(inputs, timing=False, observe=show, on_step=after)


def missing_tensors(imported: Graph, model: CompiledModel, writer: TensorWriter) -> dict[str, str]:
    """The model's tensors that are not in the file, each with the reason."""
    found = set(writer.names)
    inside = {name: step.name for step in model.steps for node in step.nodes for name in node.outputs}
    reasons = {}
    for name in (output for node in imported.nodes for output in node.outputs if output not in found):
        if name in inside:
            reasons[name] = f"fused into the kernel of {inside[name]}"
        else:
            reasons[name] = "merged into another operator when the graph was simplified or quantised"
    return reasons


def saved_text(path: Path, saved: Saved) -> str:
    """What is in the file and what is not, in words."""
    tensors = [name for name in saved.names if not name.startswith(LEVELS)]
    lines = [f"tensors: {path}: {len(tensors)} of the {saved.source}"]
    by_reason: dict[str, list[str]] = {}
    for name, why in saved.missing.items():
        by_reason.setdefault(why.partition(" the kernel")[0], []).append(name)
    for why, names in by_reason.items():
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines.append(f"  not there, {why}: {', '.join(names[:MOST_NAMED])}{more}")
    return "\n".join(lines)
