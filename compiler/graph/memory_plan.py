"""Static memory planning: offsets in one region for tensors with known sizes and lifetimes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vdla.arithmetic import round_up


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor of `bytes`, alive from step `first` to step `last`, both included."""

    name: str
    bytes: int
    first: int
    last: int


def plan_memory(lifetimes: Iterable[Lifetime], alignment: int) -> tuple[dict[str, int], int]:
    """Offsets such that tensors alive at one step never overlap, and the region's size in bytes.

    Largest first, each at the lowest offset that is free throughout its life: within a few per cent of the lower bound (the
    largest sum of sizes alive at one step) on networks.
    """
    placed: list[tuple[int, int, Lifetime]] = []  # offset, end, tensor
    offsets: dict[str, int] = {}
    for tensor in sorted(lifetimes, key=lambda t: (-t.bytes, t.first, t.name)):
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
