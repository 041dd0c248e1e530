"""`vdla`: the commands, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
import typer

from vdla import __version__
from vdla.cli import compile_commands, design_commands, isa_commands, run_commands
from vdla.errors import VdlaError

app = typer.Typer(
    name="vdla",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Co-design of deep-learning accelerators: what a design in YAML does for a real model.\n\n"
    "Example: vdla run resnet18 --design pynq_z1 --report report",
)
app.command("run")(run_commands.run)
app.command("compile")(compile_commands.compile_model)
app.command("simulate")(compile_commands.simulate)
app.add_typer(design_commands.app, name="design")
app.add_typer(isa_commands.app, name="isa")


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vdla {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 1 for a failed check, 2 for an error the user can mend."""
    try:
        code = typer.main.get_command(app)(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name="vdla", standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as error:
        return fail(" ".join(error.format_message().split()), error.exit_code)
    except VdlaError as error:
        return fail(" ".join(str(error).split()), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        return fail("out of memory; try: a smaller batch or model", 2)


def fail(message: str, code: int) -> int:
    print(f"vdla: error: {message}", file=sys.stderr)
    return code
