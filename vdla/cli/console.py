"""Talking to a person on a terminal (progress and tables on stderr and stdout) or to a program (one JSON document)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else there."""
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as Python's."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def say(text: str = "") -> None:
    typer.echo(text)


class Progress:
    """Names the stage under way on a terminal; silent elsewhere."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def __call__(self, stage: str) -> None:
        if self._status is not None:
            self._status.update(stage)


@contextmanager
def progress(quiet: bool) -> Iterator[Progress]:
    """A spinner on stderr while it is a terminal and `quiet` is not asked for."""
    if quiet or not sys.stderr.isatty():
        yield Progress(None)
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield Progress(status)


def table(columns: list[tuple[str, str]], rows: list[list[str]]) -> str:
    """Columns of (heading, "left" or "right") as aligned text; stays readable when piped."""
    widths = [max([len(heading), *(len(row[k]) for row in rows)]) for k, (heading, _) in enumerate(columns)]

    def line(cells: list[str]) -> str:
        aligned = [
            c.rjust(w) if side == "right" else c.ljust(w) for c, w, (_, side) in zip(cells, widths, columns, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line([heading for heading, _ in columns]), line(["-" * w for w in widths]), *map(line, rows)])
