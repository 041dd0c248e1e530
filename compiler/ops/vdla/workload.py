"""What a VDLA kernel computes, in packed blocks: the key under which kernels are configured, built and cached."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from vdla.compiler.operators.shapes import window_output
from vdla.design import Design


@dataclass(frozen=True, slots=True)
class ConvWorkload:
    """A quantised convolution over packed tensors, with a group axis everywhere:

    x int8 [batch][groups][in_blocks][height][width] tiles, w [groups][out_blocks][in_blocks][KH][KW] tiles,
    y int8 [batch][groups][out_blocks][out_height][out_width] tiles.

    `batch` counts blocks of design.gemm.batch images; in_blocks and out_blocks are of one group. Depthwise convolution and
    average pooling have one input and one output block a group and (block-)diagonal weight tiles; dense layers are 1×1.
    uniform_weight: one weight tile serves every group, block and kernel element (pooling).
    own_weights: the weights of a 1×1 window are an activation, [batch][in_blocks][out_blocks] tiles, each of one block of
    channels at block_out positions (a product of two activations).
    table_tiles: from how many tiles a table is taken that the levels of y are looked up in; 0 without one.
    """

    batch: int
    groups: int
    in_blocks: int
    out_blocks: int
    height: int
    width: int
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    residual: bool = False
    uniform_weight: bool = False
    own_weights: bool = False
    pad_value: int = 0
    low: int = -128
    high: int = 127
    table_tiles: int = 0

    @property
    def padded_height(self) -> int:
        return self.height + self.pads[0] + self.pads[2]

    @property
    def padded_width(self) -> int:
        return self.width + self.pads[1] + self.pads[3]

    @property
    def out_height(self) -> int:
        return window_output(self.padded_height, self.kernel[0], self.strides[0], 0, self.dilations[0])

    @property
    def out_width(self) -> int:
        return window_output(self.padded_width, self.kernel[1], self.strides[1], 0, self.dilations[1])

    @property
    def out_tiles(self) -> int:
        """Accumulator tiles of the whole output."""
        return self.batch * self.groups * self.out_blocks * self.out_height * self.out_width

    @property
    def gemm_uops(self) -> int:
        """Micro-ops the GEMM core must run: one for each output tile, input block and kernel element."""
        return self.out_tiles * self.in_blocks * self.kernel[0] * self.kernel[1]

    @property
    def weight_tiles(self) -> int:
        if self.uniform_weight:
            return 1
        each = self.groups * self.out_blocks * self.in_blocks * self.kernel[0] * self.kernel[1]
        return self.batch * each if self.own_weights else each

    def unique_bytes(self, design: Design) -> int:
        """DRAM bytes of every operand and the result, each once."""
        inputs = self.batch * self.groups * self.in_blocks * self.height * self.width * design.inp_tile_bytes
        weights = self.weight_tiles * design.wgt_tile_bytes
        parameters = self.groups * self.out_blocks * 2 * design.acc_tile_bytes * (2 if self.residual else 1)
        return inputs + weights + parameters + self.out_tiles * design.out_tile_bytes * (2 if self.residual else 1)


RESCALED_PAIRS = {"qadd": "add", "qsub": "add", "qmax": "max", "qmin": "min"}
"""Operators of two rescaled operands → the ALU operation that joins them. There is no subtraction: qsub negates first."""
PAIRS = {**RESCALED_PAIRS, "qmul": "mul"}
"""Operators of two operands → the ALU operation that joins them."""


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a pair's operand has one extent that serves all of the result's: along images, channels, positions (all of H and
    W)."""

    images: bool = False
    channels: bool = False
    positions: bool = False


WHOLE = Operand()


@dataclass(frozen=True, slots=True)
class ElementwiseWorkload:
    """An elementwise layer over packed tiles. op: one of PAIRS, or "requantize"; positions: H·W.

    a, b: how the operands of a pair are broadcast. zero_points: of qmul's operands.
    """

    op: str
    batch: int
    blocks: int
    positions: int
    low: int = -128
    high: int = 127
    a: Operand = WHOLE
    b: Operand = WHOLE
    zero_points: tuple[int, int] = (0, 0)

    @property
    def operands(self) -> dict[str, Operand]:
        """By the name of the kernel's parameter."""
        return {"a": self.a, "b": self.b} if self.op in PAIRS else {"x": WHOLE}

    @property
    def widening_tiles(self) -> int:
        """Weight tiles that widen: identity, and where channels are broadcast one that spreads the first lane over all."""
        return 2 if any(operand.channels for operand in self.operands.values()) else 1

    @property
    def out_tiles(self) -> int:
        return self.batch * self.blocks * self.positions


@dataclass(frozen=True, slots=True)
class TableWorkload:
    """y = table[x + 128] over packed int8 tiles. positions: H·W."""

    batch: int
    blocks: int
    positions: int

    @property
    def out_tiles(self) -> int:
        return self.batch * self.blocks * self.positions


@dataclass(frozen=True, slots=True)
class PoolWorkload:
    """Max pooling over packed int8 tiles, x [batch][blocks][height][width]; padding is -128.

    `out_height` and `out_width` are given because of ceil mode: windows may hang over the padded edge.
    """

    batch: int
    blocks: int
    height: int
    width: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    out_height: int
    out_width: int

    @property
    def out_tiles(self) -> int:
        return self.batch * self.blocks * self.out_height * self.out_width

    @property
    def row_pads(self) -> tuple[int, int]:
        """Padding rows above and below that the windows really cover; negative below when they end before the image."""
        return self.pads[0], (self.out_height - 1) * self.strides[0] + self.kernel[0] - self.height - self.pads[0]

    @property
    def column_pads(self) -> tuple[int, int]:
        """As `row_pads`, left and right."""
        return self.pads[1], (self.out_width - 1) * self.strides[1] + self.kernel[1] - self.width - self.pads[1]


@dataclass(frozen=True, slots=True)
class CopyAxis:
    """An axis of what a copy writes: `extent` places, from `offset` on of the `whole` that lie in memory.

    source: the axis of the tensor read along which they go, from `start` by `step`, where beside it padding is read; None when
    all places have the same element.
    """

    extent: int
    source: int | None
    start: int = 0
    step: int = 1
    offset: int = 0
    whole: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole", self.whole or self.extent)


@dataclass(frozen=True, slots=True)
class CopyWorkload:
    """Tiles in another order: y[axes …] = x[…], in whole tiles. source: the extents of x, in the order of memory; an axis of it
    that no axis of y goes along has extent 1."""

    source: tuple[int, ...]
    axes: tuple[CopyAxis, ...]
    pad_value: int = 0

    @property
    def out_tiles(self) -> int:
        return prod(axis.extent for axis in self.axes)

    @property
    def gemm_uops(self) -> int:
        """One for each tile, which puts it in its place."""
        return self.out_tiles


Workload = ConvWorkload | ElementwiseWorkload | TableWorkload | PoolWorkload | CopyWorkload
