"""Constants behind a dequantize, where they are no weights."""

from __future__ import annotations

from small_graphs import Net, check_pass, operators

from vdla.compiler.graph.known_operands import known_operands
from vdla.compiler.graph.unary_regions import unary_regions


def levels(net: Net, *shape: int) -> str:
    return net.op("dequantize", net.constant(net.random.integers(1, 99, shape), "int8"), scale=0.013, zero_point=-7)


def test_operands_and_no_weights() -> None:
    net = Net()
    x = net.op("conv2d", net.input(2, 3, 4, 4), levels(net, 5, 3, 1, 1))
    x = net.op("mul", net.op("add", x, levels(net, 5, 1, 1)), levels(net))
    net.op("batch_norm", x, *(levels(net, 5) for _ in range(4)))
    after = check_pass(known_operands, net.graph())
    assert operators(after) == ["dequantize", "conv2d", "add", "mul", "mul", "add"]


def test_rows() -> None:
    net = Net()
    net.op("layer_norm", net.input(2, 3, 8), levels(net, 8), levels(net, 8), axis=2)
    assert operators(check_pass(known_operands, net.graph())) == ["layer_norm"]


def test_a_function_of_levels() -> None:
    net = Net()
    x = net.op("dequantize", net.input(1, 4, dtype="int8"), scale=0.1)
    inner = net.op("dequantize", net.op("quantize", net.op("add", net.op("erf", x), levels(net)), scale=0.02), scale=0.02)
    net.op("quantize", net.op("mul", x, inner), scale=0.1)
    (region,) = unary_regions(check_pass(known_operands, net.graph()), "int8")
    assert (region.input, region.output) == ("x0", net.graph().outputs[0])
