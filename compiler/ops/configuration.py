"""A kernel is a workload and a configuration: what is open in a schedule as knobs, and the space of their settings.

    template = template_of(workload)                      # one for each kind of kernel on a target
    config = template.default(workload, target)           # the heuristic's choice
    config = Config.parse("rows=7 columns=14 weights_outer=true")
    function = template.build(workload, config, target)   # scheduled loops of any valid configuration

The heuristic, the tuner, records, sweeps and tests all go through these three functions. `target` is what decides what fits
and what is fast: the `Design` of an accelerator, the `Target` of a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Generic, TypeVar

from vdla.compiler.ir.nodes import Function
from vdla.errors import CompileError

Value = int | bool | str
W = TypeVar("W")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of all knobs of one kernel, in the order of its space; equal settings are equal values.

    The text form is `knob=value` pairs between spaces: `rows=7 columns=14 weights_outer=true`.
    """

    settings: tuple[tuple[str, Value], ...]

    @staticmethod
    def of(**settings: Value) -> Config:
        return Config(tuple(settings.items()))

    @staticmethod
    def parse(text: str) -> Config:
        """The inverse of `str`. Raises `CompileError` when `text` is not pairs of knobs and values, each knob once."""
        settings: dict[str, Value] = {}
        for pair in text.split():
            name, equals, value = pair.partition("=")
            if not equals or not name or not value or name in settings:
                raise CompileError(
                    "not a configuration",
                    where=text,
                    found=pair,
                    expected="knob=value pairs, each knob once: rows=7 columns=14",
                )
            settings[name] = _parsed(value)
        return Config(tuple(settings.items()))

    def __str__(self) -> str:
        return " ".join(f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in self.settings)

    def __getitem__(self, knob: str) -> Any:
        return self.values[knob]

    @property
    def values(self) -> dict[str, Any]:
        return dict(self.settings)

    def replace(self, **settings: Value) -> Config:
        """With other settings of some of its knobs. Raises `CompileError` for a knob it does not have."""
        if unknown := sorted(set(settings) - set(self.values)):
            raise CompileError("no such knob", found=unknown[0], expected=", ".join(self.values))
        return Config(tuple({**self.values, **settings}.items()))


def _parsed(text: str) -> Value:
    if text in ("true", "false"):
        return text == "true"
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() else text


@dataclass(frozen=True, slots=True)
class Knob:
    """One open choice and what it can be set to, smaller or simpler settings first."""

    name: str
    choices: tuple[Value, ...]


@dataclass(frozen=True)
class Space:
    """Every configuration of a kernel: all combinations of the knobs' choices that `refusal` does not refuse.

    refusal: why a combination cannot be built, with the numbers ("acc: 5,120 tiles of 2,048"); empty when it can.
    """

    knobs: tuple[Knob, ...]
    refusal: Callable[[Config], str]

    @property
    def points(self) -> int:
        """Combinations of choices, the refused ones included."""
        return math.prod(len(knob.choices) for knob in self.knobs)

    def __iter__(self) -> Iterator[Config]:
        """The valid configurations, the last knob running fastest."""
        names = [knob.name for knob in self.knobs]
        for choice in product(*(knob.choices for knob in self.knobs)):
            config = Config(tuple(zip(names, choice, strict=True)))
            if not self.refusal(config):
                yield config

    def __contains__(self, config: Config) -> bool:
        return not self.problem(config)

    def problem(self, config: Config) -> str:
        """Why `config` is not in the space, naming the knob or what does not fit; empty when it is."""
        names = [knob.name for knob in self.knobs]
        if [name for name, _ in config.settings] != names:
            return f"knobs are {', '.join(names)}, in this order"
        for knob in self.knobs:
            if config[knob.name] not in knob.choices or type(config[knob.name]) is not type(knob.choices[0]):
                return f"{knob.name} is {config[knob.name]}, not one of {', '.join(map(str, knob.choices))}"
        return self.refusal(config)

    def neighbours(self, config: Config) -> Iterator[Config]:
        """Valid configurations that differ in one knob, by one step among its choices."""
        for knob in self.knobs:
            place = knob.choices.index(config[knob.name])
            for other in (place - 1, place + 1):
                if 0 <= other < len(knob.choices):
                    moved = config.replace(**{knob.name: knob.choices[other]})
                    if not self.refusal(moved):
                        yield moved


@dataclass(frozen=True)
class Template(Generic[W, T]):
    """How one kind of kernel is built on one kind of target.

    space(workload, target), default(workload, target): the open choices and the heuristic's. Both raise `CompileError`, with
    what does not fit, when there is no valid configuration.
    build(workload, config, target): the scheduled function, not yet lowered.
    """

    name: str
    space: Callable[[W, T], Space]
    default: Callable[[W, T], Config]
    build: Callable[[W, Config, T], Function]


Configs = Mapping[object, Config]
"""Workload → the configuration to build it under; the default for those that are not in it."""
