"""Fourier transforms against numpy.fft in float64, and ONNX's windows and mel weights against its own reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from onnx_models import model_of, node, random

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.frontend.signal import DIRECT
from vdla.compiler.graph.pipeline import optimise
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError

LENGTHS = [1, 2, 3, 7, 10, 16, 30, 97]


def scalar(value: int) -> np.ndarray:
    return np.array(value, np.int64)


def result(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> np.ndarray:
    return run_reference(optimise(import_onnx(model)), inputs)["y"]


def as_complex(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    return wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + 1j * wide[..., 1]


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """float32 against a complex or real result in float64: an error of the size of float32's, relative to the whole."""
    parts = found.astype(np.float64)
    value = parts[..., 0] + 1j * parts[..., 1] if found.shape[-1] == 2 else parts[..., 0]
    assert value.shape == expected.shape
    assert np.abs(value - expected).max() <= 3e-6 * np.sqrt(expected.size) * max(np.abs(expected).max(), 1)


def transform(x: np.ndarray, length: int | None, axis: int, **attributes: int) -> np.ndarray:
    constants = {"axis": scalar(axis)} | ({} if length is None else {"n": scalar(length)})
    operands = f"x {'-' if length is None else 'n'} axis"
    return result(model_of([node("DFT", operands, **attributes)], {"x": x}, ["y"], constants, 20), {"x": x})


@pytest.mark.parametrize("inverse", [0, 1])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths(length: int, channels: int, inverse: int) -> None:
    x = random(2, length, 3, channels)
    expected = (np.fft.ifft if inverse else np.fft.fft)(as_complex(x), axis=1)
    close(transform(x, None, 1, inverse=inverse), expected)


@pytest.mark.parametrize("length", [1, 4, 9, 12, 20])
@pytest.mark.parametrize("axis", [0, 1, -2])
def test_cut_and_filled(length: int, axis: int) -> None:
    x = random(9, 12, 5, 2)
    close(transform(x, length, axis), np.fft.fft(as_complex(x), length, axis=2 if axis == -2 else axis))


@pytest.mark.parametrize("length", [2, 9, 16, 31, 3000])
def test_halves_of_spectra(length: int) -> None:
    x = random(2, length, 1)
    half = transform(x, None, 1, onesided=1)
    close(half, np.fft.rfft(as_complex(x), axis=1))
    close(transform(half, length, 1, inverse=1, onesided=1), np.fft.irfft(as_complex(half), length, axis=1))


def test_long_transforms_are_made_of_short_ones() -> None:
    """What grows with the length squared would be a matrix of 8192 × 8192."""
    x = random(1, 4096, 2)
    constants = {"axis": scalar(1)}
    graph = optimise(import_onnx(model_of([node("DFT", "x - axis")], {"x": x}, ["y"], constants, 20)))
    assert max(array.size for array in graph.constants.values()) <= 4 * 4096 < DIRECT**2
    close(run_reference(graph, {"x": x})["y"], np.fft.fft(as_complex(x), axis=1))


def test_before_opset_20() -> None:
    """The axis is an attribute, 1 by default."""
    x = random(2, 6, 5, 1)
    model = model_of([node("DFT", "x")], {"x": x}, ["y"], {}, 17)
    close(result(model, {"x": x}), np.fft.fft(as_complex(x), axis=1))
    model = model_of([node("DFT", "x", axis=2, onesided=1)], {"x": x}, ["y"], {}, 19)
    close(result(model, {"x": x}), np.fft.rfft(as_complex(x), axis=2))


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", ["none", "constant", "computed"])
@pytest.mark.parametrize(("length", "step"), [(16, 8), (10, 3), (40, 40)])
def test_short_time(length: int, step: int, window: str, onesided: int) -> None:
    x, w = random(2, 40, 1), random(length, seed=4)
    constants = {"step": scalar(step), "length": scalar(length)}
    inputs = {"x": x}
    if window != "none":
        (constants if window == "constant" else inputs)["w"] = w
    operands = f"x step {'-' if window == 'none' else 'w'} length"
    found = result(model_of([node("STFT", operands, onesided=onesided)], inputs, ["y"], constants, 17), inputs)
    frames = np.stack([as_complex(x)[:, s : s + length] for s in range(0, 40 - length + 1, step)], 1)
    close(found, (np.fft.rfft if onesided else np.fft.fft)(frames * (1 if window == "none" else w)))


def test_short_time_of_a_complex_signal() -> None:
    x = random(1, 20, 2)
    constants = {"step": scalar(4), "length": scalar(8)}
    found = result(model_of([node("STFT", "x step - length", onesided=0)], {"x": x}, ["y"], constants, 17), {"x": x})
    close(found, np.fft.fft(np.stack([as_complex(x)[:, s : s + 8] for s in range(0, 13, 4)], 1)))


def constant_of(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], dtype: str) -> np.ndarray:
    model = model_of(nodes, {}, ["y"], constants, 17, dtype)
    graph = import_onnx(model)
    assert not graph.nodes
    (expected,) = ReferenceEvaluator(model).run(None, {})
    found = graph.constants["y"]
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_allclose(found.astype(np.float64), expected.astype(np.float64), rtol=1e-5, atol=1e-6)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("op", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(op: str, periodic: int, dtype: str) -> None:
    number = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = node(op, "n", periodic=periodic, output_datatype=number)
    model = model_of([made], {}, ["y"], {"n": scalar(13)}, 17, dtype)
    found = import_onnx(model).constants["y"]
    double = node(op, "n", periodic=periodic, output_datatype=TensorProto.DOUBLE)
    (expected,) = ReferenceEvaluator(model_of([double], {}, ["y"], {"n": scalar(13)}, 17, "float64")).run(None, {})
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), expected, rtol=np.finfo(dtype).eps, atol=1e-15)


@pytest.mark.parametrize("parameters", [(8, 16, 8192, 0.0, 4096.0), (40, 512, 16000, 20.0, 8000.0), (5, 31, 100, 3.0, 40.0)])
def test_mel_weights(parameters: tuple[Any, ...]) -> None:
    names = ["bins", "length", "rate", "low", "high"]
    values = [np.array(value, np.float32 if isinstance(value, float) else np.int64) for value in parameters]
    constants = dict(zip(names, values, strict=True))
    assert constant_of([node("MelWeightMatrix", " ".join(names))], constants, "float32").any()


REFUSED: dict[str, tuple[onnx.NodeProto, dict[str, np.ndarray], str]] = {
    "no parts": (node("DFT", "x", axis=0), {"x": random(2, 3)}, "DFT of what is no signal; found (2, 3)"),
    "the last axis": (node("DFT", "x", axis=-1), {"x": random(2, 3, 1)}, "DFT along the axis of real and imaginary parts"),
    "half of complex": (node("DFT", "x", onesided=1), {"x": random(2, 3, 2)}, "onesided DFT"),
    "window": (node("STFT", "x n v m"), {"x": random(1, 9, 1)}, "frames of STFT; found 'step 3, length 5, window (4,)'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    made, inputs, words = REFUSED[name]
    constants = {"n": scalar(3), "m": scalar(5), "v": random(4)}
    with pytest.raises(ModelError) as caught:
        import_onnx(model_of([made], inputs, ["y"], constants, 17))
    assert words in str(caught.value)


def test_random_numbers_are_refused() -> None:
    with pytest.raises(ModelError, match="random"):
        import_onnx(model_of([node("RandomNormalLike", "x")], {"x": random(2, 3)}, ["y"]))
