"""The zoo: sane activations, published sizes, the trained network's accuracy, determinism, and errors."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from math import prod

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_models import run_onnxruntime

from vdla.errors import ModelError
from vdla.zoo import build, digits_test, sample_inputs, zoo_models
from vdla.zoo import train_digits as training

SEEDED = [name for name in zoo_models() if name != "digits"]


@pytest.mark.parametrize("name", zoo_models())
def test_models_are_valid_onnx(name: str) -> None:
    onnx.checker.check_model(build(name), full_check=True)


@pytest.mark.parametrize("name", zoo_models())
def test_batches(name: str) -> None:
    """A batch gives what its samples give alone."""
    samples = sample_inputs(name, 2, seed=5)
    both = run_onnxruntime(build(name, 2), samples)["output"]
    alone = run_onnxruntime(build(name), {"input": samples["input"][1:]})["output"]
    np.testing.assert_allclose(both[1:], alone, rtol=1e-3, atol=1e-5 * np.abs(alone).max())


def macs(name: str) -> int:
    """Multiply-accumulates of convolutions, dense layers, matrix products and recurrences, from the ONNX file alone."""
    model = onnx.shape_inference.infer_shapes(build(name))
    known = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for info in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        known[info.name] = tuple(dim.dim_value for dim in info.type.tensor_type.shape.dim)
    total = 0
    for node in model.graph.node:
        x, w, y = (known.get(tensor, ()) for tensor in (*node.input, "", "")[:2] + (node.output[0],))
        if node.op_type in ("Conv", "Gemm"):  # an output sums what one row of the weights holds
            total += prod(y) * prod(w[1:])
        elif node.op_type == "ConvTranspose":  # an input meets all weights of its channel
            total += prod(x) * prod(w[1:])
        elif node.op_type == "MatMul":
            total += prod(y) * x[-1]
        elif node.op_type == "LSTM":
            total += prod(x[:2]) * (prod(w) + prod(known[node.input[2]]))
    return total


def parameters(name: str) -> int:
    """Trained numbers: neither running statistics nor the constants of the arithmetic."""
    return sum(prod(t.dims) for t in build(name).graph.initializer if t.name.endswith((".weight", ".bias")))


def test_unet_has_its_23_layers() -> None:
    assert sum(node.op_type in ("Conv", "ConvTranspose") for node in build("unet").graph.node) == 23


@pytest.mark.parametrize(
    ("name", "millions", "giga"),
    [
        ("resnet18", 11.689512, 1.814073344),
        ("resnet50", 25.557032, 3.857973248),
        ("mobilenet", 4.231976, 0.568740352),
        ("mobilenet_v2", 3.504872, 0.300774272),
        ("lstm", 19.7804, 0.4641),
        ("dqn", 1.693362, 0.009352192),
        ("dcgan", 12.674819, 0.41058304),
        ("transformer", 7.087872, 0.931135488),
        ("vit", 5.717416, 1.2536832),
        ("unet", 1.942306, 3.014656),
        ("yolo", 3.1572, 1.0929984),
    ],
)
def test_published_sizes(name: str, millions: float, giga: float) -> None:
    """Papers and their authors' code say: ResNet-18 11.7 M parameters and 1.8 G multiply-adds, ResNet-50 25.6 M and 3.8 G,
    MobileNet 4.2 M and 569 M, its version 2 3.4 M and 300 M, ViT-Tiny 5.7 M and 1.3 G, YOLOv8 nano 3.2 M and 8.7 G operations
    at four times the pixels. A block of BERT base is a twelfth of its 85 M outside the embedding. The others' follow from the
    shapes in their papers; U-Net has a sixteenth of 31 M, batch norms apart.
    """
    assert parameters(name) == round(millions * 1e6)
    assert macs(name) == round(giga * 1e9)


@pytest.mark.parametrize("name", SEEDED)
def test_activations_are_sane(name: str) -> None:
    """On samples they were not calibrated on, norms give about their shift and variance 1; nothing dies, outputs differ."""
    model = build(name)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = all_tensors(model, sample_inputs(name, 1, seed=77))
    for node in model.graph.node:
        value = tensors[node.output[0]]
        assert np.isfinite(value).all()
        if node.op_type in ("BatchNormalization", "LayerNormalization"):
            assert 0.5 < value.std() < 2 and abs(value.mean() - stored[node.input[2]].mean()) < 0.5, node.name
        if node.op_type in ("Relu", "Clip"):
            assert 0.2 < (value > 0).mean() < 0.98, node.name
    other = run_onnxruntime(model, sample_inputs(name, 1, seed=78))["output"]
    assert np.linalg.norm(tensors["output"] - other) > 0.05 * np.linalg.norm(other)


def all_tensors(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What every node of `model` computes, by onnxruntime."""
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    computed = {name for node in model.graph.node for name in node.output} - {"output"}
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    shown.graph.output.extend(info for info in inferred if info.name in computed)
    return run_onnxruntime(shown, inputs)


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
    [
        ("resnet18", "bf39a326f2666cb8"),
        ("mobilenet", "93ee3e5b6aef381d"),
        ("resnet50", "996d75b7bda74696"),
        ("mobilenet_v2", "46dee51af1d7478c"),
        ("lstm", "b37776380c886410"),
        ("dqn", "73c3484f8cb49493"),
        ("dcgan", "54c671784ce2cd58"),
        ("transformer", "7113de55b386b7e5"),
        ("vit", "0c53734c546eb63b"),
        ("unet", "f0d2f75e362d7e3a"),
        ("yolo", "d8b7ff454049fb24"),
    ],
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
