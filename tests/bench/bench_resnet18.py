"""ResNet-18 on the paper's design: cycles, hiding layer by layer beside the paper's figure 10, simulator and wall time.

    python tests/bench/bench_resnet18.py [--design pynq_z1]      prints one JSON document

Cycles are exact and the same on every machine; seconds are medians of repeated runs after one warm-up.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.operators.registry import infer_type, with_defaults
from vdla.compiler.ops.vdla.conv_template import best
from vdla.compiler.ops.vdla.layers import workload_of
from vdla.compiler.program import build_program
from vdla.design import Design
from vdla.design_file import load_design
from vdla.flows.compilation import CompileOptions
from vdla.flows.run import run_model
from vdla.isa.program import Program
from vdla.isa.semantics import pack_scale
from vdla.sim.device import Simulator

# TVM paper, table 2: name, H = W, IC, OC, kernel, stride, times in ResNet-18; figure 10: GOPS without and with hiding.
LAYERS = [
    ("C2", 56, 64, 64, 3, 1, 4, 34, 37),
    ("C3", 56, 64, 64, 1, 1, 0, 11, 14),
    ("C4", 56, 64, 128, 3, 2, 1, 31, 39),
    ("C5", 56, 64, 128, 1, 2, 1, 6.5, 9),
    ("C6", 28, 128, 128, 3, 1, 3, 36, 42),
    ("C7", 28, 128, 256, 3, 2, 1, 30, 43),
    ("C8", 28, 128, 256, 1, 2, 1, 10, 15),
    ("C9", 14, 256, 256, 3, 1, 3, 30, 45),
    ("C10", 14, 256, 512, 3, 2, 1, 20, 30),
    ("C11", 14, 256, 512, 1, 2, 1, 10, 15),
    ("C12", 7, 512, 512, 3, 1, 3, 20, 32),
]


def convolution(size: int, ic: int, oc: int, kernel: int, stride: int) -> tuple[Node, Graph]:
    """One quantised convolution with bias and requantisation, SAME padding."""
    random = np.random.default_rng(0)
    pad = kernel // 2
    attributes = {"strides": (stride, stride), "pads": (pad, pad, pad, pad)}
    constants = {
        "w": random.integers(-127, 128, (oc, ic, kernel, kernel), np.int8),
        "bias": np.zeros(oc, np.int32),
        "scale": pack_scale(np.full(oc, 1 << 18), np.full(oc, 28), np.zeros(oc)),
    }
    tensors = {k: TensorType(v.shape, str(v.dtype)) for k, v in constants.items()}
    tensors["x"] = TensorType((1, ic, size, size), "int8")
    node = Node("conv", "qconv2d", ("x", "w", "bias", "scale"), ("y",), attributes)
    tensors["y"] = infer_type("qconv2d", tuple(tensors[name] for name in node.inputs), with_defaults("qconv2d", attributes))
    return node, Graph("g", ("x",), ("y",), (node,), tensors, constants)


def programs_of(node: Node, graph: Graph, design: Design) -> list[Program]:
    """Without latency hiding, with, and without but under the configuration that suits a serial machine best: larger
    single-buffered tiles, less traffic."""
    workload = workload_of(node, graph, design)
    retiled = {workload: best(workload, design, buffers=((1, 1, 1),))}
    ways = ((False, {}), (True, {}), (False, retiled))
    return [build_program([node], graph, design, hiding, None, configs) for hiding, configs in ways]


def figure_10(design: Design) -> dict[str, object]:
    """Cycles of each layer with latency hiding, without (the same tiles, one buffer each, nothing overlapping), and without
    but tiled for that; and their sums over ResNet-18."""
    simulator, rows, sums = Simulator(design), [], [0, 0, 0]
    for name, size, ic, oc, kernel, stride, count, paper_without, paper_with in LAYERS:
        programs = programs_of(*convolution(size, ic, oc, kernel, stride), design)
        cycles = [simulator.timing_only(program).cycles for program in programs]
        macs = oc * ic * kernel * kernel * (-(-size // stride)) ** 2
        gops = [2 * macs * design.clock_mhz / 1e3 / c for c in cycles]
        sums = [s + count * c for s, c in zip(sums, cycles, strict=True)]
        rows.append(
            {
                "layer": name,
                "count": count,
                "cycles_without": cycles[0],
                "cycles_with": cycles[1],
                "gops_without": round(gops[0], 1),
                "gops_with": round(gops[1], 1),
                "paper_gops_without": paper_without,
                "paper_gops_with": paper_with,
                "gain": round(cycles[0] / cycles[1], 3),
            }  # fmt: skip
        )
    return {
        "layers": rows, "sum_without": sums[0], "sum_with": sums[1], "sum_without_retiled": sums[2],
        "gain": round(sums[0] / sums[1], 3), "gain_over_retiled": round(sums[2] / sums[1], 3),
    }  # fmt: skip


def median_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    work()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--design", default="pynq_z1")
    design = load_design(parser.parse_args().design)
    begun = time.perf_counter()
    run = run_model("resnet18", design, CompileOptions())
    wall = time.perf_counter() - begun
    simulator, program = Simulator(design), run.model.programs[0]
    inputs = {slot.name: np.zeros(slot.shape, slot.dtype) for slot in program.inputs}
    document = {
        "design": design.name,
        "cycles": run.report.cycles,
        "bound_cycles": run.report.bound_cycles,
        "gops": run.report.gops,
        "bit_exact": run.report.bit_exact,
        "rel_err": run.report.rel_err,
        "figure_10": figure_10(design),
        "seconds": {
            "run_in_process": wall,
            "functional": median_seconds(lambda: simulator.functional_only(program, inputs)),
            "timing": median_seconds(lambda: simulator.timing_only(program)),
            "machine_at_its_clock": run.report.ms / 1e3,
        },
        "instructions": len(program.words),
    }
    json.dump(document, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
