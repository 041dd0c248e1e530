"""What the templates of VDLA's kernels share: the record, what a tiling occupies, and whether it fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.vdla.sram import sram_usage
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Template
from vdla.compiler.passes.lower import lower
from vdla.design import Design
from vdla.errors import CompileError

W = TypeVar("W")
OVERLAPPED_TILES = 4
"""Enough tiles in a layer that loads, computation and stores of different ones overlap; more only costs instructions."""


@dataclass(frozen=True)
class VdlaTemplate(Template[W, Design], Generic[W]):
    """A kind of kernel on VDLA.

    serial(workload, design): the heuristic's choice when no two units work at once: what latency hiding is compared with.
    """

    serial: Callable[[W, Design], Config]


@dataclass(frozen=True, slots=True)
class Footprint:
    """SRAM tiles of a tiling, or of many (int64 arrays)."""

    inp: Any
    wgt: Any
    acc: Any

    def fits(self, design: Design) -> Any:
        return (self.inp <= design.inp_depth) & (self.wgt <= design.wgt_depth) & (self.acc <= design.acc_depth)

    def problem(self, design: Design) -> str:
        """What does not fit, "inp: 2,304 tiles of 2,048; acc: 5,120 tiles of 2,048"; empty when everything does."""
        depths = {"inp": design.inp_depth, "wgt": design.wgt_depth, "acc": design.acc_depth}
        needed = {memory: int(getattr(self, memory)) for memory in depths}
        return "; ".join(f"{m}: {needed[m]:,} tiles of {depths[m]:,}" for m in depths if needed[m] > depths[m])


def fit_problem(apart: Footprint, together: Footprint, build: Callable[[], Function], design: Design) -> str:
    """Why a kernel does not fit the scratchpads; empty when it does.

    apart: every buffer has storage of its own, so what fits then surely does. together: only what is in use at one moment, so
    what does not fit then never does. Between them lifetimes decide, and the SRAM planner says, on the function that `build`
    schedules (which takes as long as a kernel does).
    """
    if not apart.problem(design):
        return ""
    if problem := together.problem(design):
        return problem
    try:
        sram_usage(lower(build()), design)
    except CompileError:
        return apart.problem(design)
    return ""


class Tiling:
    """What the dataclasses of settings have in common: the same settings as a configuration, whose knobs are the fields."""

    __slots__ = ()

    @classmethod
    def of(cls, config: Config) -> Self:
        return cls(**config.values)

    @property
    def config(self) -> Config:
        return Config(tuple((name, getattr(self, name)) for name in self.__dataclass_fields__))  # type: ignore[attr-defined]


def balanced_tiles(extent: int) -> tuple[int, ...]:
    """Tile extents that cut `extent` into equal parts, as nearly as it goes, ascending: 7 → 1, 2, 3, 4, 7."""
    return tuple(np.unique(ceil_div(extent, np.arange(1, extent + 1))).tolist())
