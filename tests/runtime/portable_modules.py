"""What the runtime on a board is made of, and a Python that has nothing else.

A board's Python is older than ours (a Pynq image of 2022 has Python 3.10 and NumPy 1.21) and has no compiler of kernels, no
pydantic and no YAML. `MODULES` is the one list that the tests beside this file hold to it, with all that they import.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("isa", "sim", "hw", "designs", "compiler")
"""Beside vdla/, its subpackages (pyproject's package-dir)."""

MODULES = (
    "vdla",
    "vdla.archive",
    "vdla.design",
    "vdla.device",
    "vdla.hw.driver",
    "vdla.hw.vivado.pynq_board",
    "vdla.isa",
    "vdla.isa.binding",
    "vdla.isa.program",
    "vdla.isa.registers",
    "vdla.isa.semantics",
    "vdla.runtime",
    "vdla.sim",
    "vdla.sim.naive",
)

ONLY = """
import sys
from importlib.abc import MetaPathFinder

class OnlyWhatABoardHas(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "vdla"):
            raise ImportError(f"a board has no {name}")

sys.meta_path.insert(0, OnlyWhatABoardHas())
"""


def run_on_board(code: str, *arguments: str, python: str = sys.executable, links: Path | None = None) -> str:
    """What `code` prints where only the standard library, NumPy and vdla can be imported, run in `links` (`package_links`)."""
    done = subprocess.run(
        [python, "-c", ONLY + code, *arguments], capture_output=True, text=True, check=False, cwd=links, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_links(folder: Path) -> Path:
    """A folder from which `import vdla` finds these sources, for a Python that has no vdla installed."""
    package = folder / "vdla"
    package.mkdir()
    for entry in (ROOT / "vdla").iterdir():
        (package / entry.name).symlink_to(entry)
    for name in FOLDERS:
        (package / name).symlink_to(ROOT / name)
    return folder


@cache
def portable_sources() -> tuple[Path, ...]:
    """The files of MODULES and of every module of ours that they import."""
    code = "import importlib, json\n"
    code += "for name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(json.dumps([m.__file__ for name, m in sys.modules.items() if name.partition('.')[0] == 'vdla']))"
    return tuple(sorted(Path(path).resolve() for path in json.loads(run_on_board(code, *MODULES))))
