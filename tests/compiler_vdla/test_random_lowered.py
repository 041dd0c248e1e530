"""Whatever is legal compiles, and does what the interpreter does."""

from __future__ import annotations

import pytest
from random_lowered import random_lowered
from vdla_harness import assert_exact

from vdla.errors import CompileError


@pytest.mark.parametrize("seed", range(60))
def test_random_functions(seed: int) -> None:
    func, arrays = random_lowered(seed)
    try:
        assert_exact(func, arrays, f"seed {seed}", orders=(0,))
    except CompileError as refusal:
        pytest.fail(f"seed {seed}: {refusal}")
