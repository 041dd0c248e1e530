"""Every refusal of a design: its words, the path of its key, and all problems at once."""

from __future__ import annotations

import copy
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vdla.design_file import DESIGN_BYTES_MAX, design_from_dict, load_design, shipped_designs
from vdla.errors import DesignError, ProblemList, VdlaError, shown

GOOD: dict[str, Any] = yaml.safe_load(shipped_designs()["pynq_z1"].read_text())


def changed(**changes: Any) -> dict[str, Any]:
    """GOOD with `section__key=value` (or `key=value`) replaced, or removed when the value is ..."""
    data = copy.deepcopy(GOOD)
    for path, value in changes.items():
        *sections, key = path.split("__")
        target = data
        for section in sections:
            target = target[section]
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return data


def refusal(data: object) -> str:
    with pytest.raises(VdlaError) as caught:
        design_from_dict(data, "d.yaml")
    text = str(caught.value)
    assert text.startswith("d.yaml: not a")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"foo": 1}, "foo: unknown key; expected one of name, about, clock_mhz, gemm, types, sram, memory, board"),
        ({"clock_mzh": 1}, "clock_mzh: unknown key; .*did you mean clock_mhz"),
        (
            {"gemm__blok_in": 1},
            "gemm.blok_in: unknown key; expected one of batch, block_in, .*did you mean block_in",
        ),
        ({"sram__weights": 1}, "sram.weights: unknown key; expected one of uop, inp, wgt, acc"),
        ({"memory__bus": 1}, "memory.bus: unknown key; expected one of bus_bits, ports"),
        ({"board__chip": "x"}, "board.chip: unknown key; expected one of name, part, host"),
        ({"types__bias": "int8"}, "types.bias: unknown key; expected one of inp, wgt, acc, out"),
        ({"name": ...}, "name: missing key"),
        ({"gemm": ...}, "gemm: missing key"),
        ({"sram__uop": ...}, "sram.uop: missing key"),
        ({"board__part": ...}, "board.part: missing key"),
        ({"name": "Upper"}, "name: .*pattern.*found 'Upper'"),
        ({"name": 3}, "name: should be a valid string; found 3"),
        ({"about": "short"}, "about: .*at least 10 characters; found 'short'"),
        ({"clock_mhz": 0}, "clock_mhz: should be greater than 0; found 0"),
        ({"clock_mhz": -1.5}, "clock_mhz: should be greater than 0; found -1.5"),
        ({"clock_mhz": float("nan")}, "clock_mhz: .*found nan"),
        ({"clock_mhz": float("inf")}, "clock_mhz: should be less than or equal to 5000; found inf"),
        ({"clock_mhz": True}, "clock_mhz: should be a valid number; found True"),
        ({"clock_mhz": "100"}, "clock_mhz: should be a valid number; found '100'"),
        ({"clock_mhz": 10**400}, "clock_mhz: "),
        ({"gemm": 3}, "gemm: should be a mapping of keys to values; found 3"),
        ({"gemm": []}, r"gemm: should be a mapping of keys to values; found \[\]"),
        ({"gemm__batch": 0}, "gemm.batch: should be greater than or equal to 1; found 0"),
        ({"gemm__batch": 2**70}, "gemm.batch: should be less than or equal to 64"),
        ({"gemm__batch": 3}, "gemm.batch: tile bytes address DRAM; found 3; expected a power of two"),
        ({"gemm__block_in": 12, "gemm__block_out": 12}, "gemm.block_in: tile bytes address DRAM; found 12"),
        ({"gemm__block_in": 32}, "gemm.block_in: .*must be equal; found 32; expected 16, as gemm.block_out"),
        ({"gemm__block_in": 16.0}, "gemm.block_in: should be a valid integer; found 16.0"),
        ({"types__inp": "int4"}, "types.inp: should be 'int8'; found 'int4'"),
        ({"sram__inp": "32KB"}, "sram.inp: expected a size such as 512B, 32KiB or 1MiB; found '32KB'"),
        ({"sram__inp": "-1KiB"}, "sram.inp: expected a size"),
        ({"sram__inp": True}, "sram.inp: expected a size .*found True"),
        ({"sram__inp": "9" * 30 + "KiB"}, "sram.inp: "),
        ({"sram__inp": 1000}, "sram.inp: tiles do not fill the SRAM; found 1000; expected a multiple of the 16-byte tile"),
        ({"sram__wgt": "512B"}, "sram.wgt: too small; found 512; expected room for at least 4 tiles of 256 bytes"),
        ({"sram__acc": "1000MiB"}, "sram.acc: should be less than or equal to 67108864"),
        ({"sram__uop": "60B"}, "sram.uop: not a micro-op memory; found 60; expected a multiple of 8 bytes, at least 64"),
        ({"memory__bus_bits": 48}, "memory.bus_bits: .*found 48; expected 32, 64, 128"),
        (
            {"memory__bus_bits": 1024, "memory__max_burst": 64},
            "memory.max_burst: .*4096 bytes; found 64; .* at most 32 beats",
        ),
        ({"memory__max_burst": 12}, "memory.max_burst: bursts end at multiples of it; found 12; expected a power of two"),
        ({"memory__ports": "many"}, "memory.ports: should be 'shared' or 'separate'; found 'many'"),
        ({"memory__read_latency": 0}, "memory.read_latency: should be greater than or equal to 1; found 0"),
        ({"board": "pynq"}, "board: should be a mapping of keys to values; found 'pynq'"),
    ],
)
def test_words_of_each_refusal(changes, words):
    assert re.search(words, refusal(changed(**changes)))


