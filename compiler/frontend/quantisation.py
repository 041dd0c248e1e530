"""QuantizeLinear, DequantizeLinear, QLinearConv, QLinearMatMul: all as quantize and dequantize around float operators.

uint8 is held as int8, values and zero points less 128. A per-channel scale is a tuple of floats. int32 biases become float
constants; the quantiser finds the integers again from the scales beside them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.convolution import emit_conv2d
from vdla.compiler.frontend.dense import product
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.errors import ModelError

INTEGER = ("int8", "uint8", "int32")
NARROW = ("int8", "uint8")


def dequantize_linear(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0, INTEGER)
    node.require("block_size", node.int_("block_size", 0), 0)
    output = node.int_("output_dtype", 0)
    node.require("output_dtype", output if output != onnx.TensorProto.FLOAT else 0, 0)
    return dequantize(builder, node, x, (1, 2), node.int_("axis", 1))


def quantize_linear(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.input(0)
    node.int_("saturate", 1)  # about float8 alone
    node.require("block_size", node.int_("block_size", 0), 0)
    node.require("precision", node.int_("precision", 0), 0)
    dtype = output_dtype(node, 2, node.int_("output_dtype", 0))
    return quantize(builder, node, x, (1, 2), dtype, node.int_("axis", 1))


def qlinear_conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    """dequantize both, conv2d, quantize; the bias is in units of x's scale times w's."""
    node.image(0, NARROW)
    x = dequantize(builder, node, node.input(0, NARROW), (1, 2), 1, suffix="dequantize_x")
    w = dequantize(builder, node, node.image(3, NARROW), (4, 5), 0, suffix="dequantize_w")
    bias = None
    if node.has(8):
        unit = scale_of(node, 1).astype(np.float64) * scale_of(node, 4).astype(np.float64)
        bias = builder.constant((node.array(8, "bias") * unit.ravel()).astype(np.float32), builder.fresh(f"{node.name}.bias"))
    y = emit_conv2d(builder, node, x, w, bias)
    return quantize(builder, node, y, (6, 7), output_dtype(node, 7, 0), 1, suffix="quantize")


def qlinear_matmul(builder: GraphBuilder, node: OnnxNode) -> Value:
    a = dequantize(builder, node, node.input(0, NARROW), (1, 2), -2, suffix="dequantize_a")
    b = dequantize(builder, node, node.input(3, NARROW), (4, 5), -1, suffix="dequantize_b")
    y = product(builder, a, b)
    return quantize(builder, node, y, (6, 7), output_dtype(node, 7, 0), 1, suffix="quantize")


def dequantize(builder: GraphBuilder, node: OnnxNode, x: Value, inputs: tuple[int, int], axis: int, suffix: str = "") -> Value:
    """(x - zero point) · scale, the scale and zero point being the node's `inputs`. int32 must be constant.

    A constant scalar is what Pad or Clip takes for a number, so it becomes one.
    """
    scale, zero_point = parameters(node, inputs, x.dtype == "uint8", x.dtype)
    if scale.size == 1:
        scale, zero_point = scale.reshape(()), zero_point.ravel()[:1].reshape(())
    else:
        axis = node.axis(axis, len(x.shape))
        check_channels(node, scale, x.shape[axis])
    differing = zero_point.size > 1 and np.ptp(zero_point) != 0
    if x.dtype == "int32" or differing or (x.constant is not None and x.shape == ()):
        if x.constant is None:
            raise ModelError(
                f"{node.op} with int32 data or with a zero point for each channel needs constant data", found=x.name
            )
        along = [-1 if scale.size > 1 and i == axis else 1 for i in range(len(x.shape))]
        data = builder.levels(x) if x.dtype == "uint8" else x
        assert data.constant is not None
        centred = data.constant.astype(np.float64) - zero_point.reshape(along if zero_point.size > 1 else ())
        value = centred * scale.astype(np.float64).reshape(along if scale.size > 1 else ())
        return builder.constant(value.astype(np.float32), builder.fresh(f"{x.name}.dequantized"))
    return builder.emit(
        "dequantize",
        [replace(builder.levels(x), unsigned=False) if x.dtype == "uint8" else x],
        suffix=suffix,
        scale=as_attribute(scale),
        zero_point=int(zero_point.ravel()[0]),
        axis=axis if scale.ndim else 1,
    )


def quantize(
    builder: GraphBuilder, node: OnnxNode, x: Value, inputs: tuple[int, int], dtype: str, axis: int, suffix: str = ""
) -> Value:
    """clip(round(x / scale) + zero point). A scale for each channel needs constant data."""
    scale, zero_point = parameters(node, inputs, dtype == "uint8", dtype)
    if x.constant is not None:
        along = [1] * len(x.shape)
        if scale.size > 1:
            along[node.axis(axis, len(x.shape))] = -1
            check_channels(node, scale, x.shape[node.axis(axis, len(x.shape))])
        shaped = [v.reshape(along if v.size > 1 else ()) for v in (scale, zero_point)]
        data = np.clip(np.rint(x.constant / shaped[0]) + shaped[1], -128, 127).astype(np.int8)
        return replace(builder.constant(data, builder.fresh(f"{x.name}.quantized")), unsigned=dtype == "uint8")
    if scale.size != 1:
        raise ModelError(f"{node.op} of an activation has a scale for each channel", found=scale.shape, expected="one scale")
    value = builder.emit("quantize", [x], suffix=suffix, scale=float(scale.ravel()[0]), zero_point=int(zero_point.ravel()[0]))
    return replace(value, unsigned=dtype == "uint8")


def parameters(node: OnnxNode, inputs: tuple[int, int], unsigned: bool, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Scale float32 and zero point int64, that of uint8 less 128. Raises `ModelError`."""
    scale = scale_of(node, inputs[0])
    zero_point = np.zeros(1, np.int64)
    if node.has(inputs[1]):
        given = node.array(inputs[1], "zero point")
        if (given.dtype == np.uint8) != unsigned or str(given.dtype) not in INTEGER:
            raise ModelError(
                f"zero point and data of {node.op} differ in dtype", found=f"{given.dtype} and {'uint8' if unsigned else dtype}"
            )
        if given.size not in (1, scale.size):
            raise ModelError(f"zero point and scale of {node.op} differ in shape", found=f"{given.shape} and {scale.shape}")
        zero_point = given.astype(np.int64)
    return scale, zero_point - 128 if unsigned else zero_point


