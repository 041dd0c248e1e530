"""Tensor expressions of VDLA's layers, over packed tiles. One stage for each machine operation, so that each tensorises.

Parameters come in the order their builders name them, inputs first, the int8 result last.
"""

from __future__ import annotations

from vdla.compiler import te
from vdla.compiler.ir.nodes import Expr, Function
from vdla.compiler.ops.vdla.workload import ConvWorkload, ElementwiseWorkload, PoolWorkload
from vdla.design import Design


def conv2d(w: ConvWorkload, design: Design) -> Function:
    """x, weight, parameters[, residual, residual_parameters] → y; shapes as `ConvWorkload` says."""
    batch, block_in, block_out = design.gemm.batch, design.gemm.block_in, design.gemm.block_out
    x = te.placeholder((w.batch, w.groups, w.in_blocks, w.height, w.width, batch, block_in), "int8", "x")
    weight = te.placeholder((w.groups, w.out_blocks, w.in_blocks, *w.kernel, block_out, block_in), "int8", "weight")
    parameters = te.placeholder((w.groups, w.out_blocks, 2, batch, block_out), "int32", "parameters")
    out_shape = (w.batch, w.groups, w.out_blocks, w.out_height, w.out_width, batch, block_out)
    top, left, _, _ = w.pads

    padded = te.compute(
        (w.batch, w.groups, w.in_blocks, w.padded_height, w.padded_width, batch, block_in),
        lambda n, g, c, h, v, b, i: inside(
            x[n, g, c, h - top, v - left, b, i], (h, w.height, w.pads[0::2]), (v, w.width, w.pads[1::2]), w.pad_value
        ),
        "padded",
    )
    c, kh, kw, i = (
        te.reduce_axis(w.in_blocks, "rc"),
        te.reduce_axis(w.kernel[0], "rkh"),
        te.reduce_axis(w.kernel[1], "rkw"),
        te.reduce_axis(block_in, "ri"),
    )
    (sy, sx), (dy, dx) = w.strides, w.dilations
    acc = te.compute(
        out_shape,
        lambda n, g, o, h, v, b, k: te.sum(
            te.cast(padded[n, g, c, h * sy + kh * dy, v * sx + kw * dx, b, i], "int32")
            * te.cast(weight[g, o, c, kh, kw, k, i], "int32"),
            (c, kh, kw, i),
        ),
        "acc",
    )
    inputs, total = [x, weight, parameters], acc
    if w.residual:
        residual = te.placeholder(out_shape, "int8", "residual")
        residual_parameters = te.placeholder(parameters.shape, "int32", "residual_parameters")
        inputs += [residual, residual_parameters]
        wide = te.compute(out_shape, lambda *at: te.cast(residual[at], "int32"), "residual_wide")
        rescaled = rescale_stage(wide, residual_parameters, "residual_rescaled")
        total = te.compute(out_shape, lambda *at: acc[at] + rescaled[at], "sum")
    return te.create_function("conv2d", inputs, [requantised(total, parameters, w.low, w.high)])


def elementwise(w: ElementwiseWorkload, design: Design) -> Function:
    """qadd: a, b, a_parameters, b_parameters, parameters → y; requantize: x, parameters → y.

    Tensors are [batch][1][blocks][positions][1] tiles, parameters [1][blocks][2] tiles, as a convolution's.
    """
    tile = (design.gemm.batch, design.gemm.block_out)
    shape, parameter_shape = (w.batch, 1, w.blocks, w.positions, 1, *tile), (1, w.blocks, 2, *tile)

    def operand(name: str) -> te.Tensor:
        return te.placeholder(shape, "int8", name)

    def widened(x: te.Tensor) -> te.Tensor:
        return te.compute(shape, lambda *at: te.cast(x[at], "int32"), f"{x.name}_wide")

    parameters = te.placeholder(parameter_shape, "int32", "parameters")
    if w.op == "requantize":
        x = operand("x")
        return te.create_function("requantize", [x, parameters], [requantised(widened(x), parameters, w.low, w.high)])
    a, b = operand("a"), operand("b")
    a_parameters, b_parameters = (te.placeholder(parameter_shape, "int32", f"{n}_parameters") for n in "ab")
    a_rescaled = rescale_stage(widened(a), a_parameters, "a_rescaled")
    b_rescaled = rescale_stage(widened(b), b_parameters, "b_rescaled")
    total = te.compute(shape, lambda *at: a_rescaled[at] + b_rescaled[at], "sum")
    y = requantised(total, parameters, w.low, w.high)
    return te.create_function("qadd", [a, b, a_parameters, b_parameters, parameters], [y])


