"""Kernels → one `Program`: addresses bound, micro-ops resident, tokens placed, words encoded.

Layers share the program and overlap: nothing separates them but the tokens their data needs. Micro-ops are loaded by
COMPUTE, in order with what uses them, so they need no tokens; each layer loads those it lacks when it begins, with one
instruction, and equal sequences are loaded once for all layers as long as they stay resident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from vdla.arithmetic import round_up
from vdla.compiler.backends.vdla.emit import NONE, Emission
from vdla.compiler.backends.vdla.tokens import place_tokens
from vdla.compiler.backends.vdla.uop_memory import LayerUops, UopLoad, plan_uops
from vdla.design import Design
from vdla.errors import CompileError
from vdla.isa.definition import DMA_SIZE_BITS, Opcode, Scratchpad, tile_bytes
from vdla.isa.layout import COLUMNS, layout_of, new_columns
from vdla.isa.program import LayerSpan, Program, Segment, Slot

UOP_SEGMENT = "micro-ops"
_ROW_LIMIT = (1 << DMA_SIZE_BITS) - 1


@dataclass(frozen=True, eq=False)
class LinkedKernel:
    """One layer: what it runs and where its tensors lie. bindings: parameter name → DRAM byte address.

    name, op, outputs, macs, unique_bytes: as in `LayerSpan`.
    """

    emission: Emission
    bindings: Mapping[str, int]
    name: str
    op: str = ""
    outputs: tuple[Slot, ...] = ()
    macs: int = 0
    unique_bytes: int = 0


def link(
    kernels: Sequence[LinkedKernel],
    design: Design,
    *,
    dram_bytes: int,
    segments: Sequence[Segment] = (),
    inputs: Sequence[Slot] = (),
    outputs: Sequence[Slot] = (),
    serial: bool = False,
) -> Program:
    """One program that runs `kernels` in order and finishes. Micro-ops become a segment after the first `dram_bytes`.

    serial: no two units work at once (see `tokens`), for comparison.

    Raises `CompileError` when a parameter is unbound or its address is not a multiple of its tile, or a kernel was emitted
    for another design; `IsaError` when a value does not fit its field.
    """
    resident = plan_uops([k.emission for k in kernels], design)
    base = round_up(dram_bytes, design.dram_alignment)
    parts: list[_Part] = []
    for kernel, loads in zip(kernels, resident.layers, strict=True):
        parts.append(_bind(kernel, design, loads, base // design.uop_bytes))
    finish = _Part(new_columns(1, Opcode.FINISH), np.full(1, NONE, np.int64))
    everything = [*parts, finish]
    columns = np.concatenate([p.columns for p in everything])
    uop_start = np.concatenate([p.uop_start for p in everything])
    tokenised = place_tokens(design, columns, resident.table, uop_start, serial)
    layout = layout_of(design)
    uop_data = layout.encode_uops(resident.table).view(np.uint8)
    spans = _spans(kernels, [len(p.columns) for p in parts], tokenised.origin)
    return Program(
        design,
        layout.encode(tokenised.columns),
        base + len(uop_data),
        (*segments, *([Segment(UOP_SEGMENT, base, uop_data)] if len(uop_data) else [])),
        tuple(inputs),
        tuple(outputs),
        spans,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """Instructions with addresses bound. uop_start: int64[n], row of the micro-op table with each one's first micro-op."""

    columns: np.ndarray
    uop_start: np.ndarray = field(repr=False)


def _bind(kernel: LinkedKernel, design: Design, uops: LayerUops, table_base: int) -> _Part:
    """A layer's columns with DRAM addresses, micro-op positions and its micro-op loads. table_base: in micro-ops."""
    emission = kernel.emission
    if emission.design != design:
        raise CompileError(
            "a kernel was emitted for another design", where=kernel.name, found=emission.design.name, expected=design.name
        )
    columns = emission.columns.copy()
    columns["dram_base"] += _addresses(kernel, design)
    for name in ("uop_begin", "uop_end"):
        columns[name] += np.where(emission.sequence == NONE, 0, uops.entry).astype(np.int32)
    start = np.where(emission.sequence == NONE, NONE, uops.row + emission.columns["uop_begin"])
    pieces: list[np.ndarray] = []
    starts: list[np.ndarray] = []
    done = 0
    for load in uops.loads:
        loads = _uop_loads(load, table_base)
        pieces += [columns[done : load.before], loads]
        starts += [start[done : load.before], np.full(len(loads), NONE, np.int64)]
        done = load.before
    return _Part(np.concatenate([*pieces, columns[done:]]).astype(COLUMNS), np.concatenate([*starts, start[done:]]))


def _addresses(kernel: LinkedKernel, design: Design) -> np.ndarray:
    """int64[n]: what binding adds to each dram_base, in tiles of the instruction's buffer."""
    emission = kernel.emission
    result = np.zeros(len(emission.columns), np.int64)
    for k, param in enumerate(emission.params):
        rows = np.flatnonzero(emission.param == k)
        if not len(rows):
            continue
        if param.name not in kernel.bindings:
            raise CompileError(
                "a parameter has no address", where=f"{kernel.name}: {param.name}", expected="a DRAM byte address"
            )
        address = kernel.bindings[param.name]
        sizes = np.array([tile_bytes(design, b) for b in Scratchpad])[emission.columns["buffer"][rows]]
        if (address % sizes).any():
            raise CompileError(
                "a tensor's address is not a multiple of its tile",
                where=f"{kernel.name}: {param.name}",
                found=address,
                expected=f"a multiple of {sizes.max()}",
            )
        result[rows] = address // sizes
    return result


def _uop_loads(load: UopLoad, table_base: int) -> np.ndarray:
    """One LOAD UOP, or several when a row would be longer than its field."""
    begins = np.arange(0, load.count, _ROW_LIMIT)
    columns = new_columns(len(begins), Opcode.LOAD)
    columns["buffer"] = Scratchpad.UOP
    columns["sram_base"] = load.sram_base + begins
    columns["dram_base"] = table_base + load.begin + begins
    columns["y_size"] = 1
    columns["x_size"] = np.minimum(load.count - begins, _ROW_LIMIT)
    return columns


def _spans(kernels: Sequence[LinkedKernel], lengths: list[int], origin: np.ndarray) -> tuple[LayerSpan, ...]:
    """Layers over the final instructions; a no-op belongs to what follows it, FINISH to the last layer."""
    places = np.flatnonzero(origin >= 0)
    spans: list[LayerSpan] = []
    begin = old_end = 0
    for k, (kernel, length) in enumerate(zip(kernels, lengths, strict=True)):
        old_end += length
        end = len(origin) if k == len(kernels) - 1 else (int(places[old_end - 1]) + 1 if old_end else 0)
        steps = kernel.emission.summary().gemm_steps
        spans.append(LayerSpan(kernel.name, kernel.op, begin, end, kernel.outputs, kernel.macs, steps, kernel.unique_bytes))
        begin = end
    return tuple(spans)
