"""How long does the program checker take for a program of ResNet-18's size? Prints JSON.

python tests/bench/check_program.py [TILES]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "isa"))

from isa_programs import double_buffered, double_buffered_uops  # noqa: E402

from vdla.design_file import load_design  # noqa: E402
from vdla.isa import UOP_COLUMNS, Program, Segment, assemble, check_program, disassemble, layout_of  # noqa: E402


def main(tiles: int = 12_500, loops: tuple[int, int] = (14, 20)) -> None:
    """Double-buffered tiles, each one GEMM of loops[0] · loops[1] · 2 micro-op steps."""
    design = load_design("pynq_z1")
    layout, outputs = layout_of(design), loops[0] * loops[1]
    times = {}

    def timed(name: str, action):  # type: ignore[no-untyped-def]
        start = time.perf_counter()
        result = action()
        times[name] = round(time.perf_counter() - start, 4)
        return result

    text = double_buffered(tiles, loops=loops, stored=100_000)
    columns = timed("assemble_s", lambda: assemble(text, design))
    timed("disassemble_s", lambda: disassemble(columns, design))
    words = layout.encode_uops(np.array(double_buffered_uops(outputs), UOP_COLUMNS)).view(np.uint8)
    program = Program(design, layout.encode(columns), 32 << 20, (Segment("uops", 0, words),))
    timed("check_first_s", lambda: check_program(program).require())
    report = timed("check_s", lambda: check_program(program).require())
    print(json.dumps({"instructions": report.instructions, "gemm_uops": report.gemm_uops, **times}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
