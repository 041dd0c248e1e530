"""Rearrangements of a tensor's elements: what chains of reshapes and transposes come to, and the shortest that do it.

A tensor of shape `source`, read as one of shape `parts`, has its parts permuted by `order` and is read as shape `result`:

    reshape (1, 128, 768) → (1, 128, 12, 64), transpose (0, 2, 3, 1)        source (1, 128, 768), parts (128, 768),
                                                                            order (1, 0), result (1, 12, 64, 128)

Parts of one element are left out and parts that stay neighbours are one, so that equal rearrangements are equal values. A
reshape alone has one part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from operator import mul
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Step = tuple[str, dict[str, Any]]
"""An operator and its attributes."""


@dataclass(frozen=True, slots=True)
class Move:
    """See above. Make one by `move`, which simplifies it."""

    source: Shape
    parts: Shape
    order: tuple[int, ...]
    result: Shape

    @property
    def is_reshape(self) -> bool:
        return len(self.parts) <= 1

    @property
    def is_identity(self) -> bool:
        return self.is_reshape and self.source == self.result

    @property
    def moved(self) -> Shape:
        """The parts in the result's order."""
        return tuple(self.parts[i] for i in self.order)

    @property
    def inverse(self) -> Move:
        return Move(self.result, self.moved, inverted(self.order), self.source)

    def apply(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.reshape(self.parts).transpose(self.order)).reshape(self.result)


def move(source: Shape, parts: Shape, order: Sequence[int], result: Shape) -> Move:
    """The simplest form: without parts of one element, neighbours joined."""
    kept = [i for i in order if parts[i] != 1]
    rank = {part: place for place, part in enumerate(sorted(kept))}
    runs: list[list[int]] = []
    for i in kept:
        if runs and rank[i] == rank[runs[-1][-1]] + 1:
            runs[-1].append(i)
        else:
            runs.append([i])
    by_source = sorted(range(len(runs)), key=lambda run: runs[run][0])
    sizes = tuple(prod(parts[i] for i in runs[run]) for run in by_source)
    return Move(source, sizes, inverted(by_source), result)


def inverted(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argsort(order))


def reshaping(source: Shape, result: Shape) -> Move:
    return move(source, (prod(source),), (0,), result)


def transposing(source: Shape, permutation: Sequence[int]) -> Move:
    return move(source, source, permutation, tuple(source[i] for i in permutation))


def composed(first: Move, second: Move) -> Move | None:
    """One after the other, or None where the parts of the one cut across those of the other."""
    refined = refinement(first.moved, second.parts)
    if refined is None:
        return None
    of_first, of_second = pieces(first.moved, refined), pieces(second.parts, refined)
    moved = [piece for group in second.order for piece in of_second[group]]  # of `refined`, in the result's order
    parts_in_source = [piece for part in inverted(first.order) for piece in of_first[part]]
    place = {piece: index for index, piece in enumerate(parts_in_source)}
    return move(first.source, tuple(refined[i] for i in parts_in_source), [place[i] for i in moved], second.result)


