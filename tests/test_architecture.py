"""Every file opens with a sentence that says what it is for; `make files` prints them all, folder by folder."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("vdla", "isa", "sim", "compiler", "hw", "designs")


def sentence(path: Path) -> str:
    """The first sentence of a Python docstring, or of the comment that opens a Verilog, C++ or YAML file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        opening = ast.get_docstring(ast.parse(text)) or ""
    else:
        lines = [line.strip() for line in text.split("\n")]
        marks = tuple(("#",) if path.suffix == ".yaml" else ("//",))
        comment = [line.lstrip("/# ").strip() for line in lines if line.startswith(marks)]
        opening = " ".join(comment[: comment.index("") if "" in comment else len(comment)])
    first = " ".join(opening.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", first)[0].rstrip(".")


def file_list() -> str:
    parts = []
    for folder in FOLDERS:
        by_folder: dict[Path, list[Path]] = {}
        for path in sorted((ROOT / folder).rglob("*")):
            listed = path.suffix in (".py", ".v", ".cpp", ".yaml") and "__pycache__" not in path.parts
            if listed and "generated" not in path.parts and path.read_text(encoding="utf-8").strip():
                by_folder.setdefault(path.parent.relative_to(ROOT), []).append(path)
        for parent, paths in by_folder.items():
            parts.append(f"\n**{parent}/**\n\n" + "".join(f"- `{p.name}`: {sentence(p)}\n" for p in paths))
    return "".join(parts)


def test_every_file_has_a_sentence() -> None:
    missing = [line for line in file_list().split("\n") if re.fullmatch(r"- `[^`]+`: ", line)]
    assert not missing, f"these files open without a sentence: {missing}"


def test_every_package_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    homes = {folder: name for name, folder in settings["package-dir"].items()}
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("__init__.py"):
            parts = path.parent.relative_to(ROOT).parts
            found.add(".".join((homes[parts[0]], *parts[1:])))
    assert found == set(settings["packages"]), "packages in pyproject.toml and on disk differ"


def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    homes = {"vdla": "vdla", **{folder: f"vdla.{folder}" for folder in FOLDERS if folder != "vdla"}}
    found = {}
    for folder, name in homes.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            found[".".join((name, *(part for part in parts if part != "__init__")))] = path
    return found


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules that a file imports, wherever in it; what only type checkers read is left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {part if part in known else node.module for part in parts}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & known


def test_no_modules_import_each_other() -> None:
    """Not even by way of others: peel off what imports nothing that is left, until nothing is."""
    files = modules()
    assert len(files) > 200
    imports = {name: imported(path, set(files)) - {name} for name, path in files.items()}
    while leaves := [name for name, names in imports.items() if not names & imports.keys()]:
        for name in leaves:
            del imports[name]
    circle = {name: sorted(names & imports.keys()) for name, names in imports.items()}
    assert not circle, f"these modules import each other, or what does: {circle}"


if __name__ == "__main__":
    print(file_list().strip())
