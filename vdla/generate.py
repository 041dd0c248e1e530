"""Write everything that is generated from the instruction set and the tables of operators: `python -m vdla.generate [--check]`.

With `--check` nothing is written; the exit code is 1 when a file differs, and the message is the command to run.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path

from vdla.compiler.frontend.manual import operators_manual
from vdla.design_file import load_design
from vdla.errors import OutputError, VdlaError
from vdla.isa.emit_manual import manual
from vdla.isa.emit_verilog import COMMAND, verilog_header
from vdla.isa.registers import registers_header, registers_manual

MANUAL_DESIGN = "pynq_z1"
VERILOG_DESIGNS = ("pynq_z1", "tiny", "zynq_4port", "kv260")


def generated_files() -> dict[str, str]:
    """Path from the root of the repository → text."""
    files = {
        "docs/isa.md": manual(load_design(MANUAL_DESIGN), COMMAND),
        "docs/registers.md": registers_manual(COMMAND),
        "docs/operators.md": operators_manual(COMMAND),
        "hw/rtl/generated/vdla_registers.vh": registers_header(COMMAND),
    }
    for name in VERILOG_DESIGNS:
        files[f"hw/rtl/generated/{name}/vdla_isa.vh"] = verilog_header(load_design(name), COMMAND)
    return files


def stale_files(root: Path) -> list[str]:
    """Paths whose file under `root` is missing or differs."""
    return [path for path, text in generated_files().items() if not _holds(root / path, text)]


def write_files(root: Path) -> list[str]:
    """Bring the files under `root` up to date; the paths that changed. Raises `OutputError`."""
    stale = stale_files(root)
    files = generated_files()
    for path in stale:
        beside = root / f"{path}.new"
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(files[path], encoding="utf-8")
            beside.replace(root / path)
        except OSError as problem:
            with suppress(OSError):
                beside.unlink()
            raise OutputError(f"cannot write ({problem.strerror})", where=str(root / path)) from None
    return stale


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _checkout() -> Path:
    """The root of the source tree this package is run from. Raises `OutputError` in an installed copy."""
    root = Path(__file__).resolve().parent.parent
    if not (root / "pyproject.toml").is_file():
        raise OutputError("not a source checkout", where=str(root), expected="pyproject.toml", hint="pip install -e .")
    return root


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog=COMMAND, description="Write the manuals of ISA, registers and operators, and the Verilog headers."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    options = parser.parse_args(arguments)
    try:
        stale = stale_files(_checkout()) if options.check else write_files(_checkout())
    except VdlaError as problem:
        print(problem, file=sys.stderr)
        return problem.exit_code
    for path in stale:
        print(f"{path}: {'out of date' if options.check else 'written'}", file=sys.stderr)
    if options.check and stale:
        print(f"run: {COMMAND}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
