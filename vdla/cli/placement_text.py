"""Where a network runs, for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vdla.text import duration, shortened

if TYPE_CHECKING:
    from vdla.report.placement_report import PlacementReport

SHOWN_CAUSES = 3
CAUSE_WIDTH = 84


def placement_lines(report: PlacementReport) -> list[str]:
    """A line for each target, the switches between them, the costliest causes of what is on the host."""
    lines = []
    for share in report.targets:
        how = duration(share.seconds) + ("" if share.timed else f" ({report.estimate})")
        lines.append(
            f"{share.target}: {share.operators} operators, {share.macs / 1e6:,.2f} MMAC ({100 * report.share(share):.1f}%), "
            f"{share.bytes / 2**20:,.2f} MiB, {how}"
        )
    lines.append(f"{report.switches} switches between targets" + ("; the host's time by cause:" if report.causes else ""))
    for cause in report.causes[:SHOWN_CAUSES]:
        who = f"{cause.operators} operators" if cause.operators > 1 else shortened(cause.example, 30)
        macs = f", {cause.macs / 1e6:,.2f} MMAC" if cause.macs else ""
        lines.append(f"  {duration(cause.seconds):>8}  {shortened(cause.cause, CAUSE_WIDTH)} ({who}{macs})")
    return lines
