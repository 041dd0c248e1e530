"""Rearrangements that cut channels into parts: the same values, in operators that the accelerator has kernels for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from vdla.compiler.graph.graph import Graph, Node, TensorType
from vdla.compiler.graph.reference import run_reference
from vdla.compiler.graph.verify import verify_graph
from vdla.compiler.operators.registry import infer_type
from vdla.compiler.ops.vdla.layers import refusal
from vdla.compiler.ops.vdla.packing import pack_activation, unpack_activation
from vdla.compiler.ops.vdla.rearranging import rearrange_in_tiles
from vdla.compiler.program import build_program
from vdla.compiler.quantise.scales import scale_words
from vdla.compiler.targets.vdla_layout import quantised_name
from vdla.design import Design
from vdla.design_file import load_design
from vdla.sim.device import Simulator

TINY = load_design("tiny")
Shape = tuple[int, ...]
Steps = Sequence[tuple[str, dict[str, object]]]


def between_layers(shape: Shape, steps: Steps) -> Graph:
    """x → requantize → the steps → requantize → y."""
    tensors = {"x": TensorType(shape, "int8")}
    constants = {"bias": np.zeros(1, np.int32), "scale": scale_words(1.0)}
    tensors |= {name: TensorType(value.shape, str(value.dtype)) for name, value in constants.items()}
    nodes: list[Node] = []
    for k, (op, attributes) in enumerate([("requantize", {}), *steps, ("requantize", {})]):
        parameters = ("bias", "scale") if op == "requantize" else ()
        inputs, output = (nodes[-1].outputs[0] if nodes else "x", *parameters), f"t{k}"
        tensors[output] = infer_type(op, [tensors[name] for name in inputs], attributes)
        nodes.append(Node(f"n{k}", op, inputs, (output,), attributes))
    return Graph("chain", ("x",), (nodes[-1].outputs[0],), tuple(nodes), tensors, constants)


def chain(before: Shape, order: Shape, after: Shape) -> Steps:
    return [("reshape", {"shape": before}), ("transpose", {"permutation": order}), ("reshape", {"shape": after})]


def shuffle(n: int, groups: int, each: int, h: int, w: int) -> tuple[Shape, Steps]:
    return (n, groups * each, h, w), chain((n, groups, each, h, w), (0, 2, 1, 3, 4), (n, groups * each, h, w))


def to_space(n: int, c: int, h: int, w: int, b: int, slow: bool) -> tuple[Shape, Steps]:
    split, order = ((b, b, c), (0, 3, 4, 1, 5, 2)) if slow else ((c, b, b), (0, 1, 4, 2, 5, 3))
    return (n, c * b * b, h, w), chain((n, *split, h, w), order, (n, c, h * b, w * b))


def to_depth(n: int, c: int, h: int, w: int, b: int, slow: bool) -> tuple[Shape, Steps]:
    order = (0, 3, 5, 1, 2, 4) if slow else (0, 1, 3, 5, 2, 4)
    return (n, c, h * b, w * b), chain((n, c, h, b, w, b), order, (n, c * b * b, h, w))


CASES = {
    "shuffle": (shuffle(1, 3, 4, 3, 5), ["gather"]),
    "shuffle of parts of blocks": (shuffle(2, 2, 5, 3, 2), ["gather"]),
    "pixels to space": (to_space(1, 4, 3, 2, 2, True), ["rearrange"]),
    "few pixels to space": (to_space(2, 3, 3, 2, 2, True), ["gather", "rearrange", "slice"]),
    "channels to space": (to_space(1, 1, 3, 4, 3, False), ["gather", "rearrange", "slice"]),
    "whole channels to space": (to_space(1, 8, 2, 3, 2, False), ["gather", "rearrange"]),
    "depth": (to_depth(1, 4, 2, 3, 2, True), ["rearrange"]),
    "channels to depth": (to_depth(2, 4, 2, 3, 2, False), ["rearrange", "gather"]),
    "few channels to depth": (to_depth(1, 3, 2, 2, 2, True), ["gather", "rearrange", "gather"]),
    "flatten": (((2, 5, 3, 2), [("reshape", {"shape": (2, 30)})]), ["gather", "rearrange", "gather"]),
    "depth_to_space": (((1, 12, 3, 2), [("depth_to_space", {"blocks": (2, 2)})]), ["gather", "rearrange", "slice"]),
}


def accepted(design: Design):
    return lambda node, around: not refusal(node, around, design)


@pytest.mark.parametrize("name", CASES)
def test_the_same_values_and_all_on_the_accelerator(name: str) -> None:
    (shape, steps), expected = CASES[name]
    graph = between_layers(shape, steps)
    rewritten = rearrange_in_tiles(graph, TINY, accepted(TINY))
    verify_graph(rewritten, "rearrange_in_tiles")
    assert [node.op for node in rewritten.nodes] == ["requantize", *expected, "reshape", "requantize"]
    assert not [refusal(node, rewritten, TINY) for node in rewritten.nodes if refusal(node, rewritten, TINY)]
    values = {"x": np.random.default_rng(0).integers(-128, 128, shape, np.int8)}
    wanted = run_reference(graph, values)[graph.outputs[0]]
    np.testing.assert_array_equal(run_reference(rewritten, values)[graph.outputs[0]], wanted)
    program = build_program(rewritten.nodes, rewritten, TINY, True, None)
    found = Simulator(TINY).run(program, {program.inputs[0].name: pack_activation(values["x"], TINY)}).outputs
    (slot,) = program.outputs
    assert quantised_name(slot.name) == graph.outputs[0]
    np.testing.assert_array_equal(unpack_activation(found[slot.name], wanted.shape), wanted)


def test_what_stays_as_it_is() -> None:
    """Images that move, what no layer follows, and what would take too many weights."""
    images = between_layers((2, 4, 3, 3), chain((2, 4, 3, 3), (1, 0, 2, 3), (4, 2, 3, 3)))
    many = between_layers(*shuffle(1, 2, 1024, 1, 1))
    last = between_layers(*shuffle(1, 3, 4, 3, 5))
    last = Graph("last", ("x",), ("t3",), last.nodes[:-1], last.tensors, last.constants)
    for graph in (images, many, last):
        assert rearrange_in_tiles(graph, TINY, accepted(TINY)) is graph
    (why,) = {refusal(node, many, TINY) for node in many.nodes if node.op == "transpose"}
    assert "2 or 4 dimensions" in why
