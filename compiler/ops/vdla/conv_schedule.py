"""The schedule of a convolution: tile, place each stage at the loop that reuses it most, tensorise the leaves.

With several reduction chunks it becomes (double-buffered stages marked ²):

    [take up the table]
    for each output tile (weights outer: g, o, n, h, w, or n, g, o, h, w where they are each image's own; else n, h, w, g, o):
        load parameters                        at the o loop
        reset acc²
        for each chunk of input blocks, kernel rows and kernel columns:
            load padded²                       tile of the image, padding made by the DMA
            load weight²
            gemm acc += padded · weight        c, kh, kw, h, w micro-ops
        [load residual; rescale; add]
        requantise acc in place; [look it up]
        store y
"""

from __future__ import annotations

from vdla.compiler.ir.nodes import Function, Var
from vdla.compiler.ops.vdla.conv_tiling import ConvTiling, chunk_counts, covered_input
from vdla.compiler.ops.vdla.schedule_steps import Intrinsics, cache_parameters, load, take_up_table, tensorized, widen
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.compiler.schedule.schedule import Schedule


def schedule_conv2d(func: Function, w: ConvWorkload, t: ConvTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.conv2d` under tiling `t`, tensorised. Raises `CompileError` when a step cannot be applied."""
    s = Schedule(func)
    n, g, o, h, v, *_ = s.loops("y")
    (no, ni), (go, gi), (oo, oi) = s.split(n, [None, t.images]), s.split(g, [None, t.groups]), s.split(o, [None, t.out_blocks])
    (ho, hi), (vo, vi) = s.split(h, [None, t.rows]), s.split(v, [None, t.columns])
    with_weights = [no, go, oo, ho, vo] if w.own_weights else [go, oo, no, ho, vo]
    outer = with_weights if t.weights_outer else [no, ho, vo, go, oo]
    s.reorder(*outer, ni, gi, oi, hi, vi)
    tile, channel_loop = outer[-1], oo

    stages = ["requantised", "acc"]
    if w.residual:
        stages = ["requantised", "sum", "residual_rescaled", "residual_wide", "acc"]
    if w.table_tiles:
        stages = ["looked_up", *stages]
    for stage in stages:
        s.compute_at(stage, tile)
        s.set_scope(stage, "vdla.acc")
    padding = covered_input(w, t) != (w.height, w.width)
    operations = {"padded": load("inp", padding), "acc": "gemm", "requantised": "requantise", "y": "store"}
    if w.table_tiles:
        operations |= {"looked_up": "lookup"} | take_up_table(s)
    if w.residual:
        operations |= {"residual_rescaled": "rescale", "sum": "add"} | widen(s, "residual_wide", outer[0])
        residual = s.cache_read("residual_wide", "residual", "vdla.inp")
        s.compute_at(residual, tile)
        operations[residual] = "load.inp"
        operations[cache_parameters(s, "residual_rescaled", "residual_parameters", channel_loop)] = "load.acc"
    operations[cache_parameters(s, "requantised", "parameters", channel_loop)] = "load.acc"

    chunk, reset = _schedule_reduction(s, w, t)
    s.set_scope("padded", "vdla.inp")
    weight = s.cache_read("acc", "weight", "vdla.wgt")
    operations |= {reset: "gemm_reset", weight: "load.wgt"}
    whole = max(chunk_counts(w, t)) == 1
    s.compute_at("padded", (vo if not t.weights_outer and t.groups >= w.groups else tile) if whole else chunk)
    s.compute_at(weight, outer[0] if w.uniform_weight else channel_loop if whole else chunk)
    # What is computed in place shares its storage, so all of it alternates together.
    in_place = [stage for stage in ("acc", "sum", "requantised", "looked_up") if stage in stages]
    for buffer, buffers in (
        ("padded", t.inp_buffers),
        (weight, t.wgt_buffers),
        *((stage, t.acc_buffers) for stage in in_place),
    ):
        if buffers == 2:
            s.double_buffer(buffer)
    return tensorized(s, operations, intrinsics)


def _schedule_reduction(s: Schedule, w: ConvWorkload, t: ConvTiling) -> tuple[Var, str]:
    """Split the input blocks and the window into chunks, put the chunks' loops outside the tile's own, and part the reset from
    the update. Returns the innermost of the chunks' loops that has more than one turn, and the reset's block."""
    ni, gi, oi, hi, vi, b, k, c, kh, kw, i = s.loops("acc")[-11:]
    parts = (t.in_blocks, t.kernel_rows, t.kernel_columns)
    (co, ci), (ho, hk), (vo, vk) = (s.split(loop, [None, part]) for loop, part in zip((c, kh, kw), parts, strict=True))
    s.reorder(co, ho, vo, ni, gi, oi, ci, hk, vk, hi, vi, b, k, i)
    turning = [loop for loop, count in zip((co, ho, vo), chunk_counts(w, t), strict=True) if count > 1]
    return (turning or [co])[-1], s.decompose_reduction("acc", co)
