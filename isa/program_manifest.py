"""Programs as JSON facts and numbered arrays, for the files that hold them (`vdla.archive`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from vdla.archive import Reader, Writer
from vdla.errors import RunError
from vdla.isa.definition import DRAM_BYTES_MAX
from vdla.isa.program import SLOT_TYPES, LayerSpan, Program, Segment, Slot, stored_design

Manifest = Mapping[str, Any]


def program_manifest(program: Program, writer: Writer) -> dict[str, Any]:
    return {
        "design": program.design.to_dict(),
        "words": writer.array(program.words),
        "dram_bytes": program.dram_bytes,
        "segments": [{"name": s.name, "address": s.address, "data": writer.array(s.data)} for s in program.segments],
        "inputs": [asdict(slot) for slot in program.inputs],
        "outputs": [asdict(slot) for slot in program.outputs],
        "layers": [asdict(layer) for layer in program.layers],
    }


def program_from(m: Manifest, reader: Reader) -> Program:
    """The inverse of `program_manifest`. Raises `VdlaError` for what is no program, or reaches outside its DRAM."""
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
    return Program(stored_design(m["design"], str(reader.path)), words, size, segments, inputs, outputs, layers)


def type_from(m: Manifest) -> tuple[tuple[int, ...], str]:
    """Shape and dtype. Raises `RunError` for what is neither."""
    shape, dtype = tuple(int(size) for size in m["shape"]), str(m["dtype"])
    if any(size < 0 for size in shape) or dtype not in SLOT_TYPES:
        raise RunError(
            "not a tensor's type", found=f"{dtype}{list(shape)}", expected=f"one of {', '.join(SLOT_TYPES)} and its shape"
        )
    return shape, dtype


def _bytes(data: np.ndarray) -> np.ndarray:
    if data.dtype != np.uint8 or data.ndim != 1:
        raise RunError("not bytes", where="segments", found=f"{data.dtype}{list(data.shape)}", expected="uint8[n]")
    return data


def _layer(m: Manifest) -> LayerSpan:
    counts = {key: int(m[key]) for key in ("begin", "end", "macs", "gemm_uops", "unique_bytes")}
    return LayerSpan(name=str(m["name"]), op=str(m["op"]), outputs=tuple(_slot(s) for s in m["outputs"]), **counts)


def _slot(m: Manifest) -> Slot:
    shape, dtype = type_from(m)
    return Slot(str(m["name"]), int(m["address"]), shape, dtype)
