"""visits_once: never wrong about sharing, and no false refusal of a loop that splits, fuses and reorders have made."""

from __future__ import annotations

import itertools
import random

import pytest
from test_simplify import I, J, K, evaluate, random_index

from vdla.compiler import ir, te
from vdla.compiler.ir.printer import to_text
from vdla.compiler.passes.visits import is_injective, visits_once
from vdla.compiler.schedule import Schedule
from vdla.errors import CompileError


@pytest.mark.parametrize("seed", range(200))
def test_is_never_wrong(seed: int) -> None:
    """Where one of the proofs succeeds, no two points of the loops inside have the same bindings."""
    r = random.Random(seed)
    inside = {J: (0, r.randint(0, 5)), K: (0, r.randint(0, 5))}
    outer = {I: (0, r.randint(0, 3))}
    bindings = tuple(random_index(r, r.randint(0, 3)) for _ in range(r.randint(1, 3)))
    iters = tuple(ir.Iter(ir.Var(f"v{k}"), 1000) for k in range(len(bindings)))
    block = ir.Block("B", iters, bindings, ir.Store(ir.Buffer("y", (1,), "int32"), (ir.Const(0),), ir.Const(0)))
    proved = visits_once(block, inside, outer), is_injective(block, inside, {**outer, **inside})
    for i in range(outer[I][1] + 1):
        ranges = (range(high + 1) for _, high in inside.values())
        points = [{I: i, **dict(zip(inside, p, strict=True))} for p in itertools.product(*ranges)]
        images = {tuple(evaluate(b, point) for b in bindings) for point in points}
        assert not any(proved) or len(images) == len(points), f"seed {seed}: {[to_text(b) for b in bindings]}, {inside}, i={i}"


@pytest.mark.parametrize("seed", range(60))
def test_no_false_refusal(seed: int) -> None:
    """Whatever splits, fuses and reorders make of an elementwise stage, each of its loops can run in parallel."""
    r = random.Random(seed)
    shape = tuple(r.randint(1, 30) for _ in range(r.randint(1, 4)))
    x = te.placeholder(shape, "int32", "x")
    s = Schedule(te.create_function("f", [x], [te.compute(shape, lambda *e: x[e] + 1, "y")]))
    for _ in range(r.randint(0, 5)):
        loops = s.loops("y")
        at = r.randrange(len(loops))
        step = r.choice(["split", "fuse", "reorder"])
        if step == "split":
            s.split(loops[at], [None, r.randint(1, 9)])
        elif step == "fuse":
            s.fuse(*loops[at : at + r.randint(2, 4)])
        else:
            s.reorder(*r.sample(loops, r.randint(1, len(loops))))
    for loop in s.loops("y"):
        try:
            Schedule(s.func).parallel(loop)
        except CompileError as refusal:
            raise AssertionError(f"seed {seed}: {refusal}\n{s}") from refusal
