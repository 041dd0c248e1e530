"""MobileNet v1 beside the roofline of a machine whose depthwise rate is block_out MACs a cycle.

    python tests/bench/bench_mobilenet.py [--model mobilenet] [--design pynq_z1]      prints one JSON document

A depthwise layer runs with diagonal weight tiles: of a micro-op's products block_out are useful, so it takes at least
MACs / block_out cycles, another layer MACs / (block_in · block_out), and either the bytes it moves over the bus. Cycles are
exact and the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import sys

from vdla.design import Design
from vdla.design_file import load_design
from vdla.flows.compilation import compile_to_model, prepare
from vdla.isa.program import LayerSpan
from vdla.sim.device import Simulator


def layer_bound(span: LayerSpan, design: Design, depthwise: bool) -> float:
    """Cycles that the layer alone takes at least: its useful MACs, or its tensors once over the bus."""
    rate = design.gemm.batch * design.gemm.block_out if depthwise else design.macs_per_cycle
    return max(span.macs / rate, span.unique_bytes / design.bytes_per_cycle)


def measured(model: str, design: Design) -> dict[str, object]:
    compiled = compile_to_model(prepare(model), design)
    groups = {node.name: node.attributes.get("groups", 1) for node in compiled.quantised.nodes}
    layers, cycles = [], 0
    for program in compiled.programs:
        profile = Simulator(design).timing_only(program)
        cycles += profile.cycles
        for span, layer in zip(program.layers, profile.layers, strict=True):
            bound = layer_bound(span, design, depthwise=groups.get(span.name, 1) > 1)
            compute = layer.gemm_cycles + layer.alu_cycles
            layers.append({"layer": span.name, "cycles": layer.cycles, "bound": round(bound), "gemm_and_alu": compute})
    roofline = sum(int(str(layer["bound"])) for layer in layers)
    return {
        "model": model, "design": design.name, "cycles": cycles, "roofline": roofline,
        "ratio": round(cycles / roofline, 4), "layers": layers,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="mobilenet")
    parser.add_argument("--design", default="pynq_z1")
    options = parser.parse_args()
    json.dump(measured(options.model, load_design(options.design)), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
