"""Elementwise operators of every kind between layers of the accelerator: the host computes them, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from harness import check_sanitizer, check_saved, checked_run
from random_models import GENTLE, Network, model_of

DESIGN = "tiny"


@pytest.mark.parametrize("op", GENTLE)
def test_between_two_layers(op: str) -> None:
    net = Network(np.random.default_rng(3))
    x = net.conv(net.input(1, 3, 9, 9), 8, (3, 3))
    net.outputs.append(net.conv(net.same(op, x), 5))
    run = checked_run(model_of(net, op), DESIGN, op)
    assert [layer.target for layer in run.report.layers if layer.op == "qconv2d"] == ["vdla", "vdla"]


def greater_of(net: Network, x: str, y: str) -> str:
    """The greater of two, the long way round."""
    above, below = net.same("Greater", x, y), net.same("LessOrEqual", x, y)
    return net.same("Where", net.same("And", above, net.same("Not", below)), x, y)


def halves(net: Network, x: str) -> tuple[str, str]:
    n, c, h, w = net.shapes[x]
    names = [f"{x}.first", f"{x}.second"]
    net.nodes.append(onnx.helper.make_node("Split", [x], names, name="split", axis=1))
    net.shapes.update(dict.fromkeys(names, (n, c // 2, h, w)))
    return names[0], names[1]


def test_a_tensor_in_halves_is_two_copies(tmp_path: Path) -> None:
    """Both halves go on to layers, and one is an output."""
    net = Network(np.random.default_rng(4))
    first, second = halves(net, net.conv(net.input(2, 3, 7, 9), 12, (3, 3)))
    net.outputs += [net.same("Add", net.conv(first, 6), net.conv(second, 6)), second]
    run = checked_run(model_of(net, "halves"), DESIGN, "halves")
    check_sanitizer(run, "halves")
    check_saved(run, tmp_path, "halves")
    assert {layer.target for layer in run.report.layers if layer.op == "split"} == {"vdla"}  # one copy for each half


def test_truth_between_layers(tmp_path: Path) -> None:
    """Tensors of bool come and go on the host."""
    net = Network(np.random.default_rng(5))
    image = net.input(1, 3, 8, 8)
    x, y = net.conv(image, 6), net.conv(image, 6, (3, 3))
    chosen = greater_of(net, x, y)
    net.outputs.append(net.conv(chosen, 4))
    run = checked_run(model_of(net, "truth"), DESIGN, "truth")
    check_saved(run, tmp_path, "truth")
