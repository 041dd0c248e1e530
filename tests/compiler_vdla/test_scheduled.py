"""Scheduled kernels, lowered, emitted, linked: the checker accepts them and they equal the interpreter bit for bit."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from vdla_harness import TINY, assert_exact

from vdla.compiler.backends.vdla.sram import sram_usage
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.vdla.conv_template import footprint
from vdla.compiler.ops.vdla.conv_tiling import ConvTiling
from vdla.compiler.ops.vdla.kernels import template_of
from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload, Workload
from vdla.compiler.passes import lower

sys.path.insert(0, str(Path(__file__).parents[1] / "compiler_schedule"))
from schedule_kernels import Conv, Tiling, conv2d, conv_arrays, schedule_conv2d  # noqa: E402


def lowered_kernel(w: Workload, config: Config) -> Function:
    return lower(template_of(w).build(w, config, TINY))


def arrays_of(func: Function, seed: int) -> dict[str, np.ndarray]:
    """Random int8 tensors, and parameters whose scale words multiply by 2⁻⁷ … 2."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for buffer in func.params[: -func.output_count]:
        if buffer.dtype == "int8":
            arrays[buffer.name] = rng.integers(-128, 128, buffer.shape, dtype=np.int8)
            continue
        words = rng.integers(-1000, 1000, buffer.shape, dtype=np.int32)
        words[..., 1, :, :] = rng.integers(0, 1 << 18, words[..., 1, :, :].shape) | rng.integers(18, 26) << 18
        arrays[buffer.name] = words
    return arrays


@pytest.mark.parametrize("seed", range(16))
def test_random_tiled_convolutions(seed: int) -> None:
    """Virtual threads or double buffers, tails, padding values, a residual."""
    r = random.Random(seed)
    kernel = r.choice([1, 2, 3])
    conv = Conv(
        r.randint(1, 3), r.randint(1, 3), r.randint(kernel, 7), r.randint(kernel, 7), kernel, r.randint(1, 2), r.randint(0, 1)
    )
    double = r.random() < 0.5
    tiling = Tiling(
        r.randint(1, 2),
        r.randint(1, 4),
        r.randint(1, 4),
        r.randint(1, 2),
        1 if double else r.randint(1, 2),
        r.random() < 0.5,
        double,
    )
    residual = r.random() < 0.4
    func = conv2d(conv, residual, r.choice([0, -3]))
    lowered = lower(schedule_conv2d(func, tiling, residual=residual).func, every_pass=True)
    assert_exact(lowered, conv_arrays(func, seed), f"seed {seed}: {conv} {tiling} residual={residual}")


@pytest.mark.parametrize("seed", range(16))
def test_random_convolution_layers(seed: int) -> None:
    r = random.Random(1000 + seed)
    kernel = r.choice([(1, 1), (3, 3), (2, 3)])
    depthwise = r.random() < 0.3
    groups, ins, outs = (r.randint(2, 3), 1, 1) if depthwise else (1, r.randint(1, 3), r.randint(1, 3))
    strides, pads = (r.randint(1, 2), r.randint(1, 2)), tuple(r.randint(0, 1) for _ in range(4))
    size = (r.randint(3, 7), r.randint(3, 7))
    residual, pad_value = r.random() < 0.4, r.choice([0, 5])
    w = ConvWorkload(r.randint(1, 2), groups, ins, outs, *size, kernel, strides, pads, residual=residual, pad_value=pad_value)
    t = random_tiling(r, w)
    lowered = lowered_kernel(w, t.config)
    used, expected = sram_usage(lowered, TINY), footprint(w, t)
    assert used["inp"] <= expected.inp, f"seed {seed}: {w} {t}"
    assert used["wgt"] <= expected.wgt, f"seed {seed}: {w} {t}"
    assert used["acc"] <= expected.acc, f"seed {seed}: {w} {t}"
    assert_exact(lowered, arrays_of(lowered, seed), f"seed {seed}: {w} {t}")


def random_tiling(r: random.Random, w: ConvWorkload) -> ConvTiling:
    """One that fits."""
    while True:
        blocks = (r.randint(1, w.groups), r.randint(1, w.out_blocks), r.randint(1, w.in_blocks))
        window = (r.randint(1, min(4, w.out_height)), r.randint(1, min(4, w.out_width)))
        b = r.randint(1, 2)
        part = (r.randint(1, w.kernel[0]), r.randint(1, w.kernel[1]))
        t = ConvTiling(r.randint(1, w.batch), *blocks, *part, *window, r.random() < 0.5, b, b, b)
        if footprint(w, t).fits(TINY):
            return t


@pytest.mark.parametrize("seed", range(12))
def test_random_elementwise_layers(seed: int) -> None:
    r = random.Random(2000 + seed)
    w = ElementwiseWorkload(
        r.choice(["qadd", "qsub", "qmax", "qmin", "qmul", "requantize"]), 1, r.randint(1, 3), r.randint(1, 12), -100, 90
    )
    tile = {"blocks": r.randint(1, w.blocks), "positions": r.randint(1, min(4, w.positions))}
    config = Config.of(**tile, inp_buffers=r.randint(1, 2), acc_buffers=r.randint(1, 2))
    lowered = lowered_kernel(w, config)
    assert_exact(lowered, arrays_of(lowered, seed), f"seed {seed}: {w} {config}")


@pytest.mark.parametrize("seed", range(6))
def test_random_max_pools(seed: int) -> None:
    r = random.Random(3000 + seed)
    kernel, stride, pad = (r.randint(1, 3), r.randint(1, 3)), (r.randint(1, 2), r.randint(1, 2)), r.randint(0, 1)
    height, width = r.randint(3, 8), r.randint(3, 8)
    out = [(n + 2 * pad - k) // s + 1 for n, k, s in zip((height, width), kernel, stride, strict=True)]
    w = PoolWorkload(1, r.randint(1, 2), height, width, kernel, stride, (pad, pad, pad, pad), *out)
    config = Config.of(
        blocks=r.randint(1, w.blocks), rows=r.randint(1, min(2, w.out_height)), columns=r.randint(1, 2),
        inp_buffers=r.randint(1, 2), acc_buffers=r.randint(1, 2),
    )  # fmt: skip
    lowered = lowered_kernel(w, config)
    assert_exact(lowered, arrays_of(lowered, seed), f"seed {seed}: {w} {config}")
