"""Random tensor expressions under random schedules: each program computes what the unscheduled one does, interpreted and as
machine code."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from vdla.compiler import ir, te
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ir.verify import verify
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule
from vdla.errors import CompileError

LONG = bool(os.environ.get("VDLA_LONG"))
SEEDS = range(2000 if LONG else 120)


def random_function(r: random.Random) -> ir.Function:
    """A few stages over an input of rank 1 to 3, each of one of `STAGES`; one or two outputs."""
    rank = r.randint(1, 3)
    shape = tuple(r.randint(1, 7) for _ in range(rank))
    inputs = [te.placeholder(shape, "int32", "x")]
    tensors = list(inputs)
    for k in range(r.randint(1, 4)):
        tensors.append(r.choice(STAGES)(r, tensors, f"s{k}"))
    outputs = [tensors[-1]]
    if len(tensors) > 2 and r.random() < 0.2:
        outputs.append(tensors[-2])
    return te.create_function("random", inputs, outputs)


def pick(r: random.Random, tensors: list[te.Tensor]) -> te.Tensor:
    return tensors[-1] if r.random() < 0.7 else r.choice(tensors)


def elementwise(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    same = [t for t in tensors if t.shape == a.shape]
    b = r.choice(same)
    kind = r.randint(0, 2)

    def value(*e):  # type: ignore[no-untyped-def]
        return [a[e] * 3 + b[e], te.maximum(a[e], b[e] - 5), te.select(e[0] < 2, a[e], b[e])][kind]

    return te.compute(a.shape, value, name)


def stencil(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    width = r.randint(1, min(3, a.shape[0]))
    k = te.reduce_axis(width, "k")
    return te.compute((a.shape[0] - width + 1, *a.shape[1:]), lambda i, *e: te.sum(a[(i + k, *e)], k), name)


def pad(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    low, high = r.randint(0, 2), r.randint(0, 2)

    def value(i, *e):  # type: ignore[no-untyped-def]
        inside = te.logical_and(i - low >= 0, i - low < a.shape[0])
        return te.select(inside, a[(i - low, *e)], 7)

    return te.compute((a.shape[0] + low + high, *a.shape[1:]), value, name)


def strided(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    if r.random() < 0.5:
        return te.compute(((a.shape[0] + 1) // 2, *a.shape[1:]), lambda i, *e: a[(i * 2, *e)] - 1, name)
    return te.compute((a.shape[0] * 2, *a.shape[1:]), lambda i, *e: a[(i // 2, *e)] + i % 2, name)


def reduction(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    axes = [te.reduce_axis(n, f"r{d}") for d, n in enumerate(a.shape)]
    kept = r.randint(0, len(axes) - 1)
    fold = r.choice([te.sum, te.max, te.min])
    shape = (r.randint(1, 5), *a.shape[:kept])
    return te.compute(shape, lambda m, *e: fold(a[(*e, *axes[kept:])] * (m + 1), axes[kept:]), name)


def transpose(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    return te.compute(a.shape[::-1], lambda *e: a[e[::-1]], name)


def window(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """A strided, dilated convolution along the first axis."""
    a = pick(r, tensors)
    stride, dilation, width = r.randint(1, 3), r.randint(1, 2), r.randint(1, 3)
    reach = (width - 1) * dilation + 1
    if reach > a.shape[0]:
        return elementwise(r, tensors, name)
    k = te.reduce_axis(width, "k")
    positions = (a.shape[0] - reach) // stride + 1
    return te.compute(
        (2, positions, *a.shape[1:]), lambda o, i, *e: te.sum(a[(i * stride + k * dilation, *e)] * (o + k), k), name
    )


def mirrored(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    a = pick(r, tensors)
    return te.compute(a.shape, lambda i, *e: a[(a.shape[0] - 1 - i, *e)] * 2, name)


def wrapped(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Reads by a remainder, and by a sum of two axes."""
    a = pick(r, tensors)
    n = a.shape[0]
    return te.compute((n + 1, 2, *a.shape[1:]), lambda i, j, *e: a[((i + j) % n, *e)] + j, name)


