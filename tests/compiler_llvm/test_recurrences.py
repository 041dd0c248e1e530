"""Scans, tuple reductions and indirect loads against NumPy: interpreted, and as machine code under several schedules."""

from __future__ import annotations

import numpy as np
import pytest
from recurrences import CASES, Case

from vdla.compiler import ir
from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.ops.cpu.schedules import axis_loops, schedule_separately
from vdla.compiler.passes import lower
from vdla.compiler.schedule import Schedule


def compare(found: list[np.ndarray], case: Case) -> None:
    for array, expected in zip(found, case.expected, strict=True):
        if array.dtype.kind == "f":
            np.testing.assert_allclose(array, expected, rtol=2e-4, atol=2e-4)
        else:
            np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("name", CASES)
def test_interpreted(name: str) -> None:
    case = CASES[name]()
    ir.verify(case.function)
    compare(ir.interpret(case.function, case.arrays), case)
    again = ir.parse(ir.to_text(case.function))
    assert ir.structural_equal(again, case.function)
    compare(ir.interpret(lower(again, every_pass=True), case.arrays), case)


@pytest.mark.parametrize("name", CASES)
def test_as_machine_code(name: str) -> None:
    case = CASES[name]()
    compare(compile_function(lower(case.function)).run(*case.arrays), case)


@pytest.mark.parametrize("name", CASES)
def test_under_the_default_schedule(name: str) -> None:
    case = CASES[name]()
    schedule = Schedule(case.function, check=True)
    schedule_separately(schedule, schedule.blocks())
    lowered = lower(schedule.func, every_pass=True)
    compare(ir.interpret(lowered, case.arrays), case)
    compare(compile_function(lowered).run(*case.arrays), case)


@pytest.mark.parametrize("name", CASES)
def test_vectorised_along_a_spatial_axis(name: str) -> None:
    """Each block's last spatial axis inside its reduced ones, a vector at a time; the initialisations by themselves."""
    case = CASES[name]()
    schedule = Schedule(case.function, check=True)
    for block in schedule.blocks():
        spatial, reduced = axis_loops(schedule, block)
        if not spatial:
            continue
        schedule.reorder(*spatial[:-1], *reduced, spatial[-1])
        schedule.vectorize(spatial[-1])
        if reduced:
            schedule.decompose_reduction(block, reduced[0])
    compare(compile_function(lower(schedule.func, every_pass=True)).run(*case.arrays), case)
