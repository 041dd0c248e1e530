"""The kernels that the tests of schedules and lowering share: VDLA conv2d and its intrinsics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vdla.compiler import ir, te
from vdla.compiler.schedule import Schedule, TensorIntrinsic, tile_function

BATCH, BLOCK_IN, BLOCK_OUT = 1, 4, 4


@dataclass(frozen=True)
class Conv:
    in_blocks: int = 3
    out_blocks: int = 2
    height: int = 7
    width: int = 5
    kernel: int = 3
    stride: int = 1
    padding: int = 1

    @property
    def out_height(self) -> int:
        return (self.height + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def out_width(self) -> int:
        return (self.width + 2 * self.padding - self.kernel) // self.stride + 1


def conv2d(c: Conv, residual: bool = False, pad_value: int = 0) -> ir.Function:
    """Packed int8 convolution with requantisation, and optionally a rescaled residual added before it."""
    x = te.placeholder((1, c.in_blocks, c.height, c.width, BATCH, BLOCK_IN), "int8", "X")
    w = te.placeholder((c.out_blocks, c.in_blocks, c.kernel, c.kernel, BLOCK_OUT, BLOCK_IN), "int8", "W")
    p = te.placeholder((c.out_blocks, 2, BATCH, BLOCK_OUT), "int32", "P")
    padded_shape = (1, c.in_blocks, c.height + 2 * c.padding, c.width + 2 * c.padding, BATCH, BLOCK_IN)

    def pad(n, cb, h, v, b, i):  # type: ignore[no-untyped-def]
        h, v = h - c.padding, v - c.padding
        inside = te.logical_and(h >= 0, h < c.height, v >= 0, v < c.width)
        return te.select(inside, x[n, cb, h, v, b, i], pad_value)

    padded = te.compute(padded_shape, pad, "Xp")
    cb, kh, kw = te.reduce_axis(c.in_blocks, "cb"), te.reduce_axis(c.kernel, "kh"), te.reduce_axis(c.kernel, "kw")
    i = te.reduce_axis(BLOCK_IN, "i")
    shape = (1, c.out_blocks, c.out_height, c.out_width, BATCH, BLOCK_OUT)

    def product(n, ob, oh, ow, b, o):  # type: ignore[no-untyped-def]
        data = te.cast(padded[n, cb, oh * c.stride + kh, ow * c.stride + kw, b, i], "int32")
        return te.sum(data * te.cast(w[ob, cb, kh, kw, o, i], "int32"), [cb, kh, kw, i])

    a = te.compute(shape, product, "A")
    inputs = [x, w, p]
    if residual:
        r = te.placeholder(shape, "int8", "R")
        inputs.append(r)
        wide = te.compute(shape, lambda *e: te.cast(r[e], "int32"), "R32")
        a1 = a
        a = te.compute(shape, lambda *e: a1[e] + wide[e], "A2")
    q = te.compute(
        shape,
        lambda n, ob, oh, ow, b, o: te.requantise(a[n, ob, oh, ow, b, o], p[ob, 0, b, o], p[ob, 1, b, o], -128, 127),
        "Q",
    )
    y = te.compute(shape, lambda *e: te.cast(q[e], "int8"), "Y")
    return te.create_function("conv2d", inputs, [y])


def conv_arrays(func: ir.Function, seed: int) -> dict[str, np.ndarray]:
    """Random inputs by name; scale words with small shifts."""
    generator = np.random.default_rng(seed)
    arrays = {}
    for buffer in func.params[: -func.output_count]:
        if buffer.dtype == "int8":
            arrays[buffer.name] = generator.integers(-128, 128, buffer.shape, dtype=np.int8)
        else:
            words = generator.integers(-1000, 1000, buffer.shape, dtype=np.int32)
            fraction, shift = generator.integers(0, 1 << 18, words[:, 1].shape), generator.integers(18, 26, words[:, 1].shape)
            words[:, 1] = fraction | shift << 18
            arrays[buffer.name] = words
    return arrays


def acc(name: str) -> ir.Buffer:
    return ir.Buffer(name, (BATCH, BLOCK_OUT), "int32", "vdla.acc")


def tile_op(
    name: str, value: Callable[..., ir.Expr], dst: ir.Buffer, *sources: ir.Buffer, holes: tuple[ir.Var, ...] = ()
) -> TensorIntrinsic:
    """dst[b, o] = value(b, o) over one tile."""
    pattern = tile_function(name, dst.shape, lambda b, o: ir.Store(dst, (b, o), value(b, o)), sources, dst)
    return TensorIntrinsic(f"vdla.{name}", pattern, (dst, *sources), holes)


def vdla_intrinsics() -> dict[str, TensorIntrinsic]:
    """A few of VDLA's operations; loads by the scope they fill."""
    table = {}
    predicate, pad = ir.Var("predicate", "bool"), ir.Var("pad_value", "int8")
    for scope, shape in (("inp", (BATCH, BLOCK_IN)), ("wgt", (BLOCK_OUT, BLOCK_IN))):
        tile, source = ir.Buffer("dst", shape, "int8", f"vdla.{scope}"), ir.Buffer("src", shape, "int8")

        def padded(b: ir.Var, c: ir.Var, source: ir.Buffer = source) -> ir.Expr:
            return ir.Select(predicate, source[b, c], pad)

        table[f"load.{scope}"] = tile_op("load", padded, tile, source, holes=(predicate, pad))
    shape = (BATCH, BLOCK_OUT)
    dst, x, y, bias, scale = acc("dst"), acc("x"), acc("y"), acc("bias"), acc("scale")
    wide, narrow, out = ir.Buffer("src", shape, "int32"), ir.Buffer("src", shape, "int8"), ir.Buffer("out", shape, "int8")
    inp, wgt = (
        ir.Buffer("inp", (BATCH, BLOCK_IN), "int8", "vdla.inp"),
        ir.Buffer("wgt", (BLOCK_OUT, BLOCK_IN), "int8", "vdla.wgt"),
    )
    limits, imm = (("high", "high"), ("low", "low")), ir.Var("imm")

    def product(b: ir.Var, o: ir.Var, i: ir.Var) -> ir.Store:
        return ir.Store(dst, (b, o), dst[b, o] + inp[b, i].astype("int32") * wgt[o, i].astype("int32"))

    gemm = tile_function("gemm", (BATCH, BLOCK_OUT, BLOCK_IN), product, [inp, wgt], dst)
    return table | {
        "load.acc": tile_op("load", lambda b, o: wide[b, o], dst, wide),
        "load.out": tile_op("load", lambda b, o: narrow[b, o].astype("int32"), dst, narrow),
        "store": tile_op("store", lambda b, o: x[b, o].astype("int8"), out, x),
        "gemm": TensorIntrinsic("vdla.gemm", gemm, (dst, inp, wgt)),
        "gemm_reset": tile_op("gemm_reset", lambda b, o: ir.Const(0), dst),
        "add": tile_op("alu.add", lambda b, o: x[b, o] + y[b, o], dst, x, y),
        "max": tile_op("alu.max", lambda b, o: ir.Binary("max", x[b, o], imm), dst, x, holes=(imm,)),
        "requantise": tile_op(
            "alu.requantise",
            lambda b, o: ir.Call("requantise", (x[b, o], bias[b, o], scale[b, o]), "int32", limits),
            dst, x, bias, scale,
            holes=(ir.Var("low"), ir.Var("high")),
        ),
    }  # fmt: skip


