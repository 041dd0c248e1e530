"""Programs and modules on disk: `.vprog` holds one program, `.vdla` a whole module (see `vdla.archive` for the container).

A module's weights are in its programs' segments; of the graph's constants only those that steps read are kept, so a loaded
module runs, but has no float model and no integer reference to be compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vdla.archive import Reader, Writer, read_archive
from vdla.compiler.graph.graph import Node
from vdla.compiler.graph.manifest import graph_from, graph_manifest
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import Step, backend_of, target_names
from vdla.compiler.targets.placement import Placement
from vdla.errors import RunError
from vdla.isa.binding import refuse_other_design
from vdla.isa.program import Program, stored_design
from vdla.isa.program_manifest import program_from, program_manifest

PROGRAM, MODULE = "vdla-program", "vdla-module"
Manifest = Mapping[str, Any]


# -- writing -------------------------------------------------------------------------------------------------------------


def program_to_bytes(program: Program) -> bytes:
    writer = Writer()
    return writer.finish(PROGRAM, {"program": program_manifest(program, writer)})


def module_to_bytes(model: CompiledModel) -> bytes:
    writer = Writer()
    manifest = {
        "design": None if model.built_for is None else model.design.to_dict(),
        "quantised": graph_manifest(model.quantised, (), writer),
        "placed": graph_manifest(model.placed, model.run_constants, writer),
        "placement": {"targets": dict(model.placement.targets), "reasons": dict(model.placement.reasons)},
        "steps": [_step_manifest(step, writer) for step in model.steps],
    }
    return writer.finish(MODULE, manifest)


def _step_manifest(step: Step, writer: Writer) -> dict[str, Any]:
    program = {} if step.program is None else {"program": program_manifest(step.program, writer)}
    work = dict(backend_of(step.target).save(step))
    return {"target": step.target, "name": step.name, "nodes": [n.name for n in step.nodes], "work": work, **program}


# -- reading -------------------------------------------------------------------------------------------------------------


def read_programs(path: Path | str) -> list[Program]:
    """The programs of a .vprog or .vdla file. Raises `RunError` when it is neither or is damaged."""
    return read_archive(Path(path), _programs)


def read_module(path: Path | str) -> CompiledModel:
    """The module of a .vdla file. Raises `RunError` when it is not one or is damaged."""
    return read_archive(Path(path), _module)


def _programs(reader: Reader) -> list[Program]:
    if reader.expect(PROGRAM, MODULE) == PROGRAM:
        return [program_from(reader.manifest["program"], reader)]
    return [program_from(step["program"], reader) for step in reader.manifest["steps"] if "program" in step]


def _module(reader: Reader) -> CompiledModel:
    reader.expect(MODULE)
    m = reader.manifest
    design = None if m["design"] is None else stored_design(m["design"], str(reader.path))
    placed = graph_from(m["placed"], reader)
    nodes = {node.name: node for node in placed.nodes}
    steps = tuple(_step(s, nodes, reader) for s in m["steps"])
    placement = Placement(dict(m["placement"]["targets"]), dict(m["placement"]["reasons"]))
    model = CompiledModel(design, graph_from(m["quantised"], reader), placed, placement, steps)
    _check_module(model)
    return model


def _step(m: Manifest, nodes: Mapping[str, Node], reader: Reader) -> Step:
    target = str(m["target"])
    if target not in target_names():
        raise RunError(
            "the module has steps for a target that is not here", where=str(reader.path), found=target,
            expected=" or ".join(target_names()), hint="compile the model for targets that are, or install what this one needs",
        )  # fmt: skip
    program = program_from(m["program"], reader) if "program" in m else None
    if unknown := [name for name in m["nodes"] if name not in nodes]:
        where = f"step {m['name']}"
        raise RunError("a step has a node that is not in the graph", where=where, found=unknown[0], expected="its nodes' names")
    step = Step(target, str(m["name"]), tuple(nodes[name] for name in m["nodes"]), program)
    return backend_of(step.target).load(step, m["work"])


def _check_module(model: CompiledModel) -> None:
    """Raise `VdlaError` unless every step reads what is there by then, of the type it expects, and the outputs come to be."""
    quantised, placed = model.quantised, model.placed
    known = {*placed.inputs, *placed.constants}
    for step in model.steps:
        if step.program is not None:
            refuse_other_design(f"the program {step.name}", step.program.design, model.design)
        backend_of(step.target).check(step, quantised, placed, known)
    if missing := [name for name in quantised.outputs if name not in known]:
        raise RunError("an output is computed by nothing", found=missing[0])
    if quantised.inputs != placed.inputs:
        raise RunError("the graphs have different inputs", found=placed.inputs, expected=str(quantised.inputs))
    for name in (*quantised.inputs, *quantised.outputs):
        if placed.tensors.get(name) != quantised.type_of(name):
            found, expected = str(placed.tensors.get(name)), str(quantised.type_of(name))
            raise RunError("an input or output has another type in each graph", where=name, found=found, expected=expected)
