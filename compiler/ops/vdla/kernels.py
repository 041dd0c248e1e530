"""A workload's kernel: built under a configuration, lowered and emitted, once."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from vdla.compiler.backends.vdla.emit import Emission, emit
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.vdla import conv_template, copy_template, elementwise_template, pool_template, table_template
from vdla.compiler.ops.vdla.template import VdlaTemplate
from vdla.compiler.ops.vdla.workload import (
    ConvWorkload,
    CopyWorkload,
    ElementwiseWorkload,
    PoolWorkload,
    TableWorkload,
    Workload,
)
from vdla.compiler.passes.lower import lower
from vdla.design import Design

TEMPLATES: dict[type, VdlaTemplate[Any]] = {
    ConvWorkload: conv_template.TEMPLATE,
    ElementwiseWorkload: elementwise_template.TEMPLATE,
    TableWorkload: table_template.TEMPLATE,
    PoolWorkload: pool_template.TEMPLATE,
    CopyWorkload: copy_template.TEMPLATE,
}


def template_of(workload: Workload) -> VdlaTemplate[Any]:
    return TEMPLATES[type(workload)]


def kernel(
    workload: Workload, design: Design, config: Config | None = None, dump: Callable[[str, str], None] | None = None
) -> Emission:
    """The instructions of a workload under `config`, one of its space, or the default. Raises `CompileError` when it does not
    fit.

    dump: receives the name and the text of each stage of lowering, which is then verified.
    """
    config = config or template_of(workload).default(workload, design)
    if dump is None:
        return _emission(workload, design, config)
    emission, stages = _dumped_emission(workload, design, config)
    for stage, text in stages:
        dump(stage, text)
    return emission


@lru_cache(maxsize=1024)
def _emission(workload: Workload, design: Design, config: Config) -> Emission:
    return emit(lower(template_of(workload).build(workload, config, design)), design)


@lru_cache(maxsize=64)
def _dumped_emission(workload: Workload, design: Design, config: Config) -> tuple[Emission, tuple[tuple[str, str], ...]]:
    """With the stages' texts: layers of one workload are lowered once, and each has its dump."""
    stages: list[tuple[str, str]] = []

    def keep(stage: str, func: Function) -> None:
        stages.append((stage, to_text(func)))

    lowered = lower(template_of(workload).build(workload, config, design), keep)
    return emit(lowered, design), tuple(stages)
