"""DCGAN's generator of 64x64 images (Radford et al., arXiv 1511.06434, figure 1): 4x4 transposed convolutions, stride 2."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.network import Network, shipped_statistics
from vdla.zoo.random_numbers import stream, uniform

SEED = 64
NOISE = 100
WIDTHS = (1024, 512, 256, 128)  # channels at 4x4, 8x8, 16x16, 32x32
COLOURS = 3


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("dcgan"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Uniform noise in -1..1, which the paper draws images from."""
    return {"input": uniform(stream(seed, "noise"), -1, 1, count * NOISE).reshape(count, NOISE)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("dcgan", SEED, (batch, NOISE), statistics)
    x = net.gemm("input", "project", (NOISE, WIDTHS[0] * 16))
    x = net.reshape(x, "image", batch, WIDTHS[0], 4, 4)
    x = net.relu(net.batch_norm(x, "project.bn", WIDTHS[0]), "project.relu")
    for number, (before, after) in enumerate(zip(WIDTHS[:-1], WIDTHS[1:], strict=True), 1):
        x = net.conv_transpose(x, f"up{number}", (before, after), 4, 2, pad=1)
        x = net.relu(net.batch_norm(x, f"up{number}.bn", after), f"up{number}.relu")
    x = net.conv_transpose(x, "up4", (WIDTHS[-1], COLOURS), 4, 2, pad=1, bias=True)
    return net.model(net.node("Tanh", [x], "tanh"), (batch, COLOURS, 64, 64))
