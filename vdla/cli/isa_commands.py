"""`vdla isa show|assemble|disassemble|check`."""

from __future__ import annotations

from pathlib import Path

import typer

from vdla.cli.console import print_json, say, table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The instruction set: print, assemble, disassemble, check.")
Json = typer.Option(False, "--json", help="One JSON document on stdout.")
DesignOption = typer.Option("pynq_z1", "--design", "-d", help="A YAML file or a name from `vdla design list`.")
OutputOption = typer.Option(None, "--output", "-o", help="Write here instead of to stdout.")


@app.command("show")
def show(design: str = DesignOption, json: bool = Json) -> None:
    """Print every instruction's bit layout for a design.

    Example: vdla isa show --design tiny
    """
    from vdla.design import load_design
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
    source: Path = typer.Argument(help="Assembly text of a whole program."),
    output: Path = typer.Option(..., "--output", "-o", help="The .vprog program file to write."),
    design: str = DesignOption,
) -> None:
    """Assemble a program.

    Example: vdla isa assemble program.s -o program.vprog --design tiny
    """
    from vdla.files import write_file
    from vdla.runtime.program_file import program_to_bytes

    program = read_assembly(source, design)
    write_file(output, program_to_bytes(program))
    say(f"{output}: {len(program.words)} instructions")


@app.command("disassemble")
def disassemble(program: Path = typer.Argument(help="A .vprog or .vdla file."), output: Path = OutputOption) -> None:
    """Print a program as assembly text that assembles back to it.

    Example: vdla isa disassemble resnet18.vdla -o resnet18.s
    """
    from vdla.files import write_file
    from vdla.isa import disassemble_program
    from vdla.runtime.program_file import read_programs

    text = "\n".join(disassemble_program(p) for p in read_programs(program))
    if output is None:
        say(text)
    else:
        write_file(output, text)


@app.command("check")
def check(
    program: Path = typer.Argument(help="A .s, .vprog or .vdla file."), design: str = DesignOption, json: bool = Json
) -> int:
    """Check a program: field limits, ranges, token balance, deadlock, accesses no token orders.

    Exit code 1 when there are problems.

    Example: vdla isa check program.s --design tiny
    """
    from vdla.isa import check_program
    from vdla.runtime.program_file import read_programs

    programs = [read_assembly(program, design)] if program.suffix == ".s" else read_programs(program)
    reports = [check_program(p) for p in programs]
    problems = [str(problem) for report in reports for problem in report.problems]
    if json:
        print_json({"file": str(program), "ok": not problems, "problems": problems})
    elif problems:
        say("\n".join(problems))
    else:
        say(f"{program}: ok, {sum(len(p.words) for p in programs)} instructions")
    return 1 if problems else 0


def read_assembly(path: Path, design: str):
    """A program from assembly text. Raises `IsaError` when the file cannot be read."""
    from vdla.design import load_design
    from vdla.errors import IsaError
    from vdla.isa import assemble_program

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise IsaError(f"cannot read the assembly ({type(error).__name__})", where=str(path), expected="a text file") from None
    return assemble_program(text, load_design(design))
