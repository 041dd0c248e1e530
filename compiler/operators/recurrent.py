"""Recurrent layers in one direction: the recurrence alone, given each step's share of the gates.

    rnn     h' = f(x + R·h)
    gru     z, r = f(x + R·h);  ĥ = g(x + R·(r ∘ h)) or g(x + r ∘ (R·h + b));  h' = (1 - z) ∘ ĥ + z ∘ h
    lstm    i, f = f(x + R·h + P ∘ c);  ĉ = g(x + R·h);  c' = f ∘ c + i ∘ ĉ;  o = f(x + R·h + P ∘ c');  h' = o ∘ h(c')

x[T, N, gates·H] is the product of the layer's input and its weights W, biases added, for all steps: one matrix product before
the recurrence. Gates lie in ONNX's order: z, r, h of a GRU, i, o, f, c of an LSTM. Outputs are y[T, N, H], zero behind the end
of a sequence, and the last states [N, H].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import numpy as np

from vdla.compiler.graph.graph import TensorType
from vdla.compiler.operators.attribute import flag, real
from vdla.compiler.operators.cells import chosen, kernel_of
from vdla.compiler.operators.definition import Attributes, Types
from vdla.compiler.operators.operator import FLOAT, INT32, Infer, Input, Operator
from vdla.compiler.operators.recurrences import define_gru, define_lstm, define_rnn
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError

States = tuple[np.ndarray, ...]
Step = Callable[[np.ndarray, States], States]
"""One step's gates and the states before → the states after, the hidden one first."""


def infer_recurrent(gates: int, states: int) -> Infer:
    """x[T, N, gates·H], r[gates·H, H], `states` of [N, H] → y[T, N, H] and the states."""

    def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
        x, r, *initial = present(types)[: 2 + states]
        steps, batch, width = x.shape
        if width % gates or r.shape != (width, width // gates):
            expected = f"(T, N, {gates}·H) and ({gates}·H, H)"
            raise ModelError("gates and recurrent weights disagree", found=f"{x.shape} and {r.shape}", expected=expected)
        hidden = width // gates
        for state in initial:
            if state.shape != (batch, hidden):
                raise ModelError("an initial state of another shape", found=state.shape, expected=str((batch, hidden)))
        for index, size in ((2 + states, batch), (3 + states, per_unit(gates) * hidden)):
            given = types[index] if index < len(types) else None
            if given is not None and given.shape != (size,):
                what = "lengths of sequences" if index == 2 + states else "parameters of units"
                raise ModelError(f"{what} of another number", found=given.shape, expected=str((size,)))
        return (TensorType((steps, batch, hidden), x.dtype), *(TensorType((batch, hidden), x.dtype),) * states)

    return infer


def per_unit(gates: int) -> int:
    """Parameters besides the weights for each hidden unit: three peepholes of an LSTM, one bias of a GRU."""
    return 3 if gates == 4 else 1


def unrolled(x: np.ndarray, states: States, lengths: np.ndarray | None, reverse: bool, step: Step) -> tuple[np.ndarray, ...]:
    """All steps, in reverse from the last one on. A sequence that is over, or has not begun, keeps its states."""
    y = np.zeros((*x.shape[:2], states[0].shape[1]), x.dtype)
    for t in reversed(range(len(x))) if reverse else range(len(x)):
        live = slice(None) if lengths is None else t < lengths
        after = step(x[t], states)
        y[t, live] = after[0][live]
        kept = tuple(before.copy() for before in states)
        for old, new in zip(kept, after, strict=True):
            old[live] = new[live]
        states = kept
    return (y, *states)


def rnn(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, ...]:
    x, r, h, lengths = (*inputs, None)[:4]
    (f,) = (kernel_of(choice, a["clip"]) for choice in a["activations"])
    return unrolled(x, (h,), lengths, a["reverse"], lambda gates, states: (f(gates + states[0] @ r.T),))


def gru(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, ...]:
    x, r, h, lengths, bias = (*inputs, None, None)[:5]
    f, g = (kernel_of(choice, a["clip"]) for choice in a["activations"])
    r_z, r_r, r_h = np.split(r, 3)

    def step(gates: np.ndarray, states: States) -> States:
        x_z, x_r, x_h = np.split(gates, 3, axis=1)
        (before,) = states
        update, reset = f(x_z + before @ r_z.T), f(x_r + before @ r_r.T)
        if a["linear_before_reset"]:
            candidate = g(x_h + reset * (before @ r_h.T + (0 if bias is None else bias)))
        else:
            candidate = g(x_h + (reset * before) @ r_h.T + (0 if bias is None else bias))
        return ((1 - update) * candidate + update * before,)

    return unrolled(x, (h,), lengths, a["reverse"], step)


def lstm(inputs: Sequence[Any], a: Attributes) -> tuple[np.ndarray, ...]:
    x, r, h, c, lengths, peepholes = (*inputs, None, None)[:6]
    f, g, squash = (kernel_of(choice, a["clip"]) for choice in a["activations"])
    p_i, p_o, p_f = (x.dtype.type(0),) * 3 if peepholes is None else np.split(peepholes, 3)

    def step(gates: np.ndarray, states: States) -> States:
        before, cell = states
        i, o, forget, candidate = np.split(gates + before @ r.T, 4, axis=1)
        i = f(i + p_i * cell)
        keep = 1 - i if a["input_forget"] else f(forget + p_f * cell)
        cell = keep * cell + i * g(candidate)
        return f(o + p_o * cell) * squash(cell), cell

    return unrolled(x, (h, c), lengths, a["reverse"], step)


def state(name: str) -> Input:
    return Input(name, FLOAT, like="x", rank=(2, 2))


X, R = Input("x", FLOAT, rank=(3, 3)), Input("r", FLOAT, like="x", rank=(2, 2))
LENGTHS = Input("lengths", INT32, rank=(1, 1))
COMMON = {"reverse": flag(), "clip": real(inf, low=0)}
"""reverse: from the last step to the first. clip: the input of every activation lies within ±clip."""

FAMILY = (
    Operator(
        name="rnn",
        inputs=(X, R, state("h"), LENGTHS),
        optional=1,
        attributes={"activations": chosen("tanh"), **COMMON},
        infer=infer_recurrent(1, 1),
        define=define_rnn,
        kernel=rnn,
    ),
    Operator(
        name="gru",
        inputs=(X, R, state("h"), LENGTHS, Input("bias", FLOAT, like="x", rank=(1, 1))),
        optional=2,
        attributes={"activations": chosen("sigmoid", "tanh"), **COMMON, "linear_before_reset": flag()},
        infer=infer_recurrent(3, 1),
        define=define_gru,
        kernel=gru,
    ),
    Operator(
        name="lstm",
        inputs=(X, R, state("h"), state("c"), LENGTHS, Input("peepholes", FLOAT, like="x", rank=(1, 1))),
        optional=2,
        attributes={"activations": chosen("sigmoid", "tanh", "tanh"), **COMMON, "input_forget": flag()},
        infer=infer_recurrent(4, 2),
        define=define_lstm,
        kernel=lstm,
    ),
)