@dataclass(frozen=True)
class Tiling:
    """Tile sizes and choices of the VDLA conv2d schedule."""

    out_block: int = 2
    rows: int = 4
    columns: int = 3
    in_block: int = 2
    vthread: int = 1
    input_at_reduction: bool = True
    double_buffer: bool = False
    tensorize: bool = True


def schedule_conv2d(func: ir.Function, t: Tiling, *, residual: bool = False, check: bool = False) -> Schedule:
    """The schedule of the brief: output tiles outside, input blocks in steps, epilogue on the tile."""
    s = Schedule(func, check=check)
    weights = s.cache_read("A", "W", "vdla.wgt")
    params = s.cache_read("Q", "P", "vdla.acc")
    s.set_scope("Xp", "vdla.inp")
    epilogue = ["R32", "A2"] if residual else []
    for block in ("A", *epilogue, "Q"):
        s.set_scope(block, "vdla.acc")
    _, ob, oh, ow, b, o = s.loops("Y")
    ob0, ob1 = s.split(ob, [None, t.out_block])
    oh0, oh1 = s.split(oh, [None, t.rows])
    ow0, ow1 = s.split(ow, [None, t.columns])
    s.reorder(ob0, oh0, ow0, ob1, oh1, ow1, b, o)
    at = ow0
    if t.vthread > 1:
        _, at = s.split(ow0, [None, t.vthread])
    for block in ("Q", params, *reversed(epilogue), "A"):
        s.compute_at(block, at)
    _, a_ob, a_oh, a_ow, a_b, a_o, cb, kh, kw, i = s.loops("A")[-10:]
    cb0, cb1 = s.split(cb, [None, t.in_block])
    s.reorder(cb0, a_ob, cb1, kh, kw, a_oh, a_ow, a_b, a_o, i)
    s.compute_at("Xp", cb0 if t.input_at_reduction else at)
    s.compute_at(weights, cb0)
    if t.double_buffer:
        s.double_buffer("Xp")
        s.double_buffer(weights)
    if t.vthread > 1:
        s.vthread(at)
    init = s.decompose_reduction("A", cb0)
    if t.tensorize:
        table = vdla_intrinsics()
        padded = "load.inp" if any(isinstance(n, ir.Select) for n in [s.get("Xp").body.value]) else "load.inp"
        choices = {
            "Xp": padded,
            weights: "load.wgt",
            params: "load.acc",
            init: "gemm_reset",
            "A": "gemm",
            "Q": "requantise",
            "Y": "store",
        }
        choices |= {"R32": "load.out", "A2": "add"} if residual else {}
        for block, operation in choices.items():
            s.tensorize(block, table[operation])
    return s
