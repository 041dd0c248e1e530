"""The instruction set, once: queues, opcodes, buffers, fields and their widths as functions of the `Design`.

Encoder and decoder (`layout`), assembler, checker, manual, Verilog header and the semantics' argument names all follow
from the tables here. Meaning is in `semantics`, one function for each instruction.

The machine: FETCH feeds three in-order command queues, LOAD, COMPUTE and STORE. They run concurrently and synchronise
only through four token FIFOs between neighbours; every instruction can pop a token from, and push one to, the queue
before it (`prev`) and after it (`next`) in the order load → compute → store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from vdla.design import Design
from vdla.element_types import ElementType

INSTRUCTION_BITS = 128
INSTRUCTION_BYTES = INSTRUCTION_BITS // 8
DRAM_BYTES_MAX = 1 << 32
"""Addresses on the memory bus are 32 bits."""


class Queue(IntEnum):
    LOAD = 0
    COMPUTE = 1
    STORE = 2


class Unit(IntEnum):
    """What runs at the same time: FETCH, and one unit for each queue, which runs it."""

    FETCH = 0
    LOAD = 1
    COMPUTE = 2
    STORE = 3


class Opcode(IntEnum):
    LOAD = 0
    STORE = 1
    GEMM = 2
    FINISH = 3
    ALU = 4


class Scratchpad(IntEnum):
    """What a DMA moves. OUT is the int8 view of acc: loading it widens int8 → int32, storing it takes the low byte."""

    UOP = 0
    WGT = 1
    INP = 2
    ACC = 3
    OUT = 4


class GemmMode(IntEnum):
    ACCUMULATE = 0  # acc[dst] += inp[src] · wgt[w]ᵀ
    OVERWRITE = 1  #  acc[dst]  = inp[src] · wgt[w]ᵀ
    RESET = 2  #      acc[dst]  = 0


class AluOp(IntEnum):
    """acc[dst] = acc[dst] OP y, elementwise on int32 with wrap-around; y is acc[src], or the immediate when use_imm."""

    MIN = 0  #        the smaller
    MAX = 1  #        the larger
    ADD = 2  #        the sum
    MUL = 3  #        the product's low 32 bits
    SHL = 4  #        shift left, y in 0..31
    SHR = 5  #        arithmetic shift right, rounding half to even, y in 0..31
    MOV = 6  #        acc[dst] = y
    CLIP = 7  #       to [low byte, high byte] of the immediate, both signed; use_imm only
    REQUANTISE = 8  # see semantics.requantise; clipped to the immediate's bytes as CLIP does
    RESCALE = 9  #    see semantics.rescale; as REQUANTISE but saturating to int32 instead of clipping
    TABULATE = 10  #  acc[dst] stays; step k takes entry imm + k of the table from it, see semantics.tabulate; use_imm only
    LOOKUP = 11  #    table[x + 128], x being the low byte as int8; use_imm only, the immediate means nothing


PER_CHANNEL_ALU_OPS = (AluOp.REQUANTISE, AluOp.RESCALE)
"""They read two parameter tiles, bias at acc[src] and scale words at acc[src + 1], and never use_imm as operand."""

IMMEDIATE_ALU_OPS = (AluOp.CLIP, AluOp.TABULATE, AluOp.LOOKUP)
"""They have no tensor operand: use_imm is set."""

TABLE_ENTRIES = 256
"""COMPUTE has one table of int8, an entry for each int8 level; every lane of the vector unit looks up in its own copy."""

SCALE_FRACTION_BITS, SCALE_SHIFT_BITS, SCALE_ZERO_POINT_BITS = 18, 6, 8
"""A scale word, low to high: fraction of the multiplier, shift (0..63), signed zero point: 32 bits in all."""
SCALE_MULTIPLIER_BITS = SCALE_FRACTION_BITS + 1
"""The multiplier's leading one is not stored, so it is never below 2^18. A sum of 32 bits times a multiplier is 0 after a
shift of 63: that is how a scale word says 0."""

BUFFERS_OF = {Opcode.LOAD: tuple(Scratchpad), Opcode.STORE: (Scratchpad.OUT,)}
LOAD_QUEUE_BUFFERS = (Scratchpad.WGT, Scratchpad.INP)
"""Loaded by the LOAD queue; uop and acc are loaded by COMPUTE, the only unit that uses them."""


def queue_of(opcode: Opcode, buffer: Scratchpad | None = None) -> Queue:
    """The queue FETCH sends an instruction to."""
    if opcode == Opcode.STORE:
        return Queue.STORE
    if opcode == Opcode.LOAD and buffer in LOAD_QUEUE_BUFFERS:
        return Queue.LOAD
    return Queue.COMPUTE


def unit_of(queue: Queue) -> Unit:
    """The unit that runs the instructions of `queue`."""
    return Unit(queue + 1)


def element_type(design: Design, buffer: Scratchpad) -> ElementType:
    """What the tiles of `buffer` consist of in DRAM; micro-ops have no elements."""
    return design.element(buffer.name.lower())


def tile_bytes(design: Design, buffer: Scratchpad) -> int:
    """Bytes in DRAM of one entry of `buffer`: the unit of a DMA's dram_base and x_stride."""
    return {
        Scratchpad.UOP: design.uop_bytes,
        Scratchpad.WGT: design.wgt_tile_bytes,
        Scratchpad.INP: design.inp_tile_bytes,
        Scratchpad.ACC: design.acc_tile_bytes,
        Scratchpad.OUT: design.out_tile_bytes,
    }[buffer]


