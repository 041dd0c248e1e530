"""The parts of docs/models.md that a command writes, each between two marks."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import onnx


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A column whose name begins with > holds numbers."""
    head = [name.lstrip(">") for name in columns]
    lines = ["---:" if name.startswith(">") else "---" for name in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, lines, *rows))


def where_and_when() -> str:
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    return f"{datetime.now(UTC):%Y-%m-%d}, commit {commit}, {os.cpu_count()} cores of {platform.machine()}."


def replace(page: Path, target: str, text: str) -> None:
    """Put `text` between the marks of a command."""
    begin, end = f"<!-- written by {target} -->", f"<!-- end of {target} -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


def between(page: Path, target: str) -> str:
    """What `replace` put there."""
    begin, end = f"<!-- written by {target} -->", f"<!-- end of {target} -->"
    return page.read_text(encoding="utf-8").split(begin)[1].split(end)[0].strip()


def nodes_of(graph: onnx.GraphProto) -> int:
    """Those of branches and loop bodies too."""
    bodies = [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return len(graph.node) + sum(map(nodes_of, bodies))
