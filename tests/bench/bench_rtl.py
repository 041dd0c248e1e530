"""How fast the RTL simulates, as JSON: one layer of ResNet-18, cut out of the network.

python tests/bench/bench_rtl.py [DESIGN [LAYER]]
"""

from __future__ import annotations

import resource
import sys
import time

from vdla.flows.compilation import compile_to_model
from vdla.flows.program_cut import cut
from vdla.hw.build import rtl_library
from vdla.hw.device import RtlDevice
from vdla.isa.program import Program
from vdla.text import json_text


def layer_program(design: str, layer: str) -> Program:
    """The layer as a program of its own, over zero inputs: time does not depend on values."""
    for program in compile_to_model("resnet18", design).programs:
        names = [span.name for span in program.layers]
        if layer in names:
            return cut(program, program.dram_image(), names.index(layer), names.index(layer))
    raise SystemExit(f"no layer {layer} on the accelerator")


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(design: str = "pynq_z1", layer: str = "layer1.0.conv1") -> None:
    program = layer_program(design, layer)
    begun = time.perf_counter()
    rtl_library(program.design)
    build_seconds = time.perf_counter() - begun
    cpu = cpu_seconds()
    execution = RtlDevice(program.design).execute(program, program.dram_image())
    cpu = cpu_seconds() - cpu
    document = {
        "design": design,
        "layer": layer,
        "build_s": build_seconds,  # near 0 when the library was in the cache
        "cycles": execution.clock_cycles,
        "cycles_per_s": execution.clock_cycles / execution.seconds,
        "cycles_per_cpu_s": execution.clock_cycles / cpu,  # what a machine with nothing else to do would reach
    }
    sys.stdout.write(json_text(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
