"""What every instruction does to the memories, as Numba kernels over flat arrays. Bit-exact with `vdla.isa.semantics`.

Ranges are checked once for each instruction, before it touches anything, so that the loops run unchecked.

Int8 operands are widened when they are loaded, once, instead of at every use: `inp` holds int32, and `wgt` stays int8 but
transposed, so that a step is `block_in` broadcasts of one input element times a row of outputs: 16 lanes of int32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vdla.isa.definition import (
    PER_CHANNEL_ALU_OPS,
    SCALE_FRACTION_BITS,
    SCALE_SHIFT_BITS,
    TABLE_ENTRIES,
    AluOp,
    GemmMode,
    Opcode,
    Scratchpad,
)
from vdla.jit import jit

LANES = 16
"""Vector width of the GEMM kernel: tiles narrower than this take the scalar loop."""

NO_FAULT, FAULT_DRAM, FAULT_UOP, FAULT_INP, FAULT_WGT, FAULT_ACC = range(6)
FAULT_MEMORIES = ("", "DRAM", "uop", "inp", "wgt", "acc")

OP_LOAD, OP_STORE, OP_GEMM, OP_ALU = (int(op) for op in (Opcode.LOAD, Opcode.STORE, Opcode.GEMM, Opcode.ALU))
BUF_UOP, BUF_WGT, BUF_INP, BUF_ACC, BUF_OUT = (int(b) for b in Scratchpad)
MODE_OVERWRITE, MODE_RESET = int(GemmMode.OVERWRITE), int(GemmMode.RESET)
ALU_MIN, ALU_MAX, ALU_ADD, ALU_MUL, ALU_SHL, ALU_SHR, ALU_MOV, ALU_CLIP, *_ALU_OTHERS = (int(op) for op in AluOp)
ALU_REQUANTISE, ALU_RESCALE, ALU_TABULATE, ALU_LOOKUP = _ALU_OTHERS
PER_CHANNEL = tuple(int(op) for op in PER_CHANNEL_ALU_OPS)
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1
LEADING_ONE, FRACTION_MASK = 1 << SCALE_FRACTION_BITS, (1 << SCALE_FRACTION_BITS) - 1
SHIFT_MASK, ZERO_POINT_LSB = (1 << SCALE_SHIFT_BITS) - 1, SCALE_FRACTION_BITS + SCALE_SHIFT_BITS


class Memories(NamedTuple):
    """The architectural state. A row of each SRAM array is one entry."""

    dram: np.ndarray  # uint8[bytes]
    dram_words: np.ndarray  # int32[bytes // 4], the same memory
    uop: np.ndarray  #  int32[depth, 3]: dst, src, wgt
    inp: np.ndarray  #  int32[depth, batch * block_in]
    wgt: np.ndarray  #  int8[depth, block_in * block_out], transposed
    acc: np.ndarray  #  int32[depth, batch * block_out]
    table: np.ndarray  # int32[TABLE_ENTRIES], of int8


class Shape(NamedTuple):
    """What the kernels need to know of a design."""

    batch: int
    block_in: int
    block_out: int
    uop_bytes: int
    dst_bits: int
    src_bits: int
    wgt_bits: int


@jit
def tile_bytes(buffer: int, shape: Shape) -> int:
    """Bytes in DRAM of one entry; agrees with `isa.definition.tile_bytes` (tested)."""
    if buffer == BUF_UOP:
        return shape.uop_bytes
    if buffer == BUF_WGT:
        return shape.block_out * shape.block_in
    if buffer == BUF_INP:
        return shape.batch * shape.block_in
    return shape.batch * shape.block_out * (4 if buffer == BUF_ACC else 1)


@jit
def dma_fault(f, memories: Memories, shape: Shape) -> tuple[int, int]:
    """(memory, index) of an access outside a memory, or (NO_FAULT, 0)."""
    data = np.int64(f.y_size) * f.x_size
    entries = data
    if f.opcode == OP_LOAD:
        entries = np.int64(f.y_pad_before + f.y_size + f.y_pad_after) * (f.x_pad_before + f.x_size + f.x_pad_after)
    width = tile_bytes(f.buffer, shape)
    if data:
        end = int(f.dram_base + (f.y_size - 1) * f.x_stride + f.x_size) * width
        if end > len(memories.dram):
            return FAULT_DRAM, end - 1
    last = f.sram_base + entries - 1
    if not entries:
        return NO_FAULT, 0
    if f.buffer == BUF_UOP:
        return (FAULT_UOP, last) if last >= len(memories.uop) else (NO_FAULT, 0)
    if f.buffer == BUF_WGT:
        return (FAULT_WGT, last) if last >= len(memories.wgt) else (NO_FAULT, 0)
    if f.buffer == BUF_INP:
        return (FAULT_INP, last) if last >= len(memories.inp) else (NO_FAULT, 0)
    return (FAULT_ACC, last) if last >= len(memories.acc) else (NO_FAULT, 0)


@jit
def compute_fault(f, memories: Memories) -> tuple[int, int]:
    """As `dma_fault`, for GEMM and ALU. Indices only grow along the loops, so the last iteration has the largest."""
    if f.loop_outer == 0 or f.loop_inner == 0 or f.uop_begin >= f.uop_end:
        return NO_FAULT, 0
    if f.uop_end > len(memories.uop):
        return FAULT_UOP, int(f.uop_end - 1)
    dst, src, wgt = np.int64(0), np.int64(0), np.int64(0)
    for u in range(f.uop_begin, f.uop_end):
        dst = max(dst, memories.uop[u, 0])
        src = max(src, memories.uop[u, 1])
        wgt = max(wgt, memories.uop[u, 2])
    outer, inner = np.int64(f.loop_outer - 1), np.int64(f.loop_inner - 1)
    dst += outer * f.dst_outer + inner * f.dst_inner
    src += outer * f.src_outer + inner * f.src_inner
    wgt += outer * f.wgt_outer + inner * f.wgt_inner
    if dst >= len(memories.acc):
        return FAULT_ACC, dst
    if f.opcode == OP_GEMM:
        if f.gemm_mode != MODE_RESET and src >= len(memories.inp):
            return FAULT_INP, src
        if f.gemm_mode != MODE_RESET and wgt >= len(memories.wgt):
            return FAULT_WGT, wgt
    elif f.alu_op in PER_CHANNEL:
        if src + 1 >= len(memories.acc):
            return FAULT_ACC, src + 1
    elif not f.use_imm and src >= len(memories.acc):
        return FAULT_ACC, src
    return NO_FAULT, 0


@jit
def fault(f, memories: Memories, shape: Shape) -> tuple[int, int]:
    """(memory, index) of an access of instruction `f` outside a memory, or (NO_FAULT, 0)."""
    if f.opcode == OP_LOAD or f.opcode == OP_STORE:
        return dma_fault(f, memories, shape)
    if f.opcode == OP_GEMM or f.opcode == OP_ALU:
        return compute_fault(f, memories)
    return NO_FAULT, 0


# -- DMA -----------------------------------------------------------------------------------------------------------------
@jit
def load(f, memories: Memories, shape: Shape) -> None:
    """Rows of padding, then rows of data between padding, then rows of padding."""
    columns = np.int64(f.x_pad_before + f.x_size + f.x_pad_after)
    entry = np.int64(f.sram_base)
    pad_rows(f, memories, entry, f.y_pad_before * columns)
    entry += f.y_pad_before * columns
    for y in range(f.y_size):
        pad_rows(f, memories, entry, np.int64(f.x_pad_before))
        load_row(f, memories, shape, entry + f.x_pad_before, f.dram_base + np.int64(y) * f.x_stride)
        pad_rows(f, memories, entry + f.x_pad_before + f.x_size, np.int64(f.x_pad_after))
        entry += columns
    pad_rows(f, memories, entry, f.y_pad_after * columns)


@jit
def pad_rows(f, memories: Memories, entry: int, count: int) -> None:
    """`count` entries of padding. A padded micro-op is all zero whatever the pad value."""
    if f.buffer == BUF_UOP:
        memories.uop[entry : entry + count] = 0
    elif f.buffer == BUF_WGT:
        memories.wgt[entry : entry + count] = f.pad_value
    elif f.buffer == BUF_INP:
        memories.inp[entry : entry + count] = f.pad_value
    else:
        memories.acc[entry : entry + count] = f.pad_value


@jit
def load_row(f, memories: Memories, shape: Shape, entry: int, tile: int) -> None:
    """`x_size` tiles from DRAM tile `tile` to SRAM entry `entry`."""
    width, count = tile_bytes(f.buffer, shape), np.int64(f.x_size)
    if count == 0:
        return
    data = memories.dram[tile * width : (tile + count) * width]
    if f.buffer == BUF_INP:
        widen(data, memories.inp.reshape(-1)[entry * width : (entry + count) * width])
    elif f.buffer == BUF_OUT:
        widen(data, memories.acc.reshape(-1)[entry * width : (entry + count) * width])
    elif f.buffer == BUF_ACC:
        words, first = width // 4, tile * (width // 4)
        copy(
            memories.dram_words[first : first + count * words],
            memories.acc.reshape(-1)[entry * words : (entry + count) * words],
        )
    elif f.buffer == BUF_WGT:
        for i in range(count):
            transpose(data[i * width : (i + 1) * width], memories.wgt[entry + i], shape.block_in, shape.block_out)
    else:
        for i in range(count):
            decode_uop(data[i * width : (i + 1) * width], memories.uop[entry + i], shape)


@jit
def widen(source: np.ndarray, target: np.ndarray) -> None:
    """Bytes, as signed, to int32."""
    for i in range(len(source)):
        target[i] = np.int8(source[i])


@jit
def copy(source: np.ndarray, target: np.ndarray) -> None:
    for i in range(len(source)):
        target[i] = source[i]


@jit
def transpose(source: np.ndarray, target: np.ndarray, block_in: int, block_out: int) -> None:
    """(block_out, block_in) bytes → (block_in, block_out) int8."""
    for o in range(block_out):
        for i in range(block_in):
            target[i * block_out + o] = np.int8(source[o * block_in + i])


@jit
def decode_uop(data: np.ndarray, target: np.ndarray, shape: Shape) -> None:
    """Little-endian bytes → dst, src, wgt."""
    word = np.uint64(0)
    for i in range(len(data)):
        word |= np.uint64(data[i]) << np.uint64(8 * i)
    one = np.uint64(1)
    target[0] = word & ((one << np.uint64(shape.dst_bits)) - one)
    word >>= np.uint64(shape.dst_bits)
    target[1] = word & ((one << np.uint64(shape.src_bits)) - one)
    word >>= np.uint64(shape.src_bits)
    target[2] = word & ((one << np.uint64(shape.wgt_bits)) - one)


@jit
def store(f, memories: Memories, shape: Shape) -> None:
    """Low bytes of acc tiles to DRAM."""
    width, count = tile_bytes(BUF_OUT, shape), np.int64(f.x_size)
    acc, entry = memories.acc.reshape(-1), np.int64(f.sram_base)
    for y in range(f.y_size):
        start = (f.dram_base + np.int64(y) * f.x_stride) * width
        narrow(acc[entry * width : (entry + count) * width], memories.dram[start : start + count * width])
        entry += count


@jit
def narrow(source: np.ndarray, target: np.ndarray) -> None:
    for i in range(len(target)):
        target[i] = np.uint8(source[i])


# -- GEMM ----------------------------------------------------------------------------------------------------------------
@intrinsic
def multiply_lanes(typing_context, acc, a, inp, x, wgt, w, stride):
    """acc[a : a+16] += Σₖ inp[x+k] · wgt[w + k·stride : …+16], k < 16: the inner 16×16 of a GEMM step.

    Written as vectors because LLVM's vectoriser does not find them in the loop (aliasing); any target lowers them.
    """
    signature = types.void(acc, types.intp, inp, types.intp, wgt, types.intp, types.intp)

    def codegen(context, builder, signature, args):
        acc_data, inp_data, wgt_data = (
            context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 2, 4)
        )
        int64, lanes32, lanes8 = ir.IntType(64), ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.IntType(8), LANES)
        undefined, zeros = ir.Constant(lanes32, ir.Undefined), ir.Constant(lanes32, [0] * LANES)
        target = builder.bitcast(builder.gep(acc_data, [args[1]]), lanes32.as_pointer())
        sums = [builder.load(target, align=4), zeros]  # two chains hide the latency of the adds
        for k in range(LANES):
            row = builder.add(args[5], builder.mul(args[6], ir.Constant(int64, k)))
            weights = builder.load(builder.bitcast(builder.gep(wgt_data, [row]), lanes8.as_pointer()), align=1)
            element = builder.load(builder.gep(inp_data, [builder.add(args[3], ir.Constant(int64, k))]), align=4)
            element = builder.insert_element(undefined, element, ir.Constant(ir.IntType(32), 0))
            element = builder.shuffle_vector(element, undefined, zeros)
            sums[k % 2] = builder.add(sums[k % 2], builder.mul(builder.sext(weights, lanes32), element))
        builder.store(builder.add(*sums), target, align=4)

    return signature, codegen


@jit
def gemm_step(acc: np.ndarray, dst: int, inp: np.ndarray, src: int, wgt: np.ndarray, w: int, shape: Shape) -> None:
    """acc[dst] += inp[src] · wgt[w]ᵀ; dst, src and w count elements."""
    n_in, n_out = shape.block_in, shape.block_out
    if n_in < LANES or n_out < LANES:
        for b in range(shape.batch):
            for o in range(n_out):
                total = acc[dst + b * n_out + o]
                for i in range(n_in):
                    total = np.int32(total + inp[src + b * n_in + i] * np.int32(wgt[w + i * n_out + o]))
                acc[dst + b * n_out + o] = total
        return
    for b in range(shape.batch):
        for o in range(0, n_out, LANES):
            for i in range(0, n_in, LANES):
                multiply_lanes(acc, dst + b * n_out + o, inp, src + b * n_in + i, wgt, w + i * n_out + o, n_out)  # type: ignore[call-arg]


@jit
def gemm(f, memories: Memories, shape: Shape) -> None:
    """In program order: outer loop, inner loop, micro-ops. So OVERWRITE needs no thought about which step comes last."""
    acc, inp, wgt, uop = memories.acc.reshape(-1), memories.inp.reshape(-1), memories.wgt.reshape(-1), memories.uop
    acc_size, inp_size, wgt_size = memories.acc.shape[1], memories.inp.shape[1], memories.wgt.shape[1]
    clears, multiplies = f.gemm_mode == MODE_OVERWRITE or f.gemm_mode == MODE_RESET, f.gemm_mode != MODE_RESET
    for outer in range(f.loop_outer):
        for inner in range(f.loop_inner):
            dst0 = np.int64(outer) * f.dst_outer + np.int64(inner) * f.dst_inner
            src0 = np.int64(outer) * f.src_outer + np.int64(inner) * f.src_inner
            wgt0 = np.int64(outer) * f.wgt_outer + np.int64(inner) * f.wgt_inner
            for u in range(f.uop_begin, f.uop_end):
                dst = (dst0 + uop[u, 0]) * acc_size
                if clears:
                    acc[dst : dst + acc_size] = 0
                if multiplies:
                    gemm_step(acc, dst, inp, (src0 + uop[u, 1]) * inp_size, wgt, (wgt0 + uop[u, 2]) * wgt_size, shape)


# -- ALU -----------------------------------------------------------------------------------------------------------------
@jit
def clip_low(imm: int) -> int:
    return ((imm & 0xFF) ^ 128) - 128


@jit
def clip_high(imm: int) -> int:
    return (((imm >> 8) & 0xFF) ^ 128) - 128


@jit
def round_shift(x: np.int64, shift: np.int64) -> np.int64:
    """x / 2^shift, half to even: one below the half is added, and one more where the result would be odd."""
    below = (np.int64(1) << shift) - 1
    return (x + (below >> 1) + ((x >> shift) & below & 1)) >> shift


@jit
def rescale(x: np.ndarray, bias: np.ndarray, scale: np.ndarray, low: int, high: int) -> None:
    """x = clip(round((x + bias) · multiplier / 2^shift) + zero_point, low, high)."""
    for e in range(len(x)):
        word = np.int64(scale[e])
        product = np.int64(np.int32(x[e] + bias[e])) * (word & FRACTION_MASK | LEADING_ONE)
        rounded = round_shift(product, (word >> SCALE_FRACTION_BITS) & SHIFT_MASK)
        x[e] = min(max(rounded + (word >> ZERO_POINT_LSB), low), high)


@jit
def alu_tile(op: int, x: np.ndarray, y: np.ndarray) -> None:
    """x = x OP y, elementwise."""
    if op == ALU_MIN:
        for e in range(len(x)):
            x[e] = min(x[e], y[e])
    elif op == ALU_MAX:
        for e in range(len(x)):
            x[e] = max(x[e], y[e])
    elif op == ALU_ADD:
        for e in range(len(x)):
            x[e] = np.int32(x[e] + y[e])
    elif op == ALU_MUL:
        for e in range(len(x)):
            x[e] = np.int32(x[e] * y[e])
    elif op == ALU_SHL:
        for e in range(len(x)):
            x[e] = np.int32(np.int64(x[e]) << np.int64(y[e] & 31))
    elif op == ALU_SHR:
        for e in range(len(x)):
            x[e] = np.int32(round_shift(np.int64(x[e]), np.int64(y[e] & 31)))
    elif op == ALU_MOV:
        for e in range(len(x)):
            x[e] = y[e]
    else:  # CLIP: the bounds are the bytes of the first element, as every element of an immediate is the immediate
        low, high = clip_low(y[0]), clip_high(y[0])
        for e in range(len(x)):
            x[e] = min(max(x[e], low), high)


@jit
def tabulate(table: np.ndarray, entry: int, tile: np.ndarray) -> None:
    """An entry of the table from the tile that holds it."""
    entry %= TABLE_ENTRIES
    table[entry] = np.int8(tile[entry // max(1, TABLE_ENTRIES // len(tile))])


@jit
def look_up(table: np.ndarray, x: np.ndarray) -> None:
    """x = table[low byte of x, as int8, + 128]."""
    for e in range(len(x)):
        x[e] = table[(x[e] & 0xFF) ^ 0x80]


@jit
def alu(f, memories: Memories, immediate: np.ndarray) -> None:
    """`immediate`: scratch, int32[batch * block_out]."""
    acc, uop, op = memories.acc, memories.uop, np.int64(f.alu_op)
    immediate[:] = f.imm
    entry = np.int64(f.imm)
    low, high = (clip_low(f.imm), clip_high(f.imm)) if op == ALU_REQUANTISE else (INT32_MIN, INT32_MAX)
    for outer in range(f.loop_outer):
        for inner in range(f.loop_inner):
            dst0 = np.int64(outer) * f.dst_outer + np.int64(inner) * f.dst_inner
            src0 = np.int64(outer) * f.src_outer + np.int64(inner) * f.src_inner
            for u in range(f.uop_begin, f.uop_end):
                x, src = acc[dst0 + uop[u, 0]], src0 + uop[u, 1]
                if op in PER_CHANNEL:
                    rescale(x, acc[src], acc[src + 1], low, high)
                elif op == ALU_LOOKUP:
                    look_up(memories.table, x)
                elif op == ALU_TABULATE:
                    tabulate(memories.table, entry, x)
                    entry += 1
                elif f.use_imm:
                    alu_tile(op, x, immediate)
                else:
                    alu_tile(op, x, acc[src])


# -- programs ------------------------------------------------------------------------------------------------------------
@jit
def run(columns: np.ndarray, begin: int, end: int, memories: Memories, shape: Shape) -> tuple[int, int, int]:
    """Execute instructions [begin, end) in program order. (-1, 0, 0), or the instruction, memory and index of a fault."""
    immediate = np.zeros(memories.acc.shape[1], np.int32)
    for i in range(begin, end):
        f = columns[i]
        memory, index = fault(f, memories, shape)
        if memory != NO_FAULT:
            return i, memory, index
        if f.opcode == OP_LOAD:
            load(f, memories, shape)
        elif f.opcode == OP_STORE:
            store(f, memories, shape)
        elif f.opcode == OP_GEMM:
            gemm(f, memories, shape)
        elif f.opcode == OP_ALU:
            alu(f, memories, immediate)
    return -1, 0, 0
