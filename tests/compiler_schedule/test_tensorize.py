"""Tensorise: what a pattern matches, what it binds, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from schedule_kernels import Conv, Tiling, conv2d, conv_arrays, schedule_conv2d, tile_op, vdla_intrinsics
from test_steps import arguments, golden, matmul

from vdla.compiler import ir, te
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule, TensorIntrinsic, tile_function
from vdla.errors import CompileError


def dot4() -> TensorIntrinsic:
    """out += Σ a[k] · b[k] over 4 elements, written with the factors the other way round than matmul's."""
    out, a, b = ir.Buffer("out", (1,), "int32"), ir.Buffer("a", (4,), "int32"), ir.Buffer("b", (4, 1), "int32")
    body = tile_function("dot4", (1, 4), lambda o, k: ir.Store(out, (o,), out[o] + b[k, o] * a[k]), [a, b], out)
    return TensorIntrinsic("test.dot4", body, (out, a, b))


def run_dot4(regions: Sequence[np.ndarray | None], attributes: Mapping[str, object], predicate: bool) -> None:
    out, a, b = regions
    assert out is not None
    assert a is not None
    assert b is not None
    out += (a.reshape(-1) * b.reshape(-1)).sum(dtype=np.int32)


def intrinsics_in(func: ir.Function) -> list[ir.Intrinsic]:
    return [s for s in ir.walk_stmt(func.body) if isinstance(s, ir.Intrinsic)]


@pytest.mark.parametrize("reduction", [8, 12])
def test_split_loop_is_a_tile(reduction: int) -> None:
    """A reduction split by 4: the tile starts at four times the outer loop."""
    x, w = te.placeholder((3, reduction), "int32", "x"), te.placeholder((reduction, 5), "int32", "w")
    k = te.reduce_axis(reduction, "k")
    func = te.create_function("matmul", [x, w], [te.compute((3, 5), lambda i, j: te.sum(x[i, k] * w[k, j], k), "M")])
    s = Schedule(func, check=True)
    outer, _ = s.split("M_k", [None, 4])
    s.reorder(outer, "M_i")
    s.decompose_reduction("M", outer)
    s.tensorize("M", dot4())
    (call,) = intrinsics_in(s.func)
    assert to_text(call) == "test.dot4(M[M.i +: 1, M.j +: 1], x[M.i +: 1, M.k.outer * 4 +: 4], w[M.k.outer * 4 +: 4, M.j +: 1])"
    for scheduled in (s.func, lower(s.func, every_pass=True)):
        got = interpret(scheduled, arguments(func), {"test.dot4": run_dot4})[0]
        np.testing.assert_array_equal(got, interpret(func, arguments(func))[0])


def elementwise(value: str) -> ir.Function:
    """y = f(x) over [3][5] tiles of 1 × 4, all in vdla.acc but x and y."""
    x = te.placeholder((3, 5, 1, 4), "int32", "x")
    wide = te.compute(x.shape, lambda *e: x[e], "wide")
    values = {
        "max": lambda *e: te.maximum(7, wide[e]),
        "max of a position": lambda *e: te.maximum(wide[e], e[0]),
        "sum": lambda *e: wide[e] + wide[e],
        "shifted": lambda a, b, c, d: wide[a, b, c, 3 - d],
    }
    out = te.compute(x.shape, values[value], "out")
    return te.create_function("elementwise", [x], [te.compute(x.shape, lambda *e: te.cast(out[e], "int8"), "y")])


def scoped(func: ir.Function) -> Schedule:
    s = Schedule(func, check=True)
    for block in ("wide", "out"):
        s.set_scope(block, "vdla.acc")
    return s


def test_holes_become_attributes() -> None:
    func = elementwise("max")
    s = scoped(func)
    table = vdla_intrinsics()
    for block, operation in (("wide", "load.acc"), ("out", "max"), ("y", "store")):
        s.tensorize(block, table[operation])
    load, maximum, store = intrinsics_in(s.func)
    assert maximum.attributes == (("imm", 7),)
    assert load.attributes == () == store.attributes
    assert to_text(store) == "vdla.store(y[y.i0 +: 1, y.i1 +: 1, 0 +: 1, 0 +: 4], out[y.i0 +: 1, y.i1 +: 1, 0 +: 1, 0 +: 4])"
    expected = interpret(func, arguments(func))[0]
    np.testing.assert_array_equal(interpret(lower(s.func, every_pass=True), arguments(func))[0], expected)


