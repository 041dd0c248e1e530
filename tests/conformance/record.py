"""`make onnx-conformance`: the whole suite, fused and node by node. The result replaces the end of the page given.

python tests/conformance/record.py docs/conformance.md
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import onnx
from suite import KINDS, PASS, REFUSED, Outcome, cases, run_suite

MARK = "<!-- written by make onnx-conformance -->"
REASON = re.compile(r"(?:node|input|output) '.*?'(?: \(.*?\))?: (.*?)(?:; expected .*?)?((?:; try: .*)?)$")


def refused_tests(page: str) -> set[str]:
    """The names of the tests that a page says are refused."""
    return set(re.findall(r"`(test_\w+)`", page[page.index(MARK) :]))


def reason_of(outcome: Outcome) -> str:
    """What is refused and what to try, without where."""
    found = REASON.search(outcome.reason)
    assert found is not None, f"no place: {outcome.reason}"
    return found[1] + found[2]


def table(runs: dict[str, list[Outcome]]) -> str:
    """A row for each kind of test."""
    rows = ["| tests | in all | pass, fused | pass, node by node | refused | wrong, crashed or slow | longest |"]
    rows.append("|---|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        found = {way: [o for o in outcomes if o.kind == kind] for way, outcomes in runs.items()}
        count = {way: [o.status for o in outcomes] for way, outcomes in found.items()}
        everything = [status for statuses in count.values() for status in statuses]
        refused = {o.name for outcomes in found.values() for o in outcomes if o.status == REFUSED}
        bad = sum(status not in (PASS, REFUSED) for status in everything)
        longest = max(o.seconds for outcomes in found.values() for o in outcomes)
        passes = " | ".join(str(statuses.count(PASS)) for statuses in count.values())
        rows.append(f"| {kind} | {len(everything) // 2} | {passes} | {len(refused)} | {bad} | {longest:.1f} s |")
    return "\n".join(rows)


def refusals(runs: dict[str, list[Outcome]]) -> str:
    """Every refused test, by reason."""
    by_reason: dict[str, set[str]] = defaultdict(set)
    for outcome in (o for outcomes in runs.values() for o in outcomes if o.status == REFUSED):
        by_reason[reason_of(outcome)].add(outcome.name)
    largest_first = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    return "\n".join(
        f"- {len(names)}: {reason}: {', '.join(f'`{name}`' for name in sorted(names))}" for reason, names in largest_first
    )


def bad(runs: dict[str, list[Outcome]]) -> list[str]:
    every = [(way, o) for way, outcomes in runs.items() for o in outcomes]
    return [f"- {way}: {o.status} {o.name}: {o.reason}" for way, o in every if o.status not in (PASS, REFUSED)]


def everything(jobs: int, fused: bool) -> list[Outcome]:
    return [outcome for kind in KINDS for outcome in run_suite(kind, cases(kind), jobs, fused)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    begun = time.perf_counter()
    runs = {way: everything(options.jobs, way == "fused") for way in ("fused", "node by node")}
    minutes = (time.perf_counter() - begun) / 60
    machine = f"{options.jobs} processes, {platform.machine()}"
    parts = [f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, onnx {onnx.__version__}, {machine}: {minutes:.0f} min in all."]
    parts += [table(runs), "## What is refused, and why", refusals(runs)]
    if wrong := bad(runs):
        parts += ["## What is wrong", "\n".join(wrong)]
    text = options.page.read_text(encoding="utf-8")
    options.page.write_text(text[: text.index(MARK)] + MARK + "\n\n" + "\n\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join([parts[0], parts[1], *wrong]))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
