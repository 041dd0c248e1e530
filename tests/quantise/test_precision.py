"""Layers left in float until an error budget is met."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graph_builder import GraphBuilder

from vdla.compiler.graph.graph import Graph
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.quantise.noise import sqnr_db
from vdla.compiler.quantise.quantise import QuantiseOptions, quantise_with_report
from vdla.errors import RunError


def one_bad_tensor() -> tuple[GraphBuilder, Graph]:
    """Between the second and the third of five convolutions a channel on which much depends is far smaller than the rest."""
    b = GraphBuilder(0)
    y = b.input("x", (1, 4, 8, 8))
    for number in range(4):
        y = b.op("tanh", b.conv2d(y, 4, 3, bias=False))
        w = b.constants[b.nodes[-2].inputs[1]]
        if number == 1:
            w[1] *= 0.004
        if number == 2:
            w[:, 1] *= 250
    return b, b.graph(b.conv2d(y, 2, 1))


def test_the_costliest_stays_float() -> None:
    b, graph = one_bad_tensor()
    samples = b.sample(4)
    plain = quantise_with_report(graph, samples)
    assert quantise_with_report(graph, samples, QuantiseOptions(budget_db=plain.sqnr_db - 1)).options == replace(
        plain.options, budget_db=plain.sqnr_db - 1
    )
    found = quantise_with_report(graph, samples, QuantiseOptions(budget_db=plain.sqnr_db + 6))
    assert found.sqnr_db >= plain.sqnr_db + 6
    assert found.options.in_float & {"conv2d1", "conv2d2"}
    assert "conv2d0" not in found.options.in_float
    assert all("error budget" in found.reasons[name] for name in found.options.in_float)
    (name,) = graph.outputs
    pairs = [(run_reference(graph, s)[name], run_reference(found.graph, s)[name]) for s in samples]
    measured = sqnr_db(*(np.concatenate([pair[side] for pair in pairs]) for side in (0, 1)))
    assert measured == pytest.approx(found.sqnr_db, abs=1e-3)


def test_a_budget_that_cannot_be_met() -> None:
    b, graph = one_bad_tensor()
    with pytest.raises(RunError, match=r"budget cannot be met.* dB with all but the cheapest.*300\.0 dB"):
        quantise_with_report(graph, b.sample(4), QuantiseOptions(budget_db=300.0))
