"""The tensor expressions of recurrent layers: a scan over time of a product with the states, the gates, the new states.

A step's products are "product" and, of a GRU that resets before it, "candidate", each copied to "…_sum"[n, gate, unit]. The
weights are laid out for them once, when they are constant: for blocks of `units` neighbours, the weights of the first element
of the state for the whole block, then those of the second, so that a step streams them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.cells import expression_of
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.elementwise import constant


def packed(r: te.Tensor, gates: int, units: int) -> te.Tensor:
    """r[gates·H, H] as weights[gate, H / units, H, units]."""
    hidden = r.shape[1]
    return te.compute(
        (gates, hidden // units, hidden, units), lambda g, block, k, u: r[g * hidden + block * units + u, k], "weights"
    )


def product(weights: te.Tensor, state: te.Tensor, gates: range, name: str) -> te.Tensor:
    """Σ_k state[n, k] · weights of those gates, as [n, gate, unit]."""
    _, _, hidden, units = weights.shape
    k = te.reduce_axis(hidden, "k")

    def element(n: Expr, g: Expr, j: Expr) -> Expr:
        gate = g + gates.start if gates.start else g
        return te.sum(state[n, k] * weights[gate, j // units, k, j % units], k)

    total = te.compute((state.shape[0], len(gates), hidden), element, name)
    return te.compute(total.shape, lambda n, g, j: total[n, g, j], f"{name}_sum")


class Steps:
    """What the kinds of cells share: the time axis, the states, what is kept where a sequence is over."""

    def __init__(self, x: te.Tensor, initial: Sequence[te.Tensor], lengths: te.Tensor | None, a: Attributes) -> None:
        self.x, self.initial, self.lengths, self.hidden = x, initial, lengths, initial[0].shape[1]
        self.axis = te.scan_axis(x.shape[0], "t")
        self.time: Expr = x.shape[0] - 1 - self.axis if a["reverse"] else self.axis
        self.reverse = a["reverse"]
        self.states = [te.placeholder(s.shape, s.dtype, f"{s.name}_before") for s in initial]

    def gate(self, product: te.Tensor, g: int, at: tuple[Expr, Expr]) -> Expr:
        """The input of a gate but for peepholes. The product has every gate, or (g = 0) this one alone."""
        n, j = at
        return self.x[self.time, n, g * self.hidden + j] + product[n, g, j]

    def update(self, state: int, value: Callable[[Expr, Expr], Expr], name: str) -> te.Tensor:
        """A state after the step."""
        before = self.states[state]

        def element(n: Expr, j: Expr) -> Expr:
            new = value(n, j)
            return new if self.lengths is None else te.select(self.live(n), new, before[n, j])

        return te.compute(before.shape, element, name)

    def live(self, n: Expr) -> Expr:
        """Whether this step is one of sequence n."""
        assert self.lengths is not None
        return te.cast(self.time, "int32") < self.lengths[n]

    def outputs(self, updates: Sequence[te.Tensor]) -> tuple[te.Tensor, ...]:
        """y and the last states."""
        h = updates[0]
        if self.lengths is not None:
            shown = lambda n, j: te.select(self.live(n), h[n, j], constant(h[n, j], 0))  # noqa: E731
            h = te.compute(h.shape, shown, "shown")
        states = [te.State(*state) for state in zip(self.states, self.initial, updates, strict=True)]
        finals, (y,) = te.scan(self.axis, states, collect=[h])
        if self.reverse:
            collected, last = y, y.shape[0] - 1
            y = te.compute(y.shape, lambda t, n, j: collected[last - t, n, j], "y")
        return (y, *finals)


def define_rnn(types: Types, a: Attributes, units: int = 1) -> Definition:
    x, r, h, lengths = placeholders(types, "x", "r", "h", "lengths")
    assert x is not None and r is not None and h is not None
    (f,) = (expression_of(choice, a["clip"]) for choice in a["activations"])
    steps = Steps(x, [h], lengths, a)
    total = product(packed(r, 1, units), steps.states[0], range(1), "product")
    after = steps.update(0, lambda *at: f(steps.gate(total, 0, at)), "h_after")
    return Definition(required(x, r, h, lengths), steps.outputs([after]))


def define_gru(types: Types, a: Attributes, units: int = 1) -> Definition:
    x, r, h, lengths, bias = placeholders(types, "x", "r", "h", "lengths", "bias")
    assert x is not None and r is not None and h is not None
    f, g = (expression_of(choice, a["clip"]) for choice in a["activations"])
    steps, linear = Steps(x, [h], lengths, a), a["linear_before_reset"]
    before, weights = steps.states[0], packed(r, 3, units)
    total = product(weights, before, range(3 if linear else 2), "product")
    reset = lambda *at: f(steps.gate(total, 1, at))  # noqa: E731
    if linear:
        of_state = lambda n, j: reset(n, j) * with_bias(total[n, 2, j], bias, j)  # noqa: E731
    else:
        kept = te.compute(before.shape, lambda n, j: reset(n, j) * before[n, j], "reset")
        candidate = product(weights, kept, range(2, 3), "candidate")
        of_state = lambda n, j: with_bias(candidate[n, 0, j], bias, j)  # noqa: E731

    def value(n: Expr, j: Expr) -> Expr:
        update = f(steps.gate(total, 0, (n, j)))
        new = g(steps.x[steps.time, n, 2 * steps.hidden + j] + of_state(n, j))
        return (constant(update, 1) - update) * new + update * before[n, j]

    return Definition(required(x, r, h, lengths, bias), steps.outputs([steps.update(0, value, "h_after")]))


def with_bias(value: Expr, bias: te.Tensor | None, j: Expr) -> Expr:
    return value if bias is None else value + bias[j]


def define_lstm(types: Types, a: Attributes, units: int = 1) -> Definition:
    x, r, h, c, lengths, peepholes = placeholders(types, "x", "r", "h", "c", "lengths", "peepholes")
    assert x is not None and r is not None and h is not None and c is not None
    f, g, squash = (expression_of(choice, a["clip"]) for choice in a["activations"])
    steps = Steps(x, [h, c], lengths, a)
    total, cell = product(packed(r, 4, units), steps.states[0], range(4), "product"), steps.states[1]

    def gate(index: int, peephole: int, state: te.Tensor, at: tuple[Expr, Expr]) -> Expr:
        """i, o and f, which lie in this order among gates and peepholes, see the cell through them."""
        value, (n, j) = steps.gate(total, index, at), at
        return f(value if peepholes is None else value + peepholes[peephole * steps.hidden + j] * state[n, j])

    def new_cell(*at: Expr) -> Expr:
        i = gate(0, 0, cell, at)
        keep = constant(i, 1) - i if a["input_forget"] else gate(2, 2, cell, at)
        return keep * cell[at] + i * g(steps.gate(total, 3, at))

    cell_after = steps.update(1, new_cell, "c_after")
    h_after = steps.update(0, lambda *at: gate(1, 1, cell_after, at) * squash(cell_after[at]), "h_after")
    return Definition(required(x, r, h, c, lengths, peepholes), steps.outputs([h_after, cell_after]))
