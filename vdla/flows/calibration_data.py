"""Calibration data: read from files, and cut to what the model takes at once.

one .npz        an array for each input, by name, samples along the first axis
one .npy        the array of a model's only input
a folder        of such files, in the order of their names
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.errors import RunError
from vdla.files import reason
from vdla.flows.inputs import Inputs, read_npz, require_samples

ONLY = ""
"""The name of an array that has none, of a model with one input."""
EXPECTED = "an .npz of arrays by input name, an .npy for a model of one input, or a folder of either"


def load_calibration(path: Path | None) -> list[Inputs] | None:
    """One input dict for each sample. Raises `RunError` when a file cannot be read or its arrays disagree on their number."""
    if path is None:
        return None
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".npz", ".npy"))
        if not files:
            raise RunError("a folder without calibration data", where=str(path), expected=EXPECTED)
        return [sample for file in files for sample in samples_in(file)]
    return samples_in(path)


def samples_in(path: Path) -> list[Inputs]:
    """The samples of one file."""
    arrays = {ONLY: read_npy(path)} if path.suffix == ".npy" else read_npz(path, "calibration data")
    counts = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        found = ", ".join(f"{name} {a.dtype}{list(a.shape)}".strip() for name, a in arrays.items()) or "no arrays"
        raise RunError(
            "calibration arrays hold no samples, or not equally many",
            where=str(path),
            found=found,
            expected="an array for each input whose first axis is the samples",
        )
    return [{name: a[k : k + 1] for name, a in arrays.items()} for k in range(min(counts.values()))]


def read_npy(path: Path) -> np.ndarray:
    try:
        found: np.ndarray = np.load(path, allow_pickle=False)
    except OSError as error:
        raise RunError(f"cannot read the calibration data ({reason(error)})", where=str(path), expected=EXPECTED) from None
    except Exception:  # noqa: BLE001 - numpy raises many kinds on a damaged file
        raise RunError("not calibration data, or damaged", where=str(path), expected=EXPECTED) from None
    return found


def fitted(samples: Sequence[Inputs], types: Mapping[str, TensorType]) -> list[Inputs]:
    """The samples as the model takes them: several at once where its first dimension is larger than theirs, the last ones
    filled up from the first; each with or without that dimension. Raises `RunError` for what does not fit."""
    if not samples:
        raise RunError("no calibration samples", expected="at least one")
    named = [named_only(sample, types) for sample in samples]
    batches = {
        t.shape[0] // len(np.atleast_1d(named[0][name]))
        for name, t in types.items()
        if name in named[0] and joins(np.asarray(named[0][name]), t)
    }
    batch = batches.pop() if len(batches) == 1 else 1
    if batch > 1:
        named = [
            {name: np.concatenate([named[(start + k) % len(named)][name] for k in range(batch)]) for name in named[start]}
            for start in range(0, len(named), batch)
        ]
    whole = [{name: without_axis(a, types[name]) if name in types else a for name, a in sample.items()} for sample in named]
    require_samples(whole, types)
    return whole


def named_only(sample: Inputs, types: Mapping[str, TensorType]) -> Inputs:
    """With the name of the model's only input for an array that has none."""
    if ONLY not in sample or ONLY in types:
        return sample
    if len(types) != 1:
        expected = "an .npz with " + ", ".join(types)
        raise RunError("an array without a name, and several inputs", where="calibration data", expected=expected)
    return {next(iter(types)): sample[ONLY]}


def joins(a: np.ndarray, t: TensorType) -> bool:
    """Whether several such arrays make one input."""
    return a.ndim == len(t.shape) > 0 and a.shape[1:] == t.shape[1:] and 0 < len(a) < t.shape[0] and t.shape[0] % len(a) == 0


def without_axis(a: np.ndarray, t: TensorType) -> np.ndarray:
    """A sample cut from an array with an axis of samples before all of the input's own."""
    return a[0] if a.ndim == len(t.shape) + 1 and a.shape[1:] == t.shape else a