def depth(design: Design, buffer: Scratchpad) -> int:
    """Entries of the SRAM behind `buffer`."""
    return {
        Scratchpad.UOP: design.uop_depth,
        Scratchpad.WGT: design.wgt_depth,
        Scratchpad.INP: design.inp_depth,
        Scratchpad.ACC: design.acc_depth,
        Scratchpad.OUT: design.acc_depth,
    }[buffer]


def table_tiles(design: Design) -> int:
    """The acc tiles that a whole table is taken from: entry e from tile e mod table_tiles, so that consecutive steps of a
    TABULATE do not wait for one another, and from its element e // table_tiles."""
    return max(1, TABLE_ENTRIES // (design.gemm.batch * design.gemm.block_out))


Width = int | Callable[[Design], int]


@dataclass(frozen=True, slots=True)
class Field:
    """`width` bits, a number or a function of the design; two's complement when `signed`."""

    name: str
    width: Width
    doc: str
    signed: bool = False
    names: type[IntEnum] | None = None  # symbolic values, for assembly and the manual

    def bits(self, design: Design) -> int:
        return self.width if isinstance(self.width, int) else self.width(design)


DRAM_BASE_BITS, DMA_SIZE_BITS, DMA_PAD_BITS, PAD_VALUE_BITS = 32, 13, 4, 8
LOOP_BITS_MIN, LOOP_BITS_MAX = 8, 14

HEAD = (
    Field("opcode", 3, "what to do", names=Opcode),
    Field("pop_prev", 1, "wait for a token from the queue before this one"),
    Field("pop_next", 1, "wait for a token from the queue after this one"),
    Field("push_prev", 1, "when retired, give a token to the queue before"),
    Field("push_next", 1, "when retired, give a token to the queue after"),
)


def _sram_base_bits(design: Design) -> int:
    indices = (design.uop_index_bits, design.inp_index_bits, design.wgt_index_bits, design.acc_index_bits)
    return max(indices)


def _uop_end_bits(design: Design) -> int:
    return design.uop_index_bits + 1


def _stride_bits(design: Design) -> int:
    """What the other fields of a DMA leave, as far as columns (int32) hold it."""
    others = 7 + 3 + _sram_base_bits(design) + DRAM_BASE_BITS + 2 * DMA_SIZE_BITS + 4 * DMA_PAD_BITS + PAD_VALUE_BITS
    return min(31, INSTRUCTION_BITS - others)


DMA = (
    Field("buffer", 3, "which SRAM", names=Scratchpad),
    Field("sram_base", _sram_base_bits, "first SRAM entry, in tiles"),
    Field("dram_base", DRAM_BASE_BITS, "first DRAM tile, in tiles from the buffer base register"),
    Field("y_size", DMA_SIZE_BITS, "rows moved"),
    Field("x_size", DMA_SIZE_BITS, "tiles moved in each row"),
    Field("x_stride", _stride_bits, "DRAM tiles from one row to the next"),
    Field("y_pad_before", DMA_PAD_BITS, "rows of padding before the data (LOAD)"),
    Field("y_pad_after", DMA_PAD_BITS, "rows of padding after the data (LOAD)"),
    Field("x_pad_before", DMA_PAD_BITS, "tiles of padding before each row (LOAD)"),
    Field("x_pad_after", DMA_PAD_BITS, "tiles of padding after each row (LOAD)"),
    Field("pad_value", PAD_VALUE_BITS, "value of every padded element (LOAD)", signed=True),
)


def _loop_bits(design: Design) -> int:
    """Loop counters take what the wider of GEMM and ALU leaves, up to LOOP_BITS_MAX."""
    uops = design.uop_index_bits + _uop_end_bits(design)
    gemm = 7 + 2 + uops + 2 * (design.acc_index_bits + design.inp_index_bits + design.wgt_index_bits)
    alu = 7 + 4 + 1 + 16 + uops + 4 * design.acc_index_bits
    return min(LOOP_BITS_MAX, (INSTRUCTION_BITS - max(gemm, alu)) // 2)


LOOPS = (
    Field("uop_begin", lambda d: d.uop_index_bits, "first micro-op"),
    Field("uop_end", _uop_end_bits, "one past the last micro-op"),
    Field("loop_outer", _loop_bits, "outer iterations"),
    Field("loop_inner", _loop_bits, "inner iterations"),
    Field("dst_outer", lambda d: d.acc_index_bits, "added to dst for each outer iteration"),
    Field("dst_inner", lambda d: d.acc_index_bits, "added to dst for each inner iteration"),
)
GEMM = (
    Field("gemm_mode", 2, "accumulate, overwrite or reset", names=GemmMode),
    *LOOPS,
    Field("src_outer", lambda d: d.inp_index_bits, "added to src for each outer iteration"),
    Field("src_inner", lambda d: d.inp_index_bits, "added to src for each inner iteration"),
    Field("wgt_outer", lambda d: d.wgt_index_bits, "added to wgt for each outer iteration"),
    Field("wgt_inner", lambda d: d.wgt_index_bits, "added to wgt for each inner iteration"),
)
ALU = (
    Field("alu_op", 4, "elementwise operation", names=AluOp),
    Field("use_imm", 1, "the second operand is the immediate"),
    Field("imm", 16, "immediate operand, or two clip bounds", signed=True),
    *LOOPS,
    Field("src_outer", lambda d: d.acc_index_bits, "added to src for each outer iteration"),
    Field("src_inner", lambda d: d.acc_index_bits, "added to src for each inner iteration"),
)

FIELDS: dict[Opcode, tuple[Field, ...]] = {
    Opcode.LOAD: (*HEAD, *DMA),
    Opcode.STORE: (*HEAD, *DMA),
    Opcode.GEMM: (*HEAD, *GEMM),
    Opcode.FINISH: HEAD,
    Opcode.ALU: (*HEAD, *ALU),
}
"""From bit 0 upwards. The layout appends one `reserved` field, which must be zero, up to 128 bits."""

UOP_FIELDS = (
    Field("dst", lambda d: d.acc_index_bits, "acc tile written"),
    Field("src", lambda d: d.source_index_bits, "inp tile (GEMM) or acc tile (ALU) read"),
    Field("wgt", lambda d: d.wgt_index_bits, "wgt tile read (GEMM)"),
)
