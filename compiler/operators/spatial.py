"""Sliding windows over any number of spatial axes: their attributes, what they give, and how tensor expressions read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import integers
from vdla.compiler.operators.definition import Attributes, inside
from vdla.compiler.operators.shapes import window_output
from vdla.errors import ModelError

Shape = tuple[int, ...]
STEPS = {"strides": integers(low=1), "pads": integers(low=0), "dilations": integers(low=1)}
"""One number for each spatial axis; `pads` has those before every axis, then those after."""
MOST_POSITIONS = 1 << 20
KERNEL = {"kernel": integers(low=1)}


@dataclass(frozen=True)
class Windows:
    """Windows of `kernel` elements over maps of `size`."""

    size: Shape
    kernel: Shape
    strides: Shape
    dilations: Shape
    pads: Shape

    @property
    def before(self) -> Shape:
        return self.pads[: len(self.size)]

    @property
    def after(self) -> Shape:
        return self.pads[len(self.size) :]

    @property
    def output(self) -> Shape:
        """Positions along each axis. Raises `ModelError` when a window is larger than its padded map."""
        both = zip(self.before, self.after, strict=True)
        axes = zip(self.size, self.kernel, self.strides, both, self.dilations, strict=True)
        return tuple(window_output(n, k, s, sum(pad), d) for n, k, s, pad, d in axes)

    @property
    def taps(self) -> int:
        """Elements of a window."""
        return prod(self.kernel)

    def held(self, counted: Shape | None = None) -> np.ndarray:
        """How many elements of each window lie on the map, widened by `counted` of its padding: int64 of shape `output`."""
        result = np.ones((), np.int64)
        for axis, positions in enumerate(self.output):
            first, last = self.bounds(axis, counted)
            result = result[..., None] * self.held_along(axis, np.arange(positions), first, last)
        return result

    def holds_nothing(self, counted: Shape | None = None) -> bool:
        """Whether `held` is 0 anywhere. Only windows with gaps wider than the map can miss it from both sides."""
        for axis, positions in enumerate(self.output):
            first, last = self.bounds(axis, counted)
            ends = np.array([0, positions - 1])
            gaps = self.dilations[axis] > last - first
            if gaps and positions > MOST_POSITIONS:
                raise ModelError(
                    "windows with gaps wider than the map are too many", found=positions, expected=f"at most {MOST_POSITIONS}"
                )
            if not self.held_along(axis, np.arange(positions) if gaps else ends, first, last).all():
                return True
        return False

    def bounds(self, axis: int, counted: Shape | None) -> tuple[int, int]:
        """The first element of an axis that counts, and the one after the last."""
        widened = counted or (0,) * len(self.pads)
        return -widened[axis], self.size[axis] + widened[axis + len(self.size)]

    def held_along(self, axis: int, positions: np.ndarray, first: int, last: int) -> np.ndarray:
        """How many taps of the windows at `positions` of an axis lie in first … last-1."""
        starts, dilation = positions * self.strides[axis] - self.before[axis], self.dilations[axis]
        below, up_to = (-((starts - bound) // dilation) for bound in (first, last))  # ceil((bound - start) / dilation) taps
        return np.clip(up_to, 0, self.kernel[axis]) - np.clip(below, 0, self.kernel[axis])


def windows(shape: Shape, a: Attributes, kernel: Sequence[int] | None = None) -> Windows:
    """Those of an operator over x[N, C, …] of `shape`. Raises `ModelError` when an attribute has another number of axes."""
    rank = len(shape) - 2
    taken = tuple(a["kernel"] if kernel is None else kernel)
    found = {"kernel": taken, "strides": tuple(a["strides"]), "dilations": tuple(a["dilations"])}
    for name, value in {**found, "pads": a["pads"]}.items():
        expected = 2 * rank if name == "pads" else rank
        if len(value) != expected:
            raise ModelError(f"{name} do not fit the input", found=f"{value} for {shape}", expected=f"{expected} numbers")
    return Windows(tuple(shape[2:]), found["kernel"], found["strides"], found["dilations"], tuple(a["pads"]))


def axis_names(rank: int) -> list[str]:
    """Of x[N, C, …]: n, c, d, h, w where there are up to three spatial axes."""
    spatial = ("d", "h", "w")[-(rank - 2) :] if 3 <= rank <= 5 else tuple(f"s{i}" for i in range(rank - 2))
    return ["n", "c", *spatial]


def padded(x: te.Tensor, pads: Sequence[int], value: float) -> te.Tensor:
    """x[N, C, …] with elements of `value` around; x itself when there are none."""
    if not any(pads):
        return x
    rank = len(x.shape) - 2
    before, after = pads[:rank], pads[rank:]
    shape = (*x.shape[:2], *(b + n + e for b, n, e in zip(before, x.shape[2:], after, strict=True)))

    def element(n: Expr, c: Expr, *at: Expr) -> Expr:
        checks = list(zip(at, x.shape[2:], before, after, strict=True))
        return inside(checks, x[(n, c, *(i - b if b else i for i, b in zip(at, before, strict=True)))], value)

    return te.compute(shape, element, "padded", axes=axis_names(len(shape)))


def kernel_axes(kernel: Sequence[int]) -> tuple[te.ReduceAxis, ...]:
    """A reduce axis for each axis of a window."""
    return tuple(te.reduce_axis(size, f"k{axis}") for axis, size in enumerate(kernel))


def tapped(w: Windows, at: Sequence[Expr], tap: Sequence[Expr]) -> tuple[Expr, ...]:
    """Where in the padded map the window at output position `at` has its element `tap`."""
    steps = zip(at, w.strides, tap, w.dilations, strict=True)
    return tuple(position * stride + k * dilation for position, stride, k, dilation in steps)
