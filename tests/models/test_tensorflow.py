"""Keras and TFLite models through tf2onnx, against TensorFlow's and TFLite's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import vdla
from vdla.onnx_backend import prepare

tf = pytest.importorskip("tensorflow", reason="the extra `tensorflow` is not installed")
tf2onnx = pytest.importorskip("tf2onnx", reason="the extra `tensorflow` is not installed")
keras = tf.keras
layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")  # TFLite's and Keras's own

RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(1, 16, 16, 3)).astype(np.float32)
SIGNAL = RNG.normal(size=(1, 7, 6)).astype(np.float32)
WORDS = RNG.integers(0, 50, (1, 7)).astype(np.int32)


def images() -> Any:
    stem = [
        layers.Conv2D(8, 3, 2, "same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.DepthwiseConv2D(3, padding="same"),
    ]
    rest = [layers.MaxPooling2D(), layers.Conv2D(12, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input(IMAGE.shape[1:], 1), *stem, *rest, layers.Dense(10, "softmax")])


def signals() -> Any:
    recurrent = [layers.LSTM(12, return_sequences=True), layers.LSTM(8)]
    return keras.Sequential([keras.Input(SIGNAL.shape[1:], 1), *recurrent, layers.Dense(5)])


def words() -> Any:
    recurrent = [layers.Bidirectional(layers.LSTM(12, return_sequences=True)), layers.GRU(8)]
    return keras.Sequential([keras.Input((7,), 1, "int32"), layers.Embedding(50, 16), *recurrent, layers.Dense(5)])


NETWORKS: dict[str, tuple[Callable[[], Any], np.ndarray]] = {
    "images": (images, IMAGE),
    "signals": (signals, SIGNAL),
    "words": (words, WORDS),
}


def built(name: str) -> tuple[Any, np.ndarray]:
    keras.utils.set_random_seed(0)
    build, x = NETWORKS[name]
    model = build()
    model(x)  # Keras exports what was called
    return model, x


def by_keras(model: Any, x: np.ndarray, folder: Path) -> onnx.ModelProto:
    model.export(folder / "model.onnx", format="onnx", verbose=False)
    return onnx.load(folder / "model.onnx")


def by_function(model: Any, x: np.ndarray, folder: Path) -> onnx.ModelProto:
    function = tf.function(lambda value: model(value, training=False))
    converted, _ = tf2onnx.convert.from_function(function, [tf.TensorSpec(x.shape, x.dtype, name="x")], opset=18)
    return converted


@pytest.mark.parametrize("route", [by_keras, by_function])
@pytest.mark.parametrize("name", NETWORKS)
def test_agrees_with_tensorflow(name: str, route: Callable[..., onnx.ModelProto], tmp_path: Path) -> None:
    model, x = built(name)
    (found,) = prepare(route(model, x, tmp_path)).run([x])
    np.testing.assert_allclose(found, model(x).numpy(), rtol=1e-5, atol=1e-6)


def lite(model: Any, x: np.ndarray, quantised: str = "") -> bytes:
    """A TFLite file's bytes. quantised: "weights", "inside", or "whole" with inputs and outputs too."""

    def samples() -> Iterator[list[np.ndarray]]:
        rng = np.random.default_rng(1)
        for _ in range(20):
            yield [rng.normal(size=x.shape).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantised:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantised in ("inside", "whole"):
        converter.representative_dataset = samples
    if quantised == "whole":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def interpreted(data: bytes, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TFLite's input in the file's own type, and its result."""
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if given["dtype"] == np.int8:
        scale, zero_point = given["quantization"]
        x = np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    return x, interpreter.get_tensor(result["index"])


def from_lite(data: bytes, folder: Path) -> onnx.ModelProto:
    (folder / "model.tflite").write_bytes(data)
    converted, _ = tf2onnx.convert.from_tflite(str(folder / "model.tflite"), opset=18)
    return converted


@pytest.mark.parametrize(
    ("name", "quantised"), [("images", ""), ("images", "weights"), ("signals", ""), ("signals", "weights")]
)
def test_agrees_with_tflite(name: str, quantised: str, tmp_path: Path) -> None:
    data = lite(*built(name), quantised)
    x, wanted = interpreted(data, NETWORKS[name][1])
    (found,) = prepare(from_lite(data, tmp_path)).run([x])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("quantised", ["inside", "whole"])
def test_agrees_with_tflite_in_int8(quantised: str, tmp_path: Path) -> None:
    """Rescaling is exact in neither: TFLite's multiplier is of 31 bits, ONNX's a float. One level of 256 may differ."""
    data = lite(*built("images"), quantised)
    x, wanted = interpreted(data, IMAGE)
    (found,) = prepare(from_lite(data, tmp_path)).run([x])
    assert found.dtype == wanted.dtype and np.ptp(wanted) > 0
    level = 1 if quantised == "whole" else 1 / 256
    assert np.abs(found.astype(np.float64) - wanted).max() <= level


def test_compiles_for_a_design(tmp_path: Path) -> None:
    """A quantised TFLite network keeps its scales on the accelerator, and so its levels."""
    data = lite(*built("images"), "inside")
    _, wanted = interpreted(data, IMAGE)
    model = from_lite(data, tmp_path)
    module = vdla.compile(model, "tiny")
    assert {step.target for step in module.model.steps} == {"vdla", "cpu"}
    (found,) = module.run({model.graph.input[0].name: IMAGE}).outputs.values()
    np.testing.assert_allclose(found, wanted, atol=1 / 256)
