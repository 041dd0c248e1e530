"""What each instruction means: a few slow, obvious lines over the machine's memories.

These functions are the definition. The naive simulator executes them, the manual prints them, tests of every other
executor compare with them. `f` is one record of decoded columns (`layout.COLUMNS`); arithmetic on acc wraps modulo 2³².
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vdla.design import Design
from vdla.errors import RunError
from vdla.isa.definition import (
    SCALE_FRACTION_BITS,
    SCALE_SHIFT_BITS,
    TABLE_ENTRIES,
    AluOp,
    GemmMode,
    Opcode,
    Scratchpad,
    depth,
    element_type,
    table_tiles,
    tile_bytes,
)
from vdla.isa.layout import layout_of

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


@dataclass
class Machine:
    """The architectural state: DRAM bytes and the SRAMs, in tiles."""

    design: Design
    dram: np.ndarray  # uint8[bytes]
    uop: np.ndarray  #  int64[depth, 3]: dst, src, wgt
    inp: np.ndarray  #  [depth, batch, block_in], each of these three of the design's type
    wgt: np.ndarray  #  [depth, block_out, block_in]
    acc: np.ndarray  #  [depth, batch, block_out]
    table: np.ndarray  # int8[TABLE_ENTRIES]


def new_machine(design: Design, dram: np.ndarray) -> Machine:
    """A machine after reset. Contents of SRAMs and table are undefined after reset; here they are zero."""
    g = design.gemm
    return Machine(
        design,
        dram,
        np.zeros((design.uop_depth, 3), np.int64),
        np.zeros((design.inp_depth, g.batch, g.block_in), design.element("inp").storage),
        np.zeros((design.wgt_depth, g.block_out, g.block_in), design.element("wgt").storage),
        np.zeros((design.acc_depth, g.batch, g.block_out), design.element("acc").storage),
        np.zeros(TABLE_ENTRIES, np.int8),
    )


def wrap32(x: np.ndarray) -> np.ndarray:
    """int64 → int32, modulo 2³²."""
    return np.asarray(x, np.int64).astype(np.uint32).view(np.int32)


def round_shift(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Arithmetic shift right of int64, rounding half to even; a shift of 0 leaves x alone."""
    x, shift = x.astype(np.int64), np.asarray(shift, np.int64)
    down = x >> shift
    rest, half = x - (down << shift), np.int64(1) << np.maximum(shift - 1, 0)
    return down + ((rest > half) | (rest == half) & (down & 1 == 1))


