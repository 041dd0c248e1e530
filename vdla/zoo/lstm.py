"""The language model of Zaremba et al., arXiv 1409.2329 ("medium"): two LSTM layers of 650 units, 35 words out of 10,000."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from vdla.zoo.network import Network
from vdla.zoo.random_numbers import gaussian, stream, uniform

SEED = 650
WORDS, UNITS, LAYERS, STEPS = 10_000, 650, 2, 35


def build(batch: int) -> onnx.ModelProto:
    """Words int64[batch, 35] → a score for every next word, float32[batch, 35, 10000]; the states begin at zero."""
    net = Network("lstm", SEED, (batch, STEPS), dtype=TensorProto.INT64)
    table = net.weight("embedding.weight", gaussian(stream(SEED, "embedding"), (WORDS, UNITS)))
    x = net.node("Gather", [table, "input"], "embedding", axis=0)
    x = net.node("Transpose", [x], "steps_first", perm=[1, 0, 2])
    for number in range(LAYERS):
        x = layer(net, x, f"layer{number}")
    x = net.node("Transpose", [x], "batch_first", perm=[1, 0, 2])
    return net.model(net.linear(x, "decoder", (UNITS, WORDS), gain=3), (batch, STEPS, WORDS))


def layer(net: Network, x: str, name: str) -> str:
    """[steps, batch, units] → the same, by weights of variance 1/units, so that neither signal nor state dies."""
    bound = (3 / UNITS) ** 0.5
    shapes = {"input.weight": (1, 4 * UNITS, UNITS), "recurrent.weight": (1, 4 * UNITS, UNITS), "bias": (1, 8 * UNITS)}
    weights = [
        net.weight(f"{name}.{what}", uniform(stream(SEED, f"{name}.{what}"), -bound, bound, int(np.prod(shape))).reshape(shape))
        for what, shape in shapes.items()
    ]
    states = net.node("LSTM", [x, *weights], name, hidden_size=UNITS)
    return net.node("Squeeze", [states, net.integers(f"{name}.direction", 1)], f"{name}.squeeze")


def sample_inputs(count: int, seed: int) -> dict[str, np.ndarray]:
    """Words, the first of the vocabulary more often than the last, as in text."""
    chance = uniform(stream(seed, "words"), 0, 1, count * STEPS)
    return {"input": (chance**3 * WORDS).astype(np.int64).reshape(count, STEPS)}