def test_what_cannot_be_encoded():
    big = changed(
        gemm__batch=1, gemm__block_in=1, gemm__block_out=1, **{f"sram__{s}": "64MiB" for s in ("uop", "inp", "wgt", "acc")}
    )
    text = refusal(big)
    assert "sram: the SRAM depths leave" in text
    assert "expected at least 8 of 128 bits; try: smaller SRAMs or larger tiles" in text


@pytest.mark.parametrize("data", [None, 3, "text", [], [GOOD]])
def test_what_is_no_mapping(data):
    assert "expected a mapping with name, about, gemm, sram" in refusal(data)


def test_all_problems_at_once():
    """Bad keys, bad values, and contradictions among the rest."""
    text = refusal(
        changed(
            foo=1, clock_mhz=-1, gemm__block_in=12, gemm__blok=3, sram__inp=100, sram__wgt="256KB", memory__bus_bits=48,
            memory__ports="both", board__part=...,
        )
    )  # fmt: skip
    for key in (
        "foo: unknown", "clock_mhz: ", "gemm.blok: unknown", "gemm.block_in: an output tile", "gemm.block_in: tile bytes",
        "sram.inp: tiles", "sram.wgt: expected a size", "memory.bus_bits: ", "memory.ports: ", "board.part: missing",
    ):  # fmt: skip
        assert key in text
    assert "10 problems" in text


def test_no_contradiction_is_invented_for_a_refused_key():
    assert refusal(changed(gemm__block_in="x", gemm__block_out=64)).count("|") == 0
    assert refusal(changed(gemm="x")).count("|") == 0
    assert refusal(changed(sram=...)).count("|") == 0


