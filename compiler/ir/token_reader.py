"""Reading tokens one after another: what stands next, what is expected, and what to say when it is something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeVar

from vdla.compiler.ir.lexer import Token, error_at
from vdla.compiler.ir.printer import KEYWORDS
from vdla.errors import CompileError

T = TypeVar("T")
LONGEST_NUMBER = 400  # Python refuses to read whole numbers of some thousand digits


class TokenReader:
    """Where reading stands. Every method that names what it expects raises `CompileError` with line and column."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.position = tokens, 0

    @property
    def next(self) -> Token:
        return self.tokens[self.position]

    @property
    def after(self) -> Token:
        return self.tokens[min(self.position + 1, len(self.tokens) - 1)]

    def advance(self) -> Token:
        self.position += 1
        return self.tokens[self.position - 1]

    def fail(self, expected: str, token: Token | None = None, what: str = "syntax") -> CompileError:
        token = token or self.next
        return error_at(token.line, token.column, what, str(token), expected)

    def at(self, text: str) -> bool:
        return self.next.text == text and self.next.kind in ("name", "symbol")

    def accept(self, text: str) -> bool:
        if self.at(text):
            self.position += 1
            return True
        return False

    def expect(self, *texts: str) -> Token:
        if not any(self.at(text) for text in texts):
            raise self.fail(" or ".join(repr(text) for text in texts))
        return self.advance()

    def expect_kind(self, kind: str) -> Token:
        if self.next.kind != kind:
            raise self.fail(str(Token(kind, "", 0, 0)))
        return self.advance()

    def name(self, what: str) -> str:
        """A name that is no keyword, or any name in quotes."""
        if self.next.kind == "string":
            return json.loads(self.advance().text)
        if self.next.kind != "name" or self.next.text in KEYWORDS:
            raise self.fail(what)
        return self.advance().text

    def at_name(self) -> bool:
        return self.next.kind == "string" or (self.next.kind == "name" and self.next.text not in KEYWORDS)

    def word(self, what: str, choices: tuple[str, ...]) -> str:
        """One of a fixed set of names."""
        if self.next.kind != "name" or self.next.text not in choices:
            raise self.fail(f"one of {', '.join(choices)}", what=what)
        return self.advance().text

    def number(self) -> int | float:
        """An optionally negative number; inf and nan too."""
        sign = -1 if self.accept("-") else 1
        if self.next.kind == "number":
            if len(self.next.text) > LONGEST_NUMBER:
                raise self.fail(f"at most {LONGEST_NUMBER} characters", what="a number too long")
            text = self.advance().text
            return sign * (int(text) if text.isdigit() else float(text))
        if self.at("inf") or self.at("nan"):
            return sign * float(self.advance().text)
        raise self.fail("a number")

    def whole(self) -> int:
        start = self.next
        value = self.number()
        if not isinstance(value, int):
            raise self.fail("a whole number", start)
        return value

    def listed(self, close: str, item: Callable[[], T], ends: tuple[str, ...] = ()) -> tuple[T, ...]:
        """Items between commas up to, and without, `close` or one of `ends`."""
        items: list[T] = []
        while not any(self.at(end) for end in (close, *ends)):
            items.append(item())
            if not any(self.at(end) for end in (close, *ends)):
                self.expect(",", close, *ends)
                if self.tokens[self.position - 1].text != ",":
                    break
        return tuple(items)
