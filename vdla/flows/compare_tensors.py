"""`vdla compare-tensors`: two files of tensors, in the order in which the first was computed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.graph.text import type_text
from vdla.errors import RunError
from vdla.flows.difference import Difference, difference
from vdla.flows.tensor_file import TensorFile

RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True, slots=True)
class TensorComparison:
    """One tensor of both files. apart: None where the shapes are not the same."""

    name: str
    type_a: str
    type_b: str
    apart: Difference | None

    @property
    def differs(self) -> bool:
        return self.apart is None or self.apart.differing > 0


@dataclass(frozen=True, slots=True)
class TensorsReport:
    """The keys of `vdla compare-tensors --json`. tensors: those in both files, in execution order."""

    a: str
    b: str
    rtol: float
    atol: float
    tensors: tuple[TensorComparison, ...]
    only_in_a: tuple[str, ...]
    only_in_b: tuple[str, ...]

    @property
    def differing(self) -> list[TensorComparison]:
        return [tensor for tensor in self.tensors if tensor.differs]

    def json(self) -> dict[str, Any]:
        differing = self.differing
        return {
            **asdict(self),
            "first_difference": differing[0].name if differing else None,
            "differing": [tensor.name for tensor in differing],
        }


def compare_tensors(a: Path, b: Path, rtol: float = RTOL, atol: float = ATOL) -> TensorsReport:
    """Compare each tensor that both files have: b's values beside a's.

    Raises `RunError` for a file that holds no tensors, and when the files have none in common.
    """
    with closing(TensorFile(a)) as first, closing(TensorFile(b)) as second:
        there = set(second.names)
        common = [name for name in first.names if name in there]
        if not common:
            raise RunError(
                "the files have no tensor in common", where=f"{a} and {b}", found=", ".join(first.names[:5]),
                expected=", ".join(second.names[:5]) or "tensors", hint="save both from the same model",
            )  # fmt: skip
        here = set(common)
        return TensorsReport(
            str(a), str(b), rtol, atol,
            tuple(_compared(name, first, second, rtol, atol) for name in common),
            tuple(name for name in first.names if name not in here),
            tuple(name for name in second.names if name not in here),
        )  # fmt: skip


def _compared(name: str, a: TensorFile, b: TensorFile, rtol: float, atol: float) -> TensorComparison:
    expected, found = a[name], b[name]
    type_a, type_b = (type_text(TensorType(x.shape, str(x.dtype))) for x in (expected, found))
    same_shape = expected.shape == found.shape
    return TensorComparison(name, type_a, type_b, difference(found, expected, rtol, atol) if same_shape else None)
