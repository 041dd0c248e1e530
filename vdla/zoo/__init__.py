"""Networks by name: real ONNX models built in code with seeded weights, and one really trained. Nothing is downloaded.

The modules behind the names are imported when first needed, so that listing the zoo is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from vdla.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import onnx

MODELS = {
    "resnet18": "ResNet-18 (v1) for 224x224 images, seeded weights: residual adds, stride-2 and 1x1 convolutions",
    "mobilenet": "MobileNet v1 (1.0) for 224x224 images, seeded weights: depthwise convolutions, ReLU6, softmax",
    "digits": "a small network trained on 8x8 handwritten digits: its accuracy is a true number",
    "resnet50": "ResNet-50 (v1) for 224x224 images, seeded weights: bottleneck blocks, up to 2048 channels",
    "mobilenet_v2": "MobileNet v2 (1.0) for 224x224 images, seeded weights: inverted residuals, linear bottlenecks",
    "lstm": "LSTM language model (2 x 650 units, 10,000 words, 35 steps), seeded weights: embedding, recurrence",
    "dqn": "deep Q-network for Atari's screens, seeded weights: unpadded 8x8, 4x4 and 3x3 convolutions",
    "dcgan": "DCGAN generator of 64x64 images, seeded weights: 4x4 transposed convolutions of stride 2",
    "transformer": "one encoder block of BERT base over 128 tokens, seeded weights: attention, layer norm, GELU",
    "vit": "ViT-Tiny for 224x224 images, seeded weights: patches, 12 layers of attention over 197 tokens",
    "unet": "U-Net at a quarter of its width for 256x256 images, seeded weights: skips, transposed convolutions",
    "yolo": "YOLOv8 nano for 320x320 images with its decoded boxes, seeded weights: SiLU, Split, Resize, softmax",
}


def zoo_models() -> dict[str, str]:
    """Name → what it is."""
    return dict(MODELS)


def build(name: str, batch: int = 1) -> onnx.ModelProto:
    """The network `name` for `batch` images, sequences or noise vectors at once: axis 0 of its one input and its one output.

    Raises `ModelError` on an unknown name or a batch below 1.
    """
    if batch < 1:
        raise ModelError("a batch has at least one image", where=name, found=batch)
    return import_module(f"vdla.zoo.{known(name)}").build(batch)


def sample_inputs(name: str, count: int = 1, seed: int = 0) -> dict[str, np.ndarray]:
    """Input name → array of `count` plausible samples: real training digits, smooth noise for images, words, noise vectors.

    Raises `ModelError` on an unknown name.
    """
    return import_module(f"vdla.zoo.{known(name)}").sample_inputs(count, seed)


def digits_test() -> tuple[np.ndarray, np.ndarray]:
    """The digits held out from training: images float32[360, 1, 8, 8] as the network takes them, labels int64[360]."""
    return import_module("vdla.zoo.digits").held_out()


def known(name: str) -> str:
    if name not in MODELS:
        raise ModelError("the zoo has no such network", found=name, expected=", ".join(MODELS))
    return name
