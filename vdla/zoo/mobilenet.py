"""MobileNet v1, width 1.0 (Howard et al., arXiv 1704.04861, table 1)."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import photographs
from vdla.zoo.network import Network, shipped_statistics

SEED = 1
CLASSES = 1000
SHIFT = (1.2, 1.8)
"""Of every batch norm: most units stay active, as in a trained network. Around 0, 27 random layers with half their units off
amplify a disturbance of the input about twentyfold, in float as in int8, and an error against float says nothing."""
BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))  # channels, stride


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("mobilenet"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": photographs(count, seed)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("mobilenet", SEED, (batch, 3, 224, 224), statistics)
    x = layer(net, "input", "conv0", (3, 32), 3, 2)
    before = 32
    for index, (channels, stride) in enumerate(BLOCKS, 1):
        x = layer(net, x, f"conv{index}.depthwise", (before, before), 3, stride, groups=before)
        x = layer(net, x, f"conv{index}.pointwise", (before, channels), 1, 1)
        before = channels
    logits = net.classifier(x, "fc", before, CLASSES)
    return net.model(net.node("Softmax", [logits], "softmax", axis=-1), (batch, CLASSES))


def layer(net: Network, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int, groups: int = 1) -> str:
    x = net.conv(x, name, channels, kernel, stride, groups)
    return net.relu6(net.batch_norm(x, f"{name}.bn", channels[1], SHIFT), f"{name}.relu6")
