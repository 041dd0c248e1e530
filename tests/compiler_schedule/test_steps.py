"""Each schedule step on a small function: the text before and after, and what it refuses.

The texts are in golden/: `VDLA_UPDATE_GOLDEN=1 pytest tests/compiler_schedule/test_steps.py` writes them anew, to be read
in the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vdla.compiler import te
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ir.parser import parse
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes import PIPELINE, lower
from vdla.compiler.schedule import Schedule
from vdla.errors import CompileError

GOLDEN = Path(__file__).parent / "golden"


def doubled() -> Function:
    """P = 2·x; C[i] = P[i] + P[i + 1]."""
    x = te.placeholder((11,), "int32", "x")
    p = te.compute((11,), lambda i: x[i] * 2, "P")
    c = te.compute((10,), lambda i: p[i] + p[i + 1], "C")
    return te.create_function("doubled", [x], [c])


def chain() -> Function:
    """P = 2·x; C = P + 1."""
    x = te.placeholder((6,), "int32", "x")
    p = te.compute((6,), lambda i: x[i] * 2, "P")
    return te.create_function("chain", [x], [te.compute((6,), lambda i: p[i] + 1, "C")])


def matmul() -> Function:
    x, w = te.placeholder((6, 10), "int32", "x"), te.placeholder((10, 4), "int32", "w")
    k = te.reduce_axis(10, "k")
    return te.create_function("matmul", [x, w], [te.compute((6, 4), lambda i, j: te.sum(x[i, k] * w[k, j], k), "M")])


def matmul_relu() -> Function:
    x, w = te.placeholder((6, 10), "int32", "x"), te.placeholder((10, 4), "int32", "w")
    k = te.reduce_axis(10, "k")
    m = te.compute((6, 4), lambda i, j: te.sum(x[i, k] * w[k, j], k), "M")
    return te.create_function("matmul_relu", [x, w], [te.compute((6, 4), lambda i, j: te.maximum(m[i, j], 0), "R")])


def tiled_relu(s: Schedule) -> None:
    """M at the row tiles of R."""
    rows, _ = s.split("R_i", [None, 4])
    s.compute_at("M", rows)


STEPS: dict[str, tuple[Callable[[], Function], Callable[[Schedule], object]]] = {
    "split": (chain, lambda s: s.split("C_i", [None, 3])),
    "split_with_tail": (chain, lambda s: s.split("C_i", [None, 2, 2])),
    "fuse": (matmul, lambda s: s.fuse("M_i", "M_j")),
    "reorder": (matmul, lambda s: s.reorder("M_k", "M_i")),
    "tile": (matmul, lambda s: s.tile("M_i", "M_j", 2, 2)),
    "kinds": (matmul, lambda s: (s.parallel("M_i"), s.vectorize("M_j"), s.unroll("M_k"))),
    "bind": (matmul, lambda s: (s.bind("M_i", "block_x"), s.bind("M_j", "thread_x"))),
    "compute_at": (doubled, lambda s: s.compute_at("P", s.split("C_i", [None, 4])[0])),
    "compute_at_reduction": (matmul_relu, tiled_relu),
    "reverse_compute_at": (matmul_relu, lambda s: s.reverse_compute_at("R", s.split("M_i", [None, 4])[0])),
    "compute_inline": (doubled, lambda s: s.compute_inline("P")),
    "reverse_compute_inline": (chain, lambda s: s.reverse_compute_inline("C")),
    "cache_read": (matmul, lambda s: s.compute_at(s.cache_read("M", "w", "shared"), "M_i")),
    "cache_write": (matmul, lambda s: s.cache_write("M", "local")),
    "set_scope": (chain, lambda s: s.set_scope("P", "local")),
    "storage_align": (chain, lambda s: s.storage_align("P", 8)),
    "double_buffer": (chain, lambda s: s.double_buffer("P")),
    "decompose_reduction": (matmul, lambda s: (s.reorder("M_k", "M_j"), s.decompose_reduction("M", "M_k"))),
    "decompose_reduction_with_tail": (
        matmul,
        lambda s: (s.split("M_i", [None, 4]), s.split("M_k", [None, 4]), s.decompose_reduction("M", "M_i_1")),
    ),
    "rfactor": (matmul, lambda s: s.rfactor("M", s.split("M_k", [None, 4])[1])),
}


def golden(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("VDLA_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text(), f"{path} differs; VDLA_UPDATE_GOLDEN=1 writes it anew"


def arguments(func: Function) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(-9, 9, p.shape, dtype=np.int32) for p in func.params[: -func.output_count]]


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


def test_every_pass_leaves_its_mark() -> None:
    """Each pass on a function that needs it, in one golden text; the stages that change nothing say so."""
    schedule = Schedule(matmul_relu(), check=True)
    rows, _ = schedule.split("R_i", [None, 2])
    outer, thread = schedule.split(rows, [None, 2])
    schedule.compute_at("M", thread)
    schedule.double_buffer("M")
    schedule.storage_align("M", 8)
    schedule.vthread(thread)
    schedule.unroll(schedule.loops("R")[-2])
    stages: list[tuple[str, str]] = []
    lowered = lower(schedule.func, lambda name, func: stages.append((name, to_text(func))))
    assert [name for name, _ in stages] == ["input", *(name for name, _ in PIPELINE)]
    texts = [stages[0][1]]
    for (_, before), (name, after) in zip(stages, stages[1:], strict=False):
        texts.append(f"--- {name}\n" + ("(unchanged)\n" if after == before else after))
    golden("pipeline", "\n".join(texts))
    expected = interpret(schedule.func, arguments(schedule.func))[0]
    np.testing.assert_array_equal(interpret(lowered, arguments(lowered))[0], expected)


REFUSALS: dict[str, tuple[Callable[[], Function], Callable[[Schedule], object], str]] = {
    "split too small": (chain, lambda s: s.split("C_i", [2, 2]), "4 iterations do not cover 6"),
    "split shows the loop": (chain, lambda s: s.split("C_i", [2, 2]), "for C_i in range(6): cannot split"),
    "split zero": (chain, lambda s: s.split("C_i", [None, 0]), "factors must be positive"),
    "split bound": (matmul, lambda s: (s.parallel("M_i"), s.split("M_i", [None, 2])), "M_i is parallel"),
    "unknown loop": (chain, lambda s: s.split("D_i", [None, 2]), "no loop D_i; found 'D_i'; expected one of P_i, C_i"),
    "unknown block": (chain, lambda s: s.compute_inline("D"), "no block D; found 'D'; expected one of P, C"),
    "fuse apart": (matmul, lambda s: s.fuse("M_i", "M_k"), "M_k is not directly inside M_i"),
    "reorder elsewhere": (chain, lambda s: s.reorder("P_i", "C_i"), "C_i is not in the same nest"),
    "reorder through": (
        doubled,
        lambda s: (s.compute_at("P", "C_i"), s.reorder("C_i", "P_i")),
        "other statements stand between",
    ),
    "parallel reduction": (matmul, lambda s: s.parallel("M_k"), "block M reduces over it by M.k"),
    "unknown kind": (matmul, lambda s: s.bind("M_i", "warp"), "expected block_x"),
    "reader outside": (
        doubled,
        lambda s: (s.cache_read("C", "P", "local"), s.compute_at("P", "C_i")),
        "reads P outside the loop",
    ),
    "output moved": (chain, lambda s: s.compute_at("C", "P_i"), "it writes the output C"),
    "init split off": (
        matmul_relu,
        lambda s: (s.decompose_reduction("M", "M_k"), s.compute_at("M", "R_i")),
        "M is written by M_init and M",
    ),
    "reverse at reduction": (
        matmul_relu,
        lambda s: (s.reorder("M_k", "M_i", "M_j"), s.reverse_compute_at("R", "M_i")),
        "M is not complete there: M reduces over M.k around it",
    ),
    "reverse not elementwise": (doubled, lambda s: s.reverse_compute_at("C", "P_i"), "it reads P at several places"),
    "inline reduction": (matmul_relu, lambda s: s.compute_inline("M"), "it is a reduction"),
    "inline output": (chain, lambda s: s.compute_inline("C"), "it writes the output C"),
    "reverse inline stencil": (doubled, lambda s: s.reverse_compute_inline("C"), "it does not read P element by element"),
    "cache unread": (matmul, lambda s: s.cache_read("M", "M", "local"), "the block does not read it; it reads M, w, x"),
    "cache scope": (matmul, lambda s: s.cache_read("M", "w", "vdla.cache"), "no scope vdla.cache"),
    "scope of parameter": (matmul, lambda s: s.set_scope("x", "local"), "x is a parameter"),
    "scope unknown": (chain, lambda s: s.set_scope("P", "nowhere"), "no such scope"),
    "buffer unknown": (chain, lambda s: s.double_buffer("D"), "no buffer D; expected one of P"),
    "align by zero": (chain, lambda s: s.storage_align("P", 0), "expected one element or more"),
    "no init": (matmul, lambda s: (s.decompose_reduction("M", "M_k"), s.decompose_reduction("M", "M_k")), "no initialisation"),
    "decompose inside": (
        matmul,
        lambda s: (s.reorder("M_k", "M_i"), s.decompose_reduction("M", "M_i")),
        "M_k reduces outside M_i",
    ),
    "decompose mixed": (matmul, lambda s: (s.fuse("M_j", "M_k"), s.decompose_reduction("M", "M_i")), "M_j_M_k mixes spatial"),
    "rfactor spatial": (matmul, lambda s: s.rfactor("M", "M_i"), "loop M_i does not reduce"),
    "rfactor no reduction": (chain, lambda s: s.rfactor("P", "P_i"), "it is not out = out op value"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusal(name: str) -> None:
    make, step, words = REFUSALS[name]
    with pytest.raises(CompileError) as refusal:
        step(Schedule(make()))
    assert words in str(refusal.value), str(refusal.value)
