"""Recurrent layers step by step, in operators that an accelerator knows.

    before   y, h, c = lstm(dense(rows), R, h, c)
    after    for each gate g:  x_g = conv2d(rows, w_g)             all steps at once
             for each step:    i = sigmoid(conv2d(h, R_i) + x_i[t]), f, o and ĉ likewise;  c = f·c + i·ĉ;  h = o·tanh(c)
             y = concat(h of each step)

States are images [1, H, N, 1], a position for each sequence. Every gate has weights of its own, so that no channels are taken
apart whatever the accelerator's blocks; each is one constant, which all steps share. Sequences of different lengths and layers
of too many steps stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, prod

import numpy as np

from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.images import image_of_rows
from vdla.compiler.graph.moves import composed, reshaping
from vdla.compiler.graph.rewrite import Change, Context, named_apart, rewrite
from vdla.compiler.graph.sink_moves import moved
from vdla.compiler.graph.weights import Weights, read_weights, write_weights

MOST_STEPS = 512
MOST_NODES = 20_000
"""In the whole graph, after it."""
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
NODES = {"rnn": 6, "gru": 20, "lstm": 25}
"""Of one step, at most."""


def unroll(graph: Graph) -> Graph:
    """Rewrite rnn, gru and lstm of a bounded number of steps and constant weights."""
    recurrent = [node for node in graph.nodes if node.op in GATES]
    if len(graph.nodes) + sum(NODES[node.op] * graph.tensors[node.inputs[0]].shape[0] for node in recurrent) > MOST_NODES:
        return graph
    return named_apart(rewrite(graph, dict.fromkeys(GATES, [step_by_step])))


def step_by_step(context: Context, node: Node) -> Change:
    """See above."""
    steps = context.shape(node.inputs[0])[0]
    recurrence = read_weights(context, node.inputs[1])
    states = 2 if node.op == "lstm" else 1
    lengths, extra = (*node.inputs, "", "")[2 + states : 4 + states]
    per_unit = context.constant(extra) if extra else None
    whole = context.constant(lengths) if lengths else None
    if recurrence is None or steps > MOST_STEPS or (extra and per_unit is None) or not context.type_of(node.inputs[0]).elements:
        return None
    if (lengths and (whole is None or (whole != steps).any())) or (recurrence.per_channel and recurrence.axis != 0):
        return None
    if context.type_of(node.inputs[0]).dtype != "float32":
        return None
    return Unrolled(context, node, recurrence, per_unit).nodes_of(node.inputs[2 : 2 + states])


@dataclass
class Unrolled:
    """The nodes in place of one recurrent node. recurrence: [gates·H, H]; per_unit: an LSTM's peepholes, a GRU's bias."""

    context: Context
    node: Node
    recurrence: Weights
    per_unit: np.ndarray | None
    made: list[Node] = field(default_factory=list)

    @property
    def batch(self) -> int:
        return self.context.shape(self.node.inputs[0])[1]

    @property
    def hidden(self) -> int:
        return self.context.shape(self.node.inputs[1])[1]

    def nodes_of(self, initial: tuple[str, ...]) -> list[Node]:
        context, node = self.context, self.node
        steps = context.shape(node.inputs[0])[0]
        image = image_of_rows((self.batch, self.hidden))
        assert image is not None
        shares = [self.share(gate) for gate in range(GATES[node.op])]
        kernels = [self.kernel(gate) for gate in range(GATES[node.op])]
        states = tuple(self.taken(moved(context, name, image, node)) for name in initial)
        reverse = context.attributes(node)["reverse"]
        outputs = [""] * steps
        for t in reversed(range(steps)) if reverse else range(steps):
            states = STEP[node.op](Step(self, t, shares, kernels), states)
            outputs[t] = states[0]
        self.finish(outputs, states)
        return self.made

    def share(self, gate: int) -> str:
        """What the layer's input has in a gate, [1, H, T·N, 1]: by the gate's own rows of the weights that computed all."""
        context, x = self.context, self.node.inputs[0]
        own = slice(gate * self.hidden, (gate + 1) * self.hidden)
        lifted = context.source_of(x, "reshape")
        dense = context.source_of(lifted.inputs[0] if lifted else x, "dense")
        steps, batch, width = context.shape(x)
        weights = read_weights(context, dense.inputs[1]) if dense is not None else None
        bias = context.constant(dense.inputs[2]) if dense is not None and len(dense.inputs) > 2 else np.zeros(width, np.float32)
        if dense is None or weights is None or bias is None or (weights.per_channel and weights.axis):
            part = {"starts": (0, 0, own.start), "steps": (1, 1, 1), "sizes": (steps, batch, self.hidden)}
            return self.positions(self.emit("slice", [x], f"gate{gate}.part", **part))
        matrix = weights.rearranged(weights.values[own][:, :, None, None], 0, lambda scales: scales[own])
        w = self.taken(write_weights(context, matrix, f"{dense.inputs[1]}.{gate}", dense.source))
        b = context.add_constant(f"{dense.name}.bias.{gate}", bias[own])
        return self.emit("conv2d", [self.positions(dense.inputs[0]), w, b], f"gate{gate}.input")

    def positions(self, x: str) -> str:
        """x[…, I] as an image of all its rows, [1, I, rows, 1]."""
        *rows, depth = self.context.shape(x)
        flat, image = (prod(rows), depth), image_of_rows((prod(rows), depth))
        assert image is not None
        whole = composed(reshaping((*rows, depth), flat), image)
        assert whole is not None
        return self.taken(moved(self.context, x, whole, self.node))

    def kernel(self, gate: int) -> str:
        """The recurrent weights of a gate, [H, H, 1, 1]."""
        rows = slice(gate * self.hidden, (gate + 1) * self.hidden)
        own = self.recurrence.values[rows][:, :, None, None]
        weights = self.recurrence.rearranged(own, 0, lambda scales: scales[rows])
        return self.taken(write_weights(self.context, weights, f"{self.node.inputs[1]}.{gate}", self.node.source))

    def taken(self, tensor_and_nodes: tuple[str, list[Node]]) -> str:
        tensor, nodes = tensor_and_nodes
        self.made += nodes
        return tensor

    def emit(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        output = self.context.fresh(f"{self.node.name}.{name}")
        self.made.append(self.context.make(op, inputs, output, attributes, name=output, source=self.node.source))
        return output

    def constant(self, name: str, value: np.ndarray | float) -> str:
        """One for all steps."""
        known = f"{self.node.name}.{name}"
        return known if known in self.context.constants else self.context.add_constant(known, np.asarray(value, np.float32))

    def units(self, name: str, part: int) -> str:
        """One of the parameters for each unit, [1, H, 1, 1]."""
        assert self.per_unit is not None
        own = self.per_unit[part * self.hidden : (part + 1) * self.hidden]
        return self.constant(f"{name}{part}", own.reshape(1, -1, 1, 1))

    def finish(self, outputs: list[str], states: tuple[str, ...]) -> None:
        """y[T, N, H] and the last states [N, H]."""
        context, (y, *last) = self.context, self.node.outputs
        steps = len(outputs)
        joined = self.emit("concat", outputs, "steps", axis=2) if steps > 1 else outputs[0]
        rows = image_of_rows((steps * self.batch, self.hidden))
        row = image_of_rows((self.batch, self.hidden))
        assert rows is not None and row is not None
        flat = self.taken(moved(context, joined, rows.inverse, self.node))
        shapes = [(y, flat, context.shape(y))]
        for name, state in zip(last, states, strict=True):
            shapes.append((name, self.taken(moved(context, state, row.inverse, self.node)), context.shape(name)))
        for name, tensor, shape in shapes:
            self.made.append(
                context.make("reshape", [tensor], name, {"shape": shape}, name=f"{name}.reshape", source=self.node.source)
            )


@dataclass(frozen=True)
class Step:
    """One step. shares, kernels: for each gate."""

    of: Unrolled
    t: int
    shares: list[str]
    kernels: list[str]

    def emit(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        return self.of.emit(op, list(inputs), f"{self.t}.{name}", **attributes)

    def share(self, gate: int) -> str:
        """What the input has in a gate at this step, [1, H, N, 1]."""
        batch, hidden = self.of.batch, self.of.hidden
        part = {"starts": (0, 0, self.t * batch, 0), "steps": (1, 1, 1, 1), "sizes": (1, hidden, batch, 1)}
        return self.emit("slice", f"gate{gate}.input", self.shares[gate], **part)

    def product(self, gate: int, state: str, bias: str = "") -> str:
        return self.emit(
            "conv2d", f"gate{gate}.product", *([state, self.kernels[gate], bias] if bias else [state, self.kernels[gate]])
        )

    def gate(self, gate: int, state: str) -> str:
        """The input of a gate's function."""
        return self.emit("add", f"gate{gate}.sum", self.product(gate, state), self.share(gate))

    def applied(self, which: int, x: str, name: str) -> str:
        """One of the cell's functions."""
        a = self.of.context.attributes(self.of.node)
        function, alpha, beta = a["activations"][which]
        if a["clip"] != inf:
            x = self.emit("clip", f"{name}.clip", x, low=-a["clip"], high=a["clip"])
        number = lambda of, value: self.of.constant(f"{of}{which}", value)  # noqa: E731
        match function:
            case "affine":
                return self.emit(
                    "add", name, self.emit("mul", f"{name}.scaled", x, number("alpha", alpha)), number("beta", beta)
                )
            case "scaledtanh":
                inner = self.emit("tanh", f"{name}.tanh", self.emit("mul", f"{name}.scaled", x, number("beta", beta)))
                return self.emit("mul", name, inner, number("alpha", alpha))
            case "hardsigmoid":
                return self.emit("hard_sigmoid", name, x, alpha=alpha, beta=beta)
            case "leakyrelu" | "thresholdedrelu" | "elu":
                op = {"leakyrelu": "leaky_relu", "thresholdedrelu": "thresholded_relu"}.get(function, function)
                return self.emit(op, name, x, alpha=alpha)
            case _:
                return self.emit(function, name, x)


