"""DynamicQuantizeLSTM of the domain com.microsoft: int8 weights, and inputs and states that are quantised as they come.

Each direction is a function of standard operators around a Scan. In it levels are multiplied as float32, which is many times as
fast as int32 and exact for sums up to 2²⁴.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
from onnx import parser

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import FLOAT, Importer, OnnxNode
from vdla.compiler.frontend.recurrent import direction_names, slices, stacked
from vdla.compiler.frontend.values import Anything, Value
from vdla.errors import ModelError

NARROW = ("int8", "uint8")
WEIGHTS = {"w": 1, "r": 2, "w_scale": 8, "w_zero": 9, "r_scale": 10, "r_zero": 11}
"""Inputs by the function's name for a direction's part of them."""

FUNCTION = """
<domain: "vdla", opset_import: ["" : 18]>
direction (x, w, r, w_scale, w_zero, r_scale, r_zero, bias, first_h, first_c) => (y, last_h, last_c) {
    x_levels, x_scale, x_zero = DynamicQuantizeLinear(x)
    x_sums = MatMulInteger(x_levels, w, x_zero, w_zero)
    x_unit = Mul(x_scale, w_scale)
    x_float = Cast<to = 1>(x_sums)
    x_product = Mul(x_float, x_unit)
    of_input = Add(x_product, bias)
    r_levels = Cast<to = 1>(r)
    r_offset = Cast<to = 1>(r_zero)
    r_whole = Sub(r_levels, r_offset)
    last_h, last_c, y = Scan<num_scan_inputs = 1, scan_input_directions = [REVERSE], scan_output_directions = [REVERSE],
        body = step (float[BATCH, HIDDEN] h, float[BATCH, HIDDEN] c, float[BATCH, GATES] g)
            => (float[BATCH, HIDDEN] next_h, float[BATCH, HIDDEN] next_c, float[BATCH, HIDDEN] out) {
            h_levels, h_scale, h_zero = DynamicQuantizeLinear(h)
            h_float = Cast<to = 1>(h_levels)
            h_offset = Cast<to = 1>(h_zero)
            h_whole = Sub(h_float, h_offset)
            h_sums = MatMul(h_whole, r_whole)
            h_unit = Mul(h_scale, r_scale)
            of_state = Mul(h_sums, h_unit)
            gates = Add(g, of_state)
            i, o, f, n = Split<axis = 1, num_outputs = 4>(gates)
            input = Sigmoid(i)
            output = Sigmoid(o)
            forget = Sigmoid(f)
            new = Tanh(n)
            kept = Mul(forget, c)
            added = Mul(input, new)
            next_c = Add(kept, added)
            shown = Tanh(next_c)
            next_h = Mul(output, shown)
            out = Identity(next_h)
        }>(first_h, first_c, of_input)
}
"""


STATIC_FUNCTION = """
<domain: "vdla", opset_import: ["" : 18]>
direction (x, w, r, w_scale, w_zero, r_scale, r_zero, bias, first_h, first_c) => (y, last_h, last_c) {
    first = Constant<value_ints = [0]>()
    second = Constant<value_ints = [1]>()
    w_levels = Cast<to = 1>(w)
    w_offset = Cast<to = 1>(w_zero)
    w_whole = Sub(w_levels, w_offset)
    w_real = Mul(w_whole, w_scale)
    w_turned = Transpose<perm = [1, 0]>(w_real)
    w_one = Unsqueeze(w_turned, first)
    r_levels = Cast<to = 1>(r)
    r_offset = Cast<to = 1>(r_zero)
    r_whole = Sub(r_levels, r_offset)
    r_real = Mul(r_whole, r_scale)
    r_turned = Transpose<perm = [1, 0]>(r_real)
    r_one = Unsqueeze(r_turned, first)
    nothing = Sub(bias, bias)
    biases = Concat<axis = 0>(bias, nothing)
    b_one = Unsqueeze(biases, first)
    h_one = Unsqueeze(first_h, first)
    c_one = Unsqueeze(first_c, first)
    y_one, h_last, c_last = LSTM<hidden_size = HIDDEN, direction = "DIRECTION">(x, w_one, r_one, b_one, , h_one, c_one)
    y = Squeeze(y_one, second)
    last_h = Squeeze(h_last, first)
    last_c = Squeeze(c_last, first)
}
"""


def dynamic_quantize_lstm(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """An LSTM of 8-bit weights, its input and states quantised as they come; no lengths, peepholes or other functions."""
    return emit_lstm(builder, node, FUNCTION)


def static_lstm(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """The same LSTM in float."""
    return emit_lstm(builder, node, STATIC_FUNCTION)


def emit_lstm(builder: GraphBuilder, node: OnnxNode, text: str) -> tuple[Value, ...]:
    """text: the function of a direction."""
    refuse_extras(node)
    x, reader = node.input(0), node.reader
    assert reader is not None
    names = direction_names(node)
    parts = {name: slices(builder, node.input(index, (*NARROW, *FLOAT)), name) for name, index in WEIGHTS.items()}
    count, hidden, gates = node.input(2, NARROW).shape
    wanted = (len(names), x.shape[2], 4 * hidden)
    if node.input(1, NARROW).shape != wanted or (count, gates) != (wanted[0], wanted[2]):
        found = f"{node.input(1, NARROW).shape} and {node.input(2, NARROW).shape}"
        raise ModelError(f"W and R of {node.op}", found=found, expected=f"{wanted} and {(wanted[0], hidden, wanted[2])}")
    nothing = builder.constant(np.zeros((x.shape[1], hidden), np.float32))
    states = [slices(builder, node.input(i), "initial") if node.has(i) else [nothing] * count for i in (5, 6)]
    biases = [bias_of(builder, part) for part in slices(builder, node.input(3), "bias")] if node.has(3) else [None] * count
    results = []
    for index, name in enumerate(names):
        sizes: dict[str, int | str] = {"BATCH": x.shape[1], "HIDDEN": hidden, "GATES": gates, "REVERSE": int(name == "reverse")}
        sizes["DIRECTION"] = name
        bias = biases[index] or builder.constant(np.zeros(gates, np.float32))
        given: list[Anything] = [x, *(parts[part][index] for part in WEIGHTS), bias, *(state[index] for state in states)]
        results.append(reader.call(direction_function(text, sizes), replace(node, name=f"{node.name}/{name}", inputs=given)))
    y, h, c = zip(*results, strict=True)
    return stacked(builder, y, 1), stacked(builder, h, 0), stacked(builder, c, 0)


def refuse_extras(node: OnnxNode) -> None:
    """What an LSTM may have and onnxruntime's quantiser does not write. Raises `ModelError`."""
    for index, name in ((4, "sequence_lens"), (7, "P")):
        if node.has(index):
            raise ModelError(f"{name} of {node.op} is not supported", hint="quantise the model statically instead")
    count = len(direction_names(node))
    activations = tuple(name.lower() for name in node.strings("activations") or ("sigmoid", "tanh", "tanh") * count)
    node.require("activations", activations, ("sigmoid", "tanh", "tanh") * count)
    node.require("input_forget", node.int_("input_forget", 0), 0)
    node.int_("hidden_size", 0)


def bias_of(builder: GraphBuilder, both: Value) -> Value:
    """The biases of the input and of the state, added."""
    half = both.shape[0] // 2
    of_input, of_state = builder.emit_all("split", [both], suffix="bias", axis=0, sizes=(half, half))
    return builder.emit("add", [of_input, of_state], suffix="bias")


def direction_function(text: str, sizes: dict[str, int | str]) -> onnx.FunctionProto:
    for name, size in sizes.items():
        text = text.replace(name, str(size))
    return parser.parse_function(text)


IMPORTERS: dict[str, Importer] = {"DynamicQuantizeLSTM": dynamic_quantize_lstm}
