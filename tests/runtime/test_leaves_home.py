"""The runtime needs the standard library and NumPy, nothing else: it is imported, and runs a program, where nothing else is.

VDLA_BOARD_PYTHON=/path/to/python3.10 (with NumPy 1.21) runs the same in the oldest Python there is to be.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from portable_modules import MODULES, package_links, run_on_board

from vdla.compiler.graph.graph import TensorType
from vdla.design import Design
from vdla.design_file import load_design
from vdla.flows.compilation import compile_to_model
from vdla.flows.inputs import generated_inputs
from vdla.isa.program import Program
from vdla.runtime.program_file import program_to_bytes
from vdla.sim.device import Simulator

BOARD_PYTHON = os.environ.get("VDLA_BOARD_PYTHON", "")
on_board = pytest.mark.skipif(not BOARD_PYTHON, reason="VDLA_BOARD_PYTHON names no Python of a board")


@pytest.mark.parametrize("module", MODULES)
def test_imports_nothing_else(module: str) -> None:
    run_on_board(f"import {module}")


@pytest.mark.parametrize("package", ["pydantic", "yaml", "numba", "llvmlite", "onnx", "vdla.design_file"])
def test_the_board_of_these_tests_has_nothing_else(package: str) -> None:
    with pytest.raises(AssertionError, match="a board has no"):
        run_on_board(f"import {package}")


@on_board
@pytest.mark.parametrize("module", MODULES)
def test_imports_in_the_oldest_python(module: str, tmp_path: Path) -> None:
    run_on_board(f"import {module}", python=BOARD_PYTHON, links=package_links(tmp_path))


EXECUTE = """
import numpy as np
from vdla.runtime.program_file import read_programs
from vdla.sim.naive import NaiveSimulator

folder = sys.argv[1]
(program,) = read_programs(f"{folder}/digits.vprog")
inputs = dict(np.load(f"{folder}/inputs.npz"))
result = NaiveSimulator(program.design).run(program, inputs, timing=False)
np.savez(f"{folder}/outputs.npz", **result.outputs)
print(program.design.hash_hex)
"""


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_to_model("digits", load_design("tiny")).programs[0]


def check_execution(program: Program, folder: Path, **board: object) -> None:
    """A program file, read and run by the naive simulator on the board, against the fast simulator here."""
    inputs = generated_inputs({slot.name: TensorType(slot.shape, slot.dtype) for slot in program.inputs}, 1)
    (folder / "digits.vprog").write_bytes(program_to_bytes(program))
    np.savez(folder / "inputs.npz", **inputs)
    assert run_on_board(EXECUTE, str(folder), **board).strip() == program.design.hash_hex  # type: ignore[arg-type]
    found, expected = np.load(folder / "outputs.npz"), Simulator(program.design).run(program, inputs, timing=False).outputs
    assert set(found.files) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value)


def test_executes_a_program(program: Program, tmp_path: Path) -> None:
    check_execution(program, tmp_path)


@on_board
def test_executes_a_program_in_the_oldest_python(program: Program, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    check_execution(program, tmp_path, python=BOARD_PYTHON, links=package_links(tmp_path / "links"))


@pytest.mark.parametrize("name", ["pynq_z1", "datacenter"])
def test_a_design_is_the_same_there(name: str) -> None:
    design = load_design(name)
    code = "import json; from vdla.design import Design\n"
    code += (
        "design = Design.from_dict(json.loads(sys.argv[1]), 'here'); print(json.dumps([design.to_dict(), design.build_hash]))"
    )
    there, build_hash = json.loads(run_on_board(code, json.dumps(design.to_dict())))
    assert (Design.from_dict(there, "there"), build_hash) == (design, design.build_hash)
