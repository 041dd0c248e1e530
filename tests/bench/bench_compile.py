"""Import and compile ResNet-50 with default configurations, for a design and for the CPU: seconds of each part.

    python tests/bench/bench_compile.py [--model resnet50] [--design pynq_z1] [--repeat 3]      prints one JSON document

Each measurement is a process of its own in which nothing was compiled before; caches on disk are warm (one run before is not
counted): the machine code of the compiler's own Numba kernels, and of the CPU's. The model is an .onnx file. `cpu_s` are the
seconds the process computed, on however many threads; they tell a busy machine from a slow compiler.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx


def for_design(path: str, design: str) -> dict[str, dict[str, float]]:
    laps: dict[str, dict[str, float]] = {}
    timed(laps, "imports", lambda: __import__("vdla.flows.compilation"))
    from vdla.flows.compilation import compile_to_model, prepare

    prepared = timed(laps, "import, simplify, quantise", lambda: prepare(path))
    timed(laps, "build", lambda: compile_to_model(prepared, design))
    return laps


def for_cpu(path: str, design: str) -> dict[str, dict[str, float]]:
    laps: dict[str, dict[str, float]] = {}
    timed(laps, "imports", lambda: __import__("vdla.flows.compilation"))
    from vdla.flows.compilation import compile as compile_model

    module = timed(laps, "import, simplify", lambda: compile_model(path, targets=("cpu",)))
    timed(laps, "kernels", module.make_ready)
    return laps


WAYS = {"design": for_design, "cpu": for_cpu}


def timed(laps: dict[str, dict[str, float]], name: str, work: Callable[[], Any]) -> Any:
    begun, computed = time.perf_counter(), time.process_time()
    result = work()
    laps[name] = {"s": time.perf_counter() - begun, "cpu_s": time.process_time() - computed}
    return result


def measured(way: str, path: Path, design: str, repeat: int) -> dict[str, Any]:
    """The median of each part and of the sum."""
    command = [sys.executable, __file__, "--way", way, str(path), design]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(repeat + 1)][1:]
    parts = {name: {k: median([run[name][k] for run in runs]) for k in ("s", "cpu_s")} for name in runs[0]}
    total = {k: median([sum(part[k] for part in run.values()) for run in runs]) for k in ("s", "cpu_s")}
    return {**parts, "all": total}


def median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--design", default="pynq_z1")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    from vdla.zoo import build

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{options.model}.onnx"
        onnx.save(build(options.model), path)
        results = {way: measured(way, path, options.design, options.repeat) for way in WAYS}
    json.dump({"model": options.model, "design": options.design, **results}, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--way"]:
        json.dump(WAYS[sys.argv[2]](*sys.argv[3:]), sys.stdout)
    else:
        main()
