"""U-Net (Ronneberger et al., arXiv 1505.04597) at a quarter of its width, with SAME padding and batch norm."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import brightness
from vdla.zoo.network import Network, shipped_statistics

SEED = 572
SIZE = 256
WIDTHS = (16, 32, 64, 128, 256)  # the paper's begin at 64
CLASSES = 2


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("unet"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """One channel, mean 0 and deviation 1."""
    grey = brightness(count, seed, SIZE).mean(1, keepdims=True)
    return {"input": ((grey - np.float32(0.5)) * np.float32(4)).astype(np.float32)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("unet", SEED, (batch, 1, SIZE, SIZE), statistics)
    x, before = "input", 1
    skips = []
    for level, width in enumerate(WIDTHS):
        if level:
            x = net.node("MaxPool", [x], f"pool{level}", kernel_shape=[2, 2], strides=[2, 2])
        x = twice(net, x, f"down{level}", before, width)
        skips.append(x)
        before = width
    for level in reversed(range(len(WIDTHS) - 1)):
        width = WIDTHS[level]
        x = net.conv_transpose(x, f"grow{level}", (before, width), 2, 2, bias=True)
        x = net.node("Concat", [skips[level], x], f"join{level}", axis=1)
        x = twice(net, x, f"up{level}", 2 * width, width)
        before = width
    return net.model(net.conv(x, "classes", (before, CLASSES), 1, bias=True), (batch, CLASSES, SIZE, SIZE))


def twice(net: Network, x: str, name: str, before: int, after: int) -> str:
    """3x3 convolution, batch norm and ReLU, twice."""
    for number, channels in enumerate(((before, after), (after, after)), 1):
        x = net.batch_norm(net.conv(x, f"{name}.conv{number}", channels, 3), f"{name}.bn{number}", after)
        x = net.relu(x, f"{name}.relu{number}")
    return x
