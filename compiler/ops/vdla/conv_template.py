"""Convolutions on VDLA: what is open in one, what fits, and the heuristic's choice."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from typing import Any

import numpy as np

from vdla.compiler.backends.vdla.intrinsics import vdla_intrinsics
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Knob, Space
from vdla.compiler.ops.vdla import expressions
from vdla.compiler.ops.vdla.conv_estimate import estimate_cycles
from vdla.compiler.ops.vdla.conv_schedule import schedule_conv2d
from vdla.compiler.ops.vdla.conv_tiling import (
    ConvTiling,
    covered_input,
    covered_kernel,
    covered_outputs,
    operand_tiles,
    rows_apart,
)
from vdla.compiler.ops.vdla.template import Footprint, VdlaTemplate, balanced_tiles, fit_problem
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.design import Design
from vdla.errors import CompileError

Buffers = tuple[tuple[int, int, int], ...]
Kernels = tuple[tuple[int, int], ...]
BUFFERS: Buffers = ((2, 2, 2), (2, 1, 2), (1, 2, 2), (1, 1, 2))
"""Buffer counts of inp, wgt and acc that the heuristic ranks. A store always runs beside the next tile."""
MOST_GROUPS = 64
"""The heuristic's limit on the groups of a depthwise tile, which keeps its ranking of layers with hundreds short."""

LARGE_WINDOW = 49
"""Products of a window beyond which parts of it are ranked beside the whole."""


def space(w: ConvWorkload, design: Design) -> Space:
    """Every tile that cuts its extent evenly, both loop orders, one or two buffers of each scratchpad. Raises `CompileError`
    when not even one output element fits."""
    one_or_two = (1, 2)
    knobs = (
        Knob("images", (1,) if w.own_weights else balanced_tiles(w.batch)),
        Knob("groups", balanced_tiles(w.groups)),
        Knob("out_blocks", balanced_tiles(w.out_blocks)),
        Knob("in_blocks", balanced_tiles(w.in_blocks)),
        Knob("kernel_rows", balanced_tiles(w.kernel[0])),
        Knob("kernel_columns", balanced_tiles(w.kernel[1])),
        Knob("rows", balanced_tiles(w.out_height)),
        Knob("columns", balanced_tiles(w.out_width)),
        Knob("weights_outer", (False, True)),
        Knob("inp_buffers", one_or_two),
        Knob("wgt_buffers", one_or_two),
        Knob("acc_buffers", one_or_two),
    )
    smallest(w, design)
    return Space(knobs, lambda config: refusal(w, ConvTiling.of(config), design))


def refusal(w: ConvWorkload, t: ConvTiling, design: Design) -> str:
    """Which scratchpads `t` overflows, with the numbers; empty when it fits."""
    return fit_problem(footprint(w, t), least_footprint(w, t), lambda: build(w, t.config, design), design)


def footprint(w: ConvWorkload, t: ConvTiling) -> Footprint:
    """Each buffer in storage of its own."""
    image, weights, out = operand_tiles(w, t)
    parameters = t.groups * t.out_blocks * 2
    inp, wgt, acc = t.inp_buffers * image, t.wgt_buffers * weights, t.acc_buffers * out + parameters
    if w.residual:  # its tiles, narrow and wide, the identity tile, its parameters
        inp, wgt, acc = inp + out, wgt + 1, acc + out + parameters
    return Footprint(inp, wgt, np.maximum(acc, w.table_tiles))  # the table is taken from acc before the first tile needs it


def least_footprint(w: ConvWorkload, t: ConvTiling) -> Footprint:
    """The image's and the residual's tiles, the weights and the identity, the two sets of parameters at different times."""
    image, weights, out = operand_tiles(w, t)
    inp = np.maximum(t.inp_buffers * image, out) if w.residual else t.inp_buffers * image
    acc = t.acc_buffers * out + (out if w.residual else t.groups * t.out_blocks * 2)
    return Footprint(inp, weights if w.uniform_weight else t.wgt_buffers * weights, np.maximum(acc, w.table_tiles))


def smallest(w: ConvWorkload, design: Design) -> ConvTiling:
    """One product at a time. Raises `CompileError` when its operands do not fit."""
    element = ConvTiling(*(1,) * 8, True, 1, 1, 1)
    for tiling in (element, replace(element, weights_outer=False)):
        if not refusal(w, tiling, design):
            return tiling
    needed = footprint(w, element)
    raise CompileError(
        "one product's operands do not fit the scratchpads",
        where=f"convolution {w.kernel[0]}×{w.kernel[1]} on {design.name}",
        found=f"inp {needed.inp}, wgt {needed.wgt}, acc {needed.acc} tiles",
        expected=f"at most {design.inp_depth}, {design.wgt_depth}, {design.acc_depth}",
        hint="larger SRAMs",
    )


