"""Movement on VDLA: from an operator that moves levels about to copies of whole tiles, or where channels leave their blocks to
convolutions whose weights select.

An operator that reads each axis by itself (slice, split, pad, repeat, a gather by constants …) is an array of indices for each
axis, `OUTSIDE` where it reads padding. Along H and W, and along images and channels in whole tiles, these become axes of a
`CopyWorkload`. Other ways along the channels are 1×1 convolutions by zeros and ones at a scale of 1: exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate, product
from math import prod
from typing import Any

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.graph.graph import Graph, Node
from vdla.compiler.graph.moves import pieces
from vdla.compiler.operators.registry import with_defaults
from vdla.compiler.operators.slicing import border_source
from vdla.compiler.ops.vdla.operands import identity_tile, image_of
from vdla.compiler.ops.vdla.packing import pack_activation, pack_conv_weights, pack_parameters
from vdla.compiler.ops.vdla.workload import ConvWorkload, CopyAxis, CopyWorkload, Workload
from vdla.compiler.quantise.scales import scale_words
from vdla.design import Design
from vdla.errors import CompileError

Shape = tuple[int, int, int, int]
MOST_COPIES = 32
"""Kernels of a node that goes along an axis irregularly: 9 for a reflected border."""
MOST_SELECTING = 4096
"""Weight tiles of a selection."""
OUTSIDE = -1
"""An index on padding."""
ANY_LANE = -2
"""An index that nobody reads: of a lane behind the last channel."""


@dataclass(frozen=True)
class Move:
    """One kernel of a node that moves levels: reads `source`, writes all or a part of `target`.

    channels: of a selection, which channel of the source each of the target is; `fill` where it is OUTSIDE. onto: it adds to
    what an earlier one wrote, so that the target is its residual.
    """

    source: str
    target: str
    workload: Workload
    channels: np.ndarray | None = None
    fill: int = 0
    onto: bool = False


@dataclass(frozen=True, slots=True)
class Along:
    """Indices that are regular: `times` over `count` places from `start` by `step`, each `repeat` times in a row."""

    count: int
    start: int = 0
    step: int = 1
    repeat: int = 1
    times: int = 1


def moves_of(node: Node, graph: Graph, design: Design) -> list[Move]:
    """The kernels of a node of `MOVING`, each in case it is no view. Raises `CompileError` when there are none."""
    for name in (*node.inputs[:1], *node.outputs) if node.op != "concat" else (*node.inputs, *node.outputs):
        if graph.type_of(name).dtype != "int8":
            raise CompileError(f"no VDLA kernel: {node.op} of {graph.type_of(name).dtype}", where=node.name)
    return MOVING[node.op](node, graph, design)


def move_constants(move: Move, graph: Graph, design: Design) -> dict[str, np.ndarray]:
    """Kernel parameter → its constant, packed: the identity tile of a copy, what a selection selects by, a constant source."""
    constants = {"identity": identity_tile(design)} if move.channels is None or move.onto else {}
    if move.channels is not None:
        index, channels = move.channels, graph.type_of(move.source).shape[1]
        weight = np.zeros((len(index), channels, 1, 1), np.int8)
        inside = np.flatnonzero(index >= 0)
        weight[inside, index[inside]] = 1
        same, bias = scale_words(1.0), np.where(index >= 0, 0, move.fill).astype(np.int32)
        constants["weight"] = pack_conv_weights(weight, 1, design)
        constants["parameters"] = pack_parameters(bias, same, len(index), 1, design)
        if move.onto:
            constants["residual_parameters"] = pack_parameters(np.zeros(1, np.int32), same, len(index), 1, design)
    if move.source in graph.constants:
        constants["x"] = pack_activation(graph.constants[move.source], design)
    return constants


# -- operators that read each axis by itself ---------------------------------------------------------------------------------


def _by_axis(indices: Callable[[Mapping[str, Any], Shape, Node, Graph], list[list[np.ndarray]]]) -> Callable[..., list[Move]]:
    """indices: attributes and the input's image → for each output an array of each of its axes."""

    def moves(node: Node, graph: Graph, design: Design) -> list[Move]:
        a, shape = with_defaults(node.op, node.attributes), image_of(graph, node.inputs[0])
        fill = int(a.get("value", 0)) if node.op == "pad" else 0
        arrays = zip(node.outputs, indices(a, shape, node, graph), strict=True)
        return [m for y, index in arrays for m in _separable(node, node.inputs[0], y, shape, index, fill, design)]

    return moves


