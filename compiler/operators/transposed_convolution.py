"""Transposed convolution over any number of spatial axes: y[s·i - before + d·k] += x[i] · w[k].

An output position p = s·q + r, for r below the stride s, meets the kernel positions k with d·k ≡ r + before (mod s) only. So
the weights are sorted by r first; what is left for each r is a convolution of stride 1, without any product by zero:

    d·k = s·j + (r + before) mod s,  i = q + (r + before) div s - j
    weights[o, c, r, j] = w[c, o, k], or 0 where there is no such k
    acc[n, o, r, q] = Σ over c, j of pad(x)[n, c, i] · weights[o, c, r, j]
    y[n, o, p] = acc[n, o, p mod s, p div s] + b[o]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Const, Expr, all_of
from vdla.compiler.operators.attribute import integer, integers
from vdla.compiler.operators.convolution_nd import MAPS
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.compiler.operators.spatial import axis_names, kernel_axes, padded
from vdla.compiler.operators.windows import region
from vdla.errors import ModelError


@dataclass(frozen=True)
class Phases:
    """One spatial axis. before: what is cut off in front, where negative what is added."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    output: int

    @property
    def positions(self) -> int:
        """Output positions of one phase."""
        return ceil_div(self.output, self.stride)

    @property
    def terms(self) -> int:
        """Kernel positions of one phase."""
        return ceil_div(self.dilation * (self.kernel - 1) + 1, self.stride)

    @property
    def shift(self) -> int:
        """`before` in whole strides; `rest` is what remains."""
        return self.before // self.stride

    @property
    def rest(self) -> int:
        return self.before % self.stride

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros that x needs before and after, so that every i is on it."""
        before = max(0, self.terms - 1 - self.shift)
        last = self.positions - 1 + self.shift + int(self.rest + self.stride - 1 >= self.stride)
        return before, max(0, last + 1 - self.size)

    def source(self, r: Expr, q: Expr, j: Expr) -> Expr:
        """i, on padded x."""
        return q + (r + self.rest) // self.stride - j + (self.shift + self.pads[0])

    def element(self, r: Expr, j: Expr) -> Expr:
        """d·k."""
        return j * self.stride + (r + self.rest) % self.stride

    def meets(self, element: Expr) -> list[Expr]:
        """Conditions under which there is such a k."""
        last = self.terms * self.stride - 1
        exact = [te.equal(element % self.dilation, 0)] if self.dilation > 1 else []
        return exact + ([element < self.kernel * self.dilation] if last >= self.kernel * self.dilation else [])


def phases_of(x: tuple[int, ...], w: tuple[int, ...], a: Attributes) -> list[Phases]:
    return [Phases(*axis) for axis in zip(x[2:], w[2:], a["strides"], a["dilations"], a["before"], a["output"], strict=True)]


def infer(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    """x[N, C, …], w[C, O/groups, *kernel] → [N, O, *output]."""
    x, w = present(types)[:2]
    rank = len(x.shape) - 2
    if len(w.shape) != len(x.shape) or w.shape[0] != x.shape[1] or w.shape[0] % a["groups"]:
        found = f"input {x.shape}, weight {w.shape}, groups {a['groups']}"
        raise ModelError("channels and groups disagree", found=found, expected="weight (C, O/groups, …)")
    for name in ("strides", "dilations", "before", "output"):
        if len(a[name]) != rank:
            raise ModelError(f"{name} does not fit the input", found=f"{a[name]} for {x.shape}", expected=f"{rank} numbers")
    if len(types) > 2 and types[2] is not None and types[2].shape != (w.shape[1] * a["groups"],):
        raise ModelError("the bias does not fit the weight", found=types[2].shape, expected=f"({w.shape[1] * a['groups']},)")
    return (TensorType((x.shape[0], w.shape[1] * a["groups"], *a["output"]), x.dtype),)


def define(types: Types, a: Attributes) -> Definition:
    """See above."""
    x, w, b = placeholders(types, "x", "w", "b")
    assert x is not None
    assert w is not None
    axes, groups, rank = phases_of(x.shape, w.shape, a), a["groups"], len(x.shape) - 2
    depth, per_group = w.shape[0] // groups, w.shape[1]
    strides, terms = [axis.stride for axis in axes], [axis.terms for axis in axes]

    def sorted_by_phase(o: Expr, c: Expr, *at: Expr) -> Expr:
        elements = [axis.element(r, j) for axis, r, j in zip(axes, at[:rank], at[rank:], strict=True)]
        taken = [e // axis.dilation if axis.dilation > 1 else e for e, axis in zip(elements, axes, strict=True)]
        channel, own = (c, o) if groups == 1 else (o // per_group * depth + c, o % per_group)
        conditions = [c for e, axis in zip(elements, axes, strict=True) for c in axis.meets(e)]
        value = w[(channel, own, *taken)]
        return te.select(all_of(conditions), value, Const(0, w.dtype)) if conditions else value

    weights = te.compute((groups * per_group, depth, *strides, *terms), sorted_by_phase, "weights")
    before, after = zip(*(axis.pads for axis in axes), strict=True)
    image = padded(x, (*before, *after), 0)
    c, term = te.reduce_axis(depth, "c"), kernel_axes(terms)

    def products(n: Expr, o: Expr, *at: Expr) -> Expr:
        channel = c if groups == 1 else o // per_group * depth + c
        sources = [axis.source(r, q, j) for axis, r, q, j in zip(axes, at[:rank], at[rank:], term, strict=True)]
        return te.sum(image[(n, channel, *sources)] * weights[(o, c, *at[:rank], *term)], (c, *term))

    shape = (x.shape[0], groups * per_group, *a["output"])
    acc = te.compute((*shape[:2], *strides, *(axis.positions for axis in axes)), products, "acc")

    def element(n: Expr, o: Expr, *at: Expr) -> Expr:
        split = [(p % s, p // s) if s > 1 else (Const(0), p) for p, s in zip(at, strides, strict=True)]
        total = acc[(n, o, *(r for r, _ in split), *(q for _, q in split))]
        return total + b[o] if b is not None else total

    return Definition(required(x, w, b), (te.compute(shape, element, "y", axes=axis_names(len(shape))),))


def kernel(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
    """Each kernel position's products are added where they belong on a map large enough for all, of which `output` is cut."""
    x, w = inputs[:2]
    groups, rank, n = a["groups"], x.ndim - 2, len(x)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], a["dilations"], strict=True)]
    front = [max(-b, 0) for b in a["before"]]
    reach = [(size - 1) * s + span for size, s, span in zip(x.shape[2:], a["strides"], spans, strict=True)]
    sizes = [f + max(r, o + b) for f, r, o, b in zip(front, reach, a["output"], a["before"], strict=True)]
    whole = np.zeros((n, groups * w.shape[1], *sizes), x.dtype)
    images = x.reshape(n, groups, x.shape[1] // groups, -1)
    for position in product(*map(range, w.shape[2:])):
        weight = w[(slice(None), slice(None), *position)].reshape(groups, -1, w.shape[1])
        part = np.matmul(weight.swapaxes(1, 2), images).reshape(n, groups * w.shape[1], *x.shape[2:])
        start = [f + k * d for f, k, d in zip(front, position, a["dilations"], strict=True)]
        whole[region(start, x.shape[2:], a["strides"])] += part
    y = whole[region([f + b for f, b in zip(front, a["before"], strict=True)], a["output"])]
    return np.ascontiguousarray(y if len(inputs) < 3 or inputs[2] is None else y + inputs[2].reshape(-1, *[1] * rank))


FAMILY = (
    Operator(
        name="conv_transpose",
        inputs=(Input("x", rank=MAPS), Input("w", like="x", rank=MAPS), Input("b", like="x", rank=(1, 1))),
        optional=1,
        attributes={
            "strides": integers(low=1),
            "dilations": integers(low=1),
            "before": integers(),
            "output": integers(low=1),
            "groups": integer(1, low=1),
        },
        infer=infer,
        define=define,
        kernel=kernel,
        fusion=Fusion.COMPLEX,
        host_reason="no VDLA kernel: transposed convolution",
    ),
)
