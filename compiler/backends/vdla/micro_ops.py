"""Steps of a GEMM or ALU nest → two hardware loops over as few micro-ops as possible.

An instruction runs `for outer: for inner: for micro-op`, adding constant strides to the micro-op's three tile indices.
Loops that move every index jointly are merged first; the two that save most become the hardware loops; what is left is
enumerated as micro-ops.

    for oc in 0..2: for h in 0..4: for w in 0..4: for k in 0..3:    acc[16·oc + 4·h + w] += inp[6·h + w + k] · wgt[3·oc + k]
        →  outer h (4, strides 4, 6, 0), inner w (4, strides 1, 1, 0), micro-ops (oc, k): 6
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

import numpy as np

from vdla.design import Design
from vdla.isa.definition import Opcode
from vdla.isa.layout import layout_of
from vdla.isa.timing import PARAMETER_READS

DST, SRC, WGT = range(3)
HEAD_FACTOR, HEAD_FREE = 4, 256
"""First-touch order may cost this many times the micro-ops of the freest order, or this many in all."""


class Order(Enum):
    """What the caller may permute."""

    FREE = "free"  #                any order gives the same result
    FIXED = "fixed"  #              the order given
    SLOW_SOURCE = "slow source"  #  any order; src had better vary slowest
    FIRST_TOUCH = "first touch"  #  any order, but the first touch of each dst comes first and apart


@dataclass(frozen=True, slots=True)
class Limits:
    """loop: largest extent of a hardware loop. uops: most micro-ops of one instruction. uop_beats: of the bus, to load one."""

    loop: int
    uops: int
    uop_beats: float


def limits_of(design: Design) -> Limits:
    layout = layout_of(design)
    loop = min(layout.limit(op, name) for op in (Opcode.GEMM, Opcode.ALU) for name in ("loop_outer", "loop_inner"))
    return Limits(loop, design.uop_depth, design.uop_bytes / design.bus_bytes)


@dataclass(frozen=True, slots=True)
class Axis:
    extent: int
    strides: tuple[int, int, int]  # dst, src, wgt

    @property
    def usable(self) -> bool:
        """Stride fields are unsigned."""
        return min(self.strides) >= 0


@dataclass(frozen=True, eq=False)
class HardwareLoops:
    """One instruction: two loops over `uops`, int64[n, 3] of dst, src, wgt relative to the operands' bases.

    heads: how many leading micro-ops touch each of their dst tiles for the first time (Order.FIRST_TOUCH only).
    """

    outer: Axis
    inner: Axis
    uops: np.ndarray
    heads: int = 0

    def expand(self) -> np.ndarray:
        """int64[steps, 3] in execution order."""
        o = np.arange(self.outer.extent)[:, None, None, None] * np.array(self.outer.strides)
        i = np.arange(self.inner.extent)[None, :, None, None] * np.array(self.inner.strides)
        return (o + i + self.uops[None, None]).reshape(-1, 3)


ONCE = Axis(1, (0, 0, 0))


def compress(
    extents: Sequence[int], strides: np.ndarray, points: np.ndarray, order: Order, limits: Limits
) -> list[HardwareLoops]:
    """Instructions that together run exactly the given steps, in an order that `order` allows.

    strides: int64[3, axes], outermost axis first. points: int64[3, k], enumerated innermost. For FIRST_TOUCH the result is
    empty when the first touches cannot be told apart from the rest, or only at the cost of too many micro-ops.
    """
    axes = [Axis(n, (int(s[0]), int(s[1]), int(s[2]))) for n, s in zip(extents, strides.T, strict=True) if n > 1]
    points = np.ascontiguousarray(points.T)
    if order is Order.FIXED:
        axes = _merge_adjacent(axes)
    else:
        axes, points = _ascending(axes, points)
        axes = _merge(axes)
    axes = [piece for axis in axes for piece in _fit(axis, limits.loop)]
    outer, inner, rest = _choose(axes, points, order, limits)
    uops = _enumerate(rest, points)
    if order is Order.SLOW_SOURCE:
        uops = uops[np.argsort(uops[:, SRC], kind="stable")]
    if order is Order.FIRST_TOUCH:
        return _first_touch(outer, inner, uops, axes, points, limits)
    return [HardwareLoops(outer, inner, piece) for piece in _chunks(uops, limits.uops)]


def _ascending(axes: list[Axis], points: np.ndarray) -> tuple[list[Axis], np.ndarray]:
    """Run an axis that only moves backwards the other way round."""
    result = []
    for axis in axes:
        if max(axis.strides) <= 0 and min(axis.strides) < 0:
            points = points + (axis.extent - 1) * np.array(axis.strides)
            axis = Axis(axis.extent, (-axis.strides[0], -axis.strides[1], -axis.strides[2]))
        result.append(axis)
    return result, points


def _joined(a: Axis, b: Axis) -> Axis | None:
    """`a` outside `b` as one axis."""
    if a.strides == tuple(b.extent * s for s in b.strides):
        return Axis(a.extent * b.extent, b.strides)
    return None


def _merge_adjacent(axes: list[Axis]) -> list[Axis]:
    result: list[Axis] = []
    for axis in axes:
        joined = _joined(result[-1], axis) if result else None
        if joined is None:
            result.append(axis)
        else:
            result[-1] = joined
    return result


def _merge(axes: list[Axis]) -> list[Axis]:
    """Join any two axes that move all indices jointly, until none do."""
    for i, a in enumerate(axes):
        for j, b in enumerate(axes):
            if i != j and (joined := _joined(a, b)) is not None:
                rest = [axis for k, axis in enumerate(axes) if k not in (i, j)]
                return _merge([*rest[: min(i, j)], joined, *rest[min(i, j) :]])
    return axes


def _fit(axis: Axis, limit: int) -> list[Axis]:
    """An axis longer than a loop counter as two, where a divisor allows."""
    if axis.extent <= limit:
        return [axis]
    part = next((n for n in range(limit, 1, -1) if axis.extent % n == 0), 0)
    if not part:
        return [axis]
    s = axis.strides
    return [Axis(axis.extent // part, (s[0] * part, s[1] * part, s[2] * part)), Axis(part, s)]


def _choose(axes: list[Axis], points: np.ndarray, order: Order, limits: Limits) -> tuple[Axis, Axis, list[Axis]]:
    """The two hardware loops and the axes left to enumerate."""
    candidates = _candidates(axes, order, limits)
    if order is Order.FIXED:  # several sequences one after another keep the order only when no loop is around them
        candidates = [pair for pair in candidates if not pair or _uop_count(axes, points, pair) <= limits.uops]
    best = min(candidates, key=lambda pair: (_cost(axes, points, pair, order, limits), pair))
    chosen = [axes[k] for k in best]
    rest = [axis for k, axis in enumerate(axes) if k not in best]
    return ((ONCE, ONCE, *chosen)[-2], (ONCE, *chosen)[-1], rest)


def _candidates(axes: list[Axis], order: Order, limits: Limits) -> list[tuple[int, ...]]:
    """Indices of axes that may be the hardware loops, outer first."""
    fits = [k for k, a in enumerate(axes) if a.usable and a.extent <= limits.loop]
    if order is Order.FIXED:
        prefix = next((k for k in range(min(2, len(axes))) if k not in fits), min(2, len(axes)))
        return [tuple(range(n)) for n in range(prefix + 1)]
    if order is Order.FIRST_TOUCH:
        fits = [k for k in fits if axes[k].strides[DST] > 0]
    return [(), *((k,) for k in fits), *((j, k) for j in fits for k in fits if j != k)]


def _uop_count(axes: list[Axis], points: np.ndarray, pair: tuple[int, ...]) -> int:
    """Micro-ops that are left to enumerate when the axes of `pair` are the hardware loops."""
    return len(points) * prod(axis.extent for k, axis in enumerate(axes) if k not in pair)


def _cost(axes: list[Axis], points: np.ndarray, pair: tuple[int, ...], order: Order, limits: Limits) -> float:
    """Micro-ops or, for `SLOW_SOURCE`, cycles: to load them, and to fetch parameters whenever src changes."""
    uops = _uop_count(axes, points, pair)
    if order is not Order.SLOW_SOURCE:
        return uops
    loops, rest = [axes[k] for k in pair], [axis for k, axis in enumerate(axes) if k not in pair]
    sources = len(np.unique(_enumerate([a for a in rest if a.strides[SRC]], points)[:, SRC]))
    return uops * limits.uop_beats + PARAMETER_READS * _source_changes(loops, sources)


def _source_changes(loops: list[Axis], sources: int) -> int:
    """How often src changes when micro-ops name `sources` different ones, sorted."""
    moving = [depth for depth, axis in enumerate(loops) if axis.strides[SRC]]
    depth = len(loops) if sources > 1 else (moving[-1] + 1 if moving else 0)
    return sources * prod(axis.extent for axis in loops[:depth])


def _enumerate(axes: list[Axis], points: np.ndarray) -> np.ndarray:
    """int64[steps, 3] in loop order, points innermost."""
    result = np.zeros((1, 3), np.int64)
    for axis in axes:
        step = np.arange(axis.extent)[:, None] * np.array(axis.strides)
        result = (result[:, None] + step[None]).reshape(-1, 3)
    return (result[:, None] + points[None]).reshape(-1, 3)


def _chunks(uops: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for begin in range(0, len(uops), size):
        yield uops[begin : begin + size]


def _first_touch(
    outer: Axis, inner: Axis, uops: np.ndarray, axes: list[Axis], points: np.ndarray, limits: Limits
) -> list[HardwareLoops]:
    """First touches as the leading micro-ops: then one instruction can overwrite with them and one accumulate the rest."""
    freest = min(_uop_count(axes, points, pair) for pair in _candidates(axes, Order.FREE, limits))
    if len(uops) > limits.uops or len(uops) > max(HEAD_FACTOR * freest, HEAD_FREE):
        return []
    _, first = np.unique(uops[:, DST], return_index=True)
    first.sort()
    heads = HardwareLoops(outer, inner, uops[first])
    touched = heads.expand()[:, DST]
    if len(np.unique(touched)) != len(touched):
        return []
    later = np.setdiff1d(np.arange(len(uops)), first)
    return [HardwareLoops(outer, inner, uops[np.concatenate([first, later])], len(first))]
