"""What the templates of CPU kernels share: the record, and its way from a configuration to scheduled loops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ir.nodes import Function
from vdla.compiler.ops.configuration import Config, Space, Template, Value
from vdla.compiler.ops.cpu.expressions import Composition, composition, loops
from vdla.compiler.ops.cpu.workload import Workload
from vdla.compiler.schedule import Schedule

Arrange = Callable[[Schedule, Workload, Config, Target], None]
"""Puts the loops of a workload's expressions in the order a configuration asks for."""
Choices = Callable[[Config], Mapping[str, Value]]
"""A configuration → what the tensor expressions depend on: arguments of `expressions.composition`."""


@dataclass(frozen=True)
class CpuTemplate(Template[Workload, Target]):
    """A kind of kernel on the CPU."""

    choices: Choices

    def composition(self, workload: Workload, config: Config) -> Composition:
        """The tensor expressions that `build` makes loops of."""
        return composition(workload, **self.choices(config))


def template(
    name: str,
    space: Callable[[Workload, Target], Space],
    default: Callable[[Workload, Target], Config],
    arrange: Arrange,
    choices: Choices = lambda config: {},
) -> CpuTemplate:
    """A kind of kernel: what of its configurations the tensor expressions depend on, and how its loops are arranged."""

    def build(workload: Workload, config: Config, target: Target) -> Function:
        s = Schedule(loops(workload, **choices(config)))
        arrange(s, workload, config, target)
        return s.func

    return CpuTemplate(name, space, default, build, choices)
