"""Schedule steps on scans and tuple reductions: the text before and after, that it computes the same, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from test_steps import arguments, golden

from vdla.compiler import ir, te
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ir.parser import parse
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic, tile_function
from vdla.errors import CompileError


def recurrence() -> Function:
    """s = W·h + f[t] with f = 2·x; h ← s; all s kept, and doubled afterwards."""
    x, w, zeros = (te.placeholder(shape, "int32", name) for shape, name in (((6, 4), "x"), ((4, 4), "w"), ((4,), "zeros")))
    t, k, h = te.scan_axis(6, "t"), te.reduce_axis(4, "k"), te.placeholder((4,), "int32", "h")
    f = te.compute((6, 4), lambda s, i: x[s, i] * 2, "F")
    m = te.compute((4,), lambda i: te.sum(w[i, k] * h[k], k), "M")
    s = te.compute((4,), lambda i: m[i] + f[t, i], "S")
    _, (kept,) = te.scan(t, [te.State(h, zeros, s)], [s])
    doubled = te.compute((6, 4), lambda s, i: kept[s, i] * 2, "D")
    return te.create_function("recurrence", [x, w, zeros], [doubled])


def running() -> Function:
    """h ← h + x[t], nothing else in the loop but the copy."""
    x, zeros = te.placeholder((6, 4), "int32", "x"), te.placeholder((4,), "int32", "zeros")
    t, h = te.scan_axis(6, "t"), te.placeholder((4,), "int32", "h")
    s = te.compute((4,), lambda i: h[i] + x[t, i], "S")
    (last,), _ = te.scan(t, [te.State(h, zeros, s)])
    return te.create_function("running", [x, zeros], [last])


def kept_only() -> Function:
    """A scan of one block: what each step is given, kept."""
    x, t = te.placeholder((6, 4), "int32", "x"), te.scan_axis(6, "t")
    row = te.compute((4,), lambda i: x[0, i] + 1, "R")
    _, (kept,) = te.scan(t, [], [row])
    return te.create_function("kept_only", [x], [kept])


def last_only() -> Function:
    """Written by hand: S is read after the loop, where its last step left it."""
    return parse("""\
function last_only(x: int32[6]) -> (E: int32[1]):
    allocate S: int32[1]
    for t in range(6):
        for S_i in range(1):
            block S:
                axis S.t = scan(6, t)
                axis S.i = spatial(1, S_i)
                S[S.i] = x[S.t]
    for E_i in range(1):
        block E:
            axis E.i = spatial(1, E_i)
            E[E.i] = S[E.i]
