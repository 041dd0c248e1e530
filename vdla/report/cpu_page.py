"""One self-contained HTML page for a run on the CPU: totals, the outputs' errors, where the time goes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vdla.report.cpu_report import CpuReport, KernelReport, TensorReport
from vdla.report.html import bar, card_row, definitions, document, section, table

KERNEL_NOTE = "One row for each kernel, in execution order; the time is the median of the timed runs."
OUTPUT_NOTE = "Beside the reference executor, which computes each operator by itself in NumPy."


def cpu_page(report: CpuReport) -> str:
    """The whole document."""
    fused = "" if report.fused else " Each operator is a kernel of its own."
    batch = f" Batch {report.batch}." if report.batch != 1 else ""
    seconds = {f"{name.removesuffix('_s')} took": f"{value:.2f} s" for name, value in report.wall.items()}
    title = f"{report.model} on {report.target}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="about">The float model on the CPU, {report.threads} threads.{fused}{batch}</p>',
        cards(report),
        section("Outputs", OUTPUT_NOTE, output_table(report.outputs)),
        section("Kernels", KERNEL_NOTE, kernel_table(report.kernels)),
        section("Where this came from", "Enough to run it again.", definitions({**report.provenance, **seconds})),
    ]
    return document(title, body)


def cards(report: CpuReport) -> str:
    agrees = "agrees" if report.agrees else '<span class="differs">differs</span>'
    values = [
        (f"{1e3 * report.seconds:.3f} ms", f"a run, the median of {report.repeats}"),
        (str(len(report.kernels)), "kernels"),
        (agrees, "with the reference executor"),
        (f"{report.rel_err:.2g}", "relative error of an output, at most"),
        (f"{report.max_abs_err:.3g}", "largest error of an element"),
    ]
    return card_row(values)


def output_table(outputs: Sequence[TensorReport]) -> str:
    rows = [[escape(t.name), escape(t.type), f"{t.max_abs_err:.3g}", f"{t.rel_err:.2g}"] for t in outputs]
    return table(("output", "type", "largest error", "relative error"), rows, numeric={2, 3})


def kernel_table(kernels: Sequence[KernelReport]) -> str:
    whole = sum(kernel.seconds for kernel in kernels) or 1.0
    heads = ("#", "layer", "operators", "output", "ms", "share", "relative error")
    rows = [_row(number, kernel, whole) for number, kernel in enumerate(kernels, 1)]
    return table(heads, rows, numeric={0, 4, 6}, foot=["", "all", "", "", f"{1e3 * whole:.3f}", "", ""])


def _row(number: int, kernel: KernelReport, whole: float) -> list[str]:
    name = f'<span title="{escape(kernel.source)}">{escape(kernel.short_label)}</span>'
    types = escape(", ".join(tensor.type for tensor in kernel.outputs))
    operators = f'<span title="{escape(kernel.op)}">{escape(kernel.short_op)}</span>'
    share = bar(kernel.seconds / whole)
    return [str(number), name, operators, types, f"{1e3 * kernel.seconds:.3f}", share, f"{kernel.rel_err:.2g}"]
