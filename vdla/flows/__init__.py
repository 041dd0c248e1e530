"""The flows that join compiler, simulator and hardware. Each is imported when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vdla.flows.compilation import CompileOptions, Prepared, compile, compile_to_model, load, prepare, save
    from vdla.flows.report import write_cpu_report, write_report, write_trace
    from vdla.flows.run import Run, run_model
    from vdla.flows.run_cpu import CpuRun, run_on_cpu

_HOMES = {
    "CompileOptions": "compilation",
    "Prepared": "compilation",
    "compile": "compilation",
    "compile_to_model": "compilation",
    "load": "compilation",
    "prepare": "compilation",
    "save": "compilation",
    "Run": "run",
    "run_model": "run",
    "CpuRun": "run_cpu",
    "run_on_cpu": "run_cpu",
    "write_cpu_report": "report",
    "write_report": "report",
    "write_trace": "report",
}
__all__ = [
    "CompileOptions", "CpuRun", "Prepared", "Run", "compile", "compile_to_model", "load", "prepare", "run_model", "run_on_cpu",
    "save", "write_cpu_report", "write_report", "write_trace",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'vdla.flows' has no attribute {name!r}")
    return getattr(importlib.import_module(f"vdla.flows.{_HOMES[name]}"), name)
