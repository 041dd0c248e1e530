"""Static memory planning: offsets in one region for tensors with known sizes and lifetimes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from vdla.arithmetic import round_up


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor of `bytes`, alive from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int


ORDERS: tuple[Callable[[Lifetime], tuple[object, ...]], ...] = (
    lambda t: (-t.bytes, t.first, t.name),
    lambda t: (t.first, -t.bytes, t.name),
    lambda t: (t.first - t.last, -t.bytes, t.name),
    lambda t: (-t.bytes * (t.last - t.first + 1), t.first, t.name),
    lambda t: (-t.last, -t.bytes, t.name),
)
"""In which tensors are given their places: the largest, earliest, longest, largest and longest, latest first."""


EXCHANGES = 300
"""How many other orders are tried at most, each the best one so far with two tensors exchanged."""


def plan_memory(lifetimes: Iterable[Lifetime], alignment: int) -> tuple[dict[str, int], int]:
    """Offsets such that tensors alive at one step never overlap, and the region's size in bytes.

    Each tensor at the lowest offset that is free throughout its life, the largest first. Where that needs more than the lower
    bound (the largest sum of sizes alive at one step), the smallest of what several orders need, and then of exchanges in them;
    on networks it rarely does.
    """
    tensors = tuple(lifetimes)
    bound = largest_live_set([replace(t, bytes=round_up(t.bytes, alignment)) for t in tensors])
    order = sorted(tensors, key=ORDERS[0])
    best = _placed(order, alignment)
    chance = random.Random(0)
    for attempt in range(1, len(ORDERS) + EXCHANGES):
        if best[1] <= bound:
            break
        other = sorted(tensors, key=ORDERS[attempt]) if attempt < len(ORDERS) else _exchanged(order, chance)
        found = _placed(other, alignment)
        if found[1] < best[1] or (found[1] == best[1] and attempt >= len(ORDERS)):  # sideways too, or exchanges get stuck
            order, best = other, found
    return best


def _exchanged(order: list[Lifetime], chance: random.Random) -> list[Lifetime]:
    """The order with two of its tensors exchanged."""
    other = list(order)
    i, j = chance.sample(range(len(order)), 2)
    other[i], other[j] = other[j], other[i]
    return other


def largest_live_set(lifetimes: Iterable[Lifetime]) -> int:
    """The largest sum of sizes alive at one step: no plan is smaller."""
    change: dict[int, int] = {}
    for tensor in lifetimes:
        change[tensor.first] = change.get(tensor.first, 0) + tensor.bytes
        change[tensor.last + 1] = change.get(tensor.last + 1, 0) - tensor.bytes
    return max(accumulate(change[step] for step in sorted(change)), default=0)


def _placed(tensors: Iterable[Lifetime], alignment: int) -> tuple[dict[str, int], int]:
    """Offsets given one after another, and the region's size."""
    placed: list[tuple[int, int, Lifetime]] = []  # offset, end, tensor
    offsets: dict[str, int] = {}
    for tensor in tensors:
        offset = 0
        for start, end, _ in sorted((p for p in placed if _overlap(p[2], tensor)), key=lambda p: p[0]):
            if offset + tensor.bytes <= start:
                break
            offset = max(offset, round_up(end, alignment))
        placed.append((offset, offset + tensor.bytes, tensor))
        offsets[tensor.name] = offset
    total = max((end for _, end, _ in placed), default=0)
    return offsets, round_up(total, alignment)


def _overlap(a: Lifetime, b: Lifetime) -> bool:
    return a.first <= b.last and b.first <= a.last
