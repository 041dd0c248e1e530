"""One encoder block of BERT base (Devlin et al., arXiv 1810.04805; Vaswani et al., arXiv 1706.03762) over 128 tokens."""

from __future__ import annotations

import numpy as np
import onnx

from vdla.zoo.attention import attention, feed_forward
from vdla.zoo.network import Network
from vdla.zoo.random_numbers import gaussian, stream

SEED = 768
LENGTH, WIDTH, HEADS, HIDDEN = 128, 768, 12, 3072


def build(batch: int) -> onnx.ModelProto:
    shape = (batch, LENGTH, WIDTH)
    net = Network("transformer", SEED, shape)
    y = net.node("Add", ["input", attention(net, "input", "attention", shape, HEADS)], "attention.add")
    y = net.layer_norm(y, "attention.norm", WIDTH)
    z = net.node("Add", [y, feed_forward(net, y, "feed_forward", WIDTH, HIDDEN)], "feed_forward.add")
    return net.model(net.layer_norm(z, "feed_forward.norm", WIDTH), shape)


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Token vectors of mean 0 and variance 1, as a layer norm leaves them."""
    return {"input": gaussian(stream(seed, "tokens"), (count, LENGTH, WIDTH))}