def test_one_buffer_can_be_two_operands() -> None:
    s = scoped(elementwise("sum"))
    s.tensorize("out", vdla_intrinsics()["add"])
    (call,) = intrinsics_in(s.func)
    assert call.operands[1] == call.operands[2]


def test_tensorised_blocks_still_move() -> None:
    func = elementwise("max")
    s = scoped(func)
    table = vdla_intrinsics()
    for block, operation in (("wide", "load.acc"), ("out", "max"), ("y", "store")):
        s.tensorize(block, table[operation])
    outer, _ = s.split(s.loops("y")[1], [None, 2])
    s.compute_at("out", outer)
    s.compute_at("wide", outer)
    lowered = lower(s.func, every_pass=True)
    assert "allocate wide: int32[1, 2, 1, 4] in vdla.acc" in to_text(lowered)
    np.testing.assert_array_equal(interpret(lowered, arguments(func))[0], interpret(func, arguments(func))[0])


def test_padding_becomes_a_predicate() -> None:
    s = schedule_conv2d(conv2d(Conv(), pad_value=-3), Tiling())
    block = s.get("Xp")
    assert isinstance(block.body, ir.Intrinsic)
    assert block.body.attributes == (("pad_value", -3),)
    assert block.body.predicate is not None
    assert to_text(block.body.predicate) == "Xp.h >= 1 and Xp.h < 8 and Xp.v >= 1 and Xp.v < 6"


def test_padding_that_never_happens_is_no_predicate() -> None:
    s = schedule_conv2d(conv2d(Conv(padding=0)), Tiling())
    body = s.get("Xp").body
    assert isinstance(body, ir.Intrinsic)
    assert body.predicate is None


def test_conv2d_lowered_text() -> None:
    """The whole kernel, tiled with tails, double-buffered and with a residual."""
    func = conv2d(Conv(), residual=True)
    lowered = lower(schedule_conv2d(func, Tiling(double_buffer=True), residual=True).func, every_pass=True)
    assert not any(isinstance(s, ir.Block | ir.Store) for s in ir.walk_stmt(lowered.body))
    golden("conv2d_tensorised", to_text(lowered))
    arrays = conv_arrays(func, 0)
    np.testing.assert_array_equal(interpret(lowered, arrays)[0], interpret(func, arrays)[0])


def refusal(s: Schedule, target: str, intrinsic: TensorIntrinsic) -> str:
    with pytest.raises(CompileError) as error:
        s.tensorize(target, intrinsic)
    return str(error.value)


def test_refusals() -> None:
    table = vdla_intrinsics()
    assert "wide is in scope global, dst in vdla.acc" in refusal(Schedule(elementwise("max")), "wide", table["load.acc"])
    s = scoped(elementwise("max"))
    assert "max(7, wide[out.i0, out.i1, 0, out.i3]) is not x[b, o] + y[b, o]" in refusal(s, "out", table["add"])
    assert "x[wide.i0, wide.i1, 0, wide.i3] is not cast(int32, src[b, o])" in refusal(s, "wide", table["load.out"])
    assert "out is in scope vdla.acc, out in global" in refusal(s, "out", table["store"])
    assert "imm must be a constant, found out.i0" in refusal(scoped(elementwise("max of a position")), "out", table["max"])
    dst, x = ir.Buffer("dst", (1, 4), "int32", "vdla.acc"), ir.Buffer("x", (1, 4), "int32", "vdla.acc")
    move = tile_op("alu.mov", lambda b, o: x[b, o], dst, x)
    assert "no loop of 4 iterations runs along index" in refusal(scoped(elementwise("shifted")), "out", move)
    s = Schedule(matmul())
    assert "the block initialises a reduction" in refusal(s, "M", dot4())
    s.decompose_reduction("M", s.split("M_k", [None, 4])[0])
    assert "try: pad the tensor to whole tiles" in refusal(s, "M", dot4()), "10 is no multiple of 4"


def test_a_loop_with_two_blocks_is_refused() -> None:
    s = scoped(elementwise("max"))
    outer = s.loops("y")[0]
    s.compute_at("out", outer)
    assert "it holds 2 blocks: out, y" in refusal(s, outer.name, vdla_intrinsics()["store"])
    s.tensorize(s.loops("y")[-1], vdla_intrinsics()["store"])
    assert len(intrinsics_in(s.func)) == 1
