"""ResNet-50, version 1 (He et al., arXiv 1512.03385, table 1; the stride is in each stage's first 1x1 convolution)."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import photographs
from vdla.zoo.network import Network, shipped_statistics

SEED = 50
STAGES = (
    (64, 3),
    (128, 4),
    (256, 6),
    (512, 3),
)  # width of the 3x3 convolutions, blocks; a block's output is four times as wide
EXPANSION = 4
CLASSES = 1000


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("resnet50"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": photographs(count, seed)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("resnet50", SEED, (batch, 3, 224, 224), statistics)
    x = net.conv("input", "conv1", (3, 64), 7, stride=2)
    x = net.relu(net.batch_norm(x, "bn1", 64), "relu")
    x = net.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = 64
    for stage, (width, blocks) in enumerate(STAGES, 1):
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 1 else 1
            x = bottleneck(net, x, f"layer{stage}.{block}", before, width, stride)
            before = EXPANSION * width
    return net.model(net.classifier(x, "fc", before, CLASSES), (batch, CLASSES))


def bottleneck(net: Network, x: str, name: str, before: int, width: int, stride: int) -> str:
    """1x1 to `width`, 3x3, 1x1 to four times that, each with batch norm; added to x, which a 1x1 fits where shapes differ."""
    after = EXPANSION * width
    y = net.relu(normalised(net, x, f"{name}.conv1", (before, width), 1, stride), f"{name}.relu1")
    y = net.relu(normalised(net, y, f"{name}.conv2", (width, width), 3, 1), f"{name}.relu2")
    y = normalised(net, y, f"{name}.conv3", (width, after), 1, 1)
    if before != after:
        x = normalised(net, x, f"{name}.downsample", (before, after), 1, stride)
    return net.relu(net.node("Add", [y, x], f"{name}.add"), f"{name}.relu3")


def normalised(net: Network, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int) -> str:
    return net.batch_norm(net.conv(x, name, channels, kernel, stride), f"{name}.bn", channels[1])
