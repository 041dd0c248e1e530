"""MobileNet v2, width 1.0 (Sandler et al., arXiv 1801.04381, table 2)."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.images import photographs
from vdla.zoo.mobilenet import SHIFT
from vdla.zoo.network import Network, shipped_statistics

SEED = 2
CLASSES = 1000
STAGES = (  # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
LAST = 1280


def build(batch: int) -> onnx.ModelProto:
    return network(batch, shipped_statistics("mobilenet_v2"))


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": photographs(count, seed)}


def network(batch: int, statistics: np.ndarray | None) -> onnx.ModelProto:
    net = Network("mobilenet_v2", SEED, (batch, 3, 224, 224), statistics)
    x = activated(net, "input", "stem", (3, 32), 3, 2)
    before, number = 32, 0
    for expansion, channels, blocks, first_stride in STAGES:
        for block in range(blocks):
            number += 1
            x = inverted_residual(net, x, f"block{number}", (before, channels), expansion, first_stride if block == 0 else 1)
            before = channels
    x = activated(net, x, "last", (before, LAST), 1, 1)
    return net.model(net.classifier(x, "fc", LAST, CLASSES), (batch, CLASSES))


def inverted_residual(net: Network, x: str, name: str, channels: tuple[int, int], expansion: int, stride: int) -> str:
    """Wider by a 1x1 convolution, depthwise 3x3, narrow again without activation; added to x where shapes agree."""
    before, after = channels
    wide = before * expansion
    y = activated(net, x, f"{name}.expand", (before, wide), 1, 1) if expansion > 1 else x
    y = activated(net, y, f"{name}.depthwise", (wide, wide), 3, stride, groups=wide)
    y = net.batch_norm(net.conv(y, f"{name}.project", (wide, after), 1), f"{name}.project.bn", after)
    return net.node("Add", [x, y], f"{name}.add") if stride == 1 and before == after else y


def activated(net: Network, x: str, name: str, channels: tuple[int, int], kernel: int, stride: int, groups: int = 1) -> str:
    """Convolution, batch norm (shifted as in MobileNet v1, for the same reason) and ReLU6."""
    x = net.conv(x, name, channels, kernel, stride, groups)
    return net.relu6(net.batch_norm(x, f"{name}.bn", channels[1], SHIFT), f"{name}.relu6")
