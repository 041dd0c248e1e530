"""Layers at the edge of what fits: wide maps, large windows, groups of any width, SRAMs of a few tiles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from harness import check_sanitizer, checked_run
from random_models import Network, model_of

from vdla.design import Design
from vdla.design_file import load_design
from vdla.flows.run import Run

TINY = load_design("tiny")
Layer = Callable[[Network, str], str]


def run_layer(name: str, layer: Layer, shape: tuple[int, ...], design: Design, hiding: bool = True) -> Run:
    """A 1×1 convolution to 8 channels, so that the accelerator's own tiles reach `layer`, and it."""
    net = Network(np.random.default_rng(0))
    net.outputs.append(layer(net, net.conv(net.input(*shape), 8)))
    run = checked_run(model_of(net, name), design, f"{name} on {design.name}", latency_hiding=hiding)
    check_sanitizer(run, name)
    return run


def targets(run: Run) -> dict[str, str]:
    """Quantised layers that did not go to the accelerator, and why."""
    return {
        layer.name: layer.why
        for layer in run.report.layers
        if layer.op.startswith("q") and layer.target == "cpu" and layer.op != "quantize"
    }


LAYERS: dict[str, tuple[Layer, tuple[int, ...]]] = {
    "wide max pool": (lambda n, x: n.pool("MaxPool", x, (3, 3), (2, 2), (1, 1, 1, 1)), (1, 8, 8, 200)),
    "large max pool": (lambda n, x: n.pool("MaxPool", x, (13, 13), (1, 1), (6, 6, 6, 6)), (1, 8, 13, 13)),
    "wide average": (lambda n, x: n.pool("AveragePool", x, (3, 3), (1, 1), (1, 1, 1, 1), count_include_pad=1), (1, 8, 8, 300)),
    "wide convolution": (lambda n, x: n.conv(x, 8, (3, 3)), (1, 8, 5, 500)),
    "tall convolution": (lambda n, x: n.conv(x, 8, (3, 3)), (1, 8, 500, 3)),
    "large window": (lambda n, x: n.conv(x, 8, (11, 11)), (1, 8, 16, 16)),
    "stride beyond the kernel": (lambda n, x: n.conv(x, 8, (2, 2), strides=(7, 5), pads=(0, 0, 0, 0)), (1, 8, 40, 33)),
    "mostly padding": (lambda n, x: n.conv(x, 8, (3, 3), pads=(20, 15, 9, 30)), (1, 8, 4, 4)),
    "many channels": (lambda n, x: n.conv(n.conv(x, 300), 200, (3, 3)), (1, 8, 4, 4)),
    "add": (lambda n, x: n.same("Add", x, n.same("Relu", x)), (1, 8, 30, 31)),
    "flatten of a large map": (lambda n, x: n.dense(n.flatten(x), 10), (1, 8, 20, 20)),
}


@pytest.mark.parametrize("hiding", [True, False], ids=["", "serial"])
@pytest.mark.parametrize("name", LAYERS)
def test_fits(name: str, hiding: bool) -> None:
    run = run_layer(name, *LAYERS[name], TINY, hiding)
    assert not targets(run)


@pytest.mark.parametrize("name", LAYERS)
def test_fits_or_says_what_does_not(name: str) -> None:
    """SRAMs of the fewest tiles a design may have: what does not fit runs on the CPU, for a reason."""
    smallest = {"uop": 64, "inp": 16, "wgt": 64, "acc": 64}
    design = TINY.varied(name="smallest", sram=smallest)
    run = run_layer(name, *LAYERS[name], design)
    assert all("fit" in why for why in targets(run).values()), targets(run)


def test_a_large_window_is_computed_in_large_tiles() -> None:
    """Its weights fill wgt and two of its windows inp: one buffer and many positions beat two buffers and one position."""
    run = run_layer("large window", *LAYERS["large window"], TINY)
    assert run.report.cycles < 2 * run.report.bound_cycles


GROUPS = [
    (1, 1, 5),
    (1, 2, 16),
    (1, 3, 20),
    (2, 2, 3),
    (3, 3, 4),
    (3, 3, 5),
    (5, 2, 3),
    (6, 6, 16),
    (12, 4, 2),
    (4, 8, 6),
    (8, 3, 4),
    (16, 16, 3),
]


@pytest.mark.parametrize("design", ["tiny", "pynq_z1"])
@pytest.mark.parametrize(("inputs", "outputs", "groups"), GROUPS)
def test_groups_of_any_width(inputs: int, outputs: int, groups: int, design: str) -> None:
    """Groups that fill blocks, divide them, or neither; with a residual where the shapes allow it."""

    def layer(net: Network, x: str) -> str:
        x = net.conv(x, inputs * groups)
        y = net.conv(x, outputs * groups, (3, 3), groups=groups)
        return net.same("Add", y, x) if inputs == outputs else y

    run = run_layer(f"{groups} groups of {inputs}→{outputs}", layer, (2, 8, 6, 7), load_design(design))
    assert not targets(run)
