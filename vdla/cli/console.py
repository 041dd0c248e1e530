"""Talking to a person on a terminal (progress and tables on stderr and stdout) or to a program (one JSON document)."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from vdla.text import json_text


def print_json(document: Any) -> None:
    """One JSON document on stdout and nothing else there."""
    sys.stdout.write(json_text(document))


def say(text: str = "") -> None:
    """A line, or several, on stdout."""
    sys.stdout.write(text + "\n")


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


def table(columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """Columns of (heading, "left" or "right") as aligned text; stays readable when piped."""
    widths = [max([len(heading), *(len(row[k]) for row in rows)]) for k, (heading, _) in enumerate(columns)]

    def line(cells: Sequence[str]) -> str:
        aligned = [
            c.rjust(w) if side == "right" else c.ljust(w) for c, w, (_, side) in zip(cells, widths, columns, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line([heading for heading, _ in columns]), line(["-" * w for w in widths]), *map(line, rows)])


def help_when_bare(context: typer.Context) -> None:
    """The callback of a group of commands: asked for none of them, it lists them."""
    if context.invoked_subcommand is None:
        say(context.get_help())