def _separable(
    node: Node, source: str, target: str, shape: Shape, indices: list[np.ndarray], fill: int, design: Design
) -> list[Move]:
    """A copy for each regular stretch of rows and columns, where channels stay in whole tiles; else a selection, where nothing
    but the channels moves."""
    whole = tuple(map(len, indices))
    stretches = [[(0, whole[0])], [(0, whole[1])], *(regular_stretches(indices[d], shape[d]) for d in (2, 3))]
    if prod(map(len, stretches)) > MOST_COPIES:
        raise CompileError(
            f"{node.op} goes along rows or columns in irregular steps", where=node.name,
            found=f"{prod(map(len, stretches))} regular stretches", expected=f"at most {MOST_COPIES}",
        )  # fmt: skip
    copies = []
    for part in product(*stretches):
        index = [index[first:end] for index, (first, end) in zip(indices, part, strict=True)]
        copies.append(copied(node, shape, index, tuple(first for first, _ in part), whole, fill, design))
    if all(workload is not None for workload in copies):
        return [Move(source, target, workload) for workload in copies if workload is not None]
    n, c, h, w = indices
    if not all(np.array_equal(index, np.arange(size)) for index, size in ((n, shape[0]), (h, shape[2]), (w, shape[3]))):
        raise CompileError(
            f"{node.op} moves channels within their blocks and pixels or images at once", where=node.name,
            found=f"{shape} to {whole}", expected=f"channels in multiples of {design.channel_block}",
        )  # fmt: skip
    return [Move(source, target, selection(node, len(c), shape, False, design), c, fill)]


def _full(shape: Shape) -> list[np.ndarray]:
    return [np.arange(size) for size in shape]


def _ranked(values: Any, fill: int) -> tuple[int, ...]:
    """One value for each axis of an image, from one for each axis of a tensor of two or four."""
    return (*values, fill, fill)[:4]


