"""Self-attention and the feed-forward part of a transformer block, as PyTorch's exporter writes them."""

from __future__ import annotations

from vdla.zoo.network import Network


def attention(net: Network, x: str, name: str, shape: tuple[int, int, int], heads: int) -> str:
    """softmax(q kᵀ / √d) v over `heads` heads of [batch, length, width], q, k and v by one dense layer each; then another."""
    batch, length, width = shape
    depth = width // heads
    parts = {}
    for part, order in (("query", (0, 2, 1, 3)), ("key", (0, 2, 3, 1)), ("value", (0, 2, 1, 3))):
        y = net.linear(x, f"{name}.{part}", (width, width))
        y = net.reshape(y, f"{name}.{part}.heads", batch, length, heads, depth)
        parts[part] = net.node("Transpose", [y], f"{name}.{part}.transpose", perm=list(order))
    scores = net.node("MatMul", [parts["query"], parts["key"]], f"{name}.scores")
    scores = net.node("Div", [scores, net.number(f"{name}.root", depth**0.5)], f"{name}.scaled")
    weights = net.node("Softmax", [scores], f"{name}.softmax", axis=-1)
    y = net.node("MatMul", [weights, parts["value"]], f"{name}.mixed")
    y = net.node("Transpose", [y], f"{name}.back", perm=[0, 2, 1, 3])
    return net.linear(net.reshape(y, f"{name}.joined", batch, length, width), f"{name}.output", (width, width))


def feed_forward(net: Network, x: str, name: str, width: int, hidden: int) -> str:
    """Dense, GELU (by Erf, as exporters write it below opset 20), dense."""
    x = net.linear(x, f"{name}.wide", (width, hidden))
    erf = net.node("Erf", [net.node("Div", [x, net.number(f"{name}.root_two", 2**0.5)], f"{name}.scaled")], f"{name}.erf")
    gate = net.node("Add", [erf, net.number(f"{name}.one", 1)], f"{name}.shifted")
    half = net.node("Mul", [net.node("Mul", [x, gate], f"{name}.gated"), net.number(f"{name}.half", 0.5)], f"{name}.gelu")
    return net.linear(half, f"{name}.narrow", (hidden, width))
