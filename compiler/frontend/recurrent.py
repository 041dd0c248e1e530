"""LSTM, GRU and RNN: the layer's input times its weights for all steps at once, then a recurrence for each direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.cells import ACTIVATIONS
from vdla.errors import ModelError

INDEX = ("int32", "int64")
DIRECTIONS = ("forward", "reverse", "bidirectional")
DEFAULTS = {"lstm": ("sigmoid", "tanh", "tanh"), "gru": ("sigmoid", "tanh"), "rnn": ("tanh",)}
"""The functions of a direction, in the order of the attribute."""


@dataclass(frozen=True)
class Layer:
    """What the directions of a layer share. x: (T, N, I), whatever the node's layout."""

    op: str
    gates: int
    x: Value
    weights: Value
    recurrent: Value
    biases: Value | None
    lengths: Value | None
    attributes: dict[str, Any]

    @property
    def hidden(self) -> int:
        return self.recurrent.shape[2]


def lstm(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    layer, swapped = read_layer(builder, node, "lstm", 4)
    layer.attributes["input_forget"] = node.int_("input_forget", 0) != 0
    states = [initial_state(builder, node, layer, index, swapped) for index in (5, 6)]
    extra = parts(builder, node, 7, layer, 3 * layer.hidden)
    return directions(builder, node, layer, states, extra, swapped)


def gru(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    layer, swapped = read_layer(builder, node, "gru", 3)
    layer.attributes["linear_before_reset"] = node.int_("linear_before_reset", 0) != 0
    states = [initial_state(builder, node, layer, 5, swapped)]
    return directions(builder, node, layer, states, hidden_biases(builder, layer), swapped)


def rnn(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    layer, swapped = read_layer(builder, node, "rnn", 1)
    states = [initial_state(builder, node, layer, 5, swapped)]
    return directions(builder, node, layer, states, [None] * len(direction_names(node)), swapped)


def read_layer(builder: GraphBuilder, node: OnnxNode, op: str, gates: int) -> tuple[Layer, bool]:
    """Inputs 0 to 4 and the attributes that all three have; and whether the batch comes first. Raises `ModelError`."""
    x, w, r = node.input(0), node.input(1), node.input(2)
    count = len(direction_names(node))
    swapped = node.int_("layout", 0) != 0
    if len(x.shape) != 3 or len(w.shape) != 3 or len(r.shape) != 3:
        raise ModelError(f"X, W and R of {node.op}", found=f"{x.shape}, {w.shape}, {r.shape}", expected="three dimensions each")
    hidden = node.int_("hidden_size", r.shape[2])
    expected = ((count, gates * hidden, x.shape[2]), (count, gates * hidden, hidden))
    if (w.shape, r.shape) != expected:
        raise ModelError(f"W and R of {node.op}", found=f"{w.shape} and {r.shape}", expected=f"{expected[0]} and {expected[1]}")
    if swapped:
        x = builder.emit("transpose", [x], suffix="time", permutation=(1, 0, 2))
    lengths = node.optional(4, INDEX)
    if lengths is not None:
        if lengths.shape != (x.shape[1],):
            raise ModelError(f"sequence_lens of {node.op}", found=lengths.shape, expected=str((x.shape[1],)))
        lengths = builder.converted(lengths, "int32")
    biases = node.optional(3)
    if biases is not None and biases.shape != (count, 2 * gates * hidden):
        raise ModelError(f"B of {node.op}", found=biases.shape, expected=str((count, 2 * gates * hidden)))
    return Layer(op, gates, x, w, r, biases, lengths, {"clip": node.float_("clip", inf)}), swapped


def direction_names(node: OnnxNode) -> tuple[str, ...]:
    """The directions of a node, as its weights list them."""
    direction = node.string("direction", "forward")
    if direction not in DIRECTIONS:
        raise ModelError(f"direction of {node.op}", found=direction, expected=" or ".join(DIRECTIONS))
    return ("forward", "reverse") if direction == "bidirectional" else (direction,)


def activations(node: OnnxNode, defaults: Sequence[str]) -> list[tuple[tuple[str, float, float], ...]]:
    """For each direction, its functions. alpha and beta go in order to those functions that have them.

    Raises `ModelError` on one there is not, and where a parameter is missing that has no default.
    """
    count = len(direction_names(node))
    names = node.strings("activations") or tuple(defaults) * count
    if len(names) != count * len(defaults):
        raise ModelError(f"activations of {node.op}", found=names, expected=f"{count * len(defaults)} functions")
    given = [iter(node.floats(name) or ()) for name in ("activation_alpha", "activation_beta")]
    chosen = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise ModelError(f"activations of {node.op}", found=name, expected=", ".join(ACTIVATIONS))
        parameters = [next(values, default) for values, default in zip(given, ACTIVATIONS[name.lower()].defaults, strict=False)]
        if None in parameters:
            raise ModelError(f"{name} of {node.op} needs its activation_alpha and activation_beta")
        alpha, beta = (*(float(p) for p in parameters if p is not None), 0.0, 0.0)[:2]
        chosen.append((name.lower(), alpha, beta))
    return [tuple(chosen[i : i + len(defaults)]) for i in range(0, len(chosen), len(defaults))]


def initial_state(builder: GraphBuilder, node: OnnxNode, layer: Layer, index: int, swapped: bool) -> list[Value]:
    """(N, H) for each direction; zeros where the input is absent."""
    count, shape = len(direction_names(node)), (layer.x.shape[1], layer.hidden)
    if not node.has(index):
        return [builder.constant(np.zeros(shape, layer.x.type.numpy_dtype))] * count
    given = node.input(index)
    if given.shape != ((shape[0], count, shape[1]) if swapped else (count, *shape)):
        raise ModelError(f"initial state of {node.op}", found=given.shape, expected=f"{count} of {shape}")
    if swapped:
        given = builder.emit("transpose", [given], suffix="initial", permutation=(1, 0, 2))
    return slices(builder, given, "initial")


def parts(builder: GraphBuilder, node: OnnxNode, index: int, layer: Layer, width: int) -> list[Value | None]:
    """The rows, one for each direction, of an optional input of (directions, width)."""
    count = layer.weights.shape[0]
    if not node.has(index):
        return [None] * count
    given = node.input(index)
    if given.shape != (count, width):
        raise ModelError(f"input {index} of {node.op}", found=given.shape, expected=str((count, width)))
    return list(slices(builder, given, "part"))


def slices(builder: GraphBuilder, value: Value, suffix: str) -> list[Value]:
    """A value for each index of the first axis, without that axis."""
    count, *rest = value.shape
    if count == 1:
        return [builder.emit("reshape", [value], suffix=suffix, shape=tuple(rest))]
    found = builder.emit_all("split", [value], suffix=suffix, axis=0, sizes=(1,) * count)
    return [builder.emit("reshape", [part], suffix=suffix, shape=tuple(rest)) for part in found]


def split_biases(builder: GraphBuilder, layer: Layer, direction: int) -> tuple[Value, Value] | None:
    """A direction's biases of the input and of the recurrence, (gates·H) each."""
    if layer.biases is None:
        return None
    row = slices(builder, layer.biases, "bias")[direction]
    width = layer.gates * layer.hidden
    of_input, of_state = builder.emit_all("split", [row], suffix="bias", axis=0, sizes=(width, width))
    return of_input, of_state


def hidden_biases(builder: GraphBuilder, layer: Layer) -> list[Value | None]:
    """The recurrent bias of a GRU's h for each direction, where it is not the same as one of the input."""
    count = layer.weights.shape[0]
    if not layer.attributes["linear_before_reset"] or layer.biases is None:
        return [None] * count
    found: list[Value | None] = []
    for direction in range(count):
        biases = split_biases(builder, layer, direction)
        assert biases is not None
        *_, bias = builder.emit_all("split", [biases[1]], suffix="bias", axis=0, sizes=(2 * layer.hidden, layer.hidden))
        found.append(bias)
    return found


def gate_inputs(builder: GraphBuilder, layer: Layer, direction: int, held_back: bool) -> Value:
    """X·Wᵀ for all steps with the biases that can be added to it, (T, N, gates·H). held_back: the last gate's is not."""
    weights = slices(builder, layer.weights, "weights")[direction]
    biases, bias = split_biases(builder, layer, direction), None
    if biases is not None:
        of_input, of_state = biases
        if held_back:
            sizes = ((layer.gates - 1) * layer.hidden, layer.hidden)
            kept, last = builder.emit_all("split", [of_state], suffix="bias", axis=0, sizes=sizes)
            none = builder.constant(np.zeros(last.shape, last.type.numpy_dtype))
            of_state = builder.emit("concat", [kept, none], suffix="bias", axis=0)
        bias = builder.emit("add", [of_input, of_state], suffix="bias")
    *batch, size = layer.x.shape
    rows = builder.emit("reshape", [layer.x], suffix="rows", shape=(prod(batch), size))  # many rows share each weight
    gates = builder.emit("dense", [rows, weights, bias], suffix="gates")
    return builder.emit("reshape", [gates], suffix="gates", shape=(*batch, gates.shape[1]))


def directions(
    builder: GraphBuilder,
    node: OnnxNode,
    layer: Layer,
    states: Sequence[Sequence[Value]],
    extra: Sequence[Value | None],
    swapped: bool,
) -> tuple[Value, ...]:
    """Y and the last states, of all directions, from what is given for each. states: by kind, then by direction."""
    recurrent = slices(builder, layer.recurrent, "recurrent")
    functions = activations(node, DEFAULTS[layer.op])
    results = []
    for index, name in enumerate(direction_names(node)):
        held_back = layer.op == "gru" and extra[index] is not None
        inputs = [gate_inputs(builder, layer, index, held_back), recurrent[index], *(s[index] for s in states), layer.lengths]
        inputs += [extra[index]] if layer.op != "rnn" else []
        attributes = {**layer.attributes, "reverse": name == "reverse", "activations": functions[index]}
        results.append(builder.emit_all(layer.op, inputs, **attributes))
    y, *last = zip(*results, strict=True)
    axis, state_axis = (2, 1) if swapped else (1, 0)
    if swapped:
        y = tuple(builder.emit("transpose", [part], suffix="batch", permutation=(1, 0, 2)) for part in y)
    return (stacked(builder, y, axis), *(stacked(builder, part, state_axis) for part in last))


def stacked(builder: GraphBuilder, values: Sequence[Value], axis: int) -> Value:
    """Values of one shape along a new axis."""
    shape = (*values[0].shape[:axis], 1, *values[0].shape[axis:])
    wide = [builder.emit("reshape", [value], suffix="stack", shape=shape) for value in values]
    return wide[0] if len(wide) == 1 else builder.emit("concat", wide, suffix="stack", axis=axis)


IMPORTERS = {"LSTM": lstm, "GRU": gru, "RNN": rnn}
