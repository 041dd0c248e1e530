"""QuantizeLinear, DequantizeLinear and what holds them: QLinearConv, QLinearMatMul, DynamicQuantizeLinear.

Of int8 and uint8 with a constant scale for the tensor, or of weights for each channel, they are `quantize` and `dequantize`,
which the quantiser and the accelerator know; uint8 is then held as levels, int8 less 128. Everything else is arithmetic: other
types, a scale for each channel or block of an activation, scales that are computed. int32 biases become float constants; the
quantiser finds the integers again from the scales beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from vdla.arithmetic import ceil_div
from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.convolution import emit_convolution
from vdla.compiler.frontend.dense import product
from vdla.compiler.frontend.inputs import element_type
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.slicing import emit_slice
from vdla.compiler.frontend.values import Value
from vdla.compiler.frontend.window import maps
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import ModelError

NARROW = ("int8", "uint8")
BYTES = ("int8", "uint8", "int4", "uint4", "int2", "uint2")
"""Of whose weights int8 holds every level."""
INTEGERS = ("int8", "uint8", "int16", "uint16", "int4", "uint4", "int2", "uint2")
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
QUANTISED = (*INTEGERS, *FLOAT8, "float4_e2m1fn")
SCALES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Grid:
    """The scale and zero point (None: zero) of a tensor: one for all, or for each index of `axis`, or each `block` along it."""

    scale: Value
    zero_point: Value | None
    axis: int
    block: int = 0

    @cached_property
    def known(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale float32 and zero point int64, of one dimension, where `quantize` and `dequantize` can have them."""
        scale, zero_point = self.scale.constant, None if self.zero_point is None else self.zero_point.constant
        if scale is None or (self.zero_point is not None and zero_point is None):
            return None
        if self.block or scale.ndim > 1 or scale.dtype != np.float32 or not is_positive(scale):
            return None
        return scale.ravel(), np.zeros(1, np.int64) if zero_point is None else zero_point.ravel().astype(np.int64)

    @property
    def of_weights(self) -> bool:
        """Whether both are constants of one dimension at most, no scale negative: what `dequantize` takes of a constant."""
        scale, zero_point = self.scale.constant, self.zero_point
        if scale is None or (zero_point is not None and zero_point.constant is None) or self.block:
            return False
        return scale.ndim < 2 and scale.dtype == np.float32 and bool((scale >= 0).all())


def is_positive(scale: np.ndarray) -> bool:
    wide = scale.astype(np.float64)
    return bool(scale.size and np.isfinite(wide).all() and (wide > 0).all())


def dequantize_linear(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, (*QUANTISED, "int32"))
    number = node.int_("output_dtype", 0)
    grid = grid_of(node, x, (1, 2), node.int_("axis", 1), node.int_("block_size", 0))
    dtype = named_type(node, "output_dtype", number, SCALES) if number else grid.scale.dtype
    return emit_dequantize(builder, node, x, grid, dtype)


def quantize_linear(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, ("float32", "int32"))
    saturate, number = node.int_("saturate", 1) != 0, node.int_("precision", 0)
    dtype = output_dtype(node, 2, node.int_("output_dtype", 0))
    grid = grid_of(node, x, (1, 2), node.int_("axis", 1), node.int_("block_size", 0), dtype)
    precision = named_type(node, "precision", number, SCALES) if number else grid.scale.dtype
    return emit_quantize(builder, node, x, grid, dtype, precision, saturate)


def qlinear_conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    """dequantize both, convolve, quantize; the bias is in units of x's scale times w's."""
    x = dequantize(builder, node, maps(node, 0, NARROW), (1, 2), 1, suffix="dequantize_x")
    w = dequantize(builder, node, node.input(3, NARROW), (4, 5), 0, suffix="dequantize_w")
    bias = None
    if node.has(8):
        unit = scale_of(node, 1).astype(np.float64) * scale_of(node, 4).astype(np.float64)
        bias = builder.constant((node.array(8, "bias") * unit.ravel()).astype(np.float32), builder.fresh(f"{node.name}.bias"))
    y = emit_convolution(builder, node, x, w, bias)
    return quantize(builder, node, y, (6, 7), output_dtype(node, 7, 0), 1, suffix="quantize")