def rnn_step(step: Step, states: tuple[str, ...]) -> tuple[str, ...]:
    """h' = f(x + R·h)"""
    return (step.applied(0, step.gate(0, states[0]), "h"),)


def gru_step(step: Step, states: tuple[str, ...]) -> tuple[str, ...]:
    """z, r = f(x + R·h);  ĥ = g(x + R·(r ∘ h)) or g(x + r ∘ (R·h + b));  h' = ĥ + z ∘ (h - ĥ)"""
    (h,), of = states, step.of
    update, reset = step.applied(0, step.gate(0, h), "z"), step.applied(0, step.gate(1, h), "r")
    bias = of.constant("bias", of.per_unit) if of.per_unit is not None else ""
    if of.context.attributes(of.node)["linear_before_reset"]:
        inner = step.emit("mul", "reset", reset, step.product(2, h, bias))
    else:
        inner = step.product(2, step.emit("mul", "reset", reset, h), bias)
    new = step.applied(1, step.emit("add", "gate2.sum", inner, step.share(2)), "new")
    change = step.emit("mul", "change", update, step.emit("sub", "before", h, new))
    return (step.emit("add", "h", new, change),)


def lstm_step(step: Step, states: tuple[str, ...]) -> tuple[str, ...]:
    """i, f = f(x + R·h + P ∘ c);  ĉ = g(x + R·h);  c' = f ∘ c + i ∘ ĉ;  o = f(x + R·h + P ∘ c');  h' = o ∘ h(c')"""
    (h, c), of = states, step.of

    def gate(index: int, name: str, cell: str) -> str:
        total = step.gate(index, h)
        if of.per_unit is not None:
            seen = step.emit("mul", f"{name}.seen", cell, of.units("peephole", index))
            total = step.emit("add", f"{name}.total", total, seen)
        return step.applied(0, total, name)

    i = gate(0, "i", c)
    if of.context.attributes(of.node)["input_forget"]:
        keep = step.emit("sub", "f", of.constant("one", 1.0), i)
    else:
        keep = gate(2, "f", c)
    added = step.emit("mul", "added", i, step.applied(1, step.gate(3, h), "new"))
    after = added if is_zero(of.context, c) else step.emit("add", "c", step.emit("mul", "kept", keep, c), added)
    return step.emit("mul", "h", gate(1, "o", after), step.applied(2, after, "shown")), after


def is_zero(context: Context, tensor: str) -> bool:
    constant = context.constant(tensor)
    return constant is not None and not constant.any()


STEP = {"rnn": rnn_step, "gru": gru_step, "lstm": lstm_step}
