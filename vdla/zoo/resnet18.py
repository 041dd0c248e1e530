"""ResNet-18, version 1 (He et al., arXiv 1512.03385; the stride is in each block's first 3x3 convolution)."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import photographs
from vdla.zoo.network import Network, shipped_statistics

SEED = 18
STAGES = (64, 128, 256, 512)  # two blocks each; the first of every stage but stage 1 halves the map
CLASSES = 1000


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("resnet18"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": photographs(count, seed)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("resnet18", SEED, (batch, 3, 224, 224), statistics)
    x = net.conv("input", "conv1", (3, 64), 7, stride=2)
    x = net.relu(net.batch_norm(x, "bn1", 64), "relu")
    x = net.node("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    before = 64
    for stage, channels in enumerate(STAGES, 1):
        for block in (0, 1):
            stride = 2 if block == 0 and stage > 1 else 1
            x = basic_block(net, x, f"layer{stage}.{block}", (before, channels), stride)
            before = channels
    return net.model(net.classifier(x, "fc", before, CLASSES), (batch, CLASSES))


def basic_block(net: Network, x: str, name: str, channels: tuple[int, int], stride: int) -> str:
    """relu(bn(conv3x3(relu(bn(conv3x3(x))))) + x), with a 1x1 convolution on x where the shapes differ."""
    before, after = channels
    y = net.conv(x, f"{name}.conv1", channels, 3, stride)
    y = net.relu(net.batch_norm(y, f"{name}.bn1", after), f"{name}.relu1")
    y = net.conv(y, f"{name}.conv2", (after, after), 3)
    y = net.batch_norm(y, f"{name}.bn2", after)
    if stride != 1 or before != after:
        x = net.conv(x, f"{name}.downsample.conv", channels, 1, stride)
        x = net.batch_norm(x, f"{name}.downsample.bn", after)
    return net.relu(net.node("Add", [y, x], f"{name}.add"), f"{name}.relu2")
