"""A module compiled once, and the command line run in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vdla.cli.main import main
from vdla.compiler.model import CompiledModel
from vdla.flows import compile_to_model
from vdla.runtime.program_file import module_to_bytes, program_to_bytes


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str, code: int = 2) -> None:
        """One line on stderr that has all of `words`, nothing on stdout, the exit code."""
        assert self.code == code, self.err
        assert self.err.startswith("vdla: error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        assert self.out == ""
        for word in words:
            assert word in self.err, f"{word!r} is not in: {self.err}"


@pytest.fixture
def vdla(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def digits() -> CompiledModel:
    """The digits network on the tiny design."""
    return compile_to_model("digits", "tiny")


@pytest.fixture(scope="session")
def digits_bytes(digits: CompiledModel) -> bytes:
    return module_to_bytes(digits)


@pytest.fixture
def digits_file(digits_bytes: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "digits.vdla"
    path.write_bytes(digits_bytes)
    return path


@pytest.fixture
def program_file(digits: CompiledModel, tmp_path: Path) -> Path:
    path = tmp_path / "digits.vprog"
    path.write_bytes(program_to_bytes(digits.programs[0]))
    return path
