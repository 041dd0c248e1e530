"""The tiled conv2d of VDLA: every tiling computes what the unscheduled function does, scheduled and lowered."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from schedule_kernels import Conv, Tiling, conv2d, conv_arrays, schedule_conv2d

from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.passes import lower


def check(conv: Conv, tiling: Tiling, residual: bool = False, seed: int = 0, pad_value: int = 0) -> None:
    func = conv2d(conv, residual, pad_value)
    arrays = conv_arrays(func, seed)
    expected = interpret(func, arrays)[0]
    schedule = schedule_conv2d(func, tiling, residual=residual, check=True)
    where = f"seed {seed}: {conv} {tiling} residual={residual}"
    np.testing.assert_array_equal(interpret(schedule.func, arrays)[0], expected, err_msg=f"scheduled, {where}")
    lowered = lower(schedule.func, every_pass=True)
    np.testing.assert_array_equal(interpret(lowered, arrays)[0], expected, err_msg=f"lowered, {where}")


@pytest.mark.parametrize("tensorize", [False, True])
@pytest.mark.parametrize("double_buffer", [False, True])
@pytest.mark.parametrize("vthread", [1, 2])
def test_tails_in_every_dimension(tensorize: bool, double_buffer: bool, vthread: int) -> None:
    check(Conv(), Tiling(tensorize=tensorize, double_buffer=double_buffer, vthread=vthread))


def test_residual_and_padding_value() -> None:
    check(Conv(height=5, width=6), Tiling(vthread=2), residual=True, pad_value=-3)


@pytest.mark.parametrize("seed", range(12))
def test_random_shapes_and_tilings(seed: int) -> None:
    r = random.Random(seed)
    kernel = r.choice([1, 2, 3])
    conv = Conv(
        r.randint(1, 3), r.randint(1, 3), r.randint(kernel, 8), r.randint(kernel, 8), kernel, r.randint(1, 2), r.randint(0, 1)
    )
    tiling = Tiling(
        r.randint(1, 3), r.randint(1, 5), r.randint(1, 5), r.randint(1, 3), r.randint(1, 3), r.random() < 0.5, r.random() < 0.5
    )
    check(conv, dataclasses.replace(tiling, tensorize=r.random() < 0.7), r.random() < 0.3, seed)
