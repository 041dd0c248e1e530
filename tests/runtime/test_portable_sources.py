"""The sources of what runs on a board are valid for Python 3.10 and NumPy 1.21."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from portable_modules import ROOT, portable_sources

PYTHON = "3.10"
NUMPY = """
abs add any arange arccos arccosh arcsin arcsinh arctan arctanh argmax argmin argsort array array_equal asarray
ascontiguousarray bitwise_and bitwise_or bitwise_xor bool_ broadcast_arrays broadcast_shapes broadcast_to ceil clip concatenate
cos cosh cumsum divide dtype einsum empty empty_like equal errstate exp expand_dims expm1 flatnonzero flip float32 float64 floor
fmod frexp frombuffer frompyfunc full full_like greater greater_equal iinfo indices inf int32 int64 int8 integer invert isin
isinf isnan isneginf isposinf left_shift less less_equal linalg load log log1p logaddexp logical_and logical_not logical_or
logical_xor matmul max maximum meshgrid minimum mod moveaxis multiply nan nan_to_num ndarray ndindex negative not_equal ogrid
ones ones_like pad pi power prod ravel_multi_index repeat right_shift rint roll save searchsorted select shape sign sin sinh
sort split sqrt square stack subtract take take_along_axis tan tanh tensordot tile tril triu trunc ufunc uint32 uint64 uint8
void where zeros zeros_like
"""
"""Names of NumPy that these sources may use. Each is in the reference of NumPy 1.21 (`dir(numpy)` of 1.21.6 has them all); look
a new one up there before adding it. VDLA_BOARD_PYTHON (test_leaves_home) shows that they also do the same there."""


@pytest.fixture(scope="module")
def vermin() -> str:
    found = shutil.which("vermin", path=Path(sys.executable).parent) or shutil.which("vermin")
    if found is None:
        pytest.skip("vermin is not installed: pip install -e '.[dev]'")
    return found


def complaints(vermin: str, *paths: Path) -> str:
    """What `vermin` says of sources that need more than PYTHON; "" when they do not."""
    command = [vermin, f"--target={PYTHON}-", "--violations", "--no-tips", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def test_sources_need_no_newer_python(vermin: str) -> None:
    assert complaints(vermin, *portable_sources()) == ""


@pytest.mark.parametrize(
    "newer", ["from typing import Self", "from enum import StrEnum", "import tomllib", "try: ...\nexcept* ValueError: ..."]
)
def test_newer_sources_are_found(vermin: str, newer: str, tmp_path: Path) -> None:
    (tmp_path / "newer.py").write_text(newer)
    assert "3.11" in complaints(vermin, tmp_path / "newer.py")


def numpy_names(source: str) -> set[str]:
    """Attributes of `np`, and whatever is imported from NumPy other than as `np`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "np":
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "numpy":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            others = [alias.name for alias in node.names if (alias.name, alias.asname) != ("numpy", "np")]
            names |= {name for name in others if name.partition(".")[0] == "numpy"}
    return names


def test_sources_use_what_the_oldest_numpy_has() -> None:
    used = {name: path for path in portable_sources() for name in numpy_names(path.read_text(encoding="utf-8"))}
    unknown = {name: str(path.relative_to(ROOT)) for name, path in used.items() if name not in NUMPY.split()}
    assert not unknown
    assert NUMPY.split() == sorted(used), "sorted, and no name that nothing uses"


def test_other_ways_to_numpy_are_found() -> None:
    assert numpy_names("import numpy as np\nnp.bitwise_count(np.zeros(3))") == {"bitwise_count", "zeros"}
    assert numpy_names("from numpy.lib import stride_tricks") == {"numpy.lib.stride_tricks"}
    assert numpy_names("import numpy.random") == {"numpy.random"}
