"""Activation functions between convolutions: by table on the accelerator, with nothing of the host's in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import check_sanitizer, check_saved, checked_run
from random_models import Network, model_of

from vdla.design_file import load_design
from vdla.flows.run import Run

Activation = Callable[[Network, str], str]


def silu(net: Network, x: str) -> str:
    return net.same("Mul", x, net.same("Sigmoid", x))


def hard_swish(net: Network, x: str) -> str:
    return net.same("Mul", x, net.same("HardSigmoid", x))


ACTIVATIONS: dict[str, Activation] = {
    "sigmoid": lambda net, x: net.same("Sigmoid", x),
    "tanh": lambda net, x: net.same("Tanh", x),
    "silu": silu,
    "hard_swish": hard_swish,
    "leaky_relu": lambda net, x: net.same("LeakyRelu", x),
    "elu": lambda net, x: net.same("Elu", x),
}


def run_between_convolutions(activation: Activation, name: str, design: str) -> Run:
    """On a machine whose host has no model, or so small a network would be faster there."""
    net = Network(np.random.default_rng(3))
    x = net.input(1, 8, 6, 5)
    for out in (12, 8):
        x = activation(net, net.conv(x, out, (3, 3)))
    net.outputs = [net.conv(x, 5, (1, 1))]
    return checked_run(model_of(net, name), load_design(design).varied(board=None), name)


def assert_nothing_of_the_host(run: Run, where: str) -> None:
    targets = [layer.target for layer in run.report.layers]
    first, last = targets.index("vdla"), len(targets) - 1 - targets[::-1].index("vdla")
    assert set(targets[first : last + 1]) == {"vdla"}, where


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_between_convolutions(name: str, tmp_path: Path) -> None:
    run = run_between_convolutions(ACTIVATIONS[name], name, "tiny")
    assert_nothing_of_the_host(run, name)
    check_sanitizer(run, name)
    check_saved(run, tmp_path, name)


@pytest.mark.parametrize("design", ["pynq_z1", "kv260", "datacenter"])
def test_on_other_machines(design: str) -> None:
    """16 lanes, 32, and more lanes than a table has entries."""
    run = run_between_convolutions(silu, design, design)
    assert_nothing_of_the_host(run, design)
