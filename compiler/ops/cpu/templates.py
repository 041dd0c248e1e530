"""The kind of kernel of each workload: its anchor operator decides."""

from __future__ import annotations

from vdla.compiler.backends.llvm import Target
from vdla.compiler.ir.nodes import Function
from vdla.compiler.operators import row_normalisation
from vdla.compiler.ops.configuration import Config
from vdla.compiler.ops.cpu import convolution, matrices, packing, recurrence, rows, separate, sums, window
from vdla.compiler.ops.cpu.expressions import Composition
from vdla.compiler.ops.cpu.template import CpuTemplate
from vdla.compiler.ops.cpu.workload import Workload
from vdla.errors import CompileError

TEMPLATES: dict[str, CpuTemplate] = {
    **dict.fromkeys(("conv2d", "qconv2d"), convolution.TEMPLATE),
    **dict.fromkeys(("dense", "qdense"), matrices.DENSE),
    "matmul": matrices.MATMUL,
    **dict.fromkeys(("conv", "conv_transpose", "deform_conv2d"), sums.TEMPLATE),
    **dict.fromkeys(("max_pool2d", "avg_pool2d", "qmax_pool2d", "qavg_pool2d"), window.TEMPLATE),
    **dict.fromkeys(("max_pool", "avg_pool", "lp_pool"), window.TEMPLATE),
    **dict.fromkeys(("softmax", *(operator.name for operator in row_normalisation.FAMILY)), rows.TEMPLATE),
    "pack_nchwc": packing.TEMPLATE,
    **dict.fromkeys(("rnn", "gru", "lstm"), recurrence.TEMPLATE),
}
"""By the anchor's operator; of all others, each stage is scheduled by itself."""


def template_of(workload: Workload) -> CpuTemplate:
    return TEMPLATES.get(workload.anchor.node.op, separate.TEMPLATE)


def scheduled(workload: Workload, target: Target, config: Config | None = None) -> tuple[Function, Composition]:
    """The loops of a workload under `config`, or the default, not yet lowered; and the expressions that they compute.

    Raises `CompileError` for an operator the CPU does not have and for a configuration that is not the workload's.
    """
    template = template_of(workload)
    if config is None:
        config = template.default(workload, target)
    elif problem := template.space(workload, target).problem(config):
        raise CompileError("not a configuration of this kernel", where=workload.name, found=str(config), hint=problem)
    return template.build(workload, config, target), template.composition(workload, config)
