"""Write a run's report: `index.html`, `run.json` and, of an accelerator, `trace.json` for Perfetto."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vdla.files import write_file
from vdla.flows.run import Run
from vdla.flows.run_cpu import CpuRun
from vdla.flows.simulate import trace_text
from vdla.isa.tokens import units_of
from vdla.text import json_text

ROOFLINE_NOTE = "Each layer's useful GOPS under the design's compute and bandwidth roofs; numbers are those of the table below."
TIMELINE_NOTE = "How busy each unit was; the marks above are where layers retired. They overlap as far as tokens let them."


def write_report(folder: Path, run: Run) -> None:
    """Everything is made before the first file is written, and each is written whole or not at all.

    Raises `OutputError` when `folder` cannot be written.
    """
    texts = {
        "run.json": json_text(run.report.json()),
        "trace.json": trace_text(run.model.programs, run.result.profiles),
        "index.html": report_page(run),
    }
    for name, text in texts.items():
        write_file(folder / name, text)


def write_cpu_report(folder: Path, run: CpuRun) -> None:
    """As `write_report`, without a trace."""
    from vdla.report.cpu_page import cpu_page

    texts = {"run.json": json_text(run.report.json()), "index.html": cpu_page(run.report)}
    for name, text in texts.items():
        write_file(folder / name, text)


def report_page(run: Run) -> str:
    from vdla.report.figures import cycles_by_cause, roofline, timeline
    from vdla.report.html import page

    design = run.model.design
    layers = [layer for layer in run.report.layers if layer.on_device]
    figures = []
    if layers:
        figures.append(
            ("Where the cycles go", "What COMPUTE did in each layer, and what it waited for.", cycles_by_cause(layers))
        )
        figures.append(("Roofline", ROOFLINE_NOTE, roofline(layers, design)))
    first = 1
    for number, (program, profile) in enumerate(zip(run.model.programs, run.result.profiles, strict=True), 1):
        ends = np.maximum.accumulate(profile.finish)
        layer_ends = [(str(k), int(ends[span.end - 1])) for k, span in enumerate(program.layers, first) if span.end]
        first += len(program.layers)
        title = "Timeline" if len(run.model.programs) == 1 else f"Timeline of program {number}"
        drawing = timeline(profile, units_of(program.columns()), layer_ends, design.clock_mhz)
        figures.append((title, TIMELINE_NOTE, drawing))
    return page(run.report, design, figures)


def write_trace(path: Path, run: Run) -> None:
    """A Chrome/Perfetto trace of every program of the run. Raises `OutputError` when it cannot be written."""
    write_file(path, trace_text(run.model.programs, run.result.profiles))
