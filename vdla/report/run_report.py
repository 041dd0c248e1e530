"""What `vdla run` reports: one frozen record for the run and one for each layer, and their JSON form."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Node
from vdla.compiler.graph.work import work_of
from vdla.compiler.model import CompiledModel
from vdla.compiler.targets import backend_of
from vdla.compiler.targets.vdla_layout import quantised_name
from vdla.design import Design
from vdla.device import STALLS, LayerProfile, Profile
from vdla.host_models import kernel_seconds
from vdla.isa.program import LayerSpan
from vdla.report.placement_report import PlacementReport, host_of
from vdla.text import shortened

LABEL_WIDTH = 40


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One node of the placed graph. cycles are 0 on the host; stalls are those of COMPUTE, in cycles by cause.

    seconds: by its cycles, or of the host as estimated in its model. bytes: over the accelerator's bus, or what an operator of
    the host reads and writes.
    """

    name: str
    source: str
    op: str
    target: str
    why: str
    macs: int
    cycles: int
    bound_cycles: int
    utilization: float
    dram_bytes: int
    stalls: Mapping[str, int]
    bit_exact: bool | None
    unit_busy: Mapping[str, int]
    gemm_cycles: int
    alu_cycles: int
    traffic: Mapping[str, int]
    operations_per_byte: float
    seconds: float
    bytes: int

    @property
    def on_device(self) -> bool:
        """Whether it is part of a program, which a device ran and timed."""
        return backend_of(self.target).has_programs

    @property
    def label(self) -> str:
        return label(self.source)

    @property
    def short_label(self) -> str:
        """For a table's first column."""
        return shortened(self.label, LABEL_WIDTH)


@dataclass(frozen=True, slots=True)
class RunReport:
    """The keys of `vdla run --json` (DESIGN, section 8).

    bit_exact: whether each of the accelerator's layers equals the integer reference on the values that came in; None when
    nothing ran there. compared_layers, exact_layers: how many were compared, and are equal. host_differs: tensors that the host
    computed and that are further from the reference, on what came in, than rounding takes them.
    """

    model: str
    design: str
    batch: int
    latency_hiding: bool
    cycles: int
    ms: float
    gops: float
    utilization: float
    bound_cycles: int
    bit_exact: bool | None
    compared_layers: int
    exact_layers: int
    host_differs: tuple[str, ...]
    max_abs_err: float
    rel_err: float
    placement: PlacementReport
    layers: tuple[LayerReport, ...]
    wall: Mapping[str, float]
    provenance: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def exactness(self) -> str:
        """Of how many layers the bits are the reference's, in words."""
        if self.bit_exact is None:
            return "nothing ran on the accelerator"
        verdict = "bit-exact" if self.bit_exact else "NOT bit-exact"
        return f"{verdict}: {self.exact_layers} of {self.compared_layers} accelerator layers"


def layer_reports(model: CompiledModel, profiles: tuple[Profile, ...], exact: Mapping[str, bool]) -> list[LayerReport]:
    """One report for each node in execution order. exact: tensor → equal to the integer reference."""
    reports: list[LayerReport] = []
    timed = iter(profiles)
    for step in model.steps:
        if step.program is None:
            reports += [_untimed_layer(model, step.target, node) for node in step.nodes]
            continue
        profile = next(timed)
        for span, layer in zip(step.program.layers, profile.layers, strict=True):
            reports.append(_timed_layer(model, step.target, span, layer, exact))
    return reports


def _untimed_layer(model: CompiledModel, target: str, node: Node) -> LayerReport:
    work = work_of(node, model.placed)
    return LayerReport(
        name=node.name,
        source=node.source or node.name,
        op=node.op,
        target=target,
        why=model.placement.reasons.get(node.name, "layout, on the host"),
        macs=work.macs,
        cycles=0,
        bound_cycles=0,
        utilization=0.0,
        dram_bytes=0,
        stalls=dict.fromkeys(STALLS, 0),
        bit_exact=None,
        unit_busy={},
        gemm_cycles=0,
        alu_cycles=0,
        traffic={},
        operations_per_byte=_ratio(2 * work.macs, work.bytes),
        seconds=kernel_seconds(host_of(model), work.macs, work.operations, work.bytes, work.floats),
        bytes=work.bytes,
    )


def _timed_layer(
    model: CompiledModel, target: str, span: LayerSpan, layer: LayerProfile, exact: Mapping[str, bool]
) -> LayerReport:
    design = model.design
    sources = {node.name: node.source for node in model.quantised.nodes}
    tensors = [quantised_name(slot.name) for slot in span.outputs]
    return LayerReport(
        name=span.name,
        source=sources.get(span.name) or span.name,
        op=span.op,
        target=target,
        why=model.placement.reasons.get(span.name, "a VDLA kernel"),
        macs=span.macs,
        cycles=layer.cycles,
        bound_cycles=layer_bound(span, design),
        utilization=_ratio(span.macs, layer.cycles * design.macs_per_cycle),
        dram_bytes=sum(layer.dram_bytes.values()),
        stalls=dict(layer.units["compute"].stalls),
        bit_exact=all(exact[name] for name in tensors) if all(name in exact for name in tensors) else None,
        unit_busy={unit: profile.busy for unit, profile in layer.units.items()},
        gemm_cycles=layer.gemm_cycles,
        alu_cycles=layer.alu_cycles,
        traffic=dict(layer.dram_bytes),
        operations_per_byte=_ratio(2 * span.macs, span.unique_bytes),
        seconds=layer.cycles / (design.clock_mhz * 1e6),
        bytes=sum(layer.dram_bytes.values()),
    )


def label(source: str) -> str:
    """A fused layer's name without what its parts share: `layer1.0.conv2+layer1.0.bn2+layer1.0.relu2` is
    `layer1.0.conv2+bn2+relu2`."""
    first, *rest = source.split("+")
    scopes = re.split(r"[./]", first)[:-1]

    def within(part: str) -> str:
        names = re.split(r"[./]", part)
        shared = len(os.path.commonprefix([scopes, names[:-1]]))
        return part[sum(len(name) + 1 for name in names[:shared]) :]

    return "+".join([first, *map(within, rest)])


def layer_bound(span: LayerSpan, design: Design) -> int:
    """The layer's own roofline in cycles: its GEMM micro-ops, or each of its tensors over the bus once."""
    return max(span.gemm_uops, ceil_div(span.unique_bytes, design.bytes_per_cycle))


def network_bound(model: CompiledModel) -> int:
    """max(GEMM micro-ops, (weights + inputs and outputs of the programs) / bandwidth): no schedule is faster."""
    uops = sum(span.gemm_uops for program in model.programs for span in program.layers)
    constants = sum(segment.data.nbytes for p in model.programs for segment in p.segments if segment.name != "micro-ops")
    ends = sum(slot.bytes for p in model.programs for slot in (*p.inputs, *p.outputs))
    return max(uops, ceil_div(constants + ends, model.design.bytes_per_cycle))


def totals(model: CompiledModel, cycles: int) -> dict[str, float]:
    """ms, gops and utilization of a run of `cycles`, counting useful multiply-accumulates only."""
    macs = sum(span.macs for program in model.programs for span in program.layers)
    seconds = cycles / (model.design.clock_mhz * 1e6)
    return {
        "ms": seconds * 1e3,
        "gops": _ratio(2 * macs, seconds) / 1e9,
        "utilization": _ratio(macs, cycles * model.design.macs_per_cycle),
    }


def _ratio(a: float, b: float) -> float:
    return a / b if b else 0.0