def _slice(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    rows = zip(_ranked(a["starts"], 0), _ranked(a["steps"], 1), _ranked(a["sizes"], 1), strict=True)
    return [[start + step * np.arange(size) for start, step, size in rows]]


def _split(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    axis = a["axis"] % len(graph.type_of(node.inputs[0]).shape)
    parts = []
    for start, size in zip(accumulate(a["sizes"], initial=0), a["sizes"], strict=False):
        indices = _full(shape)
        indices[axis] = np.arange(start, start + size)
        parts.append(indices)
    return parts


def _pad(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    widths = zip(_full(shape), _ranked(a["before"], 0), _ranked(a["after"], 0), strict=True)
    return [[np.pad(index, width, constant_values=OUTSIDE) for index, *width in widths]]


def _border_pad(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    widths = zip(shape, _ranked(a["before"], 0), _ranked(a["after"], 0), strict=True)
    return [[border_source(size, before, after, a["mode"]).astype(np.int64) for size, before, after in widths]]


def _repeat(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    return [[np.repeat(index, times) for index, times in zip(_full(shape), _ranked(a["repeats"], 1), strict=True)]]


def _tile(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    return [[np.tile(index, times) for index, times in zip(_full(shape), _ranked(a["repeats"], 1), strict=True)]]


def _expand(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    wanted = image_of(graph, node.outputs[0])
    return [[np.arange(have) if have == size else np.zeros(size, int) for have, size in zip(shape, wanted, strict=True)]]


def _gather(a: Mapping[str, Any], shape: Shape, node: Node, graph: Graph) -> list[list[np.ndarray]]:
    found = graph.constants.get(node.inputs[1])
    axis = a["axis"] % len(graph.type_of(node.inputs[0]).shape)
    if found is None or found.ndim != 1:
        raise CompileError("what is looked up is no constant list", where=node.name, found=node.inputs[1])
    indices = _full(shape)
    indices[axis] = np.where(found < 0, found + shape[axis], found).astype(np.int64).clip(0, shape[axis] - 1)
    return [indices]


# -- operators of their own --------------------------------------------------------------------------------------------------


def _concat(node: Node, graph: Graph, design: Design) -> list[Move]:
    """Each input copied to its place; or, where channels begin inside a block, added there to what lies before."""
    whole, target = image_of(graph, node.outputs[0]), node.outputs[0]
    axis = node.attributes["axis"] % len(graph.type_of(target).shape)
    shapes = [image_of(graph, name) for name in node.inputs]
    starts = list(accumulate((shape[axis] for shape in shapes), initial=0))
    copies = []
    for name, shape, start in zip(node.inputs, shapes, starts, strict=False):
        offset = tuple(start if d == axis else 0 for d in range(4))
        copies.append((name, copied(node, shape, _full(shape), offset, whole, 0, design)))
    if all(workload is not None for _, workload in copies):
        return [Move(name, target, workload) for name, workload in copies if workload is not None]
    if axis != 1:
        raise CompileError(
            "images are concatenated inside a tile", where=node.name, found=[shape[0] for shape in shapes],
            expected=f"multiples of {design.gemm.batch}",
        )  # fmt: skip
    moves = []
    for k, (name, shape, start) in enumerate(zip(node.inputs, shapes, starts, strict=False)):
        indices = np.full(whole[1], OUTSIDE)
        indices[start : start + shape[1]] = np.arange(shape[1])
        moves.append(Move(name, target, selection(node, whole[1], shape, k > 0, design), indices, onto=k > 0))
    return moves


def _reshape(node: Node, graph: Graph, design: Design) -> list[Move]:
    before, after = (image_of(graph, name) for name in (node.inputs[0], node.outputs[0]))
    if before[:2] != after[:2]:
        raise CompileError("a reshape moves channels to other tiles", where=node.name, found=f"{before} to {after}")
    n, c = in_tiles(before, design)[:2]
    tiles = n * c * before[2] * before[3]
    return [Move(node.inputs[0], node.outputs[0], CopyWorkload((tiles,), (CopyAxis(tiles, 0),)))]


def _transpose(node: Node, graph: Graph, design: Design) -> list[Move]:
    order = node.attributes["permutation"]
    shape = image_of(graph, node.inputs[0])
    if tuple(order) not in ((0, 1), (0, 1, 2, 3), (0, 1, 3, 2)):
        raise CompileError("a transpose moves channels out of their tiles", where=node.name, found=tuple(order))
    source = in_tiles(shape, design)
    axes = tuple(CopyAxis(source[m], m) for m in _ranked(order, 0)[:2] + ((3, 2) if tuple(order[2:]) == (3, 2) else (2, 3)))
    return [Move(node.inputs[0], node.outputs[0], simplified(CopyWorkload(source, axes)))]


def _rearrange(node: Node, graph: Graph, design: Design) -> list[Move]:
    """Parts of an axis are axes of their own; the innermost part of the channels is whole tiles, and stays innermost."""
    before, after = (image_of(graph, name) for name in (node.inputs[0], node.outputs[0]))
    parts, order = list(node.attributes["parts"]), tuple(node.attributes["order"])
    of_source, of_target = pieces(before, tuple(parts)), pieces(after, tuple(parts[i] for i in order))
    images, channels = list(of_source[0]), list(of_source[1])
    kept = [[order[place] for place in of_target[d]] for d in (0, 1)]
    alone = len(channels) == 1 == len(kept[1])
    if images != kept[0] or len(images) > 1 or channels[-1:] != kept[1][-1:]:
        raise CompileError("images or channels are moved out of their tiles", where=node.name, found=f"{before} to {after}")
    if channels and parts[channels[-1]] % design.channel_block and not alone:
        raise CompileError(
            "channels that are moved share tiles", where=node.name, found=parts[channels[-1]],
            expected=f"a multiple of {design.channel_block}",
        )  # fmt: skip
    for place, block in ((images[-1:], design.gemm.batch), (channels[-1:], design.channel_block)):
        for part in place:
            parts[part] = ceil_div(parts[part], block)
    axes = tuple(CopyAxis(parts[part], part) for part in order)
    return [Move(node.inputs[0], node.outputs[0], simplified(CopyWorkload(tuple(parts), axes)))]


def _depth_to_space(node: Node, graph: Graph, design: Design) -> list[Move]:
    n, c, h, w = image_of(graph, node.inputs[0])
    rows, columns = node.attributes["blocks"]
    each, block = c // (rows * columns), design.channel_block
    if each % block and rows * columns > 1:
        raise CompileError(
            "the pixels of a block share tiles", where=node.name, found=f"{each} channels of each",
            expected=f"a multiple of {block}",
        )  # fmt: skip
    n, blocks = ceil_div(n, design.gemm.batch), ceil_div(each, block)
    order = ((n, 0), (blocks, 3), (h, 4), (rows, 1), (w, 5), (columns, 2))
    axes = tuple(CopyAxis(extent, m) for extent, m in order)
    return [Move(node.inputs[0], node.outputs[0], simplified(CopyWorkload((n, rows, columns, blocks, h, w), axes)))]


MOVING: dict[str, Callable[[Node, Graph, Design], list[Move]]] = {
    "concat": _concat,
    "reshape": _reshape,
    "transpose": _transpose,
    "depth_to_space": _depth_to_space,
    "rearrange": _rearrange,
    "slice": _by_axis(_slice),
    "split": _by_axis(_split),
    "pad": _by_axis(_pad),
    "border_pad": _by_axis(_border_pad),
    "repeat": _by_axis(_repeat),
    "tile": _by_axis(_tile),
    "expand": _by_axis(_expand),
    "gather": _by_axis(_gather),
}
"""Operators that only move levels → their kernels."""


# -- from indices to kernels -------------------------------------------------------------------------------------------------


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


def selection(node: Node, channels: int, shape: Shape, onto: bool, design: Design) -> ConvWorkload:
    """A 1×1 convolution by zeros and ones from an image of `shape` to one of as many channels. Raises `CompileError` where its
    weights, nearly all zeros, would be many."""
    batch, blocks, h, w = in_tiles(shape, design)
    out_blocks = ceil_div(channels, design.channel_block)
    if blocks * out_blocks > MOST_SELECTING:
        raise CompileError(
            f"{node.op} moves many channels within their blocks", where=node.name, found=f"{shape[1]} channels to {channels}",
            expected=f"at most {MOST_SELECTING} tiles of weights that select, not {blocks * out_blocks}",
        )  # fmt: skip
    return ConvWorkload(batch, 1, blocks, out_blocks, h, w, residual=onto)
