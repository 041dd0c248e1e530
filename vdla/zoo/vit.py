"""ViT-Tiny for 224x224 images (Dosovitskiy et al., arXiv 2010.11929, at the width of Touvron et al., arXiv 2012.12877)."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.attention import attention, feed_forward
from vdla.zoo.images import photographs
from vdla.zoo.network import Network
from vdla.zoo.random_numbers import gaussian, stream

SEED = 16
PATCH, GRID = 16, 14
WIDTH, HEADS, LAYERS = 192, 3, 12
CLASSES = 1000
TOKENS = GRID * GRID + 1  # the first is the class's


def build(batch: int) -> onnx.ModelProto:
    net = Network("vit", SEED, (batch, 3, GRID * PATCH, GRID * PATCH))
    shape = (batch, TOKENS, WIDTH)
    x = embedded(net, batch)
    for number in range(LAYERS):
        name = f"block{number}"
        y = attention(net, net.layer_norm(x, f"{name}.norm1", WIDTH), f"{name}.attention", shape, HEADS)
        x = net.node("Add", [x, y], f"{name}.add1")
        y = feed_forward(net, net.layer_norm(x, f"{name}.norm2", WIDTH), f"{name}.feed_forward", WIDTH, 4 * WIDTH)
        x = net.node("Add", [x, y], f"{name}.add2")
    first = net.node("Gather", [net.layer_norm(x, "norm", WIDTH), net.weight("class", np.array(0, np.int64))], "token", axis=1)
    return net.model(net.gemm(first, "head", (WIDTH, CLASSES)), (batch, CLASSES))


def embedded(net: Network, batch: int) -> str:
    """Patches by a convolution, the class's token before them, positions added: [batch, TOKENS, WIDTH]."""
    x = net.conv("input", "patches", (3, WIDTH), PATCH, PATCH, pad=0, bias=True)
    x = net.node("Transpose", [net.reshape(x, "patches.flat", batch, WIDTH, GRID * GRID)], "patches.tokens", perm=[0, 2, 1])
    token = net.weight("class_token.weight", gaussian(stream(net.seed, "class_token"), (1, 1, WIDTH)))
    token = net.node("Expand", [token, net.integers("class_token.shape", batch, 1, WIDTH)], "class_token.expand")
    x = net.node("Concat", [token, x], "tokens", axis=1)
    return net.node(
        "Add", [x, net.weight("positions.weight", gaussian(stream(net.seed, "positions"), (1, TOKENS, WIDTH)))], "embedded"
    )


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    return {"input": photographs(count, seed)}
