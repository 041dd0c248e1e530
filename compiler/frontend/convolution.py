"""Conv, ConvInteger, ConvTranspose, CausalConvWithState, DeformConv."""

from __future__ import annotations

import numpy as np

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.dense import BYTES, less_zero_point
from vdla.compiler.frontend.node import Importer, OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.frontend.window import (
    IMAGE,
    LINE,
    Sizes,
    Window,
    as_image,
    as_line,
    automatic,
    explicit_pads,
    flat,
    maps,
    numbers,
    read_window,
    steps,
)
from vdla.compiler.operators.operator import FLOAT
from vdla.errors import ModelError


def conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, w = maps(node, 0, FLOAT), node.input(1, FLOAT)
    return emit_convolution(builder, node, x, w, node.optional(2, FLOAT))


def emit_convolution(builder: GraphBuilder, node: OnnxNode, x: Value, w: Value, bias: Value | None) -> Value:
    """A convolution of float tensors of any rank with the node's attributes; lines as images of one row."""
    if len(x.shape) == IMAGE:
        return emit_conv2d(builder, node, x, w, bias)
    window, groups = conv_attributes(node, w, x.shape[2:])
    check_bias(bias, w.shape[0])
    if len(x.shape) == LINE:
        flattened = flat(window).attributes()
        image = builder.emit("conv2d", [as_image(builder, x), as_image(builder, w), bias], groups=groups, **flattened)
        return as_line(builder, image)
    return builder.emit("conv", [x, w, bias], groups=groups, **window.attributes())


def emit_conv2d(builder: GraphBuilder, node: OnnxNode, x: Value, w: Value, bias: Value | None) -> Value:
    """conv2d of float tensors with the node's attributes; for Conv and QLinearConv."""
    window, groups = conv_attributes(node, w, x.shape[2:])
    check_bias(bias, w.shape[0])
    return builder.emit("conv2d", [x, w, bias], groups=groups, **window.attributes())