def refinement(a: Shape, b: Shape) -> Shape | None:
    """The fewest sizes into which both factorisations of one number can be cut: (2, 6), (4, 3) → (2, 2, 3)."""
    ends = sorted({*accumulate(a, mul), *accumulate(b, mul)} | {1})
    return None if any(after % before for before, after in pairwise(ends)) else tuple(y // x for x, y in pairwise(ends))


def pieces(sizes: Shape, refined: Shape) -> list[range]:
    """For each of `sizes` the indices of the refined ones that it consists of."""
    result, at = [], 0
    for size in sizes:
        start, product = at, 1
        while product < size:
            product *= refined[at]
            at += 1
        result.append(range(start, at))
    return result


def steps(m: Move) -> list[Step]:
    """Reshapes and transposes that do it, as few as can be."""
    if m.is_reshape:
        return [] if m.source == m.result else [reshape(m.result)]
    before, after = without_ones(m.source), without_ones(m.result)
    if before == m.parts and after == m.moved and m.source.count(1) == m.result.count(1):
        return [transpose(m.source, m)]
    if after == m.moved:
        shape = (*[1] * m.result.count(1), *m.parts)
        return [reshape(shape), transpose(shape, m)]
    if before == m.parts:
        return [("transpose", {"permutation": permutation(m.source, m.moved, m)}), reshape(m.result)]
    return [reshape(m.parts), ("transpose", {"permutation": m.order}), reshape(m.result)]


def reshape(shape: Shape) -> Step:
    return "reshape", {"shape": shape}


def transpose(shape: Shape, m: Move) -> Step:
    """A transpose of `shape`, the parts between ones, to the result."""
    return "transpose", {"permutation": permutation(shape, m.result, m)}


def permutation(shape: Shape, result: Shape, m: Move) -> tuple[int, ...]:
    """The axes of `shape`, whose sizes other than 1 are the parts, in the order of `result`; ones that are over come last."""
    ones = iter([axis for axis, size in enumerate(shape) if size == 1])
    axes = [axis for axis, size in enumerate(shape) if size != 1]
    moved = iter([axes[i] for i in m.order])
    return (*(next(ones) if size == 1 else next(moved) for size in result), *ones)


def without_ones(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def spread(m: Move, shape: Shape) -> Move | None:
    """The rearrangement of a tensor that broadcasts to m's source, so that it broadcasts to m's result in the same way.

    shape: its own, of which every axis is 1 or that of the source. None where an axis of the result is made of both kinds.

        m: (1, 128, 768) → (1, 768, 128, 1);  shape (768,) → (1, 768, 1, 1)
    """
    cut = cuts(m)
    if cut is None or len(shape) > len(m.source):
        return None
    fine = tuple(size for part in cut for size in part)
    aligned = (1,) * (len(m.source) - len(shape)) + shape
    whole = [False] * len(fine)
    for group, size in zip(pieces(m.source, fine), aligned, strict=True):
        for piece in group:
            whole[piece] = size != 1
    order = [piece for part in m.order for piece in pieces(m.parts, fine)[part]]
    result = []
    for group, size in zip(pieces(m.result, tuple(fine[piece] for piece in order)), m.result, strict=True):
        kinds = {whole[order[place]] for place in group}
        if len(kinds) > 1:
            return None
        result.append(size if True in kinds else 1)
    own = tuple(size if full else 1 for size, full in zip(fine, whole, strict=True))
    return move(shape, own, order, tuple(result))


def cuts(m: Move) -> list[Shape] | None:
    """Each part as the sizes into which the axes of source and result cut it; None where they cut across each other."""
    by_source, by_result = refinement(m.parts, m.source), refinement(m.moved, m.result)
    if by_source is None or by_result is None:
        return None
    first, second = pieces(m.parts, by_source), pieces(m.moved, by_result)
    result = []
    for part, place in enumerate(inverted(m.order)):
        both = refinement(tuple(by_source[i] for i in first[part]), tuple(by_result[i] for i in second[place]))
        if both is None:
            return None
        result.append(both)
    return result


def moved_axis(m: Move, axis: int) -> int | None:
    """The axis of the result that an axis of the source becomes, whole; None where there is none, and of one element."""
    cut = cuts(m)
    if cut is None or m.source[axis] == 1:
        return None
    fine = tuple(size for part in cut for size in part)
    order = [piece for part in m.order for piece in pieces(m.parts, fine)[part]]
    wanted = list(pieces(m.source, fine)[axis])
    groups = pieces(m.result, tuple(fine[piece] for piece in order))
    found = [index for index, group in enumerate(groups) if [order[place] for place in group] == wanted]
    return found[0] if found else None


def widened(m: Move, axis: int, size: int) -> Move | None:
    """The same rearrangement of a tensor whose axis `axis` of the result is another size, as is the axis that becomes it."""
    source_axis = moved_axis(m.inverse, axis)
    cut = cuts(m)
    if source_axis is None or cut is None:
        return None
    fine = [size for part in cut for size in part]
    of_parts = pieces(m.parts, tuple(fine))
    order = [piece for part in m.order for piece in of_parts[part]]
    (piece,) = pieces(m.source, tuple(fine))[source_axis]
    fine[piece] = size
    resized = lambda shape, at: (*shape[:at], size, *shape[at + 1 :])  # noqa: E731
    return move(resized(m.source, source_axis), tuple(fine), order, resized(m.result, axis))