def scale_of(node: OnnxNode, index: int) -> np.ndarray:
    scale = node.array(index, "scale")
    if scale.dtype != np.float32 or not scale.size or not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelError(
            f"scale of {node.op} is not float32, finite and positive", found=f"{scale.dtype} of shape {scale.shape}"
        )
    return scale.ravel()


def check_channels(node: OnnxNode, scale: np.ndarray, channels: int) -> None:
    if scale.size != channels:
        raise ModelError(f"{node.op} needs a scale for each channel", found=scale.size, expected=str(channels))


def as_attribute(scale: np.ndarray) -> float | tuple[float, ...]:
    return float(scale) if scale.ndim == 0 else tuple(map(float, scale))


def output_dtype(node: OnnxNode, zero_point: int, requested: int) -> str:
    """The type quantised to: the zero point's, else the one requested, else uint8."""
    if node.has(zero_point):
        dtype = str(node.array(zero_point, "zero point").dtype)
    else:
        dtype = {0: "uint8", onnx.TensorProto.UINT8: "uint8", onnx.TensorProto.INT8: "int8"}.get(requested, f"type {requested}")
    if dtype not in NARROW:
        raise ModelError(f"{node.op} to an unsupported dtype", found=dtype, expected=" or ".join(NARROW))
    return dtype


IMPORTERS = {
    "QuantizeLinear": quantize_linear,
    "DequantizeLinear": dequantize_linear,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
}
