"""What `vdla run --target cpu` reports: one frozen record for the run, one for each kernel and output, and their JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vdla.report.run_report import LABEL_WIDTH, label
from vdla.text import shortened


@dataclass(frozen=True, slots=True)
class TensorReport:
    """A tensor beside the reference executor's. type: as graphs print it. max_abs_err: the largest difference of an element;
    rel_err: ‖difference‖ / ‖reference‖. Both hold all the errors made up to here, not those of one operator."""

    name: str
    type: str
    max_abs_err: float
    rel_err: float


@dataclass(frozen=True, slots=True)
class KernelReport:
    """One kernel: the operators that were fused. seconds: the median of the timed runs. outputs: what it computes."""

    name: str
    source: str
    op: str
    target: str
    seconds: float
    outputs: tuple[TensorReport, ...]

    @property
    def short_label(self) -> str:
        """For a table's first column."""
        return shortened(label(self.source), LABEL_WIDTH)

    @property
    def short_op(self) -> str:
        return shortened(self.op, LABEL_WIDTH)

    @property
    def max_abs_err(self) -> float:
        return max((tensor.max_abs_err for tensor in self.outputs), default=0.0)

    @property
    def rel_err(self) -> float:
        return max((tensor.rel_err for tensor in self.outputs), default=0.0)


@dataclass(frozen=True, slots=True)
class CpuReport:
    """The keys of `vdla run --target cpu --json`. seconds: the median time of a whole run, of `repeats`.

    agrees: every output is within `tolerance` of the reference, relatively.
    """

    model: str
    target: str
    batch: int
    fused: bool
    threads: int
    repeats: int
    seconds: float
    agrees: bool
    tolerance: float
    max_abs_err: float
    rel_err: float
    outputs: tuple[TensorReport, ...]
    kernels: tuple[KernelReport, ...]
    wall: Mapping[str, float]
    provenance: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        return asdict(self)
