"""Model inputs: parsed from options, loaded from files, or generated from a seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.errors import ModelError, RunError

Inputs = dict[str, np.ndarray]
CALIBRATION_SAMPLES = 4


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`["x=1,3,224,224"]` → {"x": (1, 3, 224, 224)}. Raises `ModelError` for anything else."""
    shapes = {}
    for text in texts:
        name, equals, numbers = text.partition("=")
        try:
            shape = tuple(int(n) for n in numbers.replace("x", ",").split(","))
        except ValueError:
            shape = ()
        if not equals or not name or not shape or min(shape) < 1:
            raise ModelError("not a shape", where="--input-shape", found=text, expected="name=1,3,224,224")
        shapes[name] = shape
    return shapes


def load_calibration(path: Path | None) -> list[Inputs] | None:
    """An .npz of inputs by name whose first axis runs over samples → one input dict for each sample.

    Raises `RunError` when the file cannot be read or its arrays disagree on the number of samples.
    """
    if path is None:
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # noqa: BLE001 - numpy and zipfile raise many kinds on a damaged file
        raise RunError(
            f"cannot read the calibration data ({type(error).__name__})", where=str(path), expected="an .npz file (numpy.savez)"
        ) from None
    counts = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
    if not counts or len(set(counts.values())) != 1 or not min(counts.values()):
        raise RunError(
            "calibration arrays disagree", where=str(path), found=counts, expected="one number of samples, first axis"
        )
    return [{name: a[k : k + 1] for name, a in arrays.items()} for k in range(min(counts.values()))]


def generated_inputs(types: Mapping[str, TensorType], seed: int) -> Inputs:
    """Standard normal values (floats) or the whole range (integers) for each input."""
    random = np.random.default_rng(seed)
    inputs: Inputs = {}
    for name, t in types.items():
        if np.issubdtype(np.dtype(t.dtype), np.floating):
            inputs[name] = random.standard_normal(t.shape).astype(t.dtype)
        else:
            limits = np.iinfo(t.dtype)
            inputs[name] = random.integers(limits.min, limits.max, t.shape, t.dtype, endpoint=True)
    return inputs
