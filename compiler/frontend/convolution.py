"""Conv."""

from __future__ import annotations

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.frontend.window import Pair, Window, pair, read_window
from vdla.errors import ModelError


def conv(builder: GraphBuilder, node: OnnxNode) -> Value:
    x, w = node.image(0), node.image(1)
    bias = node.optional(2)
    return emit_conv2d(builder, node, x, w, bias)


def emit_conv2d(builder: GraphBuilder, node: OnnxNode, x: Value, w: Value, bias: Value | None) -> Value:
    """conv2d of float tensors with the node's attributes; for Conv and QLinearConv."""
    window, groups = conv_attributes(node, w, (x.shape[2], x.shape[3]))
    if bias is not None and bias.shape != (w.shape[0],):
        raise ModelError("bias does not fit the weight", found=bias.shape, expected=f"({w.shape[0]},)")
    return builder.emit(
        "conv2d", [x, w, bias], strides=window.strides, pads=window.pads, dilations=window.dilations, groups=groups
    )


def conv_attributes(node: OnnxNode, w: Value, size: Pair) -> tuple[Window, int]:
    """The window and the groups of a convolution with weight (O, C/groups, KH, KW)."""
    kernel = (w.shape[2], w.shape[3])
    if (given := pair(node, "kernel_shape", kernel)) != kernel:
        raise ModelError("kernel_shape does not fit the weight", found=given, expected=str(kernel))
    groups = node.int_("group", 1)
    if groups < 1:
        raise ModelError(f"group of {node.op} is not positive", found=groups)
    return read_window(node, kernel, size), groups


IMPORTERS = {"Conv": conv}
