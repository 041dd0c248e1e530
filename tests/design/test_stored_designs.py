"""Designs read without pydantic: what `Design.from_dict` accepts is what the door of design files accepts."""

from __future__ import annotations

import copy
import random
from dataclasses import asdict
from typing import Any

import pytest

from vdla.design import Design
from vdla.design_file import design_from_dict, load_design, shipped_designs
from vdla.errors import DesignError, ProblemList, VdlaError
from vdla.isa.program import stored_design
from vdla.rules import Section, construct, rules_of

GOOD = load_design("pynq_z1").to_dict()
ODD_VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 3, 16, 64, 65, 256, 257, 4096, 2**70, -1, 0.5, 16.0, float("nan"), float("inf"), 10**400,
    "", "int8", "shared", "separate", "32KiB", "a text of some length", "Upper", "name\n", "näme", [], [1], {}, {"batch": 1},
]  # fmt: skip


def broken(chance: random.Random) -> Any:
    """GOOD with a few keys changed, removed or added, at any depth."""
    data = copy.deepcopy(GOOD)
    for _ in range(chance.randint(1, 3)):
        sections = [data, *(value for value in data.values() if isinstance(value, dict))]
        section = chance.choice(sections)
        key = chance.choice([*section, "unknown"])
        if chance.random() < 0.15:
            section.pop(key, None)
        else:
            section[key] = chance.choice(ODD_VALUES)
    return data


def sizes_in_bytes(data: Any) -> bool:
    """A file may say 32KiB; a stored design never does."""
    return not (isinstance(data.get("sram"), dict) and any(isinstance(size, str) for size in data["sram"].values()))


def test_both_doors_accept_the_same() -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    outcomes = {True: 0, False: 0}
    for _ in range(3000):
        data = broken(chance)
        if not sizes_in_bytes(data):
            continue
        found = [accepted(read, data, f"seed {seed}") for read in (stored_design, design_from_dict)]
        assert found[0] == found[1], f"seed {seed}: {data}"
        outcomes[found[0] is not None] += 1
    assert min(outcomes.values()) > 100, f"seed {seed}: {outcomes}"


def accepted(read: Any, data: Any, where: str) -> Design | None:
    try:
        return read(data, "d")
    except VdlaError:
        return None
    except Exception as error:
        raise AssertionError(f"{where}: {type(error).__name__}: {error} from {data!r}") from error


@pytest.mark.parametrize("data", [None, 3, "text", [], [GOOD]])
def test_what_is_no_mapping(data: Any) -> None:
    with pytest.raises(ProblemList, match="m.vprog: not a valid design: should be a mapping of keys to values"):
        Design.from_dict(data, "m.vprog")


def test_all_problems_at_once() -> None:
    data = copy.deepcopy(GOOD) | {"foo": 1, "clock_mhz": "fast", "name": "Upper", "about": "short", "memory": 3}
    data["gemm"] = {"batch": 1.0, "blok": 3}
    data["sram"] = {**data["sram"], "inp": True}
    data["board"] = {**data["board"], "part": 7}
    data["types"] = {**data["types"], "inp": "int4"}
    del data["sram"]["uop"]
    with pytest.raises(ProblemList) as caught:
        Design.from_dict(data, "m.vprog")
    assert [problem.where for problem in caught.value.problems] == [
        "foo", "name", "about", "clock_mhz", "gemm.blok", "gemm.batch", "types.inp", "sram.uop", "sram.inp", "memory",
        "board.part",
    ]  # fmt: skip
    for words in (
        "foo: unknown key; expected one of name, about, clock_mhz, gemm, types, sram, memory, board",
        "clock_mhz: should be a number above 0, up to 5000; found 'fast'",
        "name: should match the pattern [a-z][a-z0-9_]*; found 'Upper'",
        "about: should be a string of at least 10 characters; found 'short'",
        "gemm.blok: unknown key; expected one of batch, block_in, block_out",
        "gemm.batch: should be an integer from 1 to 64; found 1.0",
        "types.inp: should be 'int8'; found 'int4'",
        "sram.uop: missing key; expected a value",
        "memory: should be a mapping of keys to values; found 3",
    ):
        assert words in str(caught.value)


def test_contradictions_are_refused_there_too() -> None:
    with pytest.raises(ProblemList, match="gemm.block_in: .*must be equal; found 32; expected 16") as caught:
        Design.from_dict(GOOD | {"gemm": {"block_in": 32}}, "m.vprog")
    assert all(isinstance(problem, DesignError) for problem in caught.value.problems)
    one, sram = {"batch": 1, "block_in": 1, "block_out": 1}, dict.fromkeys(("uop", "inp", "wgt", "acc"), 64 << 20)
    with pytest.raises(DesignError, match="the SRAM depths leave"):
        stored_design(GOOD | {"gemm": one, "sram": sram}, "m.vprog")


@pytest.mark.parametrize("name", shipped_designs())
def test_a_design_survives(name: str) -> None:
    design = load_design(name)
    assert Design.from_dict(design.to_dict(), "again") == design
    assert ("board" in design.to_dict()) == (design.board is not None)
    assert eval(repr(design), {c.__name__: c for c in classes()}) == design


def classes() -> list[type]:
    return [Design, *(rule.of for rule, _ in rules_of(Design).values() if isinstance(rule, Section))]


def test_what_is_not_given_has_its_default() -> None:
    short = {key: GOOD[key] for key in ("name", "about", "clock_mhz", "sram")} | {"gemm": {}}
    design = Design.from_dict(short, "short")
    assert (design.gemm.batch, design.memory.max_burst, design.types.acc, design.board) == (1, 16, "int32", None)
    assert design == design_from_dict(short, "short") == construct(Design, asdict(design))
    assert isinstance(Design.from_dict(GOOD | {"clock_mhz": 100}, "d").clock_mhz, float)


def test_variations_are_checked() -> None:
    tiny = load_design("tiny")
    slow = tiny.varied(name="slow", clock_mhz=50, memory={"read_latency": 200})
    assert (slow.name, slow.clock_mhz, slow.memory.read_latency, slow.memory.max_burst) == ("slow", 50.0, 200, 4)
    assert slow.gemm == tiny.gemm
    assert tiny.varied(board={"name": "b", "part": "p", "host": "cortex-a9"}).board is not None
    for changes, words in (
        ({"memory": {"latency": 3}}, "tiny, varied: .*memory.latency: unknown key"),
        ({"clock": 3}, "clock: unknown key"),
        ({"gemm": {"batch": 3}}, "gemm.batch: tile bytes address DRAM; found 3"),
        ({"sram": {"uop": "1KiB"}}, "sram.uop: should be an integer"),
    ):
        with pytest.raises(ProblemList, match=words):
            tiny.varied(**changes)