def check_bias(bias: Value | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise ModelError("bias does not fit the weight", found=bias.shape, expected=f"({channels},)")


def conv_attributes(node: OnnxNode, w: Value, size: Sizes) -> tuple[Window, int]:
    """The window and the groups of a convolution with weight (O, C/groups, *kernel) over maps of `size`."""
    return read_window(node, kernel_of(node, w, size), size), groups_of(node)


def kernel_of(node: OnnxNode, w: Value, size: Sizes) -> Sizes:
    """The kernel's size, which is the weight's."""
    kernel = w.shape[2:]
    if len(kernel) != len(size):
        expected = f"{len(size) + 2} dimensions"
        raise ModelError(
            f"the weight of {node.op} does not fit the input", found=f"{w.shape} for maps of {size}", expected=expected
        )
    if (given := numbers(node, "kernel_shape", len(size), kernel)) != kernel:
        raise ModelError("kernel_shape does not fit the weight", found=given, expected=str(kernel))
    return kernel


def groups_of(node: OnnxNode) -> int:
    groups = node.int_("group", 1)
    if groups < 1:
        raise ModelError(f"group of {node.op} is not positive", found=groups)
    return groups


def conv_integer(builder: GraphBuilder, node: OnnxNode) -> Value:
    """Exact products of levels less their zero points, in int32: padding is the zero point, so that it adds nothing."""
    x, w = maps(node, 0, BYTES), node.input(1, BYTES)
    window, groups = conv_attributes(node, w, x.shape[2:])
    operands = [less_zero_point(builder, node, x, 2, None), less_zero_point(builder, node, w, 3, 0)]
    return builder.emit("conv", operands, groups=groups, **window.attributes())


def conv_transpose(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, w, bias = maps(node, 0, FLOAT), node.input(1, FLOAT), node.optional(2, FLOAT)
    size, rank = x.shape[2:], len(x.shape) - 2
    kernel, groups = kernel_of(node, w, size), groups_of(node)
    check_bias(bias, w.shape[1] * groups)
    strides, dilations = steps(node, rank)
    more = node.ints("output_padding") or (0,) * rank
    if len(more) != rank or min(more) < 0:
        raise ModelError("output_padding does not fit the input", found=more, expected=f"{rank} non-negative numbers")
    whole = tuple(
        s * (n - 1) + extra + d * (k - 1) + 1 for n, k, s, d, extra in zip(size, kernel, strides, dilations, more, strict=True)
    )
    before, output = transposed_extent(node, size, strides, whole)
    if min(output) < 1:
        raise ModelError("pads of ConvTranspose leave no output", found=output, expected="1 or more along each axis")
    return builder.emit(
        "conv_transpose", [x, w, bias], strides=strides, dilations=dilations, before=before, output=output, groups=groups
    )


def transposed_extent(node: OnnxNode, size: Sizes, strides: Sizes, whole: Sizes) -> tuple[Sizes, Sizes]:
    """What is cut off before each axis, and the output's size: `whole` less the pads, or what is asked for.

    ONNX: a given output_shape, or auto_pad, determines the padding, which never becomes negative; half of it lies before, and
    with SAME_UPPER an odd element after.
    """
    auto_pad, rank = automatic(node), len(size)
    given, pads = node.ints("output_shape"), explicit_pads(node, rank)
    if given and len(given) != rank:
        raise ModelError("output_shape does not fit the input", found=given, expected=f"{rank} spatial sizes")
    if not given and auto_pad in ("NOTSET", "VALID"):
        taken = pads if auto_pad == "NOTSET" else (0,) * (2 * rank)
        return taken[:rank], tuple(n - b - e for n, b, e in zip(whole, taken[:rank], taken[rank:], strict=True))
    output = given or tuple(n * s for n, s in zip(size, strides, strict=True))
    total = [max(n - o, 0) for n, o in zip(whole, output, strict=True)]
    return tuple(t // 2 if auto_pad == "SAME_UPPER" else t - t // 2 for t in total), output


def deform_conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, w, offset = (node.input(i, FLOAT) for i in range(3))
    if len(x.shape) != IMAGE:
        raise ModelError("DeformConv is supported in two dimensions only", found=x.shape, expected="(N, C, H, W)")
    window, groups = conv_attributes(node, w, x.shape[2:])
    shared = node.int_("offset_group", 1)
    if shared < 1:
        raise ModelError("offset_group of DeformConv is not positive", found=shared)
    operands = [x, w, offset, node.optional(3, FLOAT), node.optional(4, FLOAT)]
    return builder.emit("deform_conv2d", operands, groups=groups, offset_groups=shared, **window.attributes())


def causal_conv(builder: GraphBuilder, node: OnnxNode) -> tuple[Value, ...]:
    """A depthwise convolution along a line, over what came before and the input: that is the next call's state."""
    x, w, bias, past = node.input(0, FLOAT), node.input(1, FLOAT), node.optional(2, FLOAT), node.optional(3, FLOAT)
    activation = node.string("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise ModelError("unsupported activation of CausalConvWithState", found=activation, expected="none, silu or swish")
    if len(x.shape) != LINE or w.shape[:2] != (x.shape[1], 1) or len(w.shape) != LINE:
        expected = "(N, C, L) and (C, 1, k)"
        raise ModelError("the weight of CausalConvWithState does not fit", found=f"{x.shape} and {w.shape}", expected=expected)
    n, channels, length = x.shape
    carried = w.shape[2] - 1
    if past is not None and past.shape != (n, channels, carried):
        raise ModelError("past_state does not fit", found=past.shape, expected=str((n, channels, carried)))
    check_bias(bias, channels)
    sequence = x
    if carried and past is not None:
        sequence = builder.emit("concat", [past, x], suffix="sequence", axis=2)
    elif carried:
        sequence = builder.emit("pad", [x], suffix="sequence", before=(0, 0, carried), after=(0, 0, 0))
    image = builder.emit(
        "conv2d", [as_image(builder, sequence), as_image(builder, w), bias],
        strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), groups=channels,
    )  # fmt: skip
    y = as_line(builder, image)
    if activation != "none":
        y = builder.emit("swish", [y], suffix="activation")
    if not node.wanted(1):
        return (y,)
    if not carried:
        return y, builder.constant(np.zeros((n, channels, 0), x.dtype))
    _, state = builder.emit_all("split", [sequence], suffix="state", axis=2, sizes=(length, carried))
    return y, state


IMPORTERS: dict[str, Importer] = {
    "Conv": conv,
    "ConvInteger": conv_integer,
    "ConvTranspose": conv_transpose,
    "CausalConvWithState": causal_conv,
    "DeformConv": deform_conv,
}
