"""Schedules of VDLA's layers: tile, place each stage at the loop that reuses it most, tensorise the leaves.

A convolution under a tiling with several reduction chunks becomes (double-buffered stages marked ²):

    for each output tile (weights outer: g, o, n, h, w; else n, h, w, g, o):
        load parameters                        at the o loop
        reset acc²
        for each chunk of input blocks:
            load padded²                       tile of the image, padding made by the DMA
            load weight²
            gemm acc += padded · weight        c, kh, kw, h, w micro-ops
        [load residual; rescale; add]
        requantise acc in place
        store y
"""

from __future__ import annotations

from collections.abc import Mapping

from vdla.compiler.ir.nodes import Function, Var
from vdla.compiler.ops.vdla.tiling import ConvTiling, ElementwiseTiling, PoolTiling, covered_input
from vdla.compiler.ops.vdla.workload import ConvWorkload, PoolWorkload
from vdla.compiler.schedule.schedule import Schedule
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic

Intrinsics = Mapping[str, TensorIntrinsic]


def schedule_conv2d(func: Function, w: ConvWorkload, t: ConvTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.conv2d` under tiling `t`, tensorised. Raises `CompileError` when a step cannot be applied."""
    s = Schedule(func)
    n, g, o, h, v, *_ = s.loops("y")
    (go, gi), (oo, oi) = s.split(g, [None, t.groups]), s.split(o, [None, t.out_blocks])
    (ho, hi), (vo, vi) = s.split(h, [None, t.rows]), s.split(v, [None, t.columns])
    outer = [go, oo, n, ho, vo] if t.weights_outer else [n, ho, vo, go, oo]
    s.reorder(*outer, gi, oi, hi, vi)
    tile, channel_loop = outer[-1], oo

    stages = ["requantised", "acc"]
    if w.residual:
        stages = ["requantised", "sum", "residual_rescaled", "residual_wide", "acc"]
    for stage in stages:
        s.compute_at(stage, tile)
        s.set_scope(stage, "vdla.acc")
    padding = covered_input(w, t) != (w.height, w.width)
    operations = {"padded": load("inp", padding), "acc": "gemm", "requantised": "requantise", "y": "store"}
    inputs = ["padded"]
    if w.residual:
        operations |= {"residual_rescaled": "rescale", "sum": "add"} | _widen(s, "residual_wide", outer[0])
        inputs.append(s.cache_read("residual_wide", "residual", "vdla.inp"))
        s.compute_at(inputs[-1], tile)
        operations[inputs[-1]] = "load.inp"
        operations[_cache_parameters(s, "residual_rescaled", "residual_parameters", channel_loop)] = "load.acc"
    operations[_cache_parameters(s, "requantised", "parameters", channel_loop)] = "load.acc"

    chunk, reset = _schedule_reduction(s, t)
    s.set_scope("padded", "vdla.inp")
    weight = s.cache_read("acc", "weight", "vdla.wgt")
    operations |= {reset: "gemm_reset", weight: "load.wgt"}
    whole = t.in_blocks >= w.in_blocks
    s.compute_at("padded", (vo if not t.weights_outer and t.groups >= w.groups else tile) if whole else chunk)
    s.compute_at(weight, outer[0] if w.uniform_weight else channel_loop if whole else chunk)
    # What is computed in place shares its storage, so all of it alternates together.
    in_place = [stage for stage in ("acc", "sum", "requantised") if stage in stages]
    for buffer, buffers in (
        ("padded", t.inp_buffers),
        (weight, t.wgt_buffers),
        *((stage, t.acc_buffers) for stage in in_place),
    ):
        if buffers == 2:
            s.double_buffer(buffer)
    return tensorized(s, operations, intrinsics)


def _schedule_reduction(s: Schedule, t: ConvTiling) -> tuple[Var, str]:
    """Split the input blocks into chunks, put the chunk loop outside the tile's own loops, and part the reset from the
    update. Returns the chunk loop and the reset's block."""
    _, gi, oi, hi, vi, b, k, c, kh, kw, i = s.loops("acc")[-11:]
    co, ci = s.split(c, [None, t.in_blocks])
    s.reorder(co, gi, oi, ci, kh, kw, hi, vi, b, k, i)
    return co, s.decompose_reduction("acc", co)


def _widen(s: Schedule, stage: str, loop: Var) -> dict[str, str]:
    """Schedule a stage of `expressions.widened`: its identity tile loaded at `loop`, one micro-op for each tile. Returns what
    to tensorise; the reset disappears into an overwriting micro-op."""
    identity = s.cache_read(stage, "identity", "vdla.wgt")
    s.compute_at(identity, loop)
    own = s.loops(stage)[-len(s.get(stage).iters) :]
    reset = s.decompose_reduction(stage, own[0])
    return {identity: "load.wgt", stage: "gemm", reset: "gemm_reset"}


def _cache_parameters(s: Schedule, stage: str, source: str, loop: Var) -> str:
    """Load a stage's parameters into acc at `loop`. Returns the load's block."""
    block = s.cache_read(stage, source, "vdla.acc")
    s.compute_at(block, loop)
    return block


def load(memory: str, padded: bool) -> str:
    """The intrinsic that fills `memory`, with padding or without."""
    return f"load_padded.{memory}" if padded else f"load.{memory}"


def tensorized(s: Schedule, operations: Mapping[str, str], intrinsics: Intrinsics) -> Function:
    """The function with each block replaced by the intrinsic named for it."""
    for block, operation in operations.items():
        s.tensorize(block, intrinsics[operation])
    return s.func


def schedule_elementwise(func: Function, t: ElementwiseTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.elementwise`: all stages of a tile of blocks × positions, in place."""
    s = Schedule(func)
    n, g, c, p, *_ = s.loops("y")
    (co, ci), (po, pi) = s.split(c, [None, t.blocks]), s.split(p, [None, t.positions])
    s.reorder(co, n, po, g, ci, pi)
    stages = [stage for stage in s.blocks() if stage != "y"]
    for stage in reversed(stages):
        s.compute_at(stage, po)
        s.set_scope(stage, "vdla.acc")
    operations = {"requantised": "requantise", "y": "store"}
    for stage in stages:
        if stage.endswith("wide"):
            operations[stage] = "load.out"
        elif stage == "sum":
            operations[stage] = "add"
        elif stage.endswith("rescaled"):
            operations[stage] = "rescale"
            operations[_cache_parameters(s, stage, f"{stage[0]}_parameters", co)] = "load.acc"
    operations[_cache_parameters(s, "requantised", "parameters", co)] = "load.acc"
    if t.buffers == 2:
        for stage in stages:
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)


def schedule_max_pool2d(func: Function, w: PoolWorkload, t: PoolTiling, intrinsics: Intrinsics) -> Function:
    """`expressions.max_pool2d`: a tile of blocks × rows × columns, the two passes of the separable window one behind the
    other."""
    s = Schedule(func)
    n, c, h, v, *_ = s.loops("y")
    (co, ci), (ho, hi), (vo, vi) = s.split(c, [None, t.blocks]), s.split(h, [None, t.rows]), s.split(v, [None, t.columns])
    s.reorder(n, co, ho, vo, ci, hi, vi)
    down, across = ([f"{name}_{k}" for k in range(count)] for name, count in zip(("down", "across"), w.kernel, strict=True))
    stages = ["padded", *(["wide"] if len(down) > 1 else []), *down, *across]
    for stage in reversed(stages):
        s.compute_at(stage, vo)
        s.set_scope(stage, "vdla.inp" if stage == "padded" else "vdla.acc")
    padding = any(pad > 0 for pad in (*w.row_pads, *w.column_pads))
    operations = {"padded": load("inp", padding), "y": "store", across[0]: "mov"}
    operations |= dict.fromkeys([*down[1:], *across[1:]], "max")
    for stage in ("wide", "down_0"):
        if stage in stages:
            operations |= _widen(s, stage, n)
    if t.buffers == 2:
        for stage in ("padded", *across):
            s.double_buffer(stage)
    return tensorized(s, operations, intrinsics)
