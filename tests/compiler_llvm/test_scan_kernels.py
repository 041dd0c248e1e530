"""Loops with a graph inside as machine code, against their NumPy kernel."""

from __future__ import annotations

from random_graphs import Net, check_kernels

from vdla.compiler.graph.graph import Graph, Node, TensorType

F = "float32"


def body(nodes: list[Node], inputs: dict[str, tuple[int, ...]], outputs: list[str], **inner: tuple[int, ...]) -> Graph:
    types = {name: TensorType(shape, F) for name, shape in {**inputs, **inner}.items()}
    return Graph("body", tuple(inputs), tuple(outputs), tuple(nodes), types, {})


def test_a_scan_of_scalars_and_a_state_that_moves_into_another():
    """Fibonacci's numbers, scaled: the first state becomes what the second was."""
    net = Net(1)
    steps = body([Node("n", "add", ("a", "b"), ("c",)), Node("m", "mul", ("c", "x"), ("d",))],
                 {"a": (), "b": (), "x": ()}, ["b", "c", "d"], c=(), d=())  # fmt: skip
    net.ops("scan", net.input(()), net.input(()), net.input((6,)), body=steps, count=6, states=2, sequences=1)
    check_kernels(net)


def test_a_scan_of_layers_and_reductions():
    """A matrix product by weights from outside, a softmax, a mean that has no axes left, a reshape, one output twice."""
    net = Net(2)
    nodes = [
        Node("product", "dense", ("s", "w"), ("p",)),
        Node("sum", "add", ("p", "x"), ("q",)),
        Node("soft", "softmax", ("q",), ("next",), {"axis": -1}),
        Node("mean", "reduce_mean", ("q",), ("m",), {"axes": (0, 1), "keepdims": False}),
        Node("shape", "reshape", ("next",), ("flat",), {"shape": (10,)}),
    ]
    inputs = {"s": (2, 5), "x": (2, 5), "w": (5, 5)}
    inner = {"p": (2, 5), "q": (2, 5), "next": (2, 5), "m": (), "flat": (10,)}
    steps = body(nodes, inputs, ["next", "m", "flat", "next", "w"], **inner)
    net.ops("scan", net.input((2, 5)), net.input((4, 2, 5)), net.normal(5, 5), body=steps, count=4, states=1, sequences=1)
    check_kernels(net)


def test_a_scan_without_states_and_one_without_sequences():
    net = Net(3)
    square = body([Node("square", "mul", ("x", "x"), ("y",))], {"x": (3,)}, ["y"], y=(3,))
    net.ops("scan", net.input((4, 3)), body=square, count=4, sequences=1)
    double = body([Node("double", "add", ("s", "s"), ("y",))], {"s": (3,)}, ["y", "s"], y=(3,))
    net.ops("scan", net.input((3,)), body=double, count=5, states=1)
    check_kernels(net)


def test_scans_inside_scans_and_recurrent_layers_inside_them():
    net = Net(4)
    inner = body([Node("n", "add", ("s", "x"), ("t",))], {"s": (3,), "x": (3,)}, ["t", "t"], t=(3,))
    layer = {"h": (1, 3), "g": (2, 1, 3), "r": (3, 3)}
    nodes = [
        Node("rows", "scan", ("s", "x"), ("last", "all"), {"body": inner, "count": 2, "states": 1, "sequences": 1}),
        Node("layer", "rnn", ("g", "r", "h"), ("y", "next")),
    ]
    outer = body(nodes, {"s": (3,), "h": (1, 3), "x": (2, 3), "g": (2, 1, 3), "r": (3, 3)}, ["last", "next", "all", "y"],
                 last=(3,), all=(2, 3), y=(2, 1, 3), next=(1, 3))  # fmt: skip
    assert set(layer) < set(outer.inputs)
    inputs = [net.input((3,)), net.input((1, 3)), net.input((4, 2, 3)), net.input((4, 2, 1, 3)), net.normal(3, 3)]
    net.ops("scan", *inputs, body=outer, count=4, states=2, sequences=2)
    check_kernels(net)
