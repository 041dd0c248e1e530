"""Errors that teach: what went wrong, where, what was found, what was expected and what to try.

Every error a user can cause is a `VdlaError`; the command line prints its `str()` on one line and exits with
`exit_code`. A Python traceback reaching the user is a bug.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence

SHOWN_LENGTH = 300
SHOWN_PROBLEMS = 20


class _Short(reprlib.Repr):
    """repr with limits that no honest value reaches."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxlong, self.maxother = 3, 200, 60, 300
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 30


def shown(value: object) -> str:
    """`value` for a message: its repr, shortened when it is longer than anybody reads."""
    try:
        text = _Short().repr(value)
        return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}…"
    except ValueError:  # Python's own limit on the digits of an integer
        return f"{type(value).__name__} of thousands of digits"


class VdlaError(Exception):
    """Something the user can mend.

    Parameters
    ----------
    what: one clause, lower case, no full stop: "block_in is not a power of two".
    where: the path of the key, file, node, layer or instruction concerned.
    found, expected: the offending value and what would have been accepted.
    hint: what to try.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", found: object = None, expected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.found, self.expected, self.hint = what, where, found, expected, hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.found is not None:
            text += f"; found {shown(self.found)}"
        if self.expected:
            text += f"; expected {self.expected}"
        return one_line(f"{text}; try: {self.hint}" if self.hint else text)


def one_line(text: str) -> str:
    """What is not printable, as names in files can be, is written as Python writes it."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class DesignError(VdlaError):
    """A design file that cannot be read, validated or encoded."""


class IsaError(VdlaError):
    """A value that does not fit a field, unreadable assembly, or a program the checker refuses."""


class ModelError(VdlaError):
    """A model file that cannot be read or holds something no backend supports."""


class CompileError(VdlaError):
    """A schedule step or a lowering that cannot be applied."""


class RunError(VdlaError):
    """A program that cannot be run: wrong design, wrong inputs, a fault or deadlock of the machine."""


class OutputError(VdlaError):
    """A file or folder that cannot be written."""


class ProblemList(VdlaError):
    """Several independent problems, reported at once."""

    def __init__(self, what: str, problems: Sequence[VdlaError]) -> None:
        super().__init__(what)
        self.problems = list(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.what}: {self.problems[0]}"
        more = len(self.problems) - SHOWN_PROBLEMS
        listed = [*map(str, self.problems[:SHOWN_PROBLEMS]), *([f"and {more} more"] if more > 0 else [])]
        return f"{self.what}: {len(self.problems)} problems: " + " | ".join(listed)


class ModelProblems(ProblemList, ModelError):
    """All that stands in a model's way. inputs: those whose values would have to be known."""

    def __init__(self, what: str, problems: Sequence[VdlaError], inputs: tuple[str, ...] = ()) -> None:
        super().__init__(what, problems)
        self.inputs = inputs
