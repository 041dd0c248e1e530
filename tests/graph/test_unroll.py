"""Recurrent layers step by step, against the reference kernels of whole layers."""

from __future__ import annotations

import numpy as np
import pytest
from small_graphs import Net, check_pass, macs, operators

from vdla.compiler.graph import unroll as module
from vdla.compiler.graph.pipeline import for_programs
from vdla.compiler.graph.unroll import GATES, unroll

FUNCTIONS = [
    ("sigmoid", 0.0, 0.0), ("tanh", 0.0, 0.0), ("relu", 0.0, 0.0), ("softsign", 0.0, 0.0), ("softplus", 0.0, 0.0),
    ("affine", 0.5, 0.1), ("scaledtanh", 0.8, 0.7), ("hardsigmoid", 0.3, 0.4), ("leakyrelu", 0.1, 0.0),
    ("thresholdedrelu", 0.2, 0.0), ("elu", 0.9, 0.0),
]  # fmt: skip


def layer(
    net: Net,
    op: str,
    rows: str,
    batch: int,
    hidden: int,
    *,
    lengths: str = "",
    extra: str = "",
    levels: bool = False,
    given: bool = False,
    **a: object,
) -> tuple[str, ...]:
    """A recurrent layer over rows [T·N, I]: y and the last states."""
    width = GATES[op] * hidden
    steps, depth = net.shape(rows)[0] // batch, net.shape(rows)[1]
    gates = net.op("dense", rows, net.normal(width, depth, fan_in=depth), net.normal(width))
    x = net.op("reshape", gates, shape=(steps, batch, width))
    r = net.levels(width, hidden, axis=0) if levels else net.normal(width, hidden, fan_in=hidden)
    states = [net.input(batch, hidden) if given else net.normal(batch, hidden) for _ in range(2 if op == "lstm" else 1)]
    more = [lengths, extra] if extra else [lengths] if lengths else []
    return net.ops(op, x, r, *states, *more, **a)


@pytest.mark.parametrize("op", GATES)
def test_the_products_are_convolutions(op: str) -> None:
    net = Net(1)
    layer(net, op, net.op("reshape", net.input(5, 1, 6), shape=(5, 6)), 1, 7, given=True)
    graph = net.graph()
    after = check_pass(for_programs, graph)
    assert not {"dense", *GATES} & set(operators(after))
    gates = GATES[op]
    assert macs(after) == {"conv2d": gates * 5 * (6 * 7 + 7 * 7)}
    layers = [node for node in after.nodes if node.op == "conv2d"]
    assert len(layers) == gates * (1 + 5)
    assert len({node.inputs[1] for node in layers}) == 2 * gates  # shared by all steps
    assert operators(after).count("transpose") == 2  # of the input and of the output
    slices = [node for node in after.nodes if node.op == "slice"]
    assert all(after.producer()[node.inputs[0]].op == "conv2d" for node in slices)


def test_stacked_layers_meet_as_images() -> None:
    net = Net(2)
    rows = net.op("reshape", net.input(4, 2, 6), shape=(8, 6))
    for _ in range(2):
        y = layer(net, "lstm", rows, 2, 5)[0]
        rows = net.op("reshape", y, shape=(8, 5))
    after = check_pass(for_programs, net.graph(rows))
    joined = [node for node in after.nodes if node.op == "concat"]
    assert all(node.op == "conv2d" for node in after.consumers()[joined[0].outputs[0]])


@pytest.mark.parametrize("trial", range(60))
def test_random(trial: int) -> None:
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    net = Net(seed)
    rng = net.random
    op = str(rng.choice(list(GATES)))
    steps, batch, depth, hidden = (int(n) for n in rng.integers(1, 5, 4))
    attributes: dict[str, object] = {"reverse": bool(rng.integers(2)), "clip": float(rng.choice([np.inf, 0.7]))}
    count = {"rnn": 1, "gru": 2, "lstm": 3}[op]
    if rng.integers(2):
        attributes["activations"] = tuple(FUNCTIONS[int(i)] for i in rng.integers(0, len(FUNCTIONS), count))
    if op == "gru":
        attributes["linear_before_reset"] = bool(rng.integers(2))
    if op == "lstm":
        attributes["input_forget"] = bool(rng.integers(2))
    extra = net.normal(hidden * (3 if op == "lstm" else 1)) if op != "rnn" and rng.integers(2) else ""
    lengths = net.constant([steps] * batch, "int32") if rng.integers(3) == 0 else ""
    rows = net.op("reshape", net.input(steps, batch, depth), shape=(steps * batch, depth))
    outputs = layer(net, op, rows, batch, hidden, lengths=lengths, extra=extra, levels=bool(rng.integers(2)), **attributes)
    chosen = [outputs[i] for i in sorted(rng.choice(len(outputs), int(rng.integers(1, len(outputs) + 1)), replace=False))]
    graph = net.graph(*chosen)
    assert op not in operators(check_pass(unroll, graph, f"seed {seed}")), f"seed {seed}"
    check_pass(for_programs, graph, f"seed {seed}")


def test_what_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net(3)
    rows = net.op("reshape", net.input(4, 2, 3), shape=(8, 3))
    layer(net, "rnn", rows, 2, 3, lengths=net.constant([4, 2], "int32"))  # sequences of different lengths
    assert "rnn" in operators(check_pass(unroll, net.graph()))
    net = Net(4)
    net.ops("rnn", net.input(3, 2, 4), net.input(4, 4), net.normal(2, 4))  # computed weights
    assert "rnn" in operators(check_pass(unroll, net.graph()))
    net = Net(5)
    layer(net, "rnn", net.op("reshape", net.input(4, 2, 3), shape=(8, 3)), 2, 3)
    assert "rnn" not in operators(unroll(net.graph()))
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    assert "rnn" in operators(unroll(net.graph()))
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST_NODES", 20)
    assert "rnn" in operators(unroll(net.graph()))


def test_states_of_zero_cost_nothing() -> None:
    net = Net(6)
    x = net.op("reshape", net.op("dense", net.input(2, 4), net.normal(12, 4)), shape=(2, 1, 12))
    zero = net.constant(np.zeros((1, 3)))
    net.ops("lstm", x, net.normal(12, 3), zero, zero)
    after = check_pass(for_programs, net.graph("t2.0"))
    assert operators(after).count("conv2d") == 4 + 4  # the first step has no product with its state
    assert operators(after).count("mul") == 2 + 3  # nor does it keep anything of its cell
