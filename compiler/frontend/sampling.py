"""Operators that sample an image where other data says: GridSample, AffineGrid, RoiAlign."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.indexing import INDEX
from vdla.compiler.operators.operator import FLOAT
from vdla.errors import ModelError

GRID_MODES = {"nearest": "nearest", "linear": "linear", "cubic": "cubic", "bilinear": "linear", "bicubic": "cubic"}


def grid_sample(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Opset 16 has other names of the modes."""
    x, grid = node.input(0), node.input(1)
    mode, padding = node.string("mode", "linear"), node.string("padding_mode", "zeros")
    if mode not in GRID_MODES or padding not in ("zeros", "border", "reflection"):
        raise ModelError("unknown mode of GridSample", found=f"{mode}, {padding}", expected=", ".join(GRID_MODES))
    align = node.int_("align_corners", 0) != 0
    places = builder.converted(grid, x.dtype)
    return builder.emit("grid_sample", [x, places], mode=GRID_MODES[mode], padding=padding, align_corners=align)


def affine_grid(builder: GraphBuilder, node: OnnxNode) -> Value:
    """theta (N, d, d + 1) times every place of an image of `size` (N, C, …), whose corners or corner pixels are at ±1."""
    theta, size = node.input(0), node.integers(1, "size")
    align = node.int_("align_corners", 0) != 0
    spatial = size[2:]
    rank = len(spatial)
    if rank not in (2, 3) or theta.shape != (size[0], rank, rank + 1) or min(size) < 1:
        raise ModelError("theta does not fit the size", found=f"{theta.shape} for {size}", expected="(N, 2, 3) or (N, 3, 4)")
    axes = [centres(n, align) for n in spatial]
    places = np.stack([*reversed(np.meshgrid(*axes, indexing="ij")), np.ones(spatial)], axis=0)
    flat = builder.constant(places.reshape(rank + 1, -1).astype(theta.type.numpy_dtype))
    moved = builder.emit("matmul", [theta, flat])
    last = builder.emit("transpose", [moved], permutation=(0, 2, 1))
    return builder.emit("reshape", [last], shape=(size[0], *spatial, rank))


def centres(count: int, align: bool) -> np.ndarray:
    """Of pixels between -1 and 1, or (align) of pixels of which the outer ones lie there; a lone one lies at -1 then."""
    steps = np.arange(count)
    return -1 + steps * (2 / max(count - 1, 1)) if align else -1 + (steps + 0.5) * (2 / count)


def roi_align(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Before opset 16 boxes have no half pixels."""
    x, rois, batch = node.image(0, FLOAT), node.input(1), node.input(2, INDEX)
    coordinates = node.string("coordinate_transformation_mode", "half_pixel") if node.opset >= 16 else "output_half_pixel"
    mode = node.string("mode", "avg")
    if coordinates not in ("half_pixel", "output_half_pixel") or mode not in ("avg", "max"):
        raise ModelError("unknown mode of RoiAlign", found=f"{coordinates}, {mode}")
    return builder.emit(
        "roi_align",
        [x, builder.converted(rois, x.dtype), batch],
        size=(node.int_("output_height", 1), node.int_("output_width", 1)),
        samples=node.int_("sampling_ratio", 0),
        scale=node.float_("spatial_scale", 1.0),
        max=mode == "max",
        half_pixel=coordinates == "half_pixel",
    )


IMPORTERS: dict[str, Importer] = {"GridSample": grid_sample, "AffineGrid": affine_grid, "RoiAlign": roi_align}
