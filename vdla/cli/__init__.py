"""The command line. Heavy imports happen inside commands, so that `vdla --help` answers at once."""

from vdla.cli.main import main

__all__ = ["main"]
