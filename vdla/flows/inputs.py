"""Model inputs: parsed from options, loaded from files, or generated from a seed."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError, RunError, VdlaError
from vdla.files import reason
from vdla.runtime.module import check_inputs

Inputs = dict[str, np.ndarray]
CALIBRATION_SAMPLES = 4


def require_model(model: str, known: Iterable[str]) -> None:
    """Raise `ModelError` when `model` is neither a file nor one of the zoo's names."""
    if not Path(model).exists():
        near = difflib.get_close_matches(model, list(known), n=1)
        hint = f"did you mean {near[0]}?" if near else ""
        expected = f"an .onnx file, or one of {', '.join(known)}"
        raise ModelError("no such model", where=model, expected=expected, hint=hint)
    if not Path(model).is_file():  # a device would be read for ever
        raise ModelError("not a file", where=model, expected="an .onnx file")


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`["x=1,3,224,224"]` → {"x": (1, 3, 224, 224)}. Raises `ModelError` for anything else."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        try:
            shape = tuple(int(n) for n in numbers.replace("x", ",").split(","))
        except ValueError:
            shape = ()
        if not equals or not name or not shape or min(shape) < 1:
            raise ModelError("not a shape", where="--input-shape", found=text, expected="name=1,3,224,224")
        if name in shapes:
            raise ModelError("two shapes for one input", where="--input-shape", found=name, expected="each input once")
        shapes[name] = shape
    return shapes


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """`["batch=1"]` → {"batch": 1}. Raises `ModelError` for anything else."""
    dims: dict[str, int] = {}
    for text in texts:
        name, equals, number = text.rpartition("=")
        if not equals or not name or not number.isascii() or not number.isdecimal() or len(number) > 18 or int(number) < 1:
            hint = f"--input-shape {text}" if equals and "," in number else ""
            raise ModelError("not a dimension", where="--dim", found=text, expected="name=1", hint=hint)
        if name in dims:
            raise ModelError("two sizes for one dimension", where="--dim", found=name, expected="each dimension once")
        dims[name] = int(number)
    return dims


MOST_BOUND = 64
"""Numbers in a constant of the command line."""


def parse_constants(texts: Sequence[str]) -> dict[str, np.ndarray]:
    """`["sr=16000", "axes=1,2", "p=0.5", "training=false"]` → arrays: int64, float64 or bool; one number has no dimensions, and
    with a comma behind it one. The model's own type of the input decides in the end. Raises `ModelError` for anything else."""
    constants: dict[str, np.ndarray] = {}
    for text in texts:
        name, equals, values = text.rpartition("=")
        words = [word.strip() for word in values.removesuffix(",").split(",")]
        array = _numbers(words) if equals and name and len(words) <= MOST_BOUND else None
        if array is None:
            expected = "name=16000, name=1,2 or name=true"
            hint = "an input of many numbers stays an input: leave it out"
            raise ModelError("not a constant", where="--bind", found=text, expected=expected, hint=hint)
        if name in constants:
            raise ModelError("two values for one input", where="--bind", found=name, expected="each input once")
        constants[name] = array if "," in values else array.reshape(())
    return constants


def _numbers(words: Sequence[str]) -> np.ndarray | None:
    """The words as one array; None when they are not numbers, or not all truth values."""
    truth = {"true": True, "false": False}
    if all(word.lower() in truth for word in words):
        return np.array([truth[word.lower()] for word in words])
    for number, dtype in ((int, np.int64), (float, np.float64)):
        try:
            return np.array([number(word) for word in words], dtype)
        except (ValueError, OverflowError):
            continue
    return None


def load_inputs(path: Path | None) -> Inputs | None:
    """An .npz of one array for each input, as the model takes it. Raises `RunError` when the file cannot be read."""
    return None if path is None else read_npz(path, "inputs")


def read_npz(path: Path, what: str) -> Inputs:
    """Raises `RunError` unless `path` is an .npz of plain arrays. what: it holds, for messages."""
    expected = "an .npz file of arrays by input name (numpy.savez)"
    try:
        if path.exists() and not path.is_file():
            raise RunError("not a file", where=str(path), expected=expected)
        with zipfile.ZipFile(path):  # numpy.load would take an .npy too, and give an array
            pass
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except VdlaError:
        raise
    except OSError as error:
        raise RunError(f"cannot read the {what} ({reason(error)})", where=str(path), expected=expected) from None
    except Exception:  # noqa: BLE001 - numpy and zipfile raise many kinds on a damaged file
        raise RunError(f"not {what}, or damaged", where=str(path), expected=expected) from None


def require_samples(samples: Sequence[Inputs], types: Mapping[str, TensorType]) -> None:
    """Raise `RunError` unless every calibration sample gives each model input in its shape and dtype."""
    for number, sample in enumerate(samples):
        try:
            check_inputs(types, sample)
        except RunError as error:
            where = f"calibration sample {number}" + (f": {error.where}" if error.where else "")
            raise RunError(error.what, where=where, found=error.found, expected=error.expected, hint=error.hint) from None


def generated_inputs(types: Mapping[str, TensorType], seed: int) -> Inputs:
    """Standard normal values for floats; of integers narrower than 32 bits the whole range; for wider ones, which are indices,
    counts and masks, 0 or 1; either for bool."""
    random = np.random.default_rng(seed)
    inputs: Inputs = {}
    for name, t in types.items():
        element = ELEMENT_TYPES[t.dtype]
        if element.is_float:
            inputs[name] = random.standard_normal(t.shape).astype(t.numpy_dtype)
        elif t.dtype == "bool" or element.bits >= 32:
            inputs[name] = random.integers(0, 2, t.shape).astype(t.numpy_dtype)
        else:
            inputs[name] = random.integers(*element.range, t.shape, element.storage, endpoint=True).astype(t.numpy_dtype)
    return inputs
