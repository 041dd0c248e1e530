"""Programs and modules on disk: a zip of one JSON manifest and NumPy arrays.

`.vprog` holds one program, `.vdla` a whole module (its graph, host operators and programs). Reading trusts nothing: every
name, shape and number is checked, and whatever is wrong is one `RunError`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.placement import Placement
from vdla.compiler.model import CompiledModel, HostStep, Step, VdlaStep
from vdla.design import Design, design_from_dict
from vdla.errors import RunError, VdlaError
from vdla.isa.program import LayerSpan, Program, Segment, Slot

FORMAT = 1
PROGRAM, MODULE = "vdla-program", "vdla-module"


class _Writer:
    """Collects arrays under short names and closes the archive with the manifest."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []

    def array(self, value: np.ndarray) -> int:
        self.arrays.append(np.asarray(value))
        return len(self.arrays) - 1

    def finish(self, manifest: dict[str, Any]) -> bytes:
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for k, value in enumerate(self.arrays):
                buffer = io.BytesIO()
                np.save(buffer, value, allow_pickle=False)
                archive.writestr(_entry(f"{k}.npy"), buffer.getvalue())
            archive.writestr(_entry("manifest.json"), json.dumps(manifest, sort_keys=True, default=_plain))
        return raw.getvalue()


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry with a fixed date, so that equal modules are equal files."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def program_to_bytes(program: Program) -> bytes:
    writer = _Writer()
    return writer.finish({"kind": PROGRAM, "format": FORMAT, "program": _program_manifest(program, writer)})


def module_to_bytes(model: CompiledModel) -> bytes:
    writer = _Writer()
    steps = [
        {"host": step.node.name} if isinstance(step, HostStep)
        else {"name": step.name, "program": _program_manifest(step.program, writer), "nodes": [n.name for n in step.nodes]}
        for step in model.steps
    ]  # fmt: skip
    manifest = {
        "kind": MODULE,
        "format": FORMAT,
        "design": _design_manifest(model.design),
        "quantised": _graph_manifest(model.quantised, writer),
        "placed": _graph_manifest(model.placed, writer),
        "placement": {"targets": dict(model.placement.targets), "reasons": dict(model.placement.reasons)},
        "steps": steps,
    }
    return writer.finish(manifest)


def _design_manifest(design: Design) -> dict[str, Any]:
    return design.model_dump(exclude_none=True)


def _program_manifest(program: Program, writer: _Writer) -> dict[str, Any]:
    return {
        "design": _design_manifest(program.design),
        "words": writer.array(program.words),
        "dram_bytes": program.dram_bytes,
        "segments": [{"name": s.name, "address": s.address, "data": writer.array(s.data)} for s in program.segments],
        "inputs": [asdict(slot) for slot in program.inputs],
        "outputs": [asdict(slot) for slot in program.outputs],
        "layers": [asdict(layer) for layer in program.layers],
    }


def _graph_manifest(graph: Graph, writer: _Writer) -> dict[str, Any]:
    return {
        "name": graph.name,
        "inputs": graph.inputs,
        "outputs": graph.outputs,
        "nodes": [{**asdict(node), "attributes": dict(node.attributes)} for node in graph.nodes],
        "tensors": {name: asdict(t) for name, t in graph.tensors.items()},
        "constants": {name: writer.array(value) for name, value in graph.constants.items()},
    }


