"""What `vdla run --target cpu` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vdla.cli.console import table

if TYPE_CHECKING:
    from vdla.report.cpu_report import CpuReport, KernelReport


def cpu_run_text(report: CpuReport, verbose: bool) -> str:
    """A row for each kernel, one for each output, and the totals. verbose: the type of what each kernel computes, too."""
    whole = sum(kernel.seconds for kernel in report.kernels) or 1.0
    columns = [("layer", "left"), ("operators", "left"), ("ms", "right"), ("share", "right"), ("error", "right")]
    if verbose:
        columns.append(("output", "left"))
    outputs = [[t.name, t.type, f"{t.max_abs_err:.3g}", f"{t.rel_err:.2g}"] for t in report.outputs]
    lines = [
        table(columns, [_row(kernel, whole, verbose) for kernel in report.kernels]),
        "",
        table([("output", "left"), ("type", "left"), ("largest error", "right"), ("relative", "right")], outputs),
        "",
        f"{report.model} on {report.target}: {1e3 * report.seconds:.3f} ms, the median of {report.repeats} runs, on "
        f"{report.threads} threads; {len(report.kernels)} kernels",
        f"the outputs {'agree with' if report.agrees else 'DIFFER from'} the reference executor's: relative error "
        f"{report.rel_err:.2g}, largest {report.max_abs_err:.3g}",
        "wall time: " + ", ".join(f"{name.removesuffix('_s')} {seconds:.2f} s" for name, seconds in report.wall.items()),
    ]
    if verbose:
        lines.append(", ".join(f"{name} {value}" for name, value in report.provenance.items() if name != "command"))
    return "\n".join(lines)


def _row(kernel: KernelReport, whole: float, verbose: bool) -> list[str]:
    share = f"{100 * kernel.seconds / whole:.1f}%"
    row = [kernel.short_label, kernel.short_op, f"{1e3 * kernel.seconds:,.3f}", share, f"{kernel.rel_err:.2g}"]
    return [*row, ", ".join(tensor.type for tensor in kernel.outputs)] if verbose else row
