"""A compiled program: instructions, the DRAM image they run in, and what a reader needs to make sense of them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vdla.design import Design
from vdla.isa.layout import layout_of


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor in DRAM at byte `address`, stored densely with `shape` and `dtype` (the packed layout, not the model's)."""

    name: str
    address: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


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
