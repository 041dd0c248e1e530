"""Objects for other machines, linked into one static program and run under qemu's user-mode emulation.

The program reads every kernel's inputs from a file, calls the kernels one after another and writes their outputs to another.
Arrays lie at odd multiples of eight bytes between guards, which must survive; parallel loops run in three ranges, the last
first; what outputs held before is not zero.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vdla.compiler.backends.llvm import Target, emit_object
from vdla.compiler.backends.llvm.kernel import symbol_name
from vdla.compiler.ir.nodes import Function
from vdla.element_types import numpy_dtype


@dataclass(frozen=True)
class Machine:
    """An emulated machine: the target kernels are compiled for, the C compiler for it and the emulator."""

    target: Target
    compiler: str
    emulator: str

    @property
    def missing(self) -> str:
        """What this system lacks to run its programs, or nothing."""
        return ", ".join(tool for tool in (self.compiler, self.emulator) if shutil.which(tool) is None)


MACHINES = {
    "armv7": Machine(
        Target("armv7-linux-gnueabihf", "cortex-a9", "+neon"), "arm-linux-gnueabihf-gcc", "qemu-arm-static"
    ),  # Zynq-7000
    "aarch64": Machine(
        Target("aarch64-linux-gnu", "cortex-a53"), "aarch64-linux-gnu-gcc", "qemu-aarch64-static"
    ),  # Zynq UltraScale+
}

PRELUDE = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 72, FILL = 0xA5 };

void vdla_parallel_for(void (*chunk)(void *, int64_t, int64_t), void *context, int64_t extent) {
    int64_t third = extent / 3;
    chunk(context, 2 * third, extent);
    chunk(context, third, 2 * third);
    chunk(context, 0, third);
}

static unsigned char *array(FILE *in, size_t bytes) {
    unsigned char *memory = malloc(bytes + 2 * GUARD);
    memset(memory, FILL, bytes + 2 * GUARD);
    if (in && fread(memory + GUARD, 1, bytes, in) != bytes) exit(3);
    return memory + GUARD;
}

static void done(FILE *out, const char *name, unsigned char *data, size_t bytes) {
    for (int i = 0; i < GUARD; i++)
        if (data[-1 - i] != FILL || data[bytes + i] != FILL) {
            fprintf(stderr, "%s wrote outside its arrays\n", name);
            exit(4);
        }
    if (out) fwrite(data, 1, bytes, out);
    free(data - GUARD);
}
"""


def _caller(func: Function) -> str:
    """C that reads a kernel's inputs, calls it and writes its outputs."""
    symbol, inputs = symbol_name(func), len(func.params) - func.output_count
    sizes = [int(np.prod(p.shape)) * numpy_dtype(p.dtype).itemsize for p in func.params]
    arrays = [f"array({'in' if i < inputs else 'NULL'}, {size})" for i, size in enumerate(sizes)]
    ends = [f'    done({"NULL" if i < inputs else "out"}, "{symbol}", p[{i}], {size});\n' for i, size in enumerate(sizes)]
    return (
        f"void {symbol}({', '.join(['void *'] * len(sizes))});\n"
        f"static void run_{symbol}(FILE *in, FILE *out) {{\n"
        f"    unsigned char *p[] = {{{', '.join(arrays)}}};\n"
        f"    {symbol}({', '.join(f'p[{i}]' for i in range(len(sizes)))});\n{''.join(ends)}}}\n"
    )


def emulate(
    functions: Mapping[str, tuple[Function, Sequence[np.ndarray]]], machine: Machine, folder: Path
) -> dict[str, list[np.ndarray]]:
    """The outputs of lowered functions, by name, each called with its inputs on `machine`."""
    named = {name: replace(func, name=f"k{i}") for i, (name, (func, _)) in enumerate(functions.items())}
    objects = []
    for func in named.values():
        objects.append(folder / f"{func.name}.o")
        objects[-1].write_bytes(emit_object(func, machine.target))
    calls = "".join(f"    run_{symbol_name(func)}(in, out);\n" for func in named.values())
    opened = '    FILE *in = fopen(argv[1], "rb"), *out = fopen(argv[2], "wb");\n'
    main = f"int main(int argc, char **argv) {{\n{opened}{calls}    return fclose(out);\n}}\n"
    source, program = folder / "main.c", folder / "program"
    source.write_text(PRELUDE + "".join(map(_caller, named.values())) + main)
    given, found = folder / "in", folder / "out"
    given.write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for _, arrays in functions.values() for a in arrays))
    _run([machine.compiler, "-O1", "-static", "-o", program, source, *objects, "-lm"])
    _run([machine.emulator, program, given, found])
    return _outputs(named, found.read_bytes())


def _run(command: Sequence[object]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command[0]}: exit {done.returncode}\n{done.stderr[-2000:]}"


def _outputs(functions: Mapping[str, Function], data: bytes) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {}
    offset = 0
    for name, func in functions.items():
        found[name] = []
        for p in func.params[len(func.params) - func.output_count :]:
            count = int(np.prod(p.shape))
            found[name].append(np.frombuffer(data, numpy_dtype(p.dtype), count, offset).reshape(p.shape))
            offset += count * numpy_dtype(p.dtype).itemsize
    assert offset == len(data)
    return found
