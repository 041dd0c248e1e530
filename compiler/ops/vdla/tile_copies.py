"""From indices along axes to copies of whole tiles: what is regular, which tiles it comes to, and what is a run of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Node
from vdla.compiler.ops.vdla.workload import CopyAxis, CopyWorkload, Workload
from vdla.design import Design
from vdla.errors import CompileError

Shape = tuple[int, int, int, int]
OUTSIDE = -1
"""An index on padding."""
ANY_LANE = -2
"""An index that nobody reads: of a lane behind the last channel."""


@dataclass(frozen=True, slots=True)
class Along:
    """Indices that are regular: `times` over `count` places from `start` by `step`, each `repeat` times in a row."""

    count: int
    start: int = 0
    step: int = 1
    repeat: int = 1
    times: int = 1


def in_tiles(shape: Shape, design: Design) -> Shape:
    n, c, h, w = shape
    return ceil_div(n, design.gemm.batch), ceil_div(c, design.channel_block), h, w


def copied(
    node: Node, shape: Shape, indices: list[np.ndarray], offset: tuple[int, ...], whole: tuple[int, ...], fill: int,
    design: Design,
) -> CopyWorkload | None:  # fmt: skip
    """The copy of a tensor of `shape` to `offset` of one of `whole`; None where channels or images leave their tiles.

    Raises `CompileError` where the places along an axis are irregular.
    """
    blocks = (design.gemm.batch, design.channel_block, 1, 1)
    axes: list[CopyAxis] = []
    for d, (index, block) in enumerate(zip(indices, blocks, strict=True)):
        if offset[d] % block or (offset[d] + len(index) < whole[d] and len(index) % block):
            return None
        tiles = tile_indices(index, block)
        if tiles is None:
            return None
        size, extent = ceil_div(shape[d], block), ceil_div(whole[d], block)
        if (along := regular(tiles, size)) is None:
            if block > 1:
                return None
            raise CompileError(f"{node.op} goes along an axis in irregular steps", where=node.name, found=f"axis {d}")
        own = [CopyAxis(along.times, None)] if along.times > 1 else []
        own.append(CopyAxis(along.count, d, along.start, along.step))
        own += [CopyAxis(along.repeat, None)] if along.repeat > 1 else []
        if len(tiles) < extent:  # the one axis along which there are several
            widest = max(range(len(own)), key=lambda r: own[r].extent)
            own[widest] = replace(own[widest], offset=offset[d] // block, whole=extent)
        axes += own
    return simplified(CopyWorkload(in_tiles(shape, design), tuple(axes), fill))


def tile_indices(index: np.ndarray, block: int) -> np.ndarray | None:
    """Which tile each tile of the result is, or OUTSIDE; None when one is made of parts of several."""
    lanes = np.pad(index, (0, -len(index) % block), constant_values=ANY_LANE).reshape(-1, block)
    first = lanes[:, :1]
    outside = ((lanes == OUTSIDE) | (lanes == ANY_LANE)).all(axis=1)
    kept = ((lanes == first + np.arange(block)) | (lanes == ANY_LANE)).all(axis=1) & (first[:, 0] % block == 0)
    tiles: np.ndarray = np.where(outside, OUTSIDE, first[:, 0] // block)
    return tiles if (outside | kept).all() else None


def regular(index: np.ndarray, size: int) -> Along | None:
    """The indices as places at one distance; padding lies before and behind those of a tensor of `size`."""
    inside = np.flatnonzero(index >= 0)
    if not len(inside):
        return None
    if len(inside) < len(index):
        step = int(index[inside[1]] - index[inside[0]]) if len(inside) > 1 else 1
        start = int(index[inside[0]]) - step * int(inside[0])
        places = start + step * np.arange(len(index))
        expected = np.where((places >= 0) & (places < size), places, OUTSIDE)
        return Along(len(index), start, step) if np.array_equal(expected, index) else None
    repeat = run_length(index, 0)
    if len(index) % repeat or not np.array_equal(np.repeat(index[::repeat], repeat), index):
        repeat = 1
    places = index[::repeat]
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    count = run_length(places, step)
    if len(places) % count or not np.array_equal(np.tile(places[:count], len(places) // count), places):
        return None
    return Along(count, int(places[0]), step if count > 1 else 1, repeat, len(places) // count)


def regular_stretches(index: np.ndarray, size: int) -> list[tuple[int, int]]:
    """First places and ends of stretches that are regular: all, or runs of one step."""
    if regular(index, size) is not None:
        return [(0, len(index))]
    found, first = [], 0
    while first < len(index):
        end = first + run_length(index[first:], int(index[first + 1] - index[first]) if first + 1 < len(index) else 1)
        found.append((first, end))
        first = end
    return found


def run_length(values: np.ndarray, step: int) -> int:
    """How many values from the first on are each `step` more than the one before."""
    breaks = np.flatnonzero(np.diff(values) != step)
    return int(breaks[0]) + 1 if len(breaks) else len(values)


def simplified(w: CopyWorkload) -> CopyWorkload:
    """The same without axes of extent 1, and with what lies in a row on both sides as one axis."""
    source, axes = list(w.source), list(w.axes)
    for r in reversed(range(len(axes))):
        if len(axes) > 1 and axes[r].whole == 1 and (axes[r].source is None or source[axes[r].source or 0] == 1):
            axes = _without_source(axes[:r] + axes[r + 1 :], source, axes[r].source)
    for m in reversed(range(len(source))):
        if source[m] == 1 and len(source) > 1 and all(axis.source != m for axis in axes):
            axes = _without_source(axes, source, m)
    for r in reversed(range(len(axes) - 1)):
        outer, inner = axes[r], axes[r + 1]
        if outer.source is None or inner.source != outer.source + 1 or outer.step != 1:
            continue
        size = source[inner.source]
        if not (inner.start == 0 and inner.step == 1 and inner.extent == inner.whole == size):
            continue
        m = outer.source
        joined = CopyAxis(
            outer.extent * size, m, outer.start * size, 1, outer.offset * size, outer.whole * size
        )  # fmt: skip
        source[m] *= size
        axes = _without_source([*axes[:r], joined, *axes[r + 2 :]], source, m + 1)
    return CopyWorkload(tuple(source), tuple(axes), w.pad_value)


def _without_source(axes: list[CopyAxis], source: list[int], gone: int | None) -> list[CopyAxis]:
    """The axes after `gone` has been taken from `source`, which is changed."""
    if gone is None:
        return axes
    del source[gone]
    return [replace(a, source=a.source - 1) if a.source is not None and a.source > gone else a for a in axes]


def read_as_run(workload: Workload) -> int | None:
    """Where in its source, in tiles, the result of a copy lies as it is; None when it does not."""
    if not isinstance(workload, CopyWorkload) or any(axis.extent < axis.whole for axis in workload.axes):
        return None
    offset, stride, whole = 0, prod(workload.source), True
    read = {axis.source: axis for axis in workload.axes}
    if None in read or [axis.source for axis in workload.axes] != sorted(m for m in read if m is not None):
        return None
    for m, size in enumerate(workload.source):
        axis, stride = read.get(m, CopyAxis(1, m)), stride // size
        if axis.extent > 1 and axis.step != 1 or axis.start < 0 or axis.start + axis.extent > size:
            return None
        if not whole and (axis.start, axis.extent) != (0, size):
            return None
        whole = whole and axis.extent == 1
        offset += axis.start * stride
    return offset


def written_as_run(workload: Workload) -> int | None:
    """Where in its target, in tiles, all of a copy's source lies as it is; None when it does not."""
    if not isinstance(workload, CopyWorkload) or [axis.source for axis in workload.axes] != list(range(len(workload.source))):
        return None
    if any((axis.start, axis.step, axis.extent) != (0, 1, workload.source[m]) for m, axis in enumerate(workload.axes)):
        return None
    offset, stride, whole = 0, prod(axis.whole for axis in workload.axes), True
    for axis in workload.axes:
        stride //= axis.whole
        if not whole and axis.extent < axis.whole:
            return None
        whole = whole and axis.extent == 1
        offset += axis.offset * stride
    return offset
