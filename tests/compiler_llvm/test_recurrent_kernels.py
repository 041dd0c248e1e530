"""Recurrent operators as machine code, against their NumPy kernels: sums of fewer than 100 terms in another order."""

from __future__ import annotations

from typing import Any

import pytest
from random_graphs import Net, check_kernels

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.cells import ACTIVATIONS
from vdla.compiler.ops.cpu import scheduled_function
from vdla.compiler.passes.lower import lower

GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def recurrent(
    op: str, steps: int, batch: int, hidden: int, given: tuple[str, ...] = (), dtype: str = "float32", **attributes: Any
) -> Net:
    """given: of lengths, bias and peepholes."""
    net = Net(hidden)
    gates, scale = GATES[op], hidden**-0.5
    states = [net.input((batch, hidden), dtype) for _ in range(2 if op == "lstm" else 1)]
    lengths = net.constant(net.random.integers(0, steps + 1, batch), "int32") if "lengths" in given else ""
    width = {"bias": hidden, "peepholes": 3 * hidden}
    extra = [net.constant(net.random.standard_normal(n), dtype) if name in given else "" for name, n in width.items()]
    last = {"rnn": [], "gru": extra[:1], "lstm": extra[1:]}[op]
    weights = net.constant(net.random.standard_normal((gates * hidden, hidden)) * scale, dtype)
    inputs = [net.input((steps, batch, gates * hidden), dtype), weights, *states, lengths, *last]
    while not inputs[-1]:
        inputs.pop()
    net.ops(op, *inputs, **attributes)
    return net


CASES = [
    ("rnn", 7, 1, 12, (), {}),
    ("rnn", 4, 3, 40, ("lengths",), {"reverse": True}),
    ("gru", 5, 2, 33, (), {}),
    ("gru", 5, 4, 48, ("lengths", "bias"), {"linear_before_reset": True}),
    ("gru", 6, 1, 64, ("bias",), {"reverse": True, "clip": 0.7}),
    ("lstm", 9, 1, 64, (), {}),
    ("lstm", 5, 6, 20, ("lengths", "peepholes"), {"reverse": True}),
    ("lstm", 3, 2, 31, ("peepholes",), {"input_forget": True, "clip": 1.5}),
    ("lstm", 1, 1, 1, (), {}),
]


@pytest.mark.parametrize(("op", "steps", "batch", "hidden", "given", "attributes"), CASES)
def test_recurrent_layers(op, steps, batch, hidden, given, attributes):
    check_kernels(recurrent(op, steps, batch, hidden, given, **attributes))


@pytest.mark.parametrize("op", GATES)
def test_every_pass_leaves_a_legal_program(op):
    gates, hidden, state = GATES[op], 24, TensorType((2, 24), "float32")
    types = [TensorType((3, 2, gates * hidden), "float32"), TensorType((gates * hidden, hidden), "float32"), state]
    func, _ = scheduled_function(op, (*types, *([state] if op == "lstm" else []), TensorType((2,), "int32")), {"reverse": True})
    lower(func, every_pass=True)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    """Each of them as the only one of an rnn, whose state they keep within bounds here."""
    check_kernels(recurrent("rnn", 3, 2, 8, activations=((name, 0.3, 0.4),)))


def test_in_float64():
    check_kernels(recurrent("lstm", 4, 2, 12, ("peepholes",), "float64"), 1e-12)
