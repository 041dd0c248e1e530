"""Records whose keys each carry a rule: dataclasses that are read from mappings, and refuse what does not fit.

@dataclass(frozen=True)
class Memory:
    bus_bits: int = entry(Whole(32, 1024), 64)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from vdla.errors import DesignError


@dataclass(frozen=True)
class Whole:
    """An integer from `least` to `most`. size: bytes, which a file may also write as 32KiB."""

    least: int
    most: int
    size: bool = False

    def problem(self, value: object) -> str:
        """What is wrong with `value`; "" when nothing is."""
        fits = isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most
        return "" if fits else f"should be an integer from {self.least} to {self.most}"


@dataclass(frozen=True)
class Number:
    """A real number above `above`, up to `most`."""

    above: float
    most: float

    def problem(self, value: object) -> str:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and self.above < value <= self.most
        return "" if fits else f"should be a number above {self.above}, up to {self.most}"


@dataclass(frozen=True)
class Text:
    """A string of at least `least` characters; the whole of it matches `pattern`, if there is one."""

    least: int = 0
    pattern: str = ""

    def problem(self, value: object) -> str:
        if not isinstance(value, str) or len(value) < self.least:
            return f"should be a string of at least {self.least} characters"
        fits = not self.pattern or re.fullmatch(self.pattern, value)
        return "" if fits else f"should match the pattern {self.pattern}"


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    values: tuple[str, ...]

    def problem(self, value: object) -> str:
        fits = isinstance(value, str) and value in self.values
        return "" if fits else f"should be {' or '.join(map(repr, self.values))}"


@dataclass(frozen=True)
class Section:
    """A mapping with the keys of the record `of`; None too when `optional`."""

    of: type
    optional: bool = False


Rule = Whole | Number | Text | OneOf | Section


def entry(rule: Rule, default: Any = MISSING) -> Any:
    """A field of a record; without `default` it must be given."""
    return field(default=default, metadata={"rule": rule})


def rules_of(record: type) -> dict[str, tuple[Rule, bool]]:
    """Key → its rule, and whether it must be given."""
    return {f.name: (f.metadata["rule"], f.default is MISSING) for f in fields(record)}


def misfits(data: object, record: type, path: tuple[str, ...] = ()) -> Iterator[DesignError]:
    """Every key of a mapping, with those of its sections, that is unknown, missing or breaks its rule."""
    if not isinstance(data, Mapping):
        yield DesignError("should be a mapping of keys to values", where=".".join(path), found=data)
        return
    rules = rules_of(record)
    for name in data:
        if name not in rules:
            yield DesignError("unknown key", where=".".join((*path, str(name))), expected=f"one of {', '.join(rules)}")
    for name, (rule, required) in rules.items():
        here = (*path, name)
        if name not in data:
            if required:
                yield DesignError("missing key", where=".".join(here), expected="a value")
        elif isinstance(rule, Section):
            if not (rule.optional and data[name] is None):
                yield from misfits(data[name], rule.of, here)
        elif problem := rule.problem(data[name]):
            yield DesignError(problem, where=".".join(here), found=data[name])


def construct(record: type, data: Mapping[str, Any]) -> Any:
    """The record of a mapping without misfits; keys that are not given have their defaults."""
    values = {}
    for name, (rule, _) in rules_of(record).items():
        if name in data:
            value = data[name]
            if isinstance(rule, Section) and value is not None:
                value = construct(rule.of, value)
            values[name] = float(value) if isinstance(rule, Number) else value
    return record(**values)
