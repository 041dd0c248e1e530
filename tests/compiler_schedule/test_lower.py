"""Lowering verifies what it is given and what it gives, without being asked."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest

from vdla.compiler import ir, te
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.passes.lower import PIPELINE, lower
from vdla.compiler.schedule import Schedule
from vdla.errors import CompileError

MODULE = sys.modules["vdla.compiler.passes.lower"]


def copied(extent: int = 8) -> ir.Function:
    x, y, i = ir.Buffer("x", (8,), "int8"), ir.Buffer("y", (8,), "int8"), ir.Var("i")
    return ir.Function("copied", (x, y), ir.For(i, extent, ir.Store(y, (i,), x[i])))


def too_far(func: ir.Function) -> ir.Function:
    return copied(9)


def use(monkeypatch: pytest.MonkeyPatch, *passes: tuple[str, Callable[[ir.Function], ir.Function]]) -> None:
    monkeypatch.setattr(MODULE, "PIPELINE", passes)


def test_an_illegal_schedule_is_refused() -> None:
    with pytest.raises(CompileError, match="leaves its shape"):
        lower(copied(9))


def test_an_illegal_result_of_the_last_pass_is_refused(monkeypatch) -> None:
    use(monkeypatch, *PIPELINE, ("broken", too_far))
    with pytest.raises(CompileError, match="leaves its shape"):
        lower(copied())


@pytest.mark.parametrize("how", [{"every_pass": True}, {"dump": lambda name, func: None}])
def test_a_pass_in_between_is_caught_when_asked_for_and_when_dumped(how, monkeypatch) -> None:
    use(monkeypatch, ("broken", too_far), ("mended", lambda func: copied()), *PIPELINE)
    lower(copied())
    with pytest.raises(CompileError, match="leaves its shape"):
        lower(copied(), **how)


def test_a_dump_shows_the_pass_at_fault(monkeypatch) -> None:
    use(monkeypatch, ("broken", too_far), *PIPELINE)
    stages: list[str] = []
    with pytest.raises(CompileError):
        lower(copied(), lambda name, func: stages.append(name))
    assert stages == ["input", "broken"]


def transposed(alignment: int) -> ir.Function:
    """T = x transposed, its rows of 6 aligned; y is T's first 5 columns, plus 1."""
    x = te.placeholder((6, 4), "int32", "x")
    t = te.compute((4, 6), lambda i, j: x[j, i], "T")
    s = Schedule(te.create_function("transposed", [x], [te.compute((4, 5), lambda i, j: t[i, j] + 1, "y")]))
    s.storage_align("T", alignment)
    return s.func


@pytest.mark.parametrize(("alignment", "row"), [(8, 8), (5, 10), (4, 8), (1, 6)])
def test_aligned_rows_are_padded_and_everything_else_is_as_before(alignment: int, row: int) -> None:
    lowered = lower(transposed(alignment), every_pass=True)
    (allocation,) = [stmt for stmt in ir.walk_stmt(lowered.body) if isinstance(stmt, ir.Allocate)]
    assert (allocation.buffer.shape[-1], allocation.annotations) == (row, ())
    x = np.arange(24, dtype="int32").reshape(6, 4)
    for result in (interpret(lowered, [x])[0], compile_function(lowered).run(x)[0]):
        np.testing.assert_array_equal(result, x.T[:, :5] + 1)


def test_tiles_are_not_padded() -> None:
    s = Schedule(transposed(8))
    s.set_scope("T", "vdla.acc")
    with pytest.raises(CompileError, match="storage_align in vdla.acc; found 'T'; expected none: the last two dimensions"):
        lower(s.func)
