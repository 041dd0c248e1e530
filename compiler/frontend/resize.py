"""Resize and Upsample: each axis by itself, from which elements and with which weights being tables made here.

An axis of nearest neighbours is a slice, a repetition or a lookup, of any dtype; one of weighted sums is `interpolate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder, check_size
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.slicing import emit_slice
from vdla.compiler.frontend.values import Value
from vdla.compiler.operators.operator import ANY, FLOAT, NUMBER
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize",
    "tf_half_pixel_for_nn",
)  # fmt: skip
ROUNDING = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
POLICIES = ("stretch", "not_larger", "not_smaller")


@dataclass(frozen=True)
class Axis:
    """How one axis is resized: `size` elements to `output`. start, end: of the region, for tf_crop_and_resize."""

    number: int
    size: int
    output: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def changes(self) -> bool:
        same = math.isclose(self.scale, 1.0) and self.output == self.size
        return not (same and math.isclose(self.start, 0.0) and math.isclose(self.end, 1.0))


@dataclass(frozen=True)
class Filter:
    """What an element of the output is: kind is nearest, linear or cubic."""

    kind: str
    coordinates: str = "asymmetric"
    rounding: str = "floor"
    cubic: float = -0.75
    antialias: bool = False
    exclude_outside: bool = False
    extrapolation: float = 0.0


def positions(axis: Axis, mode: str) -> np.ndarray:
    """Where each element of the output lies among the input's, as ONNX has it: `width` may be a fraction."""
    x: np.ndarray = np.arange(axis.output, dtype=np.float64)
    width = axis.scale * axis.size
    if mode == "asymmetric":
        return x / axis.scale
    if mode == "align_corners":
        return x * 0 if width == 1 else x * (axis.size - 1) / (width - 1)
    if mode == "tf_crop_and_resize":
        extent = (axis.end - axis.start) * (axis.size - 1)
        return axis.start * (axis.size - 1) + (x * extent / (width - 1) if width != 1 else x * 0 + extent / 2)
    if mode == "tf_half_pixel_for_nn":  # opsets 11 and 12
        return (x + 0.5) / axis.scale
    if mode == "pytorch_half_pixel" and axis.output <= 1:
        return x * 0
    offset = axis.size / 2 * (1 - axis.output / width) if mode == "half_pixel_symmetric" else 0.0
    return offset + (x + 0.5) / axis.scale - 0.5


def nearest(position: np.ndarray, rounding: str) -> np.ndarray:
    """Whole numbers; halves go down or up."""
    if rounding.startswith("round"):
        position = position + (0.5 if rounding == "round_prefer_ceil" else -0.5)
    return (np.ceil if rounding in ("ceil", "round_prefer_floor") else np.floor)(position).astype(np.int64)


def kernel(distance: np.ndarray, how: Filter) -> np.ndarray:
    """The weight of an element that far away: a triangle, or Keys' cubic convolution (ieeexplore.ieee.org/document/1163711)."""
    d, a = np.abs(distance), how.cubic
    if how.kind == "linear":
        return np.maximum(1 - d, 0)
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def taps(axis: Axis, how: Filter) -> tuple[np.ndarray, np.ndarray]:
    """Of each element of the output, the elements it is a sum of, and their weights: two arrays (output, taps).

    Antialiasing widens the kernel by 1 / scale where that is above 1. Raises `ModelError` when all weights are outside.
    """
    position = positions(axis, how.coordinates)
    reach = {"linear": 1, "cubic": 2}[how.kind]
    shrink = min(axis.scale, 1.0) if how.antialias else 1.0
    first = math.floor(-reach / shrink) + 1
    base = np.ceil(position) - 1  # the left neighbour, even of a whole number
    index = base[:, None].astype(np.int64) + np.arange(first, 2 - first)
    weight = kernel((index - position[:, None]) * shrink, how)
    if how.antialias:
        weight = weight / weight.sum(1, keepdims=True)
    if how.exclude_outside:
        weight = np.where((index < 0) | (index >= axis.size), 0, weight)
        total = weight.sum(1, keepdims=True)
        if not total.all():
            raise ModelError("exclude_outside of Resize leaves nothing", found=f"{axis.size} to {axis.output} elements")
        weight = weight / total
    return np.clip(index, 0, axis.size - 1), weight


