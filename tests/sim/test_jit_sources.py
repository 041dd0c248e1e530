"""Machine code is kept by the hash of its sources: nothing that a compiled function uses may come from anywhere else."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vdla import jit

PACKAGES = ("vdla.isa", "vdla.sim", "vdla.compiler.backends.vdla")


def folder_of(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def source_of(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin)


def is_compiled(function: ast.FunctionDef) -> bool:
    names = {name.id for decorator in function.decorator_list for name in ast.walk(decorator) if isinstance(name, ast.Name)}
    return bool(names & {"jit", "_inner"})


def used_by_compiled_code(tree: ast.Module) -> set[str]:
    """Names that compiled functions use, and that the module's own assignments do."""
    parts = [
        node for node in tree.body if isinstance(node, ast.Assign) or isinstance(node, ast.FunctionDef) and is_compiled(node)
    ]
    return {name.id for part in parts for name in ast.walk(part) if isinstance(name, ast.Name)}


def modules_of(tree: ast.Module, used: set[str]) -> set[str]:
    """The modules of vdla that these names are imported from."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("vdla"):
            for alias in node.names:
                if (alias.asname or alias.name) in used:
                    inner = f"{node.module}.{alias.name}"
                    is_module = importlib.util.find_spec(node.module).submodule_search_locations is not None  # type: ignore
                    found.add(inner if is_module and importlib.util.find_spec(inner) else node.module)
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_everything_compiled_code_uses_is_hashed(package: str) -> None:
    hashed = set(jit.sources(folder_of(package)))
    compiling = [path for path in hashed if "@jit" in path.read_text(encoding="utf-8") and path.parent == folder_of(package)]
    assert compiling
    for path in compiling:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for module in modules_of(tree, used_by_compiled_code(tree)):
            assert source_of(module) in hashed, f"{path.name} uses {module}: machine code would outlive a change of it"


def test_a_changed_constant_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kernels.py").write_text("from vdla.jit import jit\nLANES = 16\n")
    before = jit.source_hash(tmp_path)
    assert before == jit.source_hash(tmp_path)
    (tmp_path / "reports.py").write_text("TITLE = 'no kernels here'\n")
    assert before == jit.source_hash(tmp_path)
    (tmp_path / "kernels.py").write_text("from vdla.jit import jit\nLANES = 8\n")
    assert before != jit.source_hash(tmp_path)


def run(code: str, cache: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"VDLA_CACHE": cache, "PATH": "", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KERNEL = "import numpy; from vdla.compiler.backends.vdla.dma import _run; "
KERNEL += "print(_run(numpy.arange(4), numpy.ones(4, bool), 0, 4), sum(_run.stats.cache_hits.values()))"


def test_code_is_kept_in_the_cache_and_found_again(tmp_path: Path) -> None:
    assert [run(KERNEL, str(tmp_path)) for _ in range(2)] == ["4 0\n", "4 1\n"]
    assert {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.nbc")} == {"numba"}


@pytest.mark.parametrize("cache", ["", "/dev/null/no/folder"])
def test_without_a_cache_nothing_is_kept(cache: str) -> None:
    assert run(KERNEL, cache) == "4 0\n"


def test_hashing_is_cheap() -> None:
    folders = [folder_of(package) for package in PACKAGES]
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        for folder in folders:
            jit.source_hash(folder)
        times.append(time.perf_counter() - begin)
    assert min(times) < 0.01


def test_help_does_not_import_numba() -> None:
    code = "import sys; from vdla.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    run(code + "assert 'numba' not in sys.modules", "")
