"""The zoo: sane activations, published sizes, the trained network's accuracy, determinism, and errors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from math import prod

import numpy as np
import onnx
import pytest
from onnx_models import run_onnxruntime

from vdla.compiler.frontend.onnx_import import import_onnx
from vdla.compiler.graph.reference import run_reference
from vdla.errors import ModelError
from vdla.zoo import build, digits_test, sample_inputs, zoo_models
from vdla.zoo import train_digits as training


@pytest.mark.parametrize("name", zoo_models())
def test_models_are_valid_onnx(name: str) -> None:
    onnx.checker.check_model(build(name), full_check=True)


@pytest.mark.parametrize("name", zoo_models())
def test_batches(name: str) -> None:
    """A batch gives what its images give alone."""
    images = sample_inputs(name, 2, seed=5)
    both = run_onnxruntime(build(name, 2), images)["output"]
    alone = run_onnxruntime(build(name), {"input": images["input"][1:]})["output"]
    np.testing.assert_allclose(both[1:], alone, rtol=1e-3, atol=1e-5)


def macs(name: str) -> int:
    """Multiply-accumulates of convolutions and dense layers."""
    graph = import_onnx(build(name))
    layers = [n for n in graph.nodes if n.op in ("conv2d", "dense")]
    return sum(prod(graph.type_of(n.outputs[0]).shape) * prod(graph.type_of(n.inputs[1]).shape[1:]) for n in layers)


def parameters(name: str) -> int:
    return sum(prod(t.dims) for t in build(name).graph.initializer if not t.name.endswith((".running_mean", ".running_var")))


def test_published_sizes() -> None:
    """ResNet-18: 11.69 M parameters, 1.81 G multiply-adds; MobileNet 1.0: 4.2 M, 569 M (its paper, table 8)."""
    assert parameters("resnet18") == 11_689_512
    assert macs("resnet18") == 1_814_073_344
    assert abs(parameters("mobilenet") - 4.2e6) < 0.05e6
    assert abs(macs("mobilenet") - 569e6) < 1e6


@pytest.mark.parametrize(("name", "shift"), [("resnet18", 0.0), ("mobilenet", 1.5)])
def test_activations_are_sane(name: str, shift: float) -> None:
    """On images they were not calibrated on batch norms give about `shift` and variance 1; nothing dies, images differ."""
    graph, images = import_onnx(build(name)), sample_inputs(name, 1, seed=77)
    tensors = run_reference(graph, images, keep="all")
    for n in graph.nodes:
        value = tensors[n.outputs[0]]
        assert np.isfinite(value).all()
        if n.op == "batch_norm":
            assert 0.5 < value.std() < 2 and abs(value.mean() - shift) < 0.5, n.name
        if n.op in ("relu", "clip"):
            assert 0.2 < (value > 0).mean() < 0.98, n.name
    other = run_reference(graph, sample_inputs(name, 1, seed=78))["output"]
    assert np.linalg.norm(tensors["output"] - other) > 0.05 * np.linalg.norm(other)


def test_digits_accuracy() -> None:
    images, labels = digits_test()
    assert images.shape == (360, 1, 8, 8) and images.dtype == np.float32
    logits = run_onnxruntime(build("digits", 360), {"input": images})["output"]
    assert (logits.argmax(1) == labels).mean() >= 0.97


def test_digits_are_scikit_learns() -> None:
    """The shipped images are the data set's, the calibration images are none of the held-out ones."""
    from sklearn.datasets import load_digits

    data = load_digits()
    known = {image.astype(np.uint8).tobytes(): label for image, label in zip(data.images, data.target, strict=True)}
    images, labels = digits_test()
    held_out = [(image * 16).astype(np.uint8).tobytes() for image in images]
    assert [known[image] for image in held_out] == labels.tolist()
    calibration = {(image * 16).astype(np.uint8).tobytes() for image in sample_inputs("digits", 100)["input"]}
    assert calibration <= set(known) and not calibration & set(held_out)


def test_training_gradients() -> None:
    """Back-propagation against differences, in float64."""
    rng = np.random.default_rng(0)
    weights = {k: v.astype(np.float64) for k, v in training.initial_weights(rng).items()}
    images, labels = rng.random((3, 1, 8, 8)), np.array([1, 5, 9])

    def loss() -> float:
        logits = training.forward(images, weights, {})[0]
        return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(3), labels]))

    gradients: dict[str, np.ndarray] = {}
    logits, backs = training.forward(images, weights, gradients)
    gradient = training.loss_gradient(logits, labels)
    for back in reversed(backs):
        gradient = back(gradient)
    for name, weight in weights.items():
        place = tuple(rng.integers(0, weight.shape))
        kept = weight[place]
        weight[place] = kept + 1e-6
        above = loss()
        weight[place] = kept - 1e-6
        below = loss()
        weight[place] = kept
        assert abs((above - below) / 2e-6 - gradients[name][place]) < 1e-5, name


@pytest.mark.parametrize(
    ("name", "digest"),
    [("resnet18", "bf39a326f2666cb8"), ("mobilenet", "93ee3e5b6aef381d")],
)
def test_weights_never_change(name: str, digest: str) -> None:
    """Every machine and NumPy version builds the same weights."""
    total = hashlib.sha256()
    for tensor in build(name).graph.initializer:
        total.update(tensor.raw_data)
    assert total.hexdigest()[:16] == digest


def test_sample_inputs() -> None:
    images = sample_inputs("resnet18", 2, seed=1)["input"]
    assert images.shape == (2, 3, 224, 224) and images.dtype == np.float32
    np.testing.assert_array_equal(images, sample_inputs("resnet18", 2, seed=1)["input"])
    assert np.abs(np.diff(images, axis=3)).mean() < 0.2 * images.std()  # smooth, as photographs are


def test_errors() -> None:
    with pytest.raises(ModelError, match="the zoo has no such network; found 'vgg'; expected resnet18, mobilenet, digits"):
        build("vgg")
    with pytest.raises(ModelError, match="a batch has at least one image; found 0"):
        build("digits", 0)


def test_listing_is_light() -> None:
    """`vdla --help` may list the zoo without loading onnx or NumPy."""
    code = "import sys, vdla.zoo; vdla.zoo.zoo_models(); assert not {'onnx', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
