"""The interpreter and LLVM compute the same from random loop nests: integers bit for bit, floats within rounding."""

from __future__ import annotations

import os

import numpy as np
import pytest
from random_loops import EXACT, LoopMaker, comparable, random_inputs

from vdla.compiler.backends.llvm import compile_function
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.printer import to_text

COUNT = 1500 if os.environ.get("VDLA_LONG") else 150


@pytest.mark.parametrize("seed", range(COUNT))
def test_integers_and_narrow_types_are_equal_bit_for_bit(seed):
    func = LoopMaker(seed, EXACT).function()
    inputs = random_inputs(func, seed)
    (expected,) = interpret(func, inputs)
    (found,) = compile_function(func).run(*inputs)
    np.testing.assert_array_equal(comparable(found), comparable(expected), err_msg=f"seed {seed}\n{to_text(func)}")


@pytest.mark.parametrize("seed", range(COUNT // 3))
def test_floats_agree_within_rounding(seed):
    """At most about 40 operations a value, of magnitudes below 10⁴: 1e-3 relative covers cancellation in float32 sums."""
    func = LoopMaker(seed, ("float64",)).function()
    inputs = random_inputs(func, seed)
    (expected,) = interpret(func, inputs)
    (found,) = compile_function(func).run(*inputs)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}\n{to_text(func)}")