def max_pool2d(w: PoolWorkload, design: Design) -> Function:
    """x → y. The window is separable: first along columns, then along rows, k_w + k_h steps instead of k_w · k_h."""
    tile = (design.gemm.batch, design.gemm.block_out)
    x = te.placeholder((w.batch, w.blocks, w.height, w.width, *tile), "int8", "x")
    rows = (w.out_height - 1) * w.strides[0] + w.kernel[0]
    columns = (w.out_width - 1) * w.strides[1] + w.kernel[1]
    top, left, _, _ = w.pads
    wide = te.compute(
        (w.batch, w.blocks, rows, columns, *tile),
        lambda n, c, h, v, b, i: inside(
            te.cast(x[n, c, h - top, v - left, b, i], "int32"), (h, w.height, w.row_pads), (v, w.width, w.column_pads), -128
        ),
        "wide",
    )
    kw, kh = te.reduce_axis(w.kernel[1], "rkw"), te.reduce_axis(w.kernel[0], "rkh")
    across = te.compute(
        (w.batch, w.blocks, rows, w.out_width, *tile),
        lambda n, c, h, v, b, i: te.max(wide[n, c, h, v * w.strides[1] + kw, b, i], kw, identity=-128),
        "across",
    )
    acc = te.compute(
        (w.batch, w.blocks, w.out_height, w.out_width, *tile),
        lambda n, c, h, v, b, i: te.max(across[n, c, h * w.strides[0] + kh, v, b, i], kh, identity=-128),
        "acc",
    )
    return te.create_function("max_pool2d", [x], [te.compute(acc.shape, lambda *at: te.cast(acc[at], "int8"), "y")])


def inside(
    value: Expr, rows: tuple[Expr, int, tuple[int, int]], columns: tuple[Expr, int, tuple[int, int]], pad_value: int
) -> Expr:
    """`value` where the padded position lies on the image, `pad_value` on the padding. rows, columns: index, size, pads."""
    conditions = []
    for index, size, (before, after) in (rows, columns):
        if before > 0:
            conditions.append(index >= before)
        if after > 0:
            conditions.append(index < size + before)
    return te.select(te.logical_and(*conditions), value, pad_value) if conditions else value


def rescale_stage(x: te.Tensor, parameters: te.Tensor, name: str) -> te.Tensor:
    """Per-channel rescaling of [n][g][o][h][w] tiles by parameters [g][o][2]."""
    return te.compute(
        x.shape,
        lambda n, g, o, h, v, b, k: te.rescale(x[n, g, o, h, v, b, k], parameters[g, o, 0, b, k], parameters[g, o, 1, b, k]),
        name,
    )


def requantised(x: te.Tensor, parameters: te.Tensor, low: int, high: int) -> te.Tensor:
    """Per-channel requantisation of [n][g][o][h][w] tiles, then the narrow result `y`."""
    narrowed = te.compute(
        x.shape,
        lambda n, g, o, h, v, b, k: te.requantise(
            x[n, g, o, h, v, b, k], parameters[g, o, 0, b, k], parameters[g, o, 1, b, k], low, high
        ),
        "requantised",
    )
    return te.compute(x.shape, lambda *at: te.cast(narrowed[at], "int8"), "y")