@lru_cache(maxsize=4096)
def default(w: ConvWorkload, design: Design) -> Config:
    return best(w, design, BUFFERS)


def serial(w: ConvWorkload, design: Design) -> Config:
    """The default's tiles with one buffer for each."""
    return default(w, design).replace(inp_buffers=1, wgt_buffers=1, acc_buffers=1)


def best(w: ConvWorkload, design: Design, buffers: Buffers) -> Config:
    """The configuration with the lowest estimate, the larger tile among equals. Raises `CompileError` when none fits.

    buffers: counts of inp, wgt and acc to rank; only ones for a machine that overlaps nothing.
    """
    last_resort = smallest(w, design)
    for kernels in (likely_kernels(w), every_kernel(w)):
        tilings = candidates(w, design, buffers, kernels)
        if len(tilings.rows):
            cycles = np.rint(estimate_cycles(w, tilings, design))
            return select(tilings, np.lexsort((-tilings.images * tilings.rows * tilings.columns, cycles))[0]).config
    return last_resort.config


def candidates(w: ConvWorkload, design: Design, buffers: Buffers, kernels: Kernels) -> ConvTiling:
    """Every tiling worth ranking that fits `design`, as one ConvTiling of arrays, large tiles first."""
    # A depthwise layer tiles its groups; any other takes its groups one at a time.
    depthwise = w.in_blocks == w.out_blocks == 1
    groups = [g for g in balanced_tiles(w.groups) if g <= MOST_GROUPS] if depthwise else [1]
    extents = [
        candidate_images(w), groups, *map(balanced_tiles, (w.out_blocks, w.in_blocks, w.out_height)), candidate_columns(w),
    ]  # fmt: skip
    axes = [np.array(extent[::-1], np.int64) for extent in extents]
    grid = np.meshgrid(*axes, [True, False], range(len(kernels)), range(len(buffers)), indexing="ij")
    n, g, o, i, y, x, outer, kernel, choice = (a.ravel() for a in grid)
    kh, kw = np.array(kernels, np.int64)[kernel].T
    every = ConvTiling(n, g, o, i, kh, kw, y, x, outer.astype(bool), *np.array(buffers, np.int64)[choice].T)
    fits = footprint(w, every).fits(design)
    if w.residual:  # leaves room for as many tiles of the residual as of the image, though no schedule holds two
        image, _, out = operand_tiles(w, every)
        fits &= every.inp_buffers * (image + out) <= design.inp_depth
    return select(every, fits)


def likely_kernels(w: ConvWorkload) -> Kernels:
    """Parts of the window to rank first: the whole, and single rows where those between would be loaded in vain; of a large
    window all, so that its weights load beside the computation."""
    if w.kernel[0] * w.kernel[1] > LARGE_WINDOW:
        return every_kernel(w)
    gaps = w.dilations[0] > 1 or w.strides[0] > w.kernel[0]
    return tuple(dict.fromkeys([w.kernel, *([(1, w.kernel[1])] if gaps else [])]))


def every_kernel(w: ConvWorkload) -> Kernels:
    """Whole rows of the window, and parts of one."""
    rows = [(k, w.kernel[1]) for k in balanced_tiles(w.kernel[0])[::-1]]
    return tuple(dict.fromkeys([*rows, *((1, k) for k in balanced_tiles(w.kernel[1])[::-1])]))


def candidate_images(w: ConvWorkload) -> tuple[int, ...]:
    """One image at a time unless it is a single position, as a row of a dense layer is."""
    return balanced_tiles(w.batch) if w.out_height * w.out_width == 1 and not w.own_weights else (1,)


def candidate_columns(w: ConvWorkload) -> tuple[int, ...]:
    """Few widths, ascending: whole rows make the longest bursts, so narrower tiles only halve and quarter."""
    widths = balanced_tiles(w.out_width)
    return tuple(width for width in widths if width in widths[-4:] or width in (1, 2, 4, 8))


def select(t: ConvTiling, chosen: Any) -> ConvTiling:
    """The tilings of an array form that a mask or an index picks; a single index gives plain numbers."""
    picked = [getattr(t, f.name)[chosen] for f in fields(ConvTiling)]
    return ConvTiling(*(value.item() if np.ndim(value) == 0 else value for value in picked))


def build(w: ConvWorkload, config: Config, design: Design) -> Function:
    tiling = ConvTiling.of(config)
    apart = (covered_kernel(w, tiling)[0], covered_outputs(w, tiling)) if rows_apart(w, tiling) else None
    expression = expressions.conv2d(w, design, covered_input(w, tiling), apart)
    return schedule_conv2d(expression, w, tiling, vdla_intrinsics(design))


TEMPLATE = VdlaTemplate("conv2d", space, default, build, serial)
