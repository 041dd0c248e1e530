"""Lowering verifies what it is given and what it gives, without being asked."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from vdla.compiler.ir.nodes import Buffer, For, Function, Store, Var
from vdla.compiler.passes.lower import PIPELINE, lower
from vdla.errors import CompileError

MODULE = sys.modules["vdla.compiler.passes.lower"]


def copied(extent: int = 8) -> Function:
    x, y, i = Buffer("x", (8,), "int8"), Buffer("y", (8,), "int8"), Var("i")
    return Function("copied", (x, y), For(i, extent, Store(y, (i,), x[i])))


def too_far(func: Function) -> Function:
    return copied(9)


def use(monkeypatch: pytest.MonkeyPatch, *passes: tuple[str, Callable[[Function], Function]]) -> None:
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
