"""Operators that take parts of a tensor, pad it, repeat it or lay it out anew: Slice, Pad, Tile, Expand, DepthToSpace …"""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import ANY, NUMBER
from vdla.errors import ModelError

Shape = tuple[int, ...]


def slice_(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Attributes before opset 10, inputs from then on."""
    x = node.input(0, ANY)
    rank = len(x.shape)
    if node.opset < 10:
        starts, ends, axes, steps = node.ints("starts") or (), node.ints("ends") or (), node.ints("axes"), None
    else:
        starts, ends = node.integers(1, "starts"), node.integers(2, "ends")
        axes = node.integers(3, "axes") if node.has(3) else None
        steps = node.integers(4, "steps") if node.has(4) else None
    places = tuple(range(len(starts))) if axes is None else tuple(node.axis(a, rank) for a in axes)
    steps = (1,) * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(steps) == len(places) or len(set(places)) != len(places) or 0 in steps:
        found = f"starts {starts}, ends {ends}, axes {axes}, steps {steps}"
        raise ModelError("Slice of what is no region", found=found, expected="one of each for each of different axes")
    if max(places, default=-1) >= rank:
        raise ModelError("Slice has more starts than dimensions", found=starts, expected=f"at most {rank}")
    region = [slice(0, n, 1) for n in x.shape]
    for axis, start, end, step in zip(places, starts, ends, steps, strict=True):
        region[axis] = slice(*slice_bounds(start, end, step, x.shape[axis]))
    return emit_slice(builder, x, region)


def slice_bounds(start: int, end: int, step: int, size: int) -> tuple[int, int, int]:
    """ONNX's numbers, which may count from the end or lie outside, as those of Python's `range`."""
    start, end = (value + size if value < 0 else value for value in (start, end))
    low, high = (0, size) if step > 0 else (-1, size - 1)
    return min(max(start, 0), high), min(max(end, low), high), step


def emit_slice(builder: GraphBuilder, x: Value, region: list[slice], suffix: str = "") -> Value:
    """x at the positions of range(start, stop, step) along each axis; x itself where that is all of it."""
    positions = [range(part.start, part.stop, part.step) for part in region]
    if all(list(p[:2]) == [0, 1][: len(p)] and len(p) == n for p, n in zip(positions, x.shape, strict=True)):
        return x
    starts, steps, sizes = zip(*((p.start if len(p) else 0, p.step, len(p)) for p in positions), strict=True)
    return builder.emit("slice", [x], suffix=suffix, starts=starts, steps=steps, sizes=sizes)


def pad(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Attributes `pads` and `value` before opset 11, inputs from then on; `axes` from opset 18. Negative pads cut off."""
    x = node.input(0, ANY)
    rank = len(x.shape)
    mode = node.string("mode", "constant")
    value: float | int = 0
    if node.opset < 11:
        pads, value = node.ints("pads" if node.opset > 1 else "paddings") or (), node.float_("value", 0.0)
    else:
        pads = node.integers(1, "pads")
        value = node.array(2, "constant_value").ravel()[0].item() if node.has(2) else 0
    axes = tuple(node.axis(a, rank) for a in node.integers(3, "axes")) if node.has(3) else tuple(range(rank))
    if len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise ModelError("pads of Pad do not fit", found=pads, expected=f"{2 * len(axes)} numbers")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    return emit_pad(builder, x, tuple(before), tuple(after), mode, value)


def emit_pad(builder: GraphBuilder, x: Value, before: Shape, after: Shape, mode: str, value: float) -> Value:
    """x, cut where a pad is negative, then padded where one is positive."""
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise ModelError("unknown mode of Pad", found=mode, expected="constant, reflect, edge or wrap")
    region = [slice(max(-b, 0), n + min(e, 0), 1) for n, b, e in zip(x.shape, before, after, strict=True)]
    if any(part.stop < part.start for part in region):
        raise ModelError("Pad cuts off more than there is", found=f"{before} and {after} of {x.shape}")
    x = emit_slice(builder, x, region, "cut")
    before, after = (tuple(max(p, 0) for p in pads) for pads in (before, after))
    if not any((*before, *after)):
        return x
    if mode != "constant":
        if any(n == 0 and (b or e) for n, b, e in zip(x.shape, before, after, strict=True)):
            raise ModelError(f"Pad by {mode} of a dimension without elements", found=x.shape)
        return builder.emit("border_pad", [x], before=before, after=after, mode=mode)
    if x.dtype == "bool":
        value = int(value)
    return builder.emit("pad", [x], before=before, after=after, value=value)


def tile(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Before opset 6: repeats of one axis."""
    x = node.input(0, ANY)
    repeats = node.integers(1, "repeats")
    if node.opset < 6:
        axis = node.axis(node.integers(2, "axis")[0], len(x.shape))
        repeats = tuple(repeats[0] if d == axis else 1 for d in range(len(x.shape)))
    if len(repeats) != len(x.shape):
        raise ModelError("repeats of Tile do not fit", found=repeats, expected=f"one for each dimension of {x.shape}")
    return x if all(r == 1 for r in repeats) else builder.emit("tile", [x], repeats=repeats)


def expand(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Both ways: the shape may have ones where the input has more."""
    x = node.input(0, ANY)
    return emit_expand(builder, x, broadcast(x.shape, node.integers(1, "shape")))


def broadcast(shape: Shape, other: Shape) -> Shape:
    """Raises `ModelError`."""
    try:
        return tuple(np.broadcast_shapes(shape, other))
    except ValueError:
        raise ModelError("shapes do not broadcast", found=f"{shape} and {other}") from None


def emit_expand(builder: GraphBuilder, x: Value, shape: Shape, suffix: str = "") -> Value:
    return x if shape == x.shape else builder.emit("expand", [x], suffix=suffix, shape=shape)


def blocks_of(node: OnnxNode) -> tuple[int, bool]:
    """Block size, and whether a pixel's place in its block varies slower than the channel (DCR) or faster (CRD)."""
    block, mode = node.int_("blocksize", 0), node.string("mode", "DCR")
    if block < 1 or mode not in ("DCR", "CRD"):
        found = f"blocksize {block}, mode {mode}"
        raise ModelError(f"unknown blocks of {node.op}", found=found, expected="a positive size; DCR or CRD")
    return block, mode == "DCR"


def depth_to_space(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Channels become blocks of pixels."""
    x, (block, slow) = node.image(0, ANY), blocks_of(node)
    n, c, h, w = x.shape
    depth = c // (block * block)
    if depth * block * block != c:
        raise ModelError("DepthToSpace does not fit its input", found=f"{c} channels", expected=f"a multiple of {block}²")
    split, order = ((block, block, depth), (0, 3, 4, 1, 5, 2)) if slow else ((depth, block, block), (0, 1, 4, 2, 5, 3))
    return rearranged(builder, x, (n, *split, h, w), order, (n, depth, h * block, w * block))


def space_to_depth(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Blocks of pixels become channels."""
    x, (block, slow) = node.image(0, ANY), blocks_of(node)
    n, c, h, w = x.shape
    if h % block or w % block:
        raise ModelError(
            "SpaceToDepth does not fit its input", found=x.shape, expected=f"height and width in blocks of {block}"
        )
    high, wide = h // block, w // block
    order = (0, 3, 5, 1, 2, 4) if slow else (0, 1, 3, 5, 2, 4)
    return rearranged(builder, x, (n, c, high, block, wide, block), order, (n, c * block * block, high, wide))


def rearranged(builder: GraphBuilder, x: Value, split: Shape, order: Shape, joined: Shape) -> Value:
    """Dimensions split, permuted and joined again."""
    parts = builder.emit("reshape", [x], suffix="split", shape=split)
    return builder.emit("reshape", [builder.emit("transpose", [parts], suffix="permute", permutation=order)], shape=joined)


def trilu(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ANY)
    k = int(node.array(1, "k").ravel()[0]) if node.has(1) else 0
    limit = max(x.shape[-2:], default=0) + 1
    return builder.emit("trilu", [x], upper=node.int_("upper", 1) != 0, k=min(max(k, -limit), limit))


def center_crop_pad(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Each axis cut or zero-padded to a size round its middle; an odd element more goes behind."""
    x = node.input(0, ANY)
    rank, sizes = len(x.shape), node.integers(1, "shape")
    axes = tuple(node.axis(a, rank) for a in node.ints("axes") or range(rank))
    if len(sizes) != len(axes) or len(set(axes)) != len(axes):
        raise ModelError("shape of CenterCropPad does not fit its axes", found=f"{sizes} for {axes}")
    before, after = [0] * rank, [0] * rank
    for axis, size in zip(axes, sizes, strict=True):
        more = size - x.shape[axis]
        before[axis] = more // 2 if more > 0 else -(-more // 2)
        after[axis] = more - before[axis]
    return emit_pad(builder, x, tuple(before), tuple(after), "constant", 0)


def col2im(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Sums of sliding blocks; of narrow integers as they wrap."""
    x, image, block = node.input(0, NUMBER), node.integers(1, "image_shape"), node.integers(2, "block_shape")
    return builder.emit(
        "columns_to_image",
        [x],
        image=image,
        block=block,
        strides=node.ints("strides") or (),
        pads=node.ints("pads") or (),
        dilations=node.ints("dilations") or (),
    )


IMPORTERS: dict[str, Importer] = {
    "Slice": slice_,
    "Pad": pad,
    "Tile": tile,
    "Expand": expand,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Trilu": trilu,
    "CenterCropPad": center_crop_pad,
    "Col2Im": col2im,
}
