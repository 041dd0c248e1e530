"""ARCHITECTURE.md has a sentence for every file, and it is the file's own: the first of its docstring or header.

`python tests/test_architecture.py` rewrites the list between the markers.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("vdla", "isa", "sim", "compiler", "hw", "designs")
BEGIN, END = "<!-- files: written by python tests/test_architecture.py -->\n", "<!-- end of files -->\n"


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


def test_architecture_lists_every_file() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    listed = text.split(BEGIN)[1].split(END)[0]
    assert listed.strip() == file_list().strip(), "out of date: python tests/test_architecture.py"


def test_every_package_is_in_the_wheel() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    homes = {folder: name for name, folder in settings["package-dir"].items()}
    found = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("__init__.py"):
            parts = path.parent.relative_to(ROOT).parts
            found.add(".".join((homes[parts[0]], *parts[1:])))
    assert found == set(settings["packages"]), "packages in pyproject.toml and on disk differ"


def main() -> None:
    path = ROOT / "ARCHITECTURE.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    path.write_text(before + BEGIN + file_list() + "\n" + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
