"""`vdla isa show|assemble|disassemble|check`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from vdla.cli.console import help_when_bare, print_json, say, table

if TYPE_CHECKING:
    from vdla.design import Design
    from vdla.isa.program import Program

app = typer.Typer(rich_markup_mode=None, help="The instruction set: print, assemble, disassemble, check.")
app.callback(invoke_without_command=True)(help_when_bare)
Json = typer.Option(False, "--json", help="One JSON document on stdout.")
DesignOption = typer.Option("pynq_z1", "--design", "-d", help="A YAML file or a name from `vdla design list`.")
ProgramDesignOption = typer.Option(None, "--design", "-d", help="The design to run on instead of the file's own.")
OutputOption = typer.Option(None, "--output", "-o", metavar="FILE", help="Write here instead of to stdout.")


@app.command("show")
def show(design: str = DesignOption, json: bool = Json) -> None:
    """Print every instruction's bit layout for a design.

    \b
    Example:
      vdla isa show --design tiny
    """
    from vdla.design_file import load_design
    from vdla.isa.layout import layout_of

    layout = layout_of(load_design(design))
    kinds = {opcode.name: slices for opcode, slices in layout.instructions.items()} | {"MICRO-OP": layout.uop}
    if json:
        fields = {
            k: [{"field": s.field.name, "lsb": s.lsb, "bits": s.width, "doc": s.field.doc} for s in v] for k, v in kinds.items()
        }
        return print_json({"design": layout.design.name, "instructions": fields})
    for name, slices in kinds.items():
        rows = [[f"{s.lsb + s.width - 1}:{s.lsb}", str(s.width), s.field.name, s.field.doc] for s in slices]
        say(f"{name}\n{table([('bits', 'right'), ('width', 'right'), ('field', 'left'), ('meaning', 'left')], rows)}\n")
    return None


@app.command("assemble")
def assemble(
    source: Path = typer.Argument(metavar="SOURCE", help="Assembly text of a whole program."),
    output: Path = typer.Option(..., "--output", "-o", metavar="FILE", help="The .vprog program file to write."),
    design: str = ProgramDesignOption,
) -> None:
    """Assemble a program (`vdla isa check` says whether it is safe to run).

    \b
    Example:
      vdla isa assemble program.s -o program.vprog --design tiny
    """
    from vdla.files import require_writable_file, write_file
    from vdla.runtime.program_file import program_to_bytes

    require_writable_file(output)
    program = read_assembly(source, design)
    write_file(output, program_to_bytes(program))
    say(f"{output}: {len(program.words)} instructions")


@app.command("disassemble")
def disassemble(
    program: Path = typer.Argument(metavar="FILE", help="A .vprog or .vdla file."),
    output: Path = OutputOption,
    number: int = typer.Option(None, "--program", min=0, help="Which of a module's programs, from 0, when it has several."),
) -> None:
    """Print a program as assembly text that assembles back to it.

    \b
    Examples:
      vdla isa disassemble program.vprog
      vdla isa disassemble resnet18.vdla -o resnet18.s
    """
    from vdla.errors import RunError
    from vdla.files import write_file
    from vdla.isa import disassemble_program
    from vdla.runtime.program_file import read_programs

    programs = read_programs(program)
    if number is None and len(programs) == 1:
        number = 0
    if number is None or number >= len(programs):
        raise RunError(
            "which program?" if number is None else "no such program",
            where=str(program),
            found=f"{len(programs)} programs",
            expected=f"--program 0 to {len(programs) - 1}" if programs else "a module with work for the accelerator",
        )
    text = disassemble_program(programs[number])
    if output is None:
        say(text.rstrip("\n"))
    else:
        write_file(output, text)


@app.command("check", short_help="Is a program safe to run? Field limits, ranges, tokens, deadlock, order.")
def check(
    program: Path = typer.Argument(metavar="FILE", help="A .s, .vprog or .vdla file."),
    design: str = ProgramDesignOption,
    json: bool = Json,
) -> int:
    """Check a program: field limits, ranges, token balance, deadlock, accesses no token orders.

    Exit code 1 when there are problems.

    \b
    Examples:
      vdla isa check resnet18.vdla
      vdla isa check program.s --design tiny
    """
    from vdla.isa import check_program

    programs = programs_of(program, design)
    reports = [check_program(p) for p in programs]
    problems = [str(problem) for report in reports for problem in report.problems]
    if json:
        print_json({"file": str(program), "ok": not problems, "problems": problems})
    elif problems:
        say("\n".join(problems))
    else:
        say(f"{program}: ok, {sum(len(p.words) for p in programs)} instructions")
    return 1 if problems else 0


def programs_of(path: Path, design: str | None) -> list[Program]:
    """The programs of a .s, .vprog or .vdla file. design: what they are to run on.

    Raises `IsaError` or `RunError` when the file cannot be read, holds no programs, or they are for another design.
    """
    from vdla.design_file import load_design
    from vdla.errors import RunError
    from vdla.isa.binding import require_design
    from vdla.runtime.program_file import read_programs

    if path.suffix == ".s":
        return [read_assembly(path, design)]
    programs = read_programs(path)
    if not programs:
        hint = "vdla.load(FILE).run(inputs) in Python"
        raise RunError("the module runs on the host alone", where=str(path), expected="programs of the accelerator", hint=hint)
    if design is None:
        return programs
    wanted = load_design(design)
    return [require_design(program, wanted) for program in programs]


def read_assembly(path: Path, design: str | None) -> Program:
    """A program from assembly text, for `design` or the one it names. Raises `IsaError` when it cannot be read or assembled."""
    from vdla.design_file import load_design
    from vdla.errors import IsaError
    from vdla.isa import assemble_program

    loaded = load_design(design) if design else load_design
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = getattr(error, "strerror", None) or "it is not text"
        raise IsaError(f"cannot read the assembly ({what})", where=str(path), expected="a text file") from None
    if not callable(loaded):
        refuse_other_shipped(text, loaded)
    return assemble_program(text, loaded, f"{path}:")


def refuse_other_shipped(text: str, design: Design) -> None:
    """Assembly says by name and hash what it is for; where that is a design which ships, the keys that differ are known.

    Raises `RunError` naming them.
    """
    from vdla.design_file import load_design, shipped_designs
    from vdla.isa.binding import refuse_other_design

    named = re.search(r"^\s*\.design\s+(\S+)\s+(\w+)", text, re.MULTILINE)
    if named and named[1] in shipped_designs():
        other = load_design(named[1])
        if other.hash_hex == named[2]:
            refuse_other_design("the program", other, design)
