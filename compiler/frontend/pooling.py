"""MaxPool, AveragePool, GlobalAveragePool. ceil_mode becomes explicit padding, so the graph never has it."""

from __future__ import annotations

from vdla.compiler.frontend.builder import GraphBuilder
from vdla.compiler.frontend.node import OnnxNode
from vdla.compiler.frontend.values import Value
from vdla.compiler.frontend.window import Pads, Window, ceil_extension, pair, read_window
from vdla.errors import ModelError


def max_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = node.image(0, ("float32", "float64", "int8", "uint8"))
    node.int_("storage_order", 0)  # the order of Indices, which is refused as an output
    window, (down, right) = pool_window(node, x)
    pads = extended(window.pads, down, right)
    op = "qmax_pool2d" if x.dtype in ("int8", "uint8") else "max_pool2d"
    return builder.emit(op, [x], kernel=window.kernel, strides=window.strides, pads=pads)


def average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A window divides by the elements it holds: real ones, and with count_include_pad those of `pads`, never ceil_mode's."""
    return emit_average_pool(builder, node, node.image(0))


def emit_average_pool(builder: GraphBuilder, node: OnnxNode, x: Value) -> Value:
    """avg_pool2d of a float tensor with the node's attributes; for AveragePool and QLinearAveragePool."""
    include = node.int_("count_include_pad", 0) != 0
    window, (down, right) = pool_window(node, x)
    pads = window.pads
    if include and any(pads) and (down or right):
        top, left, bottom, after = pads
        x = builder.emit("pad", [x], suffix="pad", before=(0, 0, top, left), after=(0, 0, bottom, after))
        pads, include = (0, 0, 0, 0), False
    pads = extended(pads, down, right)
    return builder.emit(
        "avg_pool2d",
        [x],
        kernel=window.kernel,
        strides=window.strides,
        pads=pads,
        count_include_pad=include and any(window.pads),
    )


def pool_window(node: OnnxNode, x: Value) -> tuple[Window, tuple[int, int]]:
    """The window, and how much further padding ceil_mode needs."""
    size = (x.shape[2], x.shape[3])
    window = read_window(node, pair(node, "kernel_shape", None), size)
    node.require("dilations", window.dilations, (1, 1))
    if any(pad >= window.kernel[i % 2] for i, pad in enumerate(window.pads)):
        raise ModelError(
            f"{node.op} has windows wholly in the padding",
            found=f"pads {window.pads}",
            expected=f"less than the kernel {window.kernel}",
        )
    return window, ceil_extension(window, size) if node.int_("ceil_mode", 0) else (0, 0)


def extended(pads: Pads, down: int, right: int) -> Pads:
    return (pads[0], pads[1], pads[2] + down, pads[3] + right)


def global_average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    return builder.emit("global_avg_pool", [node.image(0)])


IMPORTERS = {"MaxPool": max_pool, "AveragePool": average_pool, "GlobalAveragePool": global_average_pool}
