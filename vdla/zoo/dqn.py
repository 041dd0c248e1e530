"""The deep Q-network that plays Atari games (Mnih et al., Nature 518, 2015): unpadded convolutions, two dense layers."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import brightness
from vdla.zoo.network import Network

SEED = 2015
FRAMES, SIZE = 4, 84
CONVOLUTIONS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))  # channels, kernel, stride
HIDDEN, ACTIONS = 512, 18


def build(batch: int) -> onnx.ModelProto:
    net = Network("dqn", SEED, (batch, FRAMES, SIZE, SIZE))
    x, before, size = "input", FRAMES, SIZE
    for number, (channels, kernel, stride) in enumerate(CONVOLUTIONS, 1):
        x = net.conv(x, f"conv{number}", (before, channels), kernel, stride, pad=0, bias=True)
        x = net.relu(x, f"relu{number}")
        before, size = channels, (size - kernel) // stride + 1
    x = net.node("Flatten", [x], "flatten", axis=1)
    x = net.relu(net.gemm(x, "fc1", (before * size * size, HIDDEN)), "relu4")
    return net.model(net.gemm(x, "fc2", (HIDDEN, ACTIONS)), (batch, ACTIONS))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Four screens of brightness 0..1, each a pixel further along than the one before."""
    wide = brightness(count, seed, SIZE + FRAMES - 1)[:, :, :SIZE]
    return {"input": np.stack([wide[:, :, :, k : k + SIZE].mean(1) for k in range(FRAMES)], axis=1)}