class _Reader:
    """The manifest and the arrays it refers to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.archive = zipfile.ZipFile(path)
        self.manifest = json.loads(self.archive.read("manifest.json"))

    def array(self, index: int) -> np.ndarray:
        return np.load(io.BytesIO(self.archive.read(f"{int(index)}.npy")), allow_pickle=False)


def read_programs(path: Path | str) -> list[Program]:
    """The programs of a .vprog or .vdla file. Raises `RunError` when it is neither or is damaged."""
    return _guarded(Path(path), _programs)


def read_module(path: Path | str) -> CompiledModel:
    """The module of a .vdla file. Raises `RunError` when it is not one or is damaged."""
    return _guarded(Path(path), _module)


def _guarded(path: Path, read: Any) -> Any:
    """Whatever goes wrong in reading an untrusted file becomes one error."""
    try:
        return read(_Reader(path))
    except VdlaError as error:
        raise RunError(f"damaged file: {error.what}", where=str(path), hint="compile the model again") from None
    except OSError as error:
        raise RunError(f"cannot read the file ({error.strerror or type(error).__name__})", where=str(path)) from None
    except Exception as error:  # noqa: BLE001 - zipfile, zlib, json and numpy each raise their own on a damaged file
        raise RunError(
            f"not a VDLA program or module ({type(error).__name__})",
            where=str(path),
            expected="a .vprog or .vdla file written by this version",
            hint="vdla compile MODEL -o FILE.vdla",
        ) from None


def _expect(reader: _Reader, *kinds: str) -> None:
    found = reader.manifest.get("kind"), reader.manifest.get("format")
    if found[0] not in kinds or found[1] != FORMAT:
        raise RunError("another kind of file", found=found, expected=f"{' or '.join(kinds)}, format {FORMAT}")


def _programs(reader: _Reader) -> list[Program]:
    _expect(reader, PROGRAM, MODULE)
    if reader.manifest["kind"] == PROGRAM:
        return [_program(reader.manifest["program"], reader)]
    return [_program(step["program"], reader) for step in reader.manifest["steps"] if "program" in step]


def _module(reader: _Reader) -> CompiledModel:
    _expect(reader, MODULE)
    m = reader.manifest
    placed = _graph(m["placed"], reader)
    nodes = {node.name: node for node in placed.nodes}
    steps: list[Step] = [
        HostStep(nodes[s["host"]])
        if "host" in s
        else VdlaStep(s["name"], _program(s["program"], reader), tuple(nodes[n] for n in s["nodes"]))
        for s in m["steps"]
    ]
    placement = Placement(dict(m["placement"]["targets"]), dict(m["placement"]["reasons"]))
    design = design_from_dict(m["design"], str(reader.path))
    return CompiledModel(design, _graph(m["quantised"], reader), placed, placement, tuple(steps))


def _program(m: Mapping[str, Any], reader: _Reader) -> Program:
    words = np.ascontiguousarray(reader.array(m["words"]), np.uint64).reshape(-1, 2)
    size = int(m["dram_bytes"])
    segments = tuple(Segment(str(s["name"]), int(s["address"]), _bytes(reader.array(s["data"]))) for s in m["segments"])
    inputs, outputs = (tuple(_slot(s) for s in m[key]) for key in ("inputs", "outputs"))
    layers = tuple(LayerSpan(**{**layer, "outputs": tuple(_slot(s) for s in layer["outputs"])}) for layer in m["layers"])
    places = [(s.address, len(s.data)) for s in segments] + [(s.address, s.bytes) for s in (*inputs, *outputs)]
    if size < 0 or any(address < 0 or address + length > size for address, length in places):
        raise RunError("a segment or slot lies outside the program's DRAM", expected=f"within {size} bytes")
    return Program(design_from_dict(m["design"], str(reader.path)), words, size, segments, inputs, outputs, layers)


def _bytes(data: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(data, np.uint8).reshape(-1)


def _slot(m: Mapping[str, Any]) -> Slot:
    return Slot(str(m["name"]), int(m["address"]), tuple(int(s) for s in m["shape"]), str(np.dtype(m["dtype"])))


def _graph(m: Mapping[str, Any], reader: _Reader) -> Graph:
    nodes = tuple(
        Node(
            n["name"],
            n["op"],
            tuple(n["inputs"]),
            tuple(n["outputs"]),
            {k: _tupled(v) for k, v in n["attributes"].items()},
            n["source"],
        )
        for n in m["nodes"]
    )
    tensors = {name: TensorType(tuple(t["shape"]), t["dtype"]) for name, t in m["tensors"].items()}
    constants = {name: reader.array(k) for name, k in m["constants"].items()}
    return Graph(m["name"], tuple(m["inputs"]), tuple(m["outputs"]), nodes, tensors, constants)


def _tupled(value: Any) -> Any:
    """JSON has no tuples; attributes are compared and hashed as tuples."""
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value
