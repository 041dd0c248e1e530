"""Pools over windows and whole maps. ceil_mode becomes explicit padding, so the graph never has it."""

from __future__ import annotations

from vdla.compiler.frontend.builder import GraphBuilder
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
    ceil_extension,
    flat,
    maps,
    numbers,
    read_window,
)
from vdla.compiler.operators.operator import FLOAT
from vdla.compiler.operators.pooling_nd import COMPARED
from vdla.errors import ModelError


def max_pool(builder: GraphBuilder, node: OnnxNode) -> Value | tuple[Value, ...]:
    """Levels keep to the quantised operator; lines are images of one row."""
    x = maps(node, 0, COMPARED)
    column_major = node.int_("storage_order", 0) != 0
    window = extended(*pool_window(node, x))
    if node.wanted(1):
        attributes = window.attributes()
        return builder.emit_all("max_pool_indices", [x], kernel=window.kernel, column_major=column_major, **attributes)
    if not (x.dtype in ("float32", "int8") or x.unsigned) or len(x.shape) > IMAGE or not window.is_dense:
        return builder.emit("max_pool", [x], kernel=window.kernel, **window.attributes())
    if len(x.shape) == LINE:
        return as_line(builder, emit_max_pool2d(builder, as_image(builder, x), flat(window)))
    return emit_max_pool2d(builder, x, window)


def emit_max_pool2d(builder: GraphBuilder, x: Value, window: Window) -> Value:
    op = "max_pool2d" if x.dtype == "float32" else "qmax_pool2d"
    return builder.emit(op, [x], kernel=window.kernel, strides=window.strides, pads=window.pads)


def average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    """A window divides by the elements it holds: real ones, and with count_include_pad those of `pads`, never ceil_mode's."""
    x = maps(node, 0, FLOAT)
    if len(x.shape) == IMAGE and set(node.ints("dilations") or (1,)) == {1}:
        return emit_average_pool(builder, node, x)
    include = node.int_("count_include_pad", 0) != 0
    window, more = pool_window(node, x, empty=include)
    counted = window.pads if include else (0,) * len(window.pads)
    window = extended(window, more)
    if len(x.shape) == LINE:
        x, window, counted = as_image(builder, x), flat(window), (0, counted[0], 0, counted[1])
        return as_line(builder, builder.emit("avg_pool", [x], kernel=window.kernel, counted=counted, **window.attributes()))
    return builder.emit("avg_pool", [x], kernel=window.kernel, counted=counted, **window.attributes())


def emit_average_pool(builder: GraphBuilder, node: OnnxNode, x: Value) -> Value:
    """avg_pool2d of a float tensor with the node's attributes; for AveragePool and QLinearAveragePool."""
    include = node.int_("count_include_pad", 0) != 0
    window, (down, right) = pool_window(node, x, empty=include)
    pads = window.pads
    if include and any(pads) and (down or right):
        top, left, bottom, after = pads
        x = builder.emit("pad", [x], suffix="pad", before=(0, 0, top, left), after=(0, 0, bottom, after))
        pads, include = (0, 0, 0, 0), False
    pads = (pads[0], pads[1], pads[2] + down, pads[3] + right)
    return builder.emit(
        "avg_pool2d",
        [x],
        kernel=window.kernel,
        strides=window.strides,
        pads=pads,
        count_include_pad=include and any(window.pads),
    )


def pool_window(node: OnnxNode, x: Value, empty: bool = False) -> tuple[Window, Sizes]:
    """The window, and how much further padding after each axis ceil_mode needs. empty: windows may lie in padding alone.

    auto_pad leaves nothing for ceil_mode to do: ONNX has one number of windows for both.
    """
    size = x.shape[2:]
    window = read_window(node, numbers(node, "kernel_shape", len(size)), size)
    if not empty and any(pad >= window.span(i % len(size)) for i, pad in enumerate(window.pads)):
        raise ModelError(
            f"{node.op} has windows wholly in the padding",
            found=f"pads {window.pads}",
            expected=f"less than the kernel {window.kernel}",
        )
    ceil = node.int_("ceil_mode", 0) != 0 and automatic(node) == "NOTSET"
    return window, ceil_extension(window, size) if ceil else (0,) * len(size)


def extended(window: Window, more: Sizes) -> Window:
    """With `more` padding after each axis."""
    rank = len(more)
    after = (pad + extra for pad, extra in zip(window.pads[rank:], more, strict=True))
    return Window(window.kernel, window.strides, window.dilations, (*window.pads[:rank], *after))


def lp_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = maps(node, 0, FLOAT)
    window = extended(*pool_window(node, x))
    return builder.emit("lp_pool", [x], kernel=window.kernel, p=exponent(node), **window.attributes())


def exponent(node: OnnxNode) -> int:
    p = node.int_("p", 2)
    if p < 1:
        raise ModelError(f"p of {node.op} is not positive", found=p)
    return p


def global_average_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    x = maps(node, 0, FLOAT)
    if len(x.shape) == IMAGE and x.dtype == "float32":
        return builder.emit("global_avg_pool", [x])
    return builder.emit("reduce_mean", [x], axes=tuple(range(2, len(x.shape))), keepdims=True)


def global_lp_pool(builder: GraphBuilder, node: OnnxNode) -> Value:
    """(Σ |x|ᵖ)^(1/p) over each map."""
    x, p = maps(node, 0, FLOAT), exponent(node)
    size = builder.emit("mul", [x, x], suffix="raised") if p == 2 else builder.emit("abs", [x], suffix="raised")
    if p > 2:
        size = builder.emit("pow", [size, builder.scalar(p, x.dtype)], suffix="raised")
    total = builder.emit("reduce_sum", [size], suffix="total", axes=tuple(range(2, len(x.shape))), keepdims=True)
    if p <= 2:
        return total if p == 1 else builder.emit("sqrt", [total])
    return builder.emit("pow", [total, builder.scalar(1 / p, x.dtype)])


IMPORTERS: dict[str, Importer] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalLpPool": global_lp_pool,
}
