"""`make cosim-long`: every RTL run there is. The result replaces the end of the page given.

python tests/cosim/record.py docs/cosim.md
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from vdla.flows.cosim import CosimReport, cosimulate
from vdla.zoo import zoo_models

MARK = "<!-- written by make cosim-long -->"
NETWORKS = (
    *(("digits", "tiny"), ("digits", "pynq_z1"), ("mobilenet", "pynq_z1"), ("resnet18", "pynq_z1")),
    *(("resnet18", "zynq_4port"), ("resnet18", "kv260")),
)
OTHERS = tuple(name for name in zoo_models() if name not in dict(NETWORKS))
"""Compared in every layer too, but recorded in one line each."""
HERE = Path(__file__).parent


def random_programs() -> tuple[bool, str]:
    """Run the tests of this folder, the long ones too, but for the networks, which are run below."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "pytest", str(HERE), "--ignore", str(HERE / "test_cosim_networks.py")]
    done = subprocess.run(command, env=os.environ | {"VDLA_LONG": "1"}, capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr
    return done.returncode == 0, f"{last} ({(time.perf_counter() - begun) / 60:.0f} min)"


def network_text(report: CosimReport) -> str:
    """A table of layers and a sentence."""
    rows = ["| layer | simulator | RTL | difference |", "|---|---:|---:|---:|"]
    rows += [
        f"| {x.name} | {x.sim_cycles:,} | {x.rtl_cycles:,} | {100 * x.difference:+.2f} % |"
        for x in (*report.layers, report.total)
    ]
    verdict = "bit-exact" if report.bit_exact else "NOT bit-exact: " + "; ".join(report.differences)
    mean = 100 * sum(abs(x.difference) for x in report.layers) / max(len(report.layers), 1)
    summary = (
        f"{verdict}; cycles {'within' if report.within_tolerance else 'NOT within'} 1 % a layer and 0.5 % in all, "
        f"{mean:.2f} % a layer on average; RTL at {report.cycles_per_second / 1e6:.2f} M cycles/s."
    )
    return "\n".join([f"### {report.model} on {report.design}", "", summary, "", *rows])


def others_text(reports: list[CosimReport]) -> str:
    """A table of networks."""
    rows = ["| network | layers | simulator | RTL | |", "|---|---:|---:|---:|---|"]
    for report in reports:
        good = report.bit_exact and report.within_tolerance
        verdict = "bit-exact, each layer within 1 %" if good else "DIFFERS: " + "; ".join(report.differences)
        cycles = f"{report.total.sim_cycles:,} | {report.total.rtl_cycles:,}"
        rows.append(f"| {report.model} | {len(report.layers)} | {cycles} | {verdict} |")
    return "\n".join(["### The zoo's other networks on pynq_z1", "", *rows])


def main(page: Path) -> int:
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    good, programs = random_programs()
    parts = [f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {os.cpu_count()} cores of {platform.machine()}."]
    parts.append(f"Random programs, faults, memory model and driver: {'all pass' if good else 'FAILURES'}: {programs}.")
    for model, design in NETWORKS:
        report = cosimulate(model, design)
        good &= report.bit_exact and report.within_tolerance
        parts.append(network_text(report))
    others = [cosimulate(model, "pynq_z1") for model in OTHERS]
    good &= all(report.bit_exact and report.within_tolerance for report in others)
    parts.append(others_text(others))
    text = page.read_text(encoding="utf-8")
    page.write_text(text[: text.index(MARK)] + MARK + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