""")


def largest() -> Function:
    """Of each row of 2·x the first largest, and where it is, read by R."""
    x, a, b = te.placeholder((6, 4, 3), "int32", "x"), te.reduce_axis(4, "a"), te.reduce_axis(3, "b")
    p = te.compute((6, 4, 3), lambda i, j, k: x[i, j, k] * 2, "P")

    def combine(best: tuple[ir.Expr, ...], new: tuple[ir.Expr, ...]) -> tuple[ir.Expr, ir.Expr]:
        return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])

    start = (te.lowest("int32"), -1)
    value, place = te.compute((6,), lambda i: te.reduce_tuple(combine, start, (p[i, a, b], a * 3 + b), [a, b]), "L")
    return te.create_function("largest", [x], [te.compute((6,), lambda i: value[i] * 100 + place[i], "R")])


def whole_step(s: Schedule) -> None:
    """All that one step needs of F inside it; M by halves, its initialisation apart."""
    s.compute_at("F", "t")
    s.split("M_i", [None, 2])
    s.decompose_reduction("M", "M_k")


STEPS: dict[str, tuple[Callable[[], Function], Callable[[Schedule], object]]] = {
    "scan_split": (recurrence, lambda s: s.split("t", [None, 4])),
    "scan_unrolled": (recurrence, lambda s: s.unroll(s.split("t", [None, 2])[1])),
    "scan_compute_at": (recurrence, whole_step),
    "scan_step_compute_at": (recurrence, lambda s: (s.split("t", [None, 4]), s.compute_at("M", "S_i"))),
    "scan_reverse_compute_at": (recurrence, lambda s: s.reverse_compute_at("S_steps", "S_i")),
    "scan_read_while_running": (recurrence, lambda s: s.reverse_compute_at("D", "t")),
    "scan_vectorised": (recurrence, lambda s: (s.reorder("M_k", "M_i"), s.vectorize("M_i"), s.parallel("S_i"))),
    "scan_fused": (kept_only, lambda s: s.fuse("t", "R_steps_i0")),
    "scan_cache_read": (recurrence, lambda s: s.cache_read("M", "w", "local")),
    "scan_cache_write": (recurrence, lambda s: s.cache_write("S_steps", "local")),
    "tuple_compute_at": (largest, lambda s: (s.compute_at("L", s.split("R_i", [None, 4])[0]), s.compute_at("P", "L_i"))),
    "tuple_decompose": (
        largest,
        lambda s: (s.split("L_b", [None, 2]), s.reorder("L_a", "L_b_0", "L_b_1", "L_i"), s.decompose_reduction("L", "L_a")),
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_step(name: str) -> None:
    make, step = STEPS[name]
    schedule = Schedule(make(), check=True)
    before = schedule.func
    step(schedule)
    after = schedule.func
    golden(name, f"{to_text(before)}\n→\n\n{to_text(after)}")
    for func in (after, parse(to_text(after)), lower(after, every_pass=True)):
        np.testing.assert_array_equal(interpret(func, arguments(before))[0], interpret(before, arguments(before))[0])


def doubling() -> TensorIntrinsic:
    """A tile of six rows doubled at once."""
    source, target = ir.Buffer("source", (6,), "int32"), ir.Buffer("target", (6,), "int32")
    pattern = tile_function("copy", (6,), lambda i: ir.Store(target, (i,), source[i]), [source], target)
    return TensorIntrinsic("copy", pattern, (target, source))


REFUSALS: dict[str, tuple[Callable[[], Function], Callable[[Schedule], object], str]] = {
    "parallel scan": (
        recurrence,
        lambda s: s.parallel("t"),
        "it runs over the steps of a scan by M.t of block M, one after another",
    ),
    "vectorised scan": (recurrence, lambda s: s.vectorize("t"), "choose a loop inside it"),
    "bound scan": (recurrence, lambda s: s.bind("t", "thread_x"), "cannot make t thread_x: it runs over the steps of a scan"),
    "vthread scan": (recurrence, lambda s: s.vthread("t"), "cannot make t vthread: it runs over the steps of a scan"),
    "parallel part of a scan": (
        recurrence,
        lambda s: s.parallel(s.split("t", [None, 3])[1]),
        "cannot make t_1 parallel: it runs over the steps of a scan",
    ),
    "parallel fused": (
        kept_only,
        lambda s: s.parallel(s.fuse("t", "R_steps_i0")),
        "cannot make t_R_steps_i0 parallel: it runs over the steps of a scan",
    ),
    "reorder": (
        kept_only,
        lambda s: s.reorder("R_steps_i0", "t"),
        "cannot reorder: t runs over the steps of a scan, which block R_steps needs whole, one after another",
    ),
    "reorder parts": (
        kept_only,
        lambda s: (s.split("t", [None, 3]), s.reorder("t_1", "t_0")),
        "runs over the steps of a scan, which block R_steps needs whole",
    ),
    "initialised once": (
        recurrence,
        lambda s: s.decompose_reduction("M", "t"),
        "t runs over the steps of a scan, each of which needs its own initialisation; try: choose a loop inside t",
    ),
    "rfactor": (recurrence, lambda s: s.rfactor("M", "M_k"), "cannot rfactor M: it is a step of a scan"),
    "inline a step": (recurrence, lambda s: s.compute_inline("S"), "cannot inline S: it is a step of a scan"),
    "inline into a step": (recurrence, lambda s: s.reverse_compute_inline("S_steps"), "it is a step of a scan"),
    "read after it is overwritten": (
        recurrence,
        lambda s: s.compute_at("S", "h_i0"),
        "S_steps reads S outside the loop",
    ),
    "read where it is overwritten": (
        running,
        lambda s: s.compute_at("S", "h_i0"),
        "cannot compute S at h_i0: it reads h, which block h overwrites before, or in these loops",
    ),
    "state moved": (running, lambda s: s.reverse_compute_at("h", "S_i"), "h is written by h_init and h"),
    "state cached": (running, lambda s: s.cache_write("h", "local"), "h_init writes h too"),
    "state copied": (running, lambda s: s.cache_read("S", "h", "local"), "h is made by h inside the loops around S"),
    "step cached": (recurrence, lambda s: s.cache_write("S", "local"), "S_steps reads S inside the loops around S"),
    "step out of its scan": (
        recurrence,
        lambda s: (s.reverse_compute_at("D", "t"), s.compute_at("S_steps", "D_i")),
        "cannot compute S_steps at D_i: it writes an element that is not chosen by one iter for each dimension",
    ),
    "tensorised scan": (
        kept_only,
        lambda s: s.tensorize("R_steps", doubling()),
        "no loop of 6 iterations runs along index",
    ),
    "order of a tuple's points": (
        largest,
        lambda s: s.reorder("L_b", "L_a"),
        "block L reduces several values together, whose result depends on the order of the points",
    ),
    "tuple in parallel": (largest, lambda s: s.parallel("L_a"), "block L reduces over it by L.a"),
    "reader of a tuple": (
        largest,
        lambda s: s.reverse_compute_at("R", "L_i"),
        "it has to read exactly one buffer written in the loop",
    ),
    "last step only": (
        last_only,
        lambda s: s.reverse_compute_at("E", "t"),
        "only the last step of S over S.t makes what it reads",
    ),
    "tuple rfactor": (largest, lambda s: s.rfactor("L", "L_b"), "it is not out = out op value"),
    "tuple inlined": (largest, lambda s: s.compute_inline("L"), "it is a reduction"),
    "tuple cached": (largest, lambda s: s.cache_write("L", "local"), "it reduces L_1, L_0 together"),
    "tuple's scope": (
        largest,
        lambda s: s.set_scope("L", "local"),
        "cannot set scope local: block L writes several buffers; found ['L_1', 'L_0']; expected the name of one of them",
    ),
    "tuple tensorised": (
        largest,
        lambda s: (s.decompose_reduction("L", "L_a"), s.tensorize("L", doubling())),
        "the body is not one store",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    make, step, words = REFUSALS[name]
    with pytest.raises(CompileError) as refusal:
        step(Schedule(make()))
    assert words in str(refusal.value), str(refusal.value)


def test_a_state_read_before_any_step_wrote_it_stays_outside_the_loop() -> None:
    """A function written by hand, whose first step alone does not read the state: nothing outside the loop touches it."""
    text = """\
function f(x: int32[6]) -> (y: int32[6]):
    allocate h: int32[1]
    for t in range(6):
        block read:
            axis a = scan(6, t)
            y[a] = select(a == 0, 0, h[0])
        block write:
            axis b = scan(6, t)
            h[0] = x[b]
"""
    x = np.arange(6, dtype=np.int32) + 10
    for func in (parse(text), lower(parse(text), every_pass=True)):
        np.testing.assert_array_equal(interpret(func, [x])[0], [0, *x[:-1]])
