"""How fast the VDLA backend emits and links ResNet-18's convolutions, and how near their roofline the program runs.

python tests/bench/bench_vdla_backend.py [design]      prints one JSON document
"""

from __future__ import annotations

import json
import sys
import time

from vdla.arithmetic import ceil_div
from vdla.compiler.backends.vdla.emit import emit
from vdla.compiler.backends.vdla.link import LinkedKernel, link
from vdla.compiler.ops.vdla.kernels import template_of
from vdla.compiler.ops.vdla.workload import ConvWorkload
from vdla.compiler.passes import lower
from vdla.design_file import load_design
from vdla.isa.checker import check_program
from vdla.isa.program import Slot
from vdla.sim.device import Simulator

LAYERS = {  # PAPER.md, table 2: height, input and output channels, kernel, stride, how often in the network
    "C2": (56, 64, 64, 3, 1, 4),
    "C4": (56, 64, 128, 3, 2, 1),
    "C5": (56, 64, 128, 1, 2, 1),
    "C6": (28, 128, 128, 3, 1, 3),
    "C7": (28, 128, 256, 3, 2, 1),
    "C8": (28, 128, 256, 1, 2, 1),
    "C9": (14, 256, 256, 3, 1, 3),
    "C10": (14, 256, 512, 3, 2, 1),
    "C11": (14, 256, 512, 1, 2, 1),
    "C12": (7, 512, 512, 3, 1, 3),
}


def main() -> None:
    design = load_design(sys.argv[1] if len(sys.argv) > 1 else "pynq_z1")
    kernels, address = [], 0
    emit_seconds = 0.0
    for name, (size, inputs, outputs, k, stride, count) in LAYERS.items():
        blocks = [ceil_div(channels, design.channel_block) for channels in (inputs, outputs)]
        w = ConvWorkload(1, 1, *blocks, size, size, (k, k), (stride, stride), (k // 2,) * 4)
        template = template_of(w)
        func = lower(template.build(w, template.default(w, design), design))
        begin = time.perf_counter()
        emission = emit(func, design)
        emit_seconds += time.perf_counter() - begin
        places = {}
        for param in func.params:
            places[param.name] = address
            size = Slot(param.name, 0, param.shape, param.dtype).bytes
            address += ceil_div(size, design.dram_alignment) * design.dram_alignment
        kernels += [LinkedKernel(emission, places, name)] * count
    link(kernels[:1], design, dram_bytes=address)  # the first use compiles the token kernels
    begin = time.perf_counter()
    program = link(kernels, design, dram_bytes=address)
    link_seconds = time.perf_counter() - begin
    report = check_program(program).require()
    profile = Simulator(design).timing_only(program)
    result = {
        "design": design.name,
        "instructions": len(program.words),
        "gemm_steps": report.gemm_uops,
        "emit_s": round(emit_seconds, 3),
        "link_s": round(link_seconds, 3),
        "cycles": profile.cycles,
        "gemm_utilization": round(report.gemm_uops / profile.cycles, 4),
        "layers": [{"name": layer.name, "cycles": layer.cycles} for layer in profile.layers],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
