"""How fast is the simulator? Prints JSON: import and first-call times, then wall time of each half.

python tests/bench/bench_simulator.py                 a made-up stream the size of ResNet-18 on the paper's design
python tests/bench/bench_simulator.py module.vdla     the programs of a compiled model, on random inputs
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from vdla.design_file import load_design
from vdla.isa.definition import AluOp, Opcode, Scratchpad
from vdla.isa.layout import UOP_COLUMNS, layout_of, new_columns
from vdla.isa.program import Program, Segment

ROUNDS = 5
TILES = 3_900
"""Each tile: 14 × 14 outputs, 9 micro-ops (a 3×3 kernel over 16 input channels): 1,764 steps."""


def resnet_like() -> Program:
    """TILES tiles: load inputs with padding, load weights, multiply, requantise, store, in double buffers."""
    design = load_design("pynq_z1")
    tile = new_columns(5, Opcode.LOAD)
    tile["opcode"] = [Opcode.LOAD, Opcode.LOAD, Opcode.GEMM, Opcode.ALU, Opcode.STORE]
    tile["buffer"] = [Scratchpad.INP, Scratchpad.WGT, 0, 0, Scratchpad.OUT]
    set_fields(
        tile[0:1], y_size=14, x_size=14, x_stride=16, y_pad_before=1, y_pad_after=1, x_pad_before=1, x_pad_after=1, pop_next=1
    )
    set_fields(tile[1:2], y_size=1, x_size=9, push_next=1)
    loops = {"loop_outer": 14, "loop_inner": 14, "dst_outer": 14, "dst_inner": 1}
    set_fields(tile[2:3], uop_end=9, src_outer=16, src_inner=1, pop_prev=1, push_prev=1, pop_next=1, **loops)
    set_fields(tile[3:4], alu_op=AluOp.REQUANTISE, imm=0x7F80, uop_begin=9, uop_end=10, push_next=1, **loops)
    set_fields(tile[4:5], y_size=14, x_size=14, x_stride=14, pop_prev=1, push_prev=1)
    stream = np.tile(tile, TILES)
    odd = np.arange(len(stream)) // 5 % 2 == 1
    stream["sram_base"][odd & (stream["opcode"] == Opcode.LOAD)] = 256
    stream["sram_base"][odd & (stream["opcode"] == Opcode.STORE)] = 256
    stream["uop_begin"][odd & (stream["opcode"] != Opcode.LOAD) & (stream["opcode"] != Opcode.STORE)] += 10
    stream["uop_end"][odd & (stream["opcode"] != Opcode.LOAD) & (stream["opcode"] != Opcode.STORE)] += 10
    stream["pop_next"][:10] = 0  # the first two tiles find every buffer free,
    stream["push_prev"][-10:] = 0  # and nobody waits for the last two
    stream["dram_base"][stream["opcode"] == Opcode.STORE] = 40_000
    head = new_columns(2, Opcode.LOAD)
    set_fields(head[0:1], buffer=Scratchpad.UOP, y_size=1, x_size=20)
    set_fields(head[1:2], buffer=Scratchpad.ACC, y_size=1, x_size=602)
    layout = layout_of(design)
    words = layout.encode(np.concatenate([head, stream, new_columns(1, Opcode.FINISH)]))
    data = np.random.default_rng(0).integers(0, 256, 1 << 20).astype(np.uint8)
    data[:80] = layout.encode_uops(micro_ops()).view(np.uint8)
    return Program(design, words, len(data), (Segment("data", 0, data),))


def micro_ops() -> np.ndarray:
    """For each of two buffers, nine of a 3×3 kernel and one that requantises with the parameters at acc[600]."""
    uops = np.zeros(20, UOP_COLUMNS)
    for half in range(2):
        kernel = uops[10 * half : 10 * half + 9]
        kernel["dst"], kernel["src"] = 256 * half, 256 * half + np.arange(9) // 3 * 16 + np.arange(9) % 3
        kernel["wgt"] = 256 * half + np.arange(9)
        uops[10 * half + 9] = (256 * half, 600, 0)
    return uops


def set_fields(records: np.ndarray, **values: int) -> None:
    for name, value in values.items():
        records[name] = value


def best_of(action: Callable[[], object]) -> float:
    return min(timed(action) for _ in range(ROUNDS))


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def programs_of(path: str) -> list[Program]:
    import vdla

    return [step.program for step in vdla.load(path).model.steps if hasattr(step, "program")]


def main(arguments: list[str]) -> None:
    programs = programs_of(arguments[0]) if arguments else [resnet_like()]
    begin = time.perf_counter()
    from vdla.isa.binding import bind_inputs
    from vdla.sim import Simulator
    from vdla.sim.functional import run_functional
    from vdla.sim.sanitizer import sanitize
    from vdla.sim.work import work_of

    import_s = time.perf_counter() - begin
    rng = np.random.default_rng(0)
    inputs = [{s.name: rng.integers(-128, 128, s.shape).astype(s.dtype) for s in p.inputs} for p in programs]
    columns = [p.columns() for p in programs]
    simulators = [Simulator(p.design) for p in programs]
    images = [bind_inputs(p, x) for p, x in zip(programs, inputs, strict=True)]

    def functional() -> None:
        for program, rows, image in zip(programs, columns, images, strict=True):
            run_functional(program, rows, image)

    def timing() -> int:
        return sum(s.timing_only(p).cycles for s, p in zip(simulators, programs, strict=True))

    def both() -> None:
        for simulator, program, x in zip(simulators, programs, inputs, strict=True):
            simulator.run(program, x)

    def sanitized() -> None:
        for program, rows in zip(programs, columns, strict=True):
            sanitize(program, rows)

    first = {"functional": timed(functional), "timing": timed(timing)}
    gemm = [rows["opcode"] == Opcode.GEMM for rows in columns]
    steps = sum(int(work_of(p, rows).steps[g].sum()) for p, rows, g in zip(programs, columns, gemm, strict=True))
    functional_s = best_of(functional)
    document = {
        "instructions": sum(map(len, columns)),
        "gemm_steps": steps,
        "cycles": timing(),
        "import_s": import_s,
        "first_call_s": first,
        "functional_s": functional_s,
        "ns_per_gemm_step": functional_s / max(steps, 1) * 1e9,
        "timing_s": best_of(timing),
        "run_s": best_of(both),
        "sanitize_first_s": timed(sanitized),
        "sanitize_s": timed(sanitized),
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
