"""Design files: YAML → a checked `Design`, or every problem at once, each with the path of its key and what is accepted.

The pydantic models that read a file are made from the rules of `Design`'s keys; a size may be written as 32KiB.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from vdla.design import Contradiction, Design, contradictions
from vdla.errors import DesignError, ProblemList, VdlaError
from vdla.files import reason
from vdla.isa.layout import check_encodable
from vdla.rules import Number, OneOf, Rule, Section, Text, Whole, construct, rules_of

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
DESIGN_BYTES_MAX = 1 << 20


def parse_size(value: object) -> object:
    """`"32KiB"`, `"1 MiB"`, `"512B"` or an integer number of bytes → bytes."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = re.fullmatch(r"(\d+)\s*(B|KiB|MiB)", value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError("expected a size such as 512B, 32KiB or 1MiB")
    return int(match[1]) * UNITS[match[2]]


@cache
def model_of(record: type) -> type[BaseModel]:
    """The pydantic model with the keys of `record` and their rules. What is not given stays unset, for the record's default."""
    keys: dict[str, Any] = {
        name: (_annotation(rule), ... if required else None) for name, (rule, required) in rules_of(record).items()
    }
    return create_model(record.__name__, __config__=ConfigDict(extra="forbid", frozen=True, strict=True), **keys)


def _annotation(rule: Rule) -> Any:
    """The rule as a type with pydantic's constraints."""
    if isinstance(rule, Section):
        return model_of(rule.of) | None if rule.optional else model_of(rule.of)
    if isinstance(rule, Whole):
        whole = Annotated[int, Field(ge=rule.least, le=rule.most)]
        return Annotated[whole, BeforeValidator(parse_size)] if rule.size else whole
    if isinstance(rule, Number):
        return Annotated[float, Field(gt=rule.above, le=rule.most)]
    if isinstance(rule, Text):
        return Annotated[str, Field(min_length=rule.least, pattern=f"^{rule.pattern}$" if rule.pattern else None)]
    assert isinstance(rule, OneOf)
    return Literal[rule.values]


def _validated(data: object) -> Design:
    """The design in `data`, its contradictions not yet looked for. Raises pydantic's `ValidationError`."""
    return construct(Design, model_of(Design).model_validate(data).model_dump(exclude_unset=True))


def design_from_dict(data: object, where: str) -> Design:
    """Validate a parsed YAML document; `where` names it in messages.

    Raises `DesignError` when it is not a mapping, `ProblemList` with every problem at once.
    """
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise DesignError("not a design", where=where, found=found, expected="a mapping with name, about, gemm, sram …")
    problems: list[VdlaError] = []
    try:
        design = _validated(data)
        problems += [contradiction.error() for contradiction in contradictions(design)]
        if not problems:
            check_encodable(design)
            return design
    except ValidationError as error:
        details = error.errors()
        problems += [_problem(detail) for detail in details]
        problems += _further_contradictions(data, [detail["loc"] for detail in details])
    except DesignError as error:
        problems.append(error)
    raise ProblemList(f"{where}: not a valid design", problems)


def _further_contradictions(data: Mapping[Any, Any], refused: Sequence[tuple[Any, ...]]) -> list[VdlaError]:
    """Contradictions among the keys that were not refused, those standing in for by a design that is sound."""
    sound = {
        "name": "sound", "about": "stands in for what was refused", "clock_mhz": 100, "gemm": {},
        "sram": {"uop": 1 << 15, "inp": 1 << 15, "wgt": 1 << 18, "acc": 1 << 17},
    }  # fmt: skip
    repaired = {key: dict(value) if isinstance(value, dict) else value for key, value in data.items()}
    for top, *rest in refused:
        if top == "board":  # no part in any contradiction
            repaired.pop(top, None)
        elif rest and isinstance(repaired.get(top), dict):
            repaired[top].pop(rest[0], None)
            if isinstance(default := sound.get(top), dict) and rest[0] in default:
                repaired[top][rest[0]] = default[rest[0]]
        elif top in sound:
            repaired[top] = sound[top]
        else:
            repaired.pop(top, None)
    try:
        design = _validated(repaired)
    except ValidationError:
        return []
    doubtful = {".".join(map(str, path)) for path in refused}

    def stands(contradiction: Contradiction) -> bool:
        return not any(key in doubtful or key.partition(".")[0] in doubtful for key in contradiction.keys)

    return [contradiction.error() for contradiction in contradictions(design) if stands(contradiction)]


