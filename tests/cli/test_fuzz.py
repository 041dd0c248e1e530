"""Damaged files through the command line: an error that was meant, never a traceback, a fault or a hang. Seeds are printed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from vdla.cli.main import FAULT
from vdla.design_file import shipped_designs
from vdla.zoo import build


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, removed, repeated or put elsewhere."""
    for _ in range(chance.randint(1, 5)):
        k, length = chance.randrange(len(data)), chance.randint(1, 30)
        piece = data[k : k + length]
        kind = chance.randrange(5)
        if kind == 0:
            data = data[:k] + bytes([data[k] ^ (1 << chance.randrange(8))]) + data[k + 1 :]
        elif kind == 1:
            data = data[:k] + data[k + length :] or b"\0"
        elif kind == 2:
            data = data[:k] + piece + data[k:]
        elif kind == 3:
            data = data[:k] + chance.randbytes(len(piece)) + data[k + length :]
        else:
            other = chance.randrange(len(data))
            data = data[:other] + piece + data[other:]
    return data


def survive(vdla: Callable, name: str, original: bytes, tmp_path: Path, count: int, command: Callable[[Path], list]) -> None:
    """Run `command` on `count` damaged copies of `original`."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    path = tmp_path / name
    refused = 0
    for trial in range(count):
        path.write_bytes(damaged(original, chance))
        ended = vdla(*command(path))
        told = f"seed {seed}, trial {trial}: exit {ended.code}: {ended.err}"
        assert ended.code != FAULT, told
        assert ended.code in (0, 1, 2), told
        assert "Traceback" not in ended.err, told
        if ended.code == 2:
            refused += 1
            assert ended.err.startswith("vdla: error: "), told
            assert ended.err.count("\n") == 1, told
    assert refused, f"seed {seed}: nothing was refused"


def test_modules(vdla, digits_bytes, tmp_path):
    survive(vdla, "m.vdla", digits_bytes, tmp_path, 60, lambda path: ["simulate", path, "--timing-only"])


def test_programs(vdla, program_file, tmp_path):
    survive(vdla, "m.vprog", program_file.read_bytes(), tmp_path, 60, lambda path: ["isa", "check", path])


@pytest.mark.parametrize("command", [["isa", "check"], ["simulate", "--timing-only"]])
def test_assembly(vdla, program_file, tmp_path, command):
    """`isa check` of what still assembles; and the simulator must stop, whatever the tokens do."""
    text = vdla("isa", "disassemble", program_file).out
    survive(vdla, "m.s", text.encode(), tmp_path, 40, lambda path: [*command, path])


def test_designs(vdla, tmp_path):
    survive(vdla, "d.yaml", shipped_designs()["tiny"].read_bytes(), tmp_path, 60, lambda path: ["isa", "show", "-d", path])


def test_tensors(vdla, tmp_path):
    """An .npz that says nothing sensible, beside a good one."""
    good = tmp_path / "good.npz"
    assert vdla("run", "digits", "--target", "cpu", "--save-tensors", good).code == 0
    survive(vdla, "t.npz", good.read_bytes(), tmp_path, 60, lambda path: ["compare-tensors", good, path])


def test_models_on_the_cpu(vdla, tmp_path):
    model = build("digits")
    survive(vdla, "m.onnx", model.SerializeToString(), tmp_path, 15, lambda path: ["run", path, "--target", "cpu"])


def test_models(vdla, tmp_path):
    model = build("digits")
    survive(vdla, "m.onnx", model.SerializeToString(), tmp_path, 25, lambda path: ["run", path, "--design", "tiny"])
