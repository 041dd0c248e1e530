"""A compiled program: instructions, the DRAM image they run in, and what a reader needs to make sense of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from vdla.design import Design
from vdla.element_types import ELEMENT_TYPES
from vdla.isa.layout import check_encodable, layout_of

SLOT_TYPES = tuple(name for name, element in ELEMENT_TYPES.items() if element.native)
"""What the host can put into a slot and take out of it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor in DRAM at byte `address`, stored densely with `shape` and `dtype` (the packed layout, not the model's)."""

    name: str
    address: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return ELEMENT_TYPES[self.dtype].bytes_of(math.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Segment:
    """Initial DRAM contents: weights, parameters, micro-ops."""

    name: str
    address: int
    data: np.ndarray  # uint8[bytes]


@dataclass(frozen=True, slots=True)
class LayerSpan:
    """Instructions [begin, end) belong to this layer. Layers follow one another without gaps.

    macs: useful multiply-accumulates of the model (padding excluded). gemm_uops: micro-ops it runs on the GEMM core.
    unique_bytes: each DRAM tensor the layer reads or writes, once.
    """

    name: str
    op: str
    begin: int
    end: int
    outputs: tuple[Slot, ...] = ()
    macs: int = 0
    gemm_uops: int = 0
    unique_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """One run of the machine, ending with FINISH. `words` is uint64[n, 2] (see `layout`)."""

    design: Design
    words: np.ndarray
    dram_bytes: int
    segments: tuple[Segment, ...] = ()
    inputs: tuple[Slot, ...] = ()
    outputs: tuple[Slot, ...] = ()
    layers: tuple[LayerSpan, ...] = field(default=())

    def columns(self) -> np.ndarray:
        """The instructions decoded to COLUMNS[n]."""
        return layout_of(self.design).decode(self.words)

    def dram_image(self) -> np.ndarray:
        """uint8[dram_bytes]: segments in place, zero elsewhere."""
        image = np.zeros(self.dram_bytes, np.uint8)
        for segment in self.segments:
            image[segment.address : segment.address + len(segment.data)] = segment.data
        return image

    def layer_of(self, instruction: int) -> LayerSpan | None:
        return next((layer for layer in self.layers if layer.begin <= instruction < layer.end), None)


def stored_design(manifest: object, where: str) -> Design:
    """The design that a file keeps beside its program, as `Design.to_dict` wrote it. Raises `VdlaError` when it is no design or
    its instructions cannot be encoded."""
    design = Design.from_dict(manifest, where)
    check_encodable(design)
    return design
