"""qconv2d on instructions that multiply four bytes at a time (x86 VNNI), exactly.

Image columns and weights are packed in words of four consecutive k = (c, kh, kw). The instruction takes unsigned columns,
so 128 is added to them and 128 · Σ w is taken off again at the end; all of it modulo 2³². Output positions are laid out in
vectors of 16, each row of the image widened to fill whole ones:

    columns[n, group, k4, v, l]   words of pad(x) + 128 at position 16·v + l, kernel element 4·k4 … 4·k4 + 3
    weights[o, k4]                words of w, zeros beyond the last k
    acc[n, o, v, l] = Σ_k4 columns · weights
"""

from __future__ import annotations

from math import prod

from vdla.arithmetic import ceil_div, round_up
from vdla.compiler import te
from vdla.compiler.backends.llvm import Target
from vdla.compiler.backends.llvm.intrinsics import BYTES_DOT, LANES, bytes_dot
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.operators.definition import Attributes, Definition, Types, joined, padded_image, placeholders, required
from vdla.compiler.operators.products import QCONV2D_INPUTS, Geometry, geometry, requantised
from vdla.compiler.ops.cpu import schedules
from vdla.compiler.ops.cpu.register_block import block_refusal, divisors
from vdla.compiler.schedule import Schedule

OFFSET = 128
"""What makes signed bytes unsigned."""
TEMPORARIES = 8
"""Registers that are no accumulators: for columns, weights and their sums."""


def row_width(width: int) -> int:
    """Positions a row of outputs takes: whole vectors, or a power of two that divides one."""
    return round_up(width, LANES) if width > LANES // 2 else 1 << (width - 1).bit_length()


def column_words(x: te.Tensor, g: Geometry, pad_value: int, vectors: int) -> te.Tensor:
    """Four kernel elements of one position in each word, the first in its lowest byte."""
    (kh, kw), (sy, sx), (dy, dx), (top, left, bottom, right) = g.kernel, g.strides, g.dilations, g.pads
    depth, width = g.c * kh * kw, row_width(g.output[1])
    rows, across = vectors * LANES // width - 1, width - 1
    bottom = max(bottom, rows * sy + (kh - 1) * dy + 1 - top - g.height)
    right = max(right, across * sx + (kw - 1) * dx + 1 - left - g.width)
    image = padded_image(x, (top, left, bottom, right), pad_value)

    def element(n: Expr, group: Expr, k: Expr, position: Expr) -> Expr:
        k = te.minimum(k, te.const(depth - 1, "int32")) if depth % 4 else k
        row, column = position // width * sy + k // kw % kh * dy, position % width * sx + k % kw * dx
        return te.cast(image[n, group * g.c + k // (kh * kw), row, column], "int32") + OFFSET

    def word(n: Expr, group: Expr, k4: Expr, v: Expr, lane: Expr) -> Expr:
        return joined([element(n, group, k4 * 4 + r, v * LANES + lane) for r in range(4)])

    return te.compute((g.n, g.groups, ceil_div(depth, 4), vectors, LANES), word, "columns")


def weight_words(weight: te.Tensor) -> te.Tensor:
    """weight[o, k] → words of four."""
    rows, depth = weight.shape

    def element(o: Expr, k: Expr) -> Expr:
        value = te.select(k < depth, weight[o, k], Const(0, "int8")) if depth % 4 else weight[o, k]
        return te.cast(te.cast(value, "uint8"), "int32")

    return te.compute((rows, ceil_div(depth, 4)), lambda o, k4: joined([element(o, k4 * 4 + r) for r in range(4)]), "weights")


def qconv2d(types: Types, a: Attributes) -> Definition:
    x, w4, *parameters = required(*placeholders(types, *QCONV2D_INPUTS))
    g = geometry(types, a)
    w = te.placeholder((w4.shape[0], prod(w4.shape[1:])), "int8", "w")
    width, vectors = row_width(g.output[1]), vector_count(g)
    columns, weights = column_words(x, g, a["pad_value"], vectors), weight_words(w)
    k, k4 = te.reduce_axis(w.shape[1], "k"), te.reduce_axis(weights.shape[1], "k4")
    sums = te.compute((w.shape[0],), lambda o: te.sum(te.cast(w[o, k], "int32"), k), "sums")

    def dot(n: Expr, o: Expr, v: Expr, lane: Expr) -> Expr:
        group = o // g.o if g.groups > 1 else 0
        return te.sum(bytes_dot(columns[n, group, k4, v, lane], weights[o, k4]), k4)

    acc = te.compute((g.n, g.groups * g.o, vectors, LANES), dot, "acc")

    def total(n: Expr, o: Expr, h: Expr, w: Expr) -> Expr:
        position = h * width + w
        return acc[n, o, position // LANES, position % LANES] - sums[o] * OFFSET

    return Definition((x, w, *parameters), (requantised(g, total, parameters, a),))


def vector_count(g: Geometry) -> int:
    """Vectors that hold an image's output positions."""
    return ceil_div(g.output[0] * row_width(g.output[1]), LANES)


def refusal(g: Geometry, rows: int, columns: int, unroll: int, target: Target) -> str:
    """Why rows × columns (in vectors) is no block of accumulators; empty when it is one."""
    if unroll:
        return f"unroll: {unroll} of 0, its one reduction being long"
    return block_refusal(rows, columns * target.lanes, (g.o, vector_count(g) * target.lanes), target)


def best_block(g: Geometry, target: Target) -> tuple[int, int]:
    """Output channels × vectors of positions: most products for each load."""
    registers, most = target.vector_registers - TEMPORARIES, vector_count(g)
    blocks = [(r, c) for r in divisors(g.o) for c in divisors(most) if r * c <= registers]
    return max(blocks, key=lambda block: block[0] * block[1] / sum(block))


def arrange(s: Schedule, block: tuple[int, int]) -> None:
    """acc in blocks of registers, one instruction for each register and word of k."""
    schedules.fill(s, "padded", 2)
    schedules.fill(s, "weights", 1)
    if "sums" in s.blocks():  # not where the weights are constant
        schedules.schedule_rows(s, "sums")
    copy = s.cache_write("acc", "local")
    n, o, v, lane = s.loops(copy)
    o_0, o_1 = s.split(o, [None, block[0]])
    v_0, v_1 = s.split(v, [None, block[1]])
    s.reorder(n, v_0, o_0, o_1, v_1, lane)
    task = s.fuse(n, v_0, o_0)
    s.parallel(task)
    s.vectorize(lane)
    schedules.schedule_accumulators(s, "acc", task)
    s.tensorize("acc", BYTES_DOT)
    schedules.schedule_flat(s, "y", 3)
