"""Tokens of the text form, with indentation as tokens of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from vdla.errors import CompileError

TOKEN = re.compile(
    r"""(?P<space>[ ]+|\#.*)
      | (?P<number>\d+\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \d+)
      | (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
      | (?P<symbol>->|\+:|<<|>>|<=|>=|==|!=|//|[-+*/%<>=(){}\[\],:;])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Token:
    """kind: "name", "string", "number", "symbol", or one of "newline", "indent", "dedent", "end" with no text."""

    kind: str
    text: str
    line: int
    column: int

    def __str__(self) -> str:
        return self.text or {
            "newline": "the end of the line",
            "indent": "an indented line",
            "dedent": "a line less indented",
        }.get(self.kind, "the end of the text")


def error_at(line: int, column: int, what: str, found: str, expected: str) -> CompileError:
    return CompileError(what, where=f"line {line}, column {column}", found=found, expected=expected)


def tokens_of(text: str) -> list[Token]:
    """Raises `CompileError` on a character or an indentation that cannot be."""
    tokens: list[Token] = []
    levels = [0]
    number = 0
    for number, line in enumerate(text.splitlines(), 1):
        content = list(line_tokens(line, number))
        if not content:
            continue
        tokens += indentation(levels, len(line) - len(line.lstrip(" ")), number)
        tokens += [*content, Token("newline", "", number, len(line) + 1)]
    tokens += indentation(levels, 0, number + 1)
    return [*tokens, Token("end", "", number + 1, 1)]


def line_tokens(line: str, number: int) -> Iterator[Token]:
    position = 0
    while position < len(line):
        found = TOKEN.match(line, position)
        if found is None:
            raise error_at(
                number, position + 1, "unreadable text", line[position : position + 10], "a name, number, string or symbol"
            )
        if found.lastgroup == "string":
            check_string(found.group(), number, position + 1)
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found.group(), number, position + 1)
        position = found.end()


def check_string(text: str, line: int, column: int) -> None:
    try:
        json.loads(text)
    except ValueError:
        raise error_at(line, column, "unreadable string", text, "a string as in JSON") from None


def indentation(levels: list[int], width: int, line: int) -> list[Token]:
    """The indent or dedents that bring `levels` to `width` spaces."""
    if width > levels[-1]:
        levels.append(width)
        return [Token("indent", "", line, 1)]
    dedents = []
    while width < levels[-1]:
        levels.pop()
        dedents.append(Token("dedent", "", line, 1))
    if width != levels[-1]:
        raise error_at(line, width + 1, "indentation", f"{width} spaces", f"{levels[-1]} spaces, as a line above")
    return dedents