def unpack_scale(word: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """int32 scale words → multiplier, shift, zero point (int64 each)."""
    w, leading_one = word.astype(np.int64), 1 << SCALE_FRACTION_BITS
    multiplier = leading_one | w & (leading_one - 1)
    shift = (w >> SCALE_FRACTION_BITS) & ((1 << SCALE_SHIFT_BITS) - 1)
    return multiplier, shift, w >> (SCALE_FRACTION_BITS + SCALE_SHIFT_BITS)


def pack_scale(multiplier: np.ndarray, shift: np.ndarray, zero_point: np.ndarray) -> np.ndarray:
    """The inverse of `unpack_scale`. Raises `ValueError` when a part does not fit its bits."""
    m, s, z = (np.asarray(v, np.int64) for v in (multiplier, shift, zero_point))
    if (
        (m >> SCALE_FRACTION_BITS != 1).any()
        or (s < 0).any()
        or (s >> SCALE_SHIFT_BITS).any()
        or (np.abs(2 * z + 1) > 256).any()
    ):
        raise ValueError("a scale word holds a multiplier of 2^18..2^19-1, a shift of 0..63 and an int8 zero point")
    fraction = m & ((1 << SCALE_FRACTION_BITS) - 1)
    return wrap32(fraction | s << SCALE_FRACTION_BITS | z << (SCALE_FRACTION_BITS + SCALE_SHIFT_BITS))


def rescale(acc: np.ndarray, bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """round((acc + bias) · multiplier / 2^shift) + zero_point, saturated to int32; acc + bias wraps first."""
    multiplier, shift, zero_point = unpack_scale(scale)
    total = wrap32(acc.astype(np.int64) + bias).astype(np.int64)
    return np.clip(round_shift(total * multiplier, shift) + zero_point, INT32_MIN, INT32_MAX).astype(np.int32)


def requantise(acc: np.ndarray, bias: np.ndarray, scale: np.ndarray, low: int, high: int) -> np.ndarray:
    """`rescale`, clipped to [low, high]."""
    return np.clip(rescale(acc, bias, scale), low, high).astype(np.int32)


def clip_bounds(imm: int) -> tuple[int, int]:
    """An immediate's two signed bytes: low bound, high bound."""
    low, high = imm & 0xFF, (imm >> 8) & 0xFF
    return (low ^ 128) - 128, (high ^ 128) - 128


def clip_immediate(low: int, high: int) -> int:
    """Two int8 bounds → the signed 16-bit immediate that holds them."""
    raw = (low & 0xFF) | (high & 0xFF) << 8
    return (raw ^ 0x8000) - 0x8000


def load(m: Machine, f: np.void) -> None:
    """Fill (y_pad_before + y_size + y_pad_after) rows of (x_pad_before + x_size + x_pad_after) SRAM entries in order."""
    buffer, entry = Scratchpad(f["buffer"]), int(f["sram_base"])
    for y in range(-int(f["y_pad_before"]), int(f["y_size"]) + int(f["y_pad_after"])):
        for x in range(-int(f["x_pad_before"]), int(f["x_size"]) + int(f["x_pad_after"])):
            inside = 0 <= y < f["y_size"] and 0 <= x < f["x_size"]
            tile = int(f["dram_base"]) + y * int(f["x_stride"]) + x
            write_entry(m, buffer, entry, read_dram(m, buffer, tile) if inside else None, int(f["pad_value"]))
            entry += 1


def store(m: Machine, f: np.void) -> None:
    """Write y_size rows of x_size acc tiles, narrowed to the low bits of the type out, to DRAM."""
    entry, width = int(f["sram_base"]), tile_bytes(m.design, Scratchpad.OUT)
    narrow = element_type(m.design, Scratchpad.OUT).storage
    for y in range(int(f["y_size"])):
        for x in range(int(f["x_size"])):
            start = (int(f["dram_base"]) + y * int(f["x_stride"]) + x) * width
            check_range("DRAM", start + width - 1, len(m.dram))
            check_range("acc", entry, m.design.acc_depth)
            m.dram[start : start + width] = m.acc[entry].astype(narrow).ravel().view(np.uint8)
            entry += 1


def uop_indices(m: Machine, f: np.void, wgt_strides: tuple[int, int] = (0, 0)):
    """Every (dst, src, wgt) an instruction visits: outer loop, inner loop, then micro-ops."""
    for outer in range(int(f["loop_outer"])):
        for inner in range(int(f["loop_inner"])):
            for u in range(int(f["uop_begin"]), int(f["uop_end"])):
                check_range("uop", u, m.design.uop_depth)
                dst, src, wgt = m.uop[u]
                yield (
                    int(dst) + outer * int(f["dst_outer"]) + inner * int(f["dst_inner"]),
                    int(src) + outer * int(f["src_outer"]) + inner * int(f["src_inner"]),
                    int(wgt) + outer * wgt_strides[0] + inner * wgt_strides[1],
                )


def gemm(m: Machine, f: np.void) -> None:
    """acc[dst] (+)= inp[src] · wgt[w]ᵀ, or 0. RESET reads neither inp nor wgt."""
    for dst, src, wgt in uop_indices(m, f, (int(f["wgt_outer"]), int(f["wgt_inner"]))):
        check_range("acc", dst, m.design.acc_depth)
        if f["gemm_mode"] == GemmMode.RESET:
            m.acc[dst] = 0
            continue
        check_range("inp", src, m.design.inp_depth)
        check_range("wgt", wgt, m.design.wgt_depth)
        product = m.inp[src].astype(np.int64) @ m.wgt[wgt].astype(np.int64).T
        m.acc[dst] = wrap32(product + (m.acc[dst] if f["gemm_mode"] == GemmMode.ACCUMULATE else 0))


def tabulate(m: Machine, entry: int, tile: np.ndarray) -> None:
    """table[entry] = the low byte of an element of `tile`. Of 16 tiles of 16: element e // 16 of tile e % 16 is entry e."""
    entry %= TABLE_ENTRIES
    m.table[entry] = tile.ravel()[entry // table_tiles(m.design)].astype(np.int8)


def alu(m: Machine, f: np.void) -> None:
    """acc[dst] = acc[dst] OP y."""
    op, imm = AluOp(f["alu_op"]), int(f["imm"])
    for k, (dst, src, _) in enumerate(uop_indices(m, f)):
        check_range("acc", dst, m.design.acc_depth)
        if op == AluOp.TABULATE:
            tabulate(m, imm + k, m.acc[dst])
            continue
        if op == AluOp.LOOKUP:
            m.acc[dst] = m.table[(m.acc[dst] + 128) % TABLE_ENTRIES]
            continue
        if op in (AluOp.REQUANTISE, AluOp.RESCALE):
            check_range("acc", src + 1, m.design.acc_depth)
            value = rescale(m.acc[dst], m.acc[src], m.acc[src + 1])
            m.acc[dst] = np.clip(value, *clip_bounds(imm)) if op == AluOp.REQUANTISE else value
            continue
        if not f["use_imm"]:
            check_range("acc", src, m.design.acc_depth)
        x = m.acc[dst].astype(np.int64)
        y = np.full_like(x, imm) if f["use_imm"] else m.acc[src].astype(np.int64)
        m.acc[dst] = wrap32(ALU_RESULTS[op](x, y))


ALU_RESULTS: dict[AluOp, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    AluOp.MIN: np.minimum,
    AluOp.MAX: np.maximum,
    AluOp.ADD: lambda x, y: x + y,
    AluOp.MUL: lambda x, y: x * y,
    AluOp.SHL: lambda x, y: x << (y & 31),
    AluOp.SHR: lambda x, y: round_shift(x, y & 31),
    AluOp.MOV: lambda x, y: y,
    AluOp.CLIP: lambda x, y: np.clip(x, *clip_bounds(int(y.flat[0]))),
}


def read_dram(m: Machine, buffer: Scratchpad, tile: int) -> np.ndarray:
    """The bytes of one DRAM tile."""
    width = tile_bytes(m.design, buffer)
    check_range("DRAM", (tile + 1) * width - 1, len(m.dram))
    return m.dram[tile * width : (tile + 1) * width]


def write_entry(m: Machine, buffer: Scratchpad, entry: int, data: np.ndarray | None, pad_value: int) -> None:
    """Write one SRAM entry from DRAM bytes, or every element of it from the pad value."""
    check_range(buffer.name.lower(), entry, depth(m.design, buffer))
    if buffer == Scratchpad.UOP:
        word = np.zeros(1, np.uint64) if data is None else data.view(f"u{m.design.uop_bytes}")
        record = layout_of(m.design).decode_uops(word)[0]
        m.uop[entry] = [int(record[name]) for name in ("dst", "src", "wgt")]
        return
    memory = {Scratchpad.INP: m.inp, Scratchpad.WGT: m.wgt, Scratchpad.ACC: m.acc, Scratchpad.OUT: m.acc}[buffer]
    if data is None:
        memory[entry] = pad_value
        return
    memory[entry] = data.view(element_type(m.design, buffer).storage).reshape(memory[entry].shape)


def check_range(memory: str, index: int, size: int) -> None:
    """The machine halts with a status on an access outside a memory."""
    if not 0 <= index < size:
        raise RunError(f"access outside {memory}", found=index, expected=f"0..{size - 1}")


SEMANTICS = {Opcode.LOAD: load, Opcode.STORE: store, Opcode.GEMM: gemm, Opcode.ALU: alu, Opcode.FINISH: lambda m, f: None}
