"""`vdla`: the commands, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer

from vdla import __version__
from vdla.cli import (
    compile_commands,
    cosim_commands,
    design_commands,
    graph_commands,
    isa_commands,
    quantise_commands,
    run_commands,
    synth_commands,
    tensor_commands,
)
from vdla.cli.console import help_when_bare
from vdla.errors import VdlaError

FAULT = 70  # sysexits.h: EX_SOFTWARE
INTERRUPTED = 128 + 2  # as a shell reports SIGINT
PIPE_CLOSED = 128 + 13  # as a shell reports SIGPIPE
TRACEBACK = "VDLA_TRACEBACK"

app = typer.Typer(
    name="vdla",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 120},
    help="""Co-design of deep-learning accelerators: what a design in YAML does for a real model.

    \b
    Examples:
      vdla run resnet18
      vdla run model.onnx --design my_design.yaml --report report
      vdla design show pynq_z1
      vdla COMMAND --help
    """,
)
app.command("run", short_help="A model on a design: cycles of each layer and why, checked bit for bit.")(run_commands.run)
app.command("compile", short_help="Compile a model for a design, or for the CPU, and save the module.")(
    compile_commands.compile_model
)
app.command("quantize", short_help="A float model to int8, and what that costs each layer.")(quantise_commands.quantize)
app.command("graph", short_help="A model's graph as imported and after each pass.")(graph_commands.graph)
app.command("compare-tensors", short_help="The first tensor that differs between two runs, and by how much.")(
    tensor_commands.compare_tensors
)
app.command("simulate", short_help="Cycles, stalls and traffic of a saved module or of assembly text.")(
    compile_commands.simulate
)
app.command("cosim", short_help="A model's programs on the RTL against the simulator: every byte, every layer's cycles.")(
    cosim_commands.cosim
)
app.command("synth", short_help="Area and clock of a design on FPGAs, by Yosys and nextpnr; scripts for Vivado.")(
    synth_commands.synth
)
app.add_typer(design_commands.app, name="design")
app.add_typer(isa_commands.app, name="isa")

# Typer carries Click's classes with it in some versions and imports Click in others.
ClickException: type = typer.BadParameter.__mro__[2]


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vdla {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
) -> None:
    help_when_bare(context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code: 0, 1 for a failed check, 2 for an error the user can mend, 70 for a fault
    of ours, 130 when interrupted, 141 when the reader of stdout left."""
    if sys.stdout is None:  # started with its stdout closed
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the end
    try:
        code = run_command(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here, where a full disk or a closed pipe can still be reported
        return code
    except (BrokenPipeError, SystemExit):  # typer's way of saying the same; whoever read the output has seen enough
        discard_stdout()
        return PIPE_CLOSED
    except OSError as error:
        discard_stdout()
        return fail(f"cannot write the output ({error.strerror or error}); try: free some space", 2)


def run_command(arguments: list[str]) -> int:
    """The exit code of one command, with every error but those of stdout made a line on stderr."""
    try:
        code = typer.main.get_command(app)(args=arguments, prog_name="vdla", standalone_mode=False)
        if code == INTERRUPTED:  # what some versions of typer make of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except VdlaError as error:
        return fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", INTERRUPTED)
    except MemoryError:
        return fail("out of memory; try: a smaller batch or model", 2)
    except OSError as error:
        if error.filename is None:
            raise
        return fault(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours is one readable line too
        if isinstance(error, typer.Exit):
            return error.exit_code
        if isinstance(error, ClickException):
            return refuse(error)
        return fault(error)


def refuse(error: Any) -> int:
    """A command line that typer does not understand."""
    hint = f"; try: {error.ctx.command_path} --help" if getattr(error, "ctx", None) is not None else ""
    return fail(error.format_message().rstrip(".") + hint, error.exit_code)


def fault(error: Exception) -> int:
    """An error nobody foresaw: one line, or the traceback for whoever asks for it."""
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    what = f"internal error: {type(error).__name__}: {error}"
    return fail(f"{what}; this is a bug in vdla; try: {TRACEBACK}=1 to see where, and report it", FAULT)


def fail(message: str, code: int) -> int:
    print("vdla: error: " + " ".join(message.split()), file=sys.stderr)
    return code


def discard_stdout() -> None:
    """Drop what is still buffered, or Python would try once more, and complain, when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