def _problem(detail: Any) -> VdlaError:
    path = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden":
        known = _known_keys(detail["loc"][:-1])
        near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        return DesignError("unknown key", where=path, expected=f"one of {', '.join(known)}", hint=hint)
    if detail["type"] == "missing":
        return DesignError("missing key", where=path, expected="a value")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] in ("model_type", "model_attributes_type", "dict_type"):
        message = "should be a mapping of keys to values"
    hint = _hint_for(detail) if detail["type"] == "literal_error" else ""
    return DesignError(message[0].lower() + message[1:], where=path, found=detail.get("input"), hint=hint)


def _hint_for(detail: Any) -> str:
    """The nearest of the words that a key accepts."""
    rule = _rule_of(detail["loc"])
    near = difflib.get_close_matches(str(detail.get("input")), rule.values, n=1) if isinstance(rule, OneOf) else []
    return f"did you mean {near[0]}?" if near else ""


def _rule_of(path: Sequence[str]) -> Rule:
    """Of the key at `path`."""
    *sections, key = path
    record: type = Design
    for name in sections:
        rule, _ = rules_of(record)[name]
        assert isinstance(rule, Section)
        record = rule.of
    return rules_of(record)[key][0]


def _known_keys(path: Sequence[str]) -> list[str]:
    """The keys of the design's section at `path`."""
    record: type = Design
    for name in path:
        rule, _ = rules_of(record)[name]
        assert isinstance(rule, Section)
        record = rule.of
    return list(rules_of(record))


def shipped_designs() -> dict[str, Path]:
    """Name → YAML file of the designs that come with the package."""
    folder = resources.files("vdla.designs")
    return {p.stem: p for p in sorted(Path(str(folder)).glob("*.yaml"))}


def load_design(name_or_path: str | Path | Design) -> Design:
    """A shipped design by name (`pynq_z1`), or any YAML file by path.

    Raises `DesignError` when there is no such file or it is not YAML, `ProblemList` when its contents are refused.
    """
    if isinstance(name_or_path, Design):
        return name_or_path
    shipped = shipped_designs()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    try:
        text = _read_text(path)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a path with a null character
        near = difflib.get_close_matches(str(name_or_path), list(shipped), n=1)
        raise DesignError(
            f"cannot read the design ({reason(error) if isinstance(error, OSError) else 'it is not text'})",
            where=str(name_or_path),
            expected=f"a YAML file or one of {', '.join(shipped)}",
            hint=f"did you mean {near[0]}?" if near else "vdla design list",
        ) from None
    return design_from_dict(_parse_yaml(text, str(path)), str(path))


def _read_text(path: Path) -> str:
    """Raises `DesignError` for more than anybody writes, so that reading a device ends."""
    with path.open("rb") as file:
        raw = file.read(DESIGN_BYTES_MAX + 1)
    if len(raw) > DESIGN_BYTES_MAX:
        raise DesignError("too long for a design", where=str(path), expected=f"at most {DESIGN_BYTES_MAX:,} bytes")
    return raw.decode("utf-8")


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, where PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in lines:
                problem = f"{key.value} is given twice, first on line {lines[key.value]}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)


def _parse_yaml(text: str, where: str) -> object:
    """Raises `DesignError`, with the line, when `text` is not one YAML document of plain values."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark is not None else where
        problem = " ".join(str(getattr(error, "problem", "") or "unreadable").split())
        raise DesignError(f"not YAML: {problem}", where=place, expected="key: value lines, each key once") from None