def qlinear_matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    a = dequantize(builder, node, node.input(0, NARROW), (1, 2), -2, suffix="dequantize_a")
    b = dequantize(builder, node, node.input(3, NARROW), (4, 5), -1, suffix="dequantize_b")
    y = product(builder, a, b)
    return quantize(builder, node, y, (6, 7), output_dtype(node, 7, 0), 1, suffix="quantize")


def dequantize(builder: GraphBuilder, node: OnnxNode, x: Value, inputs: tuple[int, int], axis: int, suffix: str = "") -> Value:
    """(x - zero point) · scale in float32, the scale and zero point being the node's `inputs`."""
    return emit_dequantize(builder, node, x, grid_of(node, x, inputs, axis, 0), "float32", suffix)


def quantize(
    builder: GraphBuilder, node: OnnxNode, x: Value, inputs: tuple[int, int], dtype: str, axis: int, suffix: str = ""
) -> Value:
    """clip(round(x / scale) + zero point), the scale and zero point being the node's `inputs`."""
    grid = grid_of(node, x, inputs, axis, 0, dtype)
    return emit_quantize(builder, node, x, grid, dtype, "float32", saturate=True, suffix=suffix)


def grid_of(node: OnnxNode, x: Value, inputs: tuple[int, int], axis: int, block: int, dtype: str = "") -> Grid:
    """A scale and a zero point of `dtype`, or x's, that fit x; that of floats must be zero. Raises `ModelError`."""
    scale = node.input(inputs[0], SCALES)
    zero_point = node.optional(inputs[1], (*QUANTISED, "int32"))
    if zero_point is not None and zero_point.dtype != (dtype or x.dtype):
        found = f"{zero_point.dtype} and {dtype or x.dtype}"
        raise ModelError(f"zero point and data of {node.op} differ in dtype", found=found)
    if zero_point is not None and zero_point.shape != scale.shape and {zero_point.type.elements, scale.type.elements} != {1}:
        found = f"{zero_point.shape} and {scale.shape}"
        raise ModelError(f"zero point and scale of {node.op} differ in shape", found=found)
    if zero_point is not None and ELEMENT_TYPES[zero_point.dtype].is_float:
        if node.array(inputs[1], "zero point").astype(np.float32).any():
            raise ModelError(f"zero point of {node.op} of {zero_point.dtype}", found=zero_point.name, expected="zero")
        zero_point = None
    if scale.type.elements == 1:
        return Grid(scale, zero_point, 0)
    axis = node.axis(axis, len(x.shape))
    if block < 0:
        raise ModelError(f"block_size of {node.op}", found=block, expected="0, or a positive number")
    expected = (*x.shape[:axis], ceil_div(x.shape[axis], block), *x.shape[axis + 1 :]) if block else (x.shape[axis],)
    if scale.shape != expected:
        what = f"a scale for each block of {block}" if block else "a scale for each channel"
        raise ModelError(f"{node.op} needs {what}", found=scale.shape, expected=str(expected))
    return Grid(scale, zero_point, axis, block)


def emit_dequantize(builder: GraphBuilder, node: OnnxNode, x: Value, grid: Grid, dtype: str, suffix: str = "") -> Value:
    """`dequantize` where that will do, a constant of a constant that it does not take, or arithmetic."""
    require_finite(node, grid, x)
    if dtype == "float32" and x.constant is not None and x.shape and x.dtype in BYTES and grid.of_weights:
        return emit_weights(builder, x, grid, suffix)
    known = grid.known if dtype == "float32" and x.dtype in (*NARROW, "int32") else None
    if known is None:
        return by_arithmetic(builder, node, x, grid, dtype)
    scale, zero_point = known
    same = zero_point.size == 1 or np.ptp(zero_point) == 0
    if x.dtype in NARROW and same and x.constant is None:
        levels = builder.levels(x) if x.dtype == "uint8" else x
        return builder.emit(
            "dequantize",
            [replace(levels, unsigned=False)],
            suffix=suffix,
            scale=float(scale[0]) if scale.size == 1 else tuple(map(float, scale)),
            zero_point=int(zero_point[0]) - (128 if x.dtype == "uint8" else 0),
            axis=grid.axis if scale.size > 1 else 1,
        )
    if x.constant is None:
        return by_arithmetic(builder, node, x, grid, dtype)
    array = builder.true_uint8(x).constant
    assert array is not None
    scale, zero_point = (aligned(v, grid.axis, array.ndim) for v in known)
    value = (array.astype(np.float64) - zero_point) * scale.astype(np.float64)
    return builder.constant(value.astype(np.float32), builder.fresh(f"{x.name}.dequantized"))


