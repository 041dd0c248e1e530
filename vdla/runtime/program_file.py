"""Programs and modules on disk: `.vprog` holds one program, `.vdla` a whole module (see `archive` for the container).

A module's weights are in its programs' segments; of the graph's constants only those that host operators read are kept, so a
loaded module runs, but has no float model and no integer reference to be compared with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vdla.compiler.graph.fuse import FusionGroup, fuse
from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.placement import Placement
from vdla.compiler.graph.verify import verify_node
from vdla.compiler.model import CompiledModel, HostStep, Step, VdlaStep
from vdla.design import Design, design_from_dict
from vdla.errors import RunError
from vdla.isa.program import LayerSpan, Program, Segment, Slot
from vdla.isa.program_text import DRAM_BYTES_MAX, SLOT_TYPES
from vdla.runtime.archive import Reader, Writer, read_archive

PROGRAM, MODULE = "vdla-program", "vdla-module"
Manifest = Mapping[str, Any]


# -- writing -------------------------------------------------------------------------------------------------------------


def program_to_bytes(program: Program) -> bytes:
    writer = Writer()
    return writer.finish(PROGRAM, {"program": _program_manifest(program, writer)})


def module_to_bytes(model: CompiledModel) -> bytes:
    writer = Writer()
    manifest = {
        "design": _design_manifest(model.design),
        "quantised": _graph_manifest(model.quantised, (), writer),
        "placed": _graph_manifest(model.placed, host_constants(model), writer),
        "placement": {"targets": dict(model.placement.targets), "reasons": dict(model.placement.reasons)},
        "steps": [_step_manifest(step, writer) for step in model.steps],
    }
    return writer.finish(MODULE, manifest)


def host_constants(model: CompiledModel) -> list[str]:
    """The constants that a run needs: those that operators on the host read."""
    read = {name for step in model.steps if isinstance(step, HostStep) for name in step.group.inputs}
    return [name for name in model.placed.constants if name in read]


def _step_manifest(step: Step, writer: Writer) -> dict[str, Any]:
    if isinstance(step, HostStep):
        return {"host": [node.name for node in step.group.nodes]}
    return {"name": step.name, "program": _program_manifest(step.program, writer), "nodes": [n.name for n in step.nodes]}


def _design_manifest(design: Design) -> dict[str, Any]:
    return design.model_dump(exclude_none=True)


def _program_manifest(program: Program, writer: Writer) -> dict[str, Any]:
    return {
        "design": _design_manifest(program.design),
        "words": writer.array(program.words),
        "dram_bytes": program.dram_bytes,
        "segments": [{"name": s.name, "address": s.address, "data": writer.array(s.data)} for s in program.segments],
        "inputs": [asdict(slot) for slot in program.inputs],
        "outputs": [asdict(slot) for slot in program.outputs],
        "layers": [asdict(layer) for layer in program.layers],
    }


def _graph_manifest(graph: Graph, constants: Sequence[str], writer: Writer) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [_node_manifest(node) for node in graph.nodes],
        "tensors": {name: asdict(t) for name, t in graph.tensors.items()},
        "constants": {name: writer.array(graph.constants[name]) for name in constants},
    }


def _node_manifest(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": node.op,
        "inputs": node.inputs,
        "outputs": node.outputs,
        "attributes": dict(node.attributes),
        "source": node.source,
    }


# -- reading -------------------------------------------------------------------------------------------------------------


def read_programs(path: Path | str) -> list[Program]:
    """The programs of a .vprog or .vdla file. Raises `RunError` when it is neither or is damaged."""
    return read_archive(Path(path), _programs)


def read_module(path: Path | str) -> CompiledModel:
    """The module of a .vdla file. Raises `RunError` when it is not one or is damaged."""
    return read_archive(Path(path), _module)


def _programs(reader: Reader) -> list[Program]:
    if reader.expect(PROGRAM, MODULE) == PROGRAM:
        return [_program(reader.manifest["program"], reader)]
    return [_program(step["program"], reader) for step in reader.manifest["steps"] if "program" in step]


def _module(reader: Reader) -> CompiledModel:
    reader.expect(MODULE)
    m = reader.manifest
    design = design_from_dict(m["design"], str(reader.path))
    placed = _graph(m["placed"], reader)
    nodes = {node.name: node for node in placed.nodes}
    steps = tuple(_step(s, nodes, reader) for s in m["steps"])
    placement = Placement(dict(m["placement"]["targets"]), dict(m["placement"]["reasons"]))
    model = CompiledModel(design, _graph(m["quantised"], reader), placed, placement, steps)
    _check_module(model)
    return model


def _check_module(model: CompiledModel) -> None:
    """Raise `VdlaError` unless every step reads what is there by then, of the type it expects, and the outputs come to be."""
    graph = model.placed
    for name, value in graph.constants.items():
        if graph.type_of(name) != TensorType(value.shape, str(value.dtype)):
            raise RunError("a constant's type is wrong", where=name, found=str(value.dtype), expected=str(graph.type_of(name)))
    known = {*graph.inputs, *graph.constants}
    for step in model.steps:
        if isinstance(step, HostStep):
            _check_group(graph, step.group, known)
            continue
        if step.program.design.hash_hex != model.design.hash_hex:
            raise RunError("a program is for another design than its module", where=step.name)
        for slot in (*step.program.inputs, *step.program.outputs):
            if graph.type_of(slot.name) != TensorType(slot.shape, slot.dtype):
                raise RunError("a slot's type is not its tensor's", where=f"{step.name}: {slot.name}")
        if unknown := [slot.name for slot in step.program.inputs if slot.name not in known]:
            raise RunError("a program reads what nothing has computed", where=step.name, found=unknown[0])
        known.update(slot.name for slot in step.program.outputs)
    if missing := [name for name in model.quantised.outputs if name not in known]:
        raise RunError("an output is computed by nothing", found=missing[0])
    if model.quantised.inputs != graph.inputs:
        raise RunError("the graphs have different inputs", found=graph.inputs, expected=str(model.quantised.inputs))


def _check_group(graph: Graph, group: FusionGroup, known: set[str]) -> None:
    """One host step against the tensors `known` before it, to which it adds its output."""
    inside = set(known)
    for node in group.nodes:
        verify_node(graph, node, inside, f"operator {node.name}")
        inside.update(node.outputs)
    names = {node.name for node in group.nodes}
    if group not in fuse(graph, lambda node: node.name in names):
        raise RunError("operators that do not fuse share a step", found=", ".join(sorted(names)) or "none")
    known.update(group.outputs)


def _step(m: Manifest, nodes: Mapping[str, Node], reader: Reader) -> Step:
    if "host" in m:
        return HostStep(FusionGroup(tuple(nodes[name] for name in m["host"])))
    return VdlaStep(str(m["name"]), _program(m["program"], reader), tuple(nodes[name] for name in m["nodes"]))


def _program(m: Manifest, reader: Reader) -> Program:
    words = reader.array(m["words"])
    if words.dtype != np.uint64 or words.ndim != 2 or words.shape[1] != 2:
        raise RunError("not instructions", where="words", found=f"{words.dtype}{list(words.shape)}", expected="uint64[n, 2]")
    size = int(m["dram_bytes"])
    segments = tuple(Segment(str(s["name"]), int(s["address"]), _bytes(reader.array(s["data"]))) for s in m["segments"])
    inputs, outputs = (tuple(_slot(s) for s in m[key]) for key in ("inputs", "outputs"))
    layers = tuple(_layer(layer) for layer in m["layers"])
    slots = (*inputs, *outputs, *(slot for layer in layers for slot in layer.outputs))
    places = [(s.address, len(s.data)) for s in segments] + [(s.address, s.bytes) for s in slots]
    if not 0 <= size <= DRAM_BYTES_MAX or any(address < 0 or address + length > size for address, length in places):
        raise RunError("a segment or slot lies outside the program's DRAM", expected=f"within {size} bytes")
    edges = [0, *(edge for layer in layers for edge in (layer.begin, layer.end)), len(words)]
    if edges != sorted(edges):
        raise RunError(
            "layers overlap, or reach beyond the program", expected=f"spans in order within {len(words)} instructions"
        )
    return Program(design_from_dict(m["design"], str(reader.path)), words, size, segments, inputs, outputs, layers)


def _bytes(data: np.ndarray) -> np.ndarray:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise RunError("not bytes", where="segments", found=f"{data.dtype}{list(data.shape)}", expected="uint8[n]")
    return data


def _layer(m: Manifest) -> LayerSpan:
    counts = {key: int(m[key]) for key in ("begin", "end", "macs", "gemm_uops", "unique_bytes")}
    return LayerSpan(name=str(m["name"]), op=str(m["op"]), outputs=tuple(_slot(s) for s in m["outputs"]), **counts)


def _slot(m: Manifest) -> Slot:
    kind = _type(m)
    return Slot(str(m["name"]), int(m["address"]), kind.shape, kind.dtype)


def _type(m: Manifest) -> TensorType:
    shape, dtype = tuple(int(size) for size in m["shape"]), str(m["dtype"])
    if any(size < 0 for size in shape) or dtype not in SLOT_TYPES:
        raise RunError(
            "not a tensor's type", found=f"{dtype}{list(shape)}", expected=f"one of {', '.join(SLOT_TYPES)} and its shape"
        )
    return TensorType(shape, dtype)


def _graph(m: Manifest, reader: Reader) -> Graph:
    nodes = tuple(
        Node(
            str(n["name"]),
            str(n["op"]),
            _names(n["inputs"]),
            _names(n["outputs"]),
            {str(key): _tupled(value) for key, value in n["attributes"].items()},
            str(n["source"]),
        )
        for n in m["nodes"]
    )
    tensors = {name: _type(t) for name, t in m["tensors"].items()}
    constants = {name: reader.array(k) for name, k in m["constants"].items()}
    return Graph(str(m["name"]), _names(m["inputs"]), _names(m["outputs"]), nodes, tensors, constants)


def _names(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def _tupled(value: Any) -> Any:
    """JSON has no tuples; attributes are compared and hashed as tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
