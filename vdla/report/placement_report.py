"""Where a network runs, in figures: each target's share, the switches between them, and what keeps operators on the host."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vdla.compiler.model import CompiledModel
from vdla.host_models import HostModel, host_model

if TYPE_CHECKING:
    from vdla.report.run_report import LayerReport

FASTER = "faster on the host"


@dataclass(frozen=True, slots=True)
class TargetShare:
    """What of the network is on one target. seconds: of the accelerator, which is `timed`, by its cycles; of others by the host
    model.

    bytes: of the accelerator over its bus; of others what their operators read and write.
    """

    target: str
    operators: int
    macs: int
    bytes: int
    seconds: float
    timed: bool


@dataclass(frozen=True, slots=True)
class Cause:
    """Why operators are not on the accelerator. seconds: what they take on the host, estimated; example: one of them, and its
    reason in full."""

    cause: str
    operators: int
    macs: int
    seconds: float
    example: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlacementReport:
    """targets: the accelerator's first. switches: how often execution goes from one target to another. host: the model in which
    the host's time is estimated, and `host_named`, whether the design names it. causes: the costliest first."""

    targets: tuple[TargetShare, ...]
    switches: int
    host: str
    host_named: bool
    causes: tuple[Cause, ...]

    @property
    def macs(self) -> int:
        return sum(share.macs for share in self.targets)

    @property
    def estimate(self) -> str:
        """How the host's time was found, in words."""
        return f"estimate, in the model of {self.host}" + ("" if self.host_named else ": the design names no host")

    def share(self, share: TargetShare) -> float:
        """Of all multiply-accumulates."""
        return share.macs / self.macs if self.macs else 0.0


def host_of(model: CompiledModel) -> HostModel:
    return host_model(model.design.host_name)


def placement_report(model: CompiledModel, layers: Sequence[LayerReport]) -> PlacementReport:
    """Of a model's steps and the reports of its layers."""
    design = model.design
    targets = dict.fromkeys(sorted((layer.target for layer in layers), key=lambda t: not is_device(layers, t)))
    order = [step.target for step in model.steps]
    return PlacementReport(
        targets=tuple(target_share(target, layers) for target in targets),
        switches=sum(a != b for a, b in zip(order, order[1:], strict=False)),
        host=design.host_name,
        host_named=design.board is not None,
        causes=causes_of(layer for layer in layers if not layer.on_device),
    )


def is_device(layers: Sequence[LayerReport], target: str) -> bool:
    return any(layer.on_device for layer in layers if layer.target == target)


def target_share(target: str, layers: Iterable[LayerReport]) -> TargetShare:
    mine = [layer for layer in layers if layer.target == target]
    macs, size, seconds = (sum(getattr(layer, key) for layer in mine) for key in ("macs", "bytes", "seconds"))
    return TargetShare(target, len(mine), macs, size, seconds, all(layer.on_device for layer in mine))


def causes_of(layers: Iterable[LayerReport]) -> tuple[Cause, ...]:
    """Reasons that differ only in the operator that they are of are one cause."""
    by_cause: dict[str, list[LayerReport]] = {}
    for layer in layers:
        by_cause.setdefault(cause_of(layer), []).append(layer)
    causes = []
    for cause, members in by_cause.items():
        worst = max(members, key=lambda layer: layer.seconds)
        seconds, macs = sum(layer.seconds for layer in members), sum(layer.macs for layer in members)
        causes.append(Cause(cause, len(members), macs, seconds, worst.name, worst.why))
    return tuple(sorted(causes, key=lambda cause: cause.seconds, reverse=True))


def cause_of(layer: LayerReport) -> str:
    """A reason without what is of one operator: its name in front, what was found in it behind."""
    text = layer.why.partition("; found ")[0]
    before, colon, rest = text.partition(": ")
    if before == FASTER:
        return before
    return rest if colon and before in (layer.name, layer.source) else text
