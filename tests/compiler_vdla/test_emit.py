"""Emission by hand-built functions: storage, resets, instruction counts, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from random_lowered import tile
from vdla_harness import TINY, assert_exact

from vdla.compiler import ir
from vdla.compiler.backends.vdla.emit import Emission, emit
from vdla.compiler.backends.vdla.sram import plan_sram, sram_usage
from vdla.compiler.backends.vdla.trace import trace
from vdla.errors import CompileError
from vdla.isa.definition import AluOp, GemmMode, Opcode

T = 6
ZERO = ir.Const(0)


def acc(name: str, *lead: int) -> ir.Buffer:
    return ir.Buffer(name, (*lead, 1, 4), "int32", "vdla.acc")


def narrow(name: str, *lead: int) -> ir.Buffer:
    return ir.Buffer(name, (*lead, 1, 4), "int8")


def loop(extent: int, body: Callable[[ir.Var], ir.Stmt], name: str = "i") -> ir.Stmt:
    var = ir.Var(name)
    return ir.For(var, extent, body(var))


def load(dst: ir.Region, src: ir.Region) -> ir.Intrinsic:
    return ir.Intrinsic("vdla.load", (dst, src))


def store(dst: ir.Region, src: ir.Region) -> ir.Intrinsic:
    return ir.Intrinsic("vdla.store", (dst, src))


def add_imm(dst: ir.Region, x: ir.Region, imm: int = 5) -> ir.Intrinsic:
    return ir.Intrinsic("vdla.alu.add", (dst, x), (("imm", imm),))


def function(params: tuple[ir.Buffer, ...], buffers: tuple[ir.Buffer, ...], *body: ir.Stmt) -> ir.Function:
    stmt = ir.seq(*body)
    for buffer in buffers:
        stmt = ir.Allocate(buffer, stmt)
    return ir.Function("hand", params, stmt)


def exact(func: ir.Function, seed: int = 3) -> Emission:
    rng = np.random.default_rng(seed)
    arrays = {p.name: rng.integers(-128, 128, p.shape).astype(p.dtype) for p in func.params[: -func.output_count]}
    assert_exact(func, arrays, f"seed {seed}")
    return emit(func, TINY)


def alu_ops(emission: Emission) -> list[AluOp]:
    return [AluOp(op) for op in emission.columns["alu_op"][emission.columns["opcode"] == Opcode.ALU]]


def gemm_modes(emission: Emission) -> list[GemmMode]:
    return [GemmMode(m) for m in emission.columns["gemm_mode"][emission.columns["opcode"] == Opcode.GEMM]]


# -- storage --------------------------------------------------------------------------------------------------------------


def chain(place: Callable[[ir.Var], ir.Expr], *, read_again: bool = False) -> ir.Function:
    """x → a; b[place(i)] = a[i] + 5; b → y, and perhaps a → z."""
    x, y, z, a, b = narrow("x", T), narrow("y", T), narrow("z", T), acc("a", T), acc("b", T)
    body = [
        loop(T, lambda i: load(tile(a, i), tile(x, i)), "l"),
        loop(T, lambda i: add_imm(tile(b, place(i)), tile(a, i)), "c"),
        loop(T, lambda i: store(tile(y, i), tile(b, i)), "s"),
    ]
    if not read_again:
        return function((x, y), (a, b), *body)
    body.append(loop(T, lambda i: store(tile(z, i), tile(a, i)), "t"))
    return ir.Function("hand", (x, y, z), function((), (a, b), *body).body, output_count=2)


def test_a_dying_operand_is_overwritten_in_place() -> None:
    emission = exact(chain(lambda i: i))
    assert alu_ops(emission) == [AluOp.ADD]
    assert emission.sram_entries["acc"] == T


def test_an_operand_read_again_is_moved_first() -> None:
    emission = exact(chain(lambda i: i, read_again=True))
    assert alu_ops(emission) == [AluOp.MOV, AluOp.ADD]
    assert emission.sram_entries["acc"] == 2 * T


def test_an_operand_at_another_place_is_not_overwritten() -> None:
    """b[5 - i] = a[i] + 5 in one storage would read what it has just written."""
    emission = exact(chain(lambda i: T - 1 - i))
    assert alu_ops(emission) == [AluOp.MOV, AluOp.ADD]
    assert emission.sram_entries["acc"] == 2 * T


def test_alternating_buffers_share_storage_in_step() -> None:
    """Both halves of a double buffer: b[t % 2] takes over a[t % 2] while the other half is still to be stored."""
    x, y, a, b = narrow("x", 4, T), narrow("y", 4, T), acc("a", 2, T), acc("b", 2, T)
    func = function(
        (x, y), (a, b),
        loop(4, lambda t: ir.seq(
            loop(T, lambda i: load(tile(a, t % 2, i), tile(x, t, i)), "l"),
            loop(T, lambda i: add_imm(tile(b, t % 2, i), tile(a, t % 2, i)), "c"),
            loop(T, lambda i: store(tile(y, t, i), tile(b, t % 2, i)), "s"),
        ), "t"),
    )  # fmt: skip
    emission = exact(func)
    assert alu_ops(emission) == [AluOp.ADD] * 4
    assert emission.sram_entries["acc"] == 2 * T


def two_phases(size: int, *, overlapping: bool) -> ir.Function:
    """a and b of `size` tiles each, used one after the other, or with a stored at the very end."""
    x, y, z, a, b = narrow("x", size), narrow("y", size), narrow("z", size), acc("a", size), acc("b", size)
    first = [loop(size, lambda i: load(tile(a, i), tile(x, i)), "l"), loop(size, lambda i: store(tile(y, i), tile(a, i)), "s")]
    second = [loop(size, lambda i: load(tile(b, i), tile(x, i)), "m"), loop(size, lambda i: store(tile(z, i), tile(b, i)), "t")]
    order = [first[0], *second, first[1]] if overlapping else [*first, *second]
    return ir.Function("hand", (x, y, z), function((), (a, b), *order).body, output_count=2)


def test_disjoint_lifetimes_share_only_when_they_must() -> None:
    assert sram_usage(two_phases(100, overlapping=False), TINY) == {"inp": 0, "wgt": 0, "acc": 200}
    assert sram_usage(two_phases(200, overlapping=False), TINY) == {"inp": 0, "wgt": 0, "acc": 200}
    exact(two_phases(200, overlapping=False))


def test_buffers_that_do_not_fit_are_named() -> None:
    expected = (
        r"hand: the kernel's buffers need 400 tiles of acc; found 'a 200, b 200'; expected at most 256; try: smaller tiles"
    )
    with pytest.raises(CompileError, match=expected):
        emit(two_phases(200, overlapping=True), TINY)


def test_a_tile_loop_moves_only_the_bases() -> None:
    x, y, a = narrow("x", 8, T), narrow("y", 8, T), acc("a", T)
    func = function(
        (x, y), (a,),
        loop(8, lambda t: ir.seq(
            loop(T, lambda i: load(tile(a, i), tile(x, t, i)), "l"), loop(T, lambda i: store(tile(y, t, i), tile(a, i)), "s")
        ), "t"),
    )  # fmt: skip
    traced = trace(func)
    assert len(traced.items) == 16
    assert len({item.pattern for item in traced.items}) == 2
    assert [item.bases for item in traced.items[::2]] == [(0, T * t) for t in range(8)]
    assert plan_sram(traced, TINY).base[a] == 0


# -- resets ---------------------------------------------------------------------------------------------------------------


def product(*, spare: int = 0, rows: int = T, split: int = 1) -> ir.Function:
    """a[h] = Σ_k i[h, k] · w[k] over 4 k, in `split` nests; `spare` tiles more are reset and stored."""
    x, wg, y = narrow("x", rows, 4), ir.Buffer("wg", (4, 4, 4), "int8"), narrow("y", rows + spare)
    a = acc("a", rows + spare)
    i, w = ir.Buffer("i", (rows, 4, 1, 4), "int8", "vdla.inp"), ir.Buffer("w", (4, 4, 4), "int8", "vdla.wgt")
    part = 4 // split
    return function(
        (x, wg, y), (a, i, w),
        loop(4, lambda k: load(tile(w, k), tile(wg, k)), "lw"),
        loop(rows, lambda h: loop(4, lambda k: load(tile(i, h, k), tile(x, h, k)), "lk"), "lh"),
        loop(rows + spare, lambda h: ir.Intrinsic("vdla.gemm_reset", (tile(a, h),)), "r"),
        *(
            loop(rows, lambda h, s=s: loop(part, lambda k: ir.Intrinsic(
                "vdla.gemm", (tile(a, h), tile(i, h, s * part + k), tile(w, s * part + k))), "k"), "h")
            for s in range(split)
        ),
        loop(rows + spare, lambda h: store(tile(y, h), tile(a, h)), "s"),
    )  # fmt: skip


def test_the_first_touch_overwrites_instead_of_a_reset() -> None:
    emission = exact(product())
    assert gemm_modes(emission) == [GemmMode.OVERWRITE, GemmMode.ACCUMULATE]
    assert emission.summary().gemm_steps == 4 * T


def test_only_the_first_of_several_passes_overwrites() -> None:
    assert gemm_modes(exact(product(split=2))) == [GemmMode.OVERWRITE, GemmMode.ACCUMULATE, GemmMode.ACCUMULATE]


def test_a_reset_that_something_else_reads_is_kept() -> None:
    emission = exact(product(spare=2))
    assert gemm_modes(emission)[0] == GemmMode.RESET
    assert emission.summary().gemm_steps == 4 * T + T + 2


# -- counts ---------------------------------------------------------------------------------------------------------------


def test_summary_counts_bytes_and_steps() -> None:
    summary = exact(product()).summary()
    assert summary.dram_bytes["inp"] == T * 4 * 4
    assert summary.dram_bytes["wgt"] == 4 * 16
    assert summary.dram_bytes["store"] == T * 4
    assert summary.dram_bytes["uop"] == summary.uops * TINY.uop_bytes
    assert summary.instructions == 5  # two loads, two GEMMs, one store
    assert summary.sram_entries == {"inp": T * 4, "wgt": 4, "acc": T}


# -- refusals -------------------------------------------------------------------------------------------------------------


def test_what_is_not_tensorised_is_refused() -> None:
    x, y = narrow("x", T), narrow("y", T)
    func = ir.Function("hand", (x, y), loop(T, lambda i: ir.Store(y, (i, i, i), x[i, 0, 0])))
    with pytest.raises(CompileError, match=r"no instruction for this statement; found 'Store'.*tensorise every block"):
        emit(func, TINY)


def test_unknown_intrinsics_are_refused() -> None:
    x, y = narrow("x", T), narrow("y", T)
    with pytest.raises(CompileError, match=r"hand: the VDLA backend has no such intrinsic; found 'mma'"):
        emit(ir.Function("hand", (x, y), ir.Intrinsic("mma", (tile(y, ZERO), tile(x, ZERO)))), TINY)


def test_dram_intermediates_are_refused() -> None:
    func = function(
        (narrow("x", T), narrow("y", T)), (narrow("t", T),), store(tile(narrow("y", T), ZERO), tile(acc("a", 1), ZERO))
    )
    with pytest.raises(CompileError, match=r"hand: t: an intermediate buffer .* found 'global'"):
        emit(func, TINY)


def test_regions_that_are_no_tile_are_refused() -> None:
    x, a = ir.Buffer("x", (2, 8), "int8"), ir.Buffer("a", (2, 1, 4), "int32", "vdla.acc")
    func = function((x,), (a,), load(tile(a, ZERO), ir.Region(x, (ZERO, ZERO), (2, 4))))
    with pytest.raises(CompileError, match=r"x: vdla\.load: an operand is not one tile.*found 'a 2×4 region of \[2, 8\]'"):
        emit(func, TINY)


def test_wrong_types_are_refused() -> None:
    x, i = ir.Buffer("x", (T, 1, 4), "int32"), ir.Buffer("i", (T, 1, 4), "int8", "vdla.inp")
    func = function((x,), (i,), loop(T, lambda k: load(tile(i, k), tile(x, k))))
    with pytest.raises(CompileError, match=r"i, x: vdla\.load between vdla\.inp and global; found 'int32 tile of 16 bytes'"):
        emit(func, TINY)


def test_guards_on_data_are_refused() -> None:
    x, a = narrow("x", T), acc("a", T)
    guarded = loop(T, lambda i: ir.If(x[i, 0, 0] > 0, load(tile(a, i), tile(x, i))))
    with pytest.raises(CompileError, match=r"an index depends on data; found 'Load'"):
        emit(function((x,), (a,), guarded), TINY)
