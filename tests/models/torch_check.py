"""One PyTorch module through an exporter and our CPU target, against what PyTorch computes itself."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import nn

from vdla.onnx_backend import prepare
from vdla.torch_export import from_torch, quiet

EXPORTERS = ("dynamo", "torchscript")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Compared:
    """largest: difference over all outputs, relative to the largest number where that is above 1. relative: norm of the
    difference by norm of the output. Seconds of the export, of import, compilation and a first run, and of a second run."""

    operators: int
    largest: float
    relative: float
    export_s: float
    first_s: float
    run_s: float


def exported(module: nn.Module, inputs: tuple[torch.Tensor, ...], exporter: str) -> onnx.ModelProto:
    if exporter == "dynamo":
        return from_torch(module, inputs)
    file = io.BytesIO()
    with quiet():
        torch.onnx.export(module, inputs, file, dynamo=False)
    return onnx.load_model_from_string(file.getvalue())


def compare(module: nn.Module, inputs: tuple[torch.Tensor, ...], exporter: str) -> Compared:
    """Raises `VdlaError` where the model is refused."""
    begun = time.perf_counter()
    model = exported(module, inputs, exporter)
    export_s = time.perf_counter() - begun
    with torch.no_grad():
        wanted = module(*inputs)
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else list(wanted)
    begun = time.perf_counter()
    ready = prepare(model)
    found = ready.run([x.numpy() for x in inputs])
    first_s = time.perf_counter() - begun
    begun = time.perf_counter()
    ready.run([x.numpy() for x in inputs])
    run_s = time.perf_counter() - begun
    assert [y.shape for y in found] == [tuple(y.shape) for y in wanted]
    pairs = [(f.astype(np.float64), w.numpy().astype(np.float64)) for f, w in zip(found, wanted, strict=True)]
    largest = max(float(np.abs(f - w).max() / max(1, np.abs(w).max())) for f, w in pairs)
    relative = max(float(np.linalg.norm(f - w) / np.linalg.norm(w)) for f, w in pairs)
    return Compared(len(model.graph.node), largest, relative, export_s, first_s, run_s)
