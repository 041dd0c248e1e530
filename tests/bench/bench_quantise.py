"""Our post-training quantisation against onnxruntime's: how far the outputs are from the float model's.

    python tests/bench/bench_quantise.py [--network NAME ...] [--variant minmax,equalise=0 ...]

Both quantise the same float model from the same samples; then both run on others. onnxruntime: quantize_static to QDQ, int8,
weights per channel, MinMax ranges, on the model its own preprocessing leaves, run operator by operator. Ours: what `vdla run`
does, and each variant asked for. Signal-to-noise is 10 log₁₀(Σ float² / Σ (int8 - float)²) over all outputs and samples.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.histogram import Method
from vdla.compiler.quantise.noise import signal_to_noise
from vdla.compiler.quantise.quantise import QuantiseOptions, quantise
from vdla.flows.compilation import CompileOptions, prepare

sys.path.insert(0, str(Path(__file__).parent))
from quantise_networks import PACKAGES, ZOO, Arrays, network  # noqa: E402

CALIBRATION, EVALUATION = 8, 8


class Reader(CalibrationDataReader):
    def __init__(self, samples: Sequence[Arrays]) -> None:
        self.remaining: Iterator[dict[str, np.ndarray]] = iter([dict(sample) for sample in samples])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.remaining, None)


def theirs(model: onnx.ModelProto, calibration: Sequence[Arrays], folder: Path) -> bytes:
    """onnxruntime's QDQ model."""
    source, ready, quantised = (str(folder / f"{name}.onnx") for name in ("float", "ready", "qdq"))
    onnx.save(model, source)
    quant_pre_process(source, ready, skip_symbolic_shape=True)
    quantize_static(
        ready, quantised, Reader(calibration), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    return Path(quantised).read_bytes()


def run_onnxruntime(data: bytes, samples: Sequence[Arrays]) -> list[dict[str, np.ndarray]]:
    """Every sample's outputs, without optimisations, whose kernels saturate on some processors."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(None, dict(sample)), strict=True)) for sample in samples]


def measure(name: str, variants: dict[str, QuantiseOptions | None]) -> dict[str, Any]:
    """dB of onnxruntime and of each of our variants."""
    subject = network(name)
    calibration, fresh = subject.samples(1000, CALIBRATION), subject.samples(2000, EVALUATION)
    data = subject.model.SerializeToString()
    exact = run_onnxruntime(data, fresh)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        reference = run_onnxruntime(theirs(subject.model, calibration, Path(folder)), fresh)
        row: dict[str, Any] = {"network": name, "onnxruntime_s": round(time.perf_counter() - begun, 1)}
    row["onnxruntime"] = round(signal_to_noise(exact, reference), 2)
    graph = prepare(subject.model, CompileOptions(targets=("cpu",))).float_graph
    for variant, options in variants.items():
        begun = time.perf_counter()
        quantised = quantise(graph, calibration, options)
        row[f"{variant}_s"] = round(time.perf_counter() - begun, 1)
        found = [run_reference(quantised, sample) for sample in fresh]
        row[variant] = round(signal_to_noise(exact, found), 2)
    return row


def variant(text: str) -> QuantiseOptions:
    """`mse,equalise=0` → the options."""
    method, *fields = text.split(",")
    flags = {name: bool(int(value)) for name, value in (field.split("=") for field in fields)}
    return replace(QuantiseOptions(), method=Method(method), **flags)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", help=f"of {', '.join((*ZOO, *PACKAGES))}")
    parser.add_argument("--variant", action="append", default=[], metavar="METHOD[,FIELD=0|1]", help="of QuantiseOptions")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    variants: dict[str, QuantiseOptions | None] = {"ours": None}
    variants |= {text: variant(text) for text in options.variant}
    rows = []
    for name in options.network or (*ZOO, *PACKAGES):
        rows.append(measure(name, variants))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))
    return int(any(row["ours"] < row["onnxruntime"] - 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