def division(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """By a constant of either sign, or by data where they are not 0."""
    a, divisor, modulo = pick(r, tensors), r.choice((-7, -3, -1, 2, 5)), r.random() < 0.5

    def value(*e):  # type: ignore[no-untyped-def]
        by = a[e] % 5 - 2 if r.random() < 0.5 else te.const(divisor, "int32")
        quotient = a[e] % by if modulo else a[e] // by
        return te.select(te.not_equal(by, 0), quotient, 9)

    return te.compute(a.shape, value, name)


def gathered(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Rows chosen by data, clamped or counted from the end."""
    a, b = pick(r, tensors), r.choice(tensors)
    index = (lambda v: te.clip(v, 0, a.shape[0] - 1)) if r.random() < 0.5 else (lambda v: te.position(v, a.shape[0]))
    return te.compute((b.shape[0], *a.shape[1:]), lambda i, *e: a[(index(b[(i, *(0,) * (len(b.shape) - 1))]), *e)], name)


def tupled(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """The last or first place of the largest value, or a value and how often it grew: the order of the points matters."""
    a = pick(r, tensors)
    axes = [te.reduce_axis(n, f"r{d}") for d, n in enumerate(a.shape)]
    kept = r.randint(0, len(axes) - 1)
    last, position = r.random() < 0.5, axes[-1] + axes[kept] * 100

    def combine(so_far, new):  # type: ignore[no-untyped-def]
        better = new[0] >= so_far[0] if last else new[0] > so_far[0]
        return (
            te.maximum(so_far[0], new[0]),
            te.select(better, new[1], so_far[1]),
            so_far[2] * 3 + te.select(better, 1, so_far[1]),
        )

    three = te.compute(
        (r.randint(1, 4), *a.shape[:kept]),
        lambda m, *e: te.reduce_tuple(
            combine, (te.lowest("int32"), -1, 0), (a[(*e, *axes[kept:])] * (m + 1), position, position), axes[kept:]
        ),
        name,
    )
    second = r.choice(three)
    return te.compute(three[1].shape, lambda *e: three[1][e] + second[e] * 2, f"{name}_joined") if r.random() < 0.5 else second


def scanned(r: random.Random, tensors: list[te.Tensor], name: str) -> te.Tensor:
    """Along the first axis, forwards or backwards: states, their neighbours, sums over them, parts of them in place."""
    x = pick(r, tensors)
    steps, row = x.shape[0], (*x.shape[1:], 3)[:2]
    t, backwards = te.scan_axis(steps, f"{name}_t"), r.random() < 0.3
    now = steps - 1 - t if backwards else t
    h, g = (te.placeholder(row, "int32", f"{name}_{n}") for n in "hg")

    def fed(*e, step=now):  # type: ignore[no-untyped-def]
        return x[(step, *((*e, 0, 0, 0)[d] % n for d, n in enumerate(x.shape[1:])))]

    start = te.compute(row, lambda *e: e[0] + fed(*e, step=0), f"{name}_start")
    k = te.reduce_axis(row[-1], "k")
    total = te.compute(row, lambda *e: te.sum(h[(*e[:-1], k)] * (e[-1] + k + 1), k), f"{name}_total")
    kind = r.randint(0, 3)

    def following(*e):  # type: ignore[no-untyped-def]
        neighbour = h[((e[0] + 1) % row[0], *e[1:])]
        return [h[e] * 2 + fed(*e), total[e] + fed(*e), neighbour - g[e], te.maximum(h[e], total[e]) + t][kind]

    update = te.compute(row, following, f"{name}_update")
    states = [te.State(h, start, update)]
    if kind == 2 or r.random() < 0.3:
        other = r.choice([h, update, total])
        states.append(te.State(g, start, other))
    if r.random() < 0.3:
        place = te.placeholder(row, "int32", f"{name}_place")
        part = te.compute(row[1:], lambda *e: update[(0, *e)] + place[(row[0] - 1, *e)], f"{name}_part")
        at = lambda *e: (te.position(fed(*(0,) * len(row)), row[0]), *e)  # noqa: E731
        states.append(te.State(place, start, part, at=at))
    r.shuffle(states)
    finals, (kept, *_) = te.scan(t, states, [r.choice([update, total, h])], f"{name}_scan")
    last = r.choice(finals)
    both = te.compute((steps, *row), lambda s, *e: kept[(s, *e)] - last[e], name)
    return r.choice([kept, last, both, both])


STAGES = (elementwise, elementwise, stencil, pad, strided, reduction, transpose, window, mirrored, wrapped)
STAGES += (division, gathered, tupled, tupled, scanned, scanned)


def random_step(r: random.Random, s: Schedule) -> str:
    """Try one step; its text."""
    loops = [x.var for x in ir.walk_stmt(s.func.body) if isinstance(x, ir.For)]
    blocks = s.blocks()
    block = r.choice(blocks)
    own = s.loops(block) or loops
    loop, other = r.choice(loops), r.choice(own)
    near = r.choice(s.loops(r.choice(blocks)) or loops)
    reads = sorted({b.name for b in s.func.params} | set(blocks))
    several = r.sample(own, min(len(own), r.randint(2, 4)))
    adjacent = own.index(other)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("split", lambda: s.split(other, r.choice([[None, 2], [None, 3], [2, None], [None, 4, 2], [None, 16]]))),
        ("split", lambda: s.split(other, [None, r.randint(1, 5)])),
        ("fuse", lambda: s.fuse(*own[adjacent : adjacent + r.randint(1, 3)])),
        ("reorder", lambda: s.reorder(*several)),
        *[("compute_at", lambda: s.compute_at(block, near))] * 4,
        ("compute_at", lambda: s.compute_at(block, loop)),
        ("reverse_compute_at", lambda: s.reverse_compute_at(block, loop)),
        ("compute_inline", lambda: s.compute_inline(block)),
        ("reverse_compute_inline", lambda: s.reverse_compute_inline(block)),
        ("cache_read", lambda: s.cache_read(block, r.choice(reads), r.choice(["local", "shared", "global"]))),
        ("cache_write", lambda: s.cache_write(block, "local")),
        ("set_scope", lambda: s.set_scope(block, r.choice(["local", "shared"]))),
        ("decompose_reduction", lambda: s.decompose_reduction(block, other)),
        ("rfactor", lambda: s.rfactor(block, other)),
        ("unroll", lambda: s.unroll(other)),
        ("vthread", lambda: s.vthread(other)),
        ("parallel", lambda: s.parallel(other)),
        ("vectorize", lambda: s.vectorize(other)),
        ("double_buffer", lambda: s.double_buffer(block)),
        ("storage_align", lambda: s.storage_align(block, 8)),
    ]
    name, apply = r.choice(steps)
    before = to_text(s.func)
    refusal = ""
    try:
        apply()
    except CompileError as error:
        refusal = str(error)
    if not refusal:
        return name
    assert "\n" not in refusal, "a refusal is one line"
    assert to_text(s.func) == before, "a refused step changes nothing"
    return ""


def check_seed(seed: int) -> list[str]:
    r = random.Random(seed)
    func = random_function(r)
    verify(func)
    inputs = func.params[: -func.output_count]
    arrays = [np.random.default_rng(seed).integers(-50, 50, p.shape, dtype=np.int32) for p in inputs]
    expected = interpret(func, arrays)

    def compare(stage: str, changed: ir.Function, where: str) -> None:
        for got, wanted in zip(interpret(changed, arrays), expected, strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=f"{stage}, {where}\n{to_text(changed)}")

    schedule = Schedule(func)
    done: list[str] = []
    for _ in range(r.choice([4, 8, 14, 24])):
        done += filter(None, [random_step(r, schedule)])
        where = f"seed {seed}, after {done}\n{to_text(schedule.func)}"
        try:
            verify(schedule.func)
        except CompileError as problem:
            raise AssertionError(f"{problem}; {where}") from problem
        compare("scheduled", schedule.func, where)

    def compare_stage(name: str, lowered: ir.Function) -> None:
        compare(name, lowered, where)

    try:
        lowered = lower(schedule.func, compare_stage)
    except CompileError as problem:
        raise AssertionError(f"{problem}; {where}") from problem
    compare("concurrent loops backwards", concurrent_backwards(lowered), where)
    if LONG or seed % 3 == 0:
        for got, wanted in zip(compile_function(lowered).run(*arrays), expected, strict=True):
            np.testing.assert_array_equal(got, wanted, err_msg=f"machine code, {where}\n{to_text(lowered)}")
    return done


def concurrent_backwards(func: ir.Function) -> ir.Function:
    """The iterations of every loop that may run at once, in the opposite order."""

    def change(stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.For) and stmt.kind not in ("serial", "unrolled"):
            backwards = ir.Binary("sub", ir.Const(stmt.extent - 1), stmt.var)
            return replace(stmt, body=ir.substitute_stmt(stmt.body, {stmt.var: backwards}))
        return stmt

    return replace(func, body=ir.map_stmt(func.body, change))


@pytest.mark.parametrize("seed", SEEDS)
def test_random_schedule(seed: int) -> None:
    check_seed(seed)