def test_problems_are_reported_as_such():
    with pytest.raises(ProblemList) as caught:
        design_from_dict(changed(foo=1, clock_mhz=-1), "d.yaml")
    assert all(isinstance(problem, DesignError) for problem in caught.value.problems)
    assert [problem.where for problem in caught.value.problems] == ["clock_mhz", "foo"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2\n", "d.yaml:2: not YAML: expected ',' or ']'"),
        ("a: 1\na: 2\n", "d.yaml:2: not YAML: a is given twice, first on line 1; .*each key once"),
        ("gemm:\n  batch: 1\n  batch: 1\n", "d.yaml:3: not YAML: batch is given twice, first on line 2"),
        ("a: 1\n---\nb: 2\n", "d.yaml:2: not YAML: .*another document"),
        ("a: !!python/object:os.system x\n", "d.yaml:1: not YAML: could not determine a constructor"),
        ("? [a, b]\n: 1\n", "d.yaml:1: not YAML: found unhashable key"),
        ("a: *b\n", "d.yaml:1: not YAML: found undefined alias"),
        ("a:\tb\n\t- c", "d.yaml:.: not YAML"),
        ("a: " + "9" * 5000, "not YAML"),
        ("[" * 5000, "not YAML"),
        ("a: \x00", "not YAML"),
        ("", "d.yaml: not a design; found 'nothing'"),
        ("# only a comment\n", "d.yaml: not a design; found 'nothing'"),
        ("1: 2\n", "not a valid design: "),
        ("x" * (DESIGN_BYTES_MAX + 1), "d.yaml: too long for a design; expected at most 1,048,576 bytes"),
    ],
)
def test_yaml_that_is_no_design(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    Path("d.yaml").write_text(text)
    with pytest.raises(VdlaError, match=words):
        load_design("d.yaml")


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\x00\xfe")
    for path, words in (
        (tmp_path / "none.yaml", "No such file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "binary.yaml", "it is not text"),
        (tmp_path / "binary.yaml" / "below", "Not a directory"),
        ("pynqz1", "did you mean pynq_z1"),
        ("a\0b", "cannot read the design"),
        ("n" * 5000, "File name too long"),
    ):
        with pytest.raises(DesignError, match=words) as caught:
            load_design(path)
        assert "datacenter, kv260, pynq_z1, tiny, zynq_4port" in str(caught.value)


def test_long_values_are_shown_short(tmp_path):
    levels = ["- &l0 [1, 2, 3, 4, 5, 6, 7, 8, 9]"] + [f"- &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, 12)]
    (tmp_path / "bomb.yaml").write_text("name:\n" + "\n".join(f"  {line}" for line in levels))
    (tmp_path / "hex.yaml").write_text(f"gemm: {{batch: 0x{'f' * 9000}}}")
    for name in ("bomb.yaml", "hex.yaml"):
        with pytest.raises(VdlaError) as caught:
            load_design(tmp_path / name)
        assert len(str(caught.value)) < 2000
    assert shown(10**5000) == "int of thousands of digits"
    assert shown("x" * 1000).count("x") < 250
    assert shown({"a": [1, 2.5, None]}) == "{'a': [1, 2.5, None]}"


def mutated(text: str, chance: random.Random) -> str:
    """A few characters, lines or values of `text` changed."""
    for _ in range(chance.randint(1, 4)):
        lines = text.splitlines() or [""]
        k = chance.randrange(len(lines))
        place = chance.randrange(len(text) + 1)
        text = chance.choice(
            [
                lambda text=text, place=place: text[:place] + chance.choice("{}[]:,-#&*!|>'\"%@`\n\t 0é\x00") + text[place:],
                lambda text=text, place=place: text[:place] + text[place + chance.randint(1, 9) :],
                lambda lines=lines, k=k: "\n".join(lines[:k] + lines[k + 1 :]),
                lambda lines=lines, k=k: "\n".join([*lines[:k], lines[k], *lines[k:]]),
                lambda text=text: text.replace("16", str(chance.choice([0, 3, 2**40, -1, 1e9, "x", [], True])), 1),
                lambda text=text: text.replace("KiB", chance.choice(["", "MiB", "GiB", "B", " KiB", "K"]), 1),
            ]
        )()
    return text


def test_fuzzed_yaml_gives_a_design_or_an_error(tmp_path):
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    originals = [path.read_text() for path in shipped_designs().values()]
    path = tmp_path / "fuzzed.yaml"
    outcomes = {"design": 0, "error": 0}
    for _ in range(400):
        text = mutated(chance.choice(originals), chance)
        path.write_text(text)
        try:
            load_design(path)
            outcomes["design"] += 1
        except VdlaError:
            outcomes["error"] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error} from {text!r}") from error
    assert min(outcomes.values()) > 20, f"seed {seed}: {outcomes}"