def emit_nearest(builder: GraphBuilder, x: Value, axes: list[Axis], how: Filter) -> Value:
    """Copies, by the simplest operator that makes them."""
    repeats = [1] * len(x.shape)
    for axis in axes:
        source = np.clip(nearest(positions(axis, how.coordinates), how.rounding), 0, axis.size - 1)
        factor, steps = max(axis.output // axis.size, 1), np.unique(np.diff(source))
        if axis.output == factor * axis.size and (source == np.arange(axis.output) // factor).all():
            repeats[axis.number] = factor
        elif len(steps) == 1 and steps[0] > 0:
            region = [slice(0, n, 1) for n in x.shape]
            region[axis.number] = slice(int(source[0]), int(source[-1]) + 1, int(steps[0]))
            x = emit_slice(builder, x, region, "every")
        else:
            x = builder.emit("gather", [x, builder.constant(source)], suffix="lookup", axis=axis.number)
    return builder.emit("repeat", [x], repeats=tuple(repeats)) if max(repeats, default=1) > 1 else x


def emit_filtered(builder: GraphBuilder, given: Value, axes: list[Axis], how: Filter) -> Value:
    """Weighted sums; of integers in float32, rounded and kept in their range.

    The last axis, whose taps are not neighbours in memory, comes first where it grows and last where it shrinks.
    """
    x = given if given.dtype in FLOAT else builder.converted(given, "float32")
    grows = bool(axes) and axes[-1].output > axes[-1].size
    for axis in reversed(axes) if grows else axes:
        index, weight = taps(axis, how)
        tables = builder.constant(index.astype(np.int32)), builder.constant(weight.astype(x.type.numpy_dtype))
        x = builder.emit("interpolate", [x, *tables], suffix=f"axis{axis.number}", axis=axis.number)
    return x if given.dtype in FLOAT else rounded_to(builder, x, given.dtype)


def rounded_to(builder: GraphBuilder, x: Value, dtype: str) -> Value:
    low, high = ELEMENT_TYPES[dtype].range
    if high > 1 << 24:  # float32 has not all of these: the nearest that it has below
        low, high = -(1 << 31), (1 << 31) - (1 << 7)
    clipped = builder.emit("clip", [builder.emit("round", [x])], low=float(low), high=float(high))
    return builder.converted(clipped, dtype)


def emit_resize(builder: GraphBuilder, x: Value, axes: list[Axis], how: Filter) -> Value:
    """What lies outside the image in tf_crop_and_resize is one number."""
    check_size(tuple(axis.output for axis in axes), "Resize gives a tensor of impossible size")
    changed = [axis for axis in axes if axis.changes]
    if not all(axis.output and axis.size for axis in axes):
        raise ModelError("Resize of nothing, or to nothing", found=f"{x.shape} to {[a.output for a in axes]}")
    y = (emit_nearest if how.kind == "nearest" else emit_filtered)(builder, x, changed, how)
    if how.coordinates != "tf_crop_and_resize":
        return y
    outside = np.zeros(y.shape, bool)
    for axis in changed:
        position = positions(axis, how.coordinates)
        beyond = (position < 0) | (position > axis.size - 1)
        outside |= beyond.reshape(-1, *[1] * (len(y.shape) - axis.number - 1))
    if not outside.any():
        return y
    return builder.emit("where", [builder.constant(outside), builder.scalar(how.extrapolation, y.dtype), y], suffix="crop")


def resize(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Opset 10 has scales alone, and positions without half pixels."""
    x = node.input(0, ANY)
    if node.opset < 11:
        how = Filter(checked(node, "mode", ("nearest", "linear"), "nearest"))
        return emit_resize(builder, x, scaled_axes(node, x, scales_of(node, 1), range(len(x.shape))), how)
    how = Filter(
        checked(node, "mode", ("nearest", "linear", "cubic"), "nearest"),
        checked(node, "coordinate_transformation_mode", COORDINATES, "half_pixel"),
        checked(node, "nearest_mode", ROUNDING, "round_prefer_floor"),
        node.float_("cubic_coeff_a", -0.75),
        node.int_("antialias", 0) != 0,
        node.int_("exclude_outside", 0) != 0,
        node.float_("extrapolation_value", 0.0),
    )
    if how.kind != "nearest":
        node.input(0, NUMBER)
    if how.kind == "nearest" and (how.antialias or how.exclude_outside):
        raise ModelError("nearest neighbours have no weights", found="antialias or exclude_outside", expected="linear or cubic")
    rank = len(x.shape)
    places = [node.axis(a, rank) for a in node.ints("axes") or range(rank)]
    if len(set(places)) != len(places):
        raise ModelError("axes of Resize repeat", found=places)
    axes = regions(node, sized_axes(node, x, places), how.coordinates)
    return emit_resize(builder, x, axes, how)


def checked(node: OnnxNode, name: str, options: tuple[str, ...], default: str) -> str:
    found = node.string(name, default)
    if found not in options:
        raise ModelError(f"unknown {name} of {node.op}", found=found, expected=" or ".join(options))
    return found


def scales_of(node: OnnxNode, index: int) -> list[float]:
    scales = [float(s) for s in node.array(index, "scales").ravel()]
    if not all(0 < s < math.inf for s in scales):
        raise ModelError(f"scales of {node.op} are not positive numbers", found=scales)
    return scales


def scaled_axes(node: OnnxNode, x: Value, scales: list[float], places: range | list[int]) -> list[Axis]:
    """The product is rounded to float32 first, so that a scale which is no float32 still gives the size that was meant."""
    if len(scales) != len(places):
        raise ModelError(f"scales of {node.op} do not fit its axes", found=len(scales), expected=str(len(places)))
    return sorted(
        (Axis(d, x.shape[d], int(np.float32(s) * np.float32(x.shape[d])), s) for d, s in zip(places, scales, strict=True)),
        key=lambda axis: axis.number,
    )


def sized_axes(node: OnnxNode, x: Value, places: list[int]) -> list[Axis]:
    """From `sizes`, if there are any, else from `scales`; sizes may be limits, of which one is met."""
    policy = checked(node, "keep_aspect_ratio_policy", POLICIES, "stretch")
    if not node.has(3) or not node.array(3, "sizes").size:
        return scaled_axes(node, x, scales_of(node, 2), places)
    sizes = node.integers(3, "sizes")
    if len(sizes) != len(places) or min(sizes, default=1) < 0:
        raise ModelError("sizes of Resize do not fit its axes", found=sizes, expected=f"{len(places)} numbers")
    scales = [size / x.shape[d] if x.shape[d] else 1.0 for size, d in zip(sizes, places, strict=True)]
    if policy != "stretch":
        scales = [(min if policy == "not_larger" else max)(scales)] * len(places)
        sizes = tuple(math.floor(scale * x.shape[d] + 0.5) for scale, d in zip(scales, places, strict=True))
    found = (Axis(d, x.shape[d], size, scale) for d, size, scale in zip(places, sizes, scales, strict=True))
    return sorted(found, key=lambda axis: axis.number)


def regions(node: OnnxNode, axes: list[Axis], coordinates: str) -> list[Axis]:
    """With the starts and ends that `roi` gives for the axes in their order of `axes`. ONNX has no sizes of scaled regions."""
    if coordinates != "tf_crop_and_resize":
        return axes
    roi = [float(v) for v in node.array(1, "roi").ravel()]
    order = [node.axis(a, len(node.input(0, ANY).shape)) for a in node.ints("axes") or range(len(axes))]
    if len(roi) != 2 * len(order):
        raise ModelError("roi of Resize does not fit its axes", found=roi, expected=f"{2 * len(order)} numbers")
    bounds = {d: (roi[i], roi[i + len(order)]) for i, d in enumerate(order)}
    found = [Axis(a.number, a.size, a.output, a.scale, *bounds[a.number]) for a in axes]
    if not node.has(3) and any(a.end - a.start != 1 for a in found):
        raise ModelError("Resize of a region by scales is not supported", found=roi, expected="sizes")
    return found


def upsample(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Scales are an attribute before opset 9."""
    x = node.input(0, ANY)
    how = Filter(checked(node, "mode", ("nearest", "linear"), "nearest"))
    if node.opset < 9:
        scales = list(node.floats("scales") or ())
        if any(s < 1 for s in scales):
            raise ModelError("scales of Upsample are below 1", found=scales)
    else:
        scales = scales_of(node, 1)
    if how.kind != "nearest":
        node.input(0, NUMBER)
    return emit_resize(builder, x, scaled_axes(node, x, scales, range(len(x.shape))), how)


IMPORTERS: dict[str, Importer] = {"Resize": resize, "Upsample": upsample}