def emit_weights(builder: GraphBuilder, x: Value, grid: Grid, suffix: str) -> Value:
    """`dequantize` of a constant of at most 8 bits, held as int8. A channel whose scale is 0 is zeros at scale 1."""
    array, shift = builder.true_uint8(x).constant, 128 if x.dtype == "uint8" else 0
    scale = grid.scale.constant
    assert array is not None
    assert scale is not None
    scale, zero = scale.ravel(), np.zeros(1, np.int64)
    if grid.zero_point is not None and grid.zero_point.constant is not None:
        zero = grid.zero_point.constant.ravel().astype(np.int64)
    levels = array.astype(np.int64)
    if (scale == 0).any():
        levels = np.where(aligned(scale == 0, grid.axis, array.ndim), aligned(zero, grid.axis, array.ndim), levels)
        scale = np.where(scale == 0, np.float32(1), scale)
    zero = zero[:1] if np.ptp(zero) == 0 else np.broadcast_to(zero, scale.shape if scale.size > 1 else zero.shape)
    held = builder.constant((levels - shift).astype(np.int8), builder.fresh(f"{x.name}.int8"))
    return builder.emit(
        "dequantize",
        [held],
        suffix=suffix,
        scale=float(scale[0]) if scale.size == 1 else tuple(map(float, scale)),
        zero_point=int(zero[0]) - shift if zero.size == 1 else tuple(int(z) - shift for z in zero),
        axis=grid.axis if max(scale.size, zero.size) > 1 else 1,
    )


def require_finite(node: OnnxNode, grid: Grid, x: Value) -> None:
    """Raises `ModelError` for a scale that is no number, naming its channel; or zero, of what is computed."""
    scale = grid.scale.constant
    if scale is None:
        return
    wide = scale.astype(np.float64)
    bad = ~np.isfinite(wide) if x.constant is not None else ~(np.isfinite(wide) & (wide != 0))
    if bad.any():
        raise bad_scale(node, grid, bad)


def bad_scale(node: OnnxNode, grid: Grid, bad: np.ndarray) -> ModelError:
    """The first scale that will not do, by tensor, channel and value."""
    assert grid.scale.constant is not None
    place = int(np.flatnonzero(bad.ravel())[0])
    channel = f", channel {place}" if bad.size > 1 else ""
    found = f"{grid.scale.name}{channel}: {float(grid.scale.constant.ravel()[place])}"
    return ModelError(f"scale of {node.op} is not finite and positive", found=found)


def aligned(parameter: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """One value, or one for each index of an axis, so that it broadcasts."""
    return parameter.reshape([-1 if d == axis else 1 for d in range(rank)] if parameter.size > 1 else ())


def by_arithmetic(builder: GraphBuilder, node: OnnxNode, x: Value, grid: Grid, dtype: str) -> Value:
    """(x - zero point) · scale in float32, then as `dtype`."""
    value = builder.converted(x, "float32")
    if grid.zero_point is not None:
        offset = builder.converted(spread(builder, node, grid.zero_point, grid, x.shape), "float32")
        value = builder.emit("sub", [value, offset], suffix="centred")
    scale = builder.converted(spread(builder, node, grid.scale, grid, x.shape), "float32")
    return builder.converted(builder.emit("mul", [value, scale], suffix="scaled"), dtype)


def spread(builder: GraphBuilder, node: OnnxNode, parameter: Value, grid: Grid, shape: tuple[int, ...]) -> Value:
    """A scale or zero point so that it broadcasts to a tensor of `shape`; that of a block repeated along it."""
    if parameter.type.elements == 1:
        return builder.emit("reshape", [parameter], suffix="scalar", shape=())
    axis, extent = grid.axis, shape[grid.axis]
    if not grid.block:
        return builder.emit(
            "reshape", [parameter], suffix="axis", shape=tuple(n if d == axis else 1 for d, n in enumerate(shape))
        )
    repeats = tuple(grid.block if d == axis else 1 for d in range(len(shape)))
    whole = builder.emit("repeat", [parameter], suffix="blocks", repeats=repeats)
    return emit_slice(
        builder, whole, [slice(0, extent if d == axis else n, 1) for d, n in enumerate(whole.shape)], suffix="blocks"
    )


def emit_quantize(
    builder: GraphBuilder,
    node: OnnxNode,
    x: Value,
    grid: Grid,
    dtype: str,
    precision: str,
    saturate: bool,
    suffix: str = "",
) -> Value:
    """`quantize` where that will do, or arithmetic: x / scale in `precision`, rounded to even, in `dtype`."""
    if grid.scale.constant is not None and not is_positive(grid.scale.constant):
        wide = grid.scale.constant.astype(np.float64)
        raise bad_scale(node, grid, ~(np.isfinite(wide) & (wide > 0)))
    known = grid.known if dtype in NARROW and precision == x.dtype == "float32" else None
    if known is not None and known[0].size == 1:
        shift = 128 if dtype == "uint8" else 0
        value = builder.emit("quantize", [x], suffix=suffix, scale=float(known[0][0]), zero_point=int(known[1][0]) - shift)
        return replace(value, unsigned=dtype == "uint8")
    scale = builder.converted(spread(builder, node, grid.scale, grid, x.shape), precision)
    quotient = builder.emit("div", [builder.converted(x, precision), scale], suffix="steps")
    if dtype in INTEGERS:
        low, high = ELEMENT_TYPES[dtype].range
        steps = builder.emit("round", [builder.converted(quotient, "float32")], suffix="rounded")
        if grid.zero_point is not None:
            offset = builder.converted(spread(builder, node, grid.zero_point, grid, x.shape), "float32")
            steps = builder.emit("add", [steps, offset], suffix="shifted")
        bounded = builder.emit("clip", [steps], suffix="bounded", low=float(low), high=float(high))
        return builder.converted(builder.converted(bounded, "int32"), dtype)
    return builder.emit("cast", [quotient], suffix=suffix or "cast", to=dtype, saturate=saturate)


def scale_of(node: OnnxNode, index: int) -> np.ndarray:
    """A constant scale, float32, of one dimension. Raises `ModelError`."""
    scale = node.array(index, "scale")
    if scale.dtype != np.float32 or not is_positive(scale):
        found = f"{scale.dtype} of shape {scale.shape}"
        raise ModelError(f"scale of {node.op} is not float32, finite and positive", found=found)
    return scale.ravel()


def output_dtype(node: OnnxNode, zero_point: int, requested: int) -> str:
    """The type quantised to: the zero point's, else the one requested, else uint8."""
    wanted = named_type(node, "output_dtype", requested, QUANTISED) if requested else ""
    if not node.has(zero_point):
        return wanted or "uint8"
    dtype = node.input(zero_point, QUANTISED).dtype
    if wanted not in ("", dtype):
        raise ModelError(f"output_dtype and zero point of {node.op} differ", found=f"{wanted} and {dtype}")
    return dtype


def named_type(node: OnnxNode, attribute: str, number: int, allowed: tuple[str, ...]) -> str:
    """The type that an attribute names by ONNX's number. Raises `ModelError`."""
    name = element_type(number)
    if name not in allowed:
        raise ModelError(f"unsupported attribute {attribute} of {node.op}", found=name, expected=" or ".join(allowed))
    return name


IMPORTERS: dict[str, Importer] = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
}
