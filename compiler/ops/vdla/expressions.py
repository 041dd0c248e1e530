"""Tensor expressions of VDLA's layers, over packed tiles. One stage for each machine operation, so that each tensorises.

Parameters come in the order their builders name them, inputs first, the int8 result last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vdla.compiler import ir, te
from vdla.compiler.backends.vdla.intrinsics import level_index, table_place
from vdla.compiler.ir.traverse import map_stmt
from vdla.compiler.ops.vdla.workload import (
    PAIRS,
    RESCALED_PAIRS,
    ConvWorkload,
    CopyWorkload,
    ElementwiseWorkload,
    Operand,
    PoolWorkload,
    TableWorkload,
)
from vdla.design import Design
from vdla.isa.definition import TABLE_ENTRIES, table_tiles


def activation_tile(design: Design) -> tuple[int, int]:
    """Images × channels that lie together in DRAM and in the scratchpads."""
    return design.gemm.batch, design.channel_block


def conv2d(w: ConvWorkload, design: Design, cover: tuple[int, int], apart: tuple[int, int] | None = None) -> ir.Function:
    """x, weight, parameters[, residual, residual_parameters, identity][, table] → y; shapes as `ConvWorkload` says.

    cover: rows and columns of the padded input, at least those the windows touch. apart: kernel and output rows, at least
    those there are, where the image is gathered row by row for each kernel row, without those between.
    The residual is widened by the GEMM core (times an identity tile): it comes through LOAD, beside the computation, where a
    widening load would hold COMPUTE up.
    """
    tile, block_in, block_out = activation_tile(design), design.gemm.block_in, design.gemm.block_out
    x = te.placeholder((w.batch, w.groups, w.in_blocks, w.height, w.width, *tile), "int8", "x")
    weight_shape: tuple[int, ...] = (w.groups, w.out_blocks, w.in_blocks, *w.kernel)
    if w.uniform_weight or w.own_weights:
        weight_shape = (1,) * 5 if w.uniform_weight else (w.batch, w.in_blocks, w.out_blocks)
    weight = te.placeholder((*weight_shape, block_out, block_in), "int8", "weight")
    parameters = te.placeholder((w.groups, w.out_blocks, 2, *tile), "int32", "parameters")
    out_shape = (w.batch, w.groups, w.out_blocks, w.out_height, w.out_width, *tile)
    top, left, _, _ = w.pads
    row_pads, column_pads = (top, cover[0] - w.height - top), (left, cover[1] - w.width - left)

    (sy, sx), (dy, dx) = w.strides, w.dilations

    def pixel(n: ir.Var, g: ir.Var, c: ir.Var, h: ir.Expr, v: ir.Var, b: ir.Var, i: ir.Var) -> ir.Expr:
        at = x[n, g, c, h - top, v - left, b, i]
        return inside(at, (h, w.height, row_pads), (v, w.width, column_pads), w.pad_value)

    if apart is None:
        padded = te.compute((w.batch, w.groups, w.in_blocks, *cover, *tile), pixel, "padded")
    else:
        padded = te.compute(
            (w.batch, w.groups, w.in_blocks, *apart, cover[1], *tile),
            lambda n, g, c, kh, h, v, b, i: pixel(n, g, c, h * sy + kh * dy, v, b, i),
            "padded",
        )
    c, kh, kw, i = (
        te.reduce_axis(n, f"r{name}")
        for n, name in ((w.in_blocks, "c"), (w.kernel[0], "kh"), (w.kernel[1], "kw"), (block_in, "i"))
    )

    def product(n: ir.Var, g: ir.Var, o: ir.Var, h: ir.Var, v: ir.Var, b: ir.Var, k: ir.Var) -> ir.Expr:
        element: tuple[ir.Scalar, ...] = (n, c, o) if w.own_weights else (g, o, c, kh, kw)
        element = (0,) * 5 if w.uniform_weight else element
        row = (h * sy + kh * dy,) if apart is None else (kh, h)
        taken = padded[(n, g, c, *row, v * sx + kw * dx, b, i)]
        return te.sum(te.cast(taken, "int32") * te.cast(weight[(*element, k, i)], "int32"), (c, kh, kw, i))

    acc = te.compute(out_shape, product, "acc")
    inputs, total = [x, weight, parameters], acc
    if w.residual:
        residual = te.placeholder(out_shape, "int8", "residual")
        residual_parameters = te.placeholder(parameters.shape, "int32", "residual_parameters")
        identity = te.placeholder((1, block_out, block_in), "int8", "identity")
        inputs += [residual, residual_parameters, identity]
        wide = widened(residual, identity, out_shape, lambda *at: at, "residual_wide")
        rescaled = rescale_stage(wide, residual_parameters, "residual_rescaled")
        total = te.compute(out_shape, lambda *at: acc[at] + rescaled[at], "sum")
    levels = None
    if w.table_tiles:
        inputs.append(te.placeholder((w.table_tiles, *tile), "int8", "table"))
        levels = table_levels(inputs[-1], design)
    return te.create_function("conv2d", inputs, [requantised(total, parameters, w.low, w.high, levels)])


def widened(
    x: te.Tensor,
    identity: te.Tensor,
    shape: tuple[int, ...],
    source: Callable[..., tuple[ir.Scalar, ...]],
    name: str,
    tile: int = 0,
) -> te.Tensor:
    """int8 tiles as int32 through the GEMM core: x times the identity tile, one micro-op each.

    source: from the result's indices to those of x, the last being that of the lane. tile: which of `identity`'s.
    """
    lane = te.reduce_axis(x.shape[-1], "ri")

    def value(*at: ir.Var) -> ir.Expr:
        *place, k = at
        return te.sum(te.cast(x[(*source(*place, k)[:-1], lane)], "int32") * te.cast(identity[tile, k, lane], "int32"), lane)

    return te.compute(shape, value, name, axes=[f"i{d}" for d in range(len(shape))])


def elementwise(w: ElementwiseWorkload, design: Design) -> ir.Function:
    """A rescaled pair: a, b, identity, a_parameters, b_parameters, parameters → y; qmul: a, b, identity, parameters → y;
    requantize: x, identity, parameters → y.

    Tensors are [batch][1][blocks][positions][1] tiles, an operand's extent 1 where it is broadcast, parameters [1][blocks][2]
    tiles, as a convolution's. Operands are widened by the GEMM core, which LOAD feeds beside the computation.
    """
    tile = activation_tile(design)
    shape, parameter_shape = (w.batch, 1, w.blocks, w.positions, 1, *tile), (1, w.blocks, 2, *tile)
    identity = te.placeholder((w.widening_tiles, design.gemm.block_out, design.gemm.block_in), "int8", "identity")
    parameters = te.placeholder(parameter_shape, "int32", "parameters")
    operands = {name: operand_of(w, o, name, tile) for name, o in w.operands.items()}

    def wide(name: str) -> te.Tensor:
        """With all of its channels."""
        x, spread = operands[name], w.operands[name].channels
        extents = (*x.shape[:2], w.blocks, *x.shape[3:])
        source = lambda n, g, c, *at: (n, g, 0 if spread else c, *at)  # noqa: E731
        return widened(x, identity, extents, source, f"{name}_wide", tile=int(spread))

    if w.op == "requantize":
        y = requantised(wide("x"), parameters, w.low, w.high)
        return te.create_function("requantize", [operands["x"], identity, parameters], [y])
    own: list[te.Tensor] = []
    if w.op in RESCALED_PAIRS:
        own = [te.placeholder(parameter_shape, "int32", f"{name}_parameters") for name in operands]
        sides = [rescale_stage(wide(name), p, f"{name}_rescaled") for name, p in zip(operands, own, strict=True)]
        if w.op == "qsub":
            sides[1] = with_constant("mul", sides[1], -1, "b_negated")
    else:
        sides = [centred(wide(name), zero, f"{name}_centred") for name, zero in zip(operands, w.zero_points, strict=True)]
    joined = te.compute(shape, lambda *at: ir.Binary(PAIRS[w.op], *(broadcast(x, at) for x in sides)), "joined")
    y = requantised(joined, parameters, w.low, w.high)
    return te.create_function(w.op, [*operands.values(), identity, *own, parameters], [y])


def operand_of(w: ElementwiseWorkload, o: Operand, name: str, tile: tuple[int, int]) -> te.Tensor:
    """An operand as it lies in DRAM."""
    sizes = (1 if o.images else w.batch, 1, 1 if o.channels else w.blocks, 1 if o.positions else w.positions, 1)
    return te.placeholder((*sizes, *tile), "int8", name)


def with_constant(op: str, x: te.Tensor, value: int, name: str) -> te.Tensor:
    return te.compute(x.shape, lambda *at: ir.Binary(op, x[at], ir.Const(value, "int32")), name)


def centred(x: te.Tensor, zero_point: int, name: str) -> te.Tensor:
    return with_constant("add", x, -zero_point, name) if zero_point else x


def broadcast(x: te.Tensor, at: tuple[ir.Var, ...]) -> ir.Expr:
    """The element of x for `at`: the same all along an axis of extent 1."""
    return x[tuple(0 if size == 1 else index for size, index in zip(x.shape, at, strict=True))]


def table(w: TableWorkload, design: Design) -> ir.Function:
    """x, table, identity → y. Tensors are [batch][blocks][positions] tiles, the table as `table_levels` says."""
    tile = activation_tile(design)
    x = te.placeholder((w.batch, w.blocks, w.positions, *tile), "int8", "x")
    packed = te.placeholder((table_tiles(design), *tile), "int8", "table")
    identity = te.placeholder((1, design.gemm.block_out, design.gemm.block_in), "int8", "identity")
    found = looked_up(widened(x, identity, x.shape, lambda *at: at, "wide"), table_levels(packed, design))
    y = te.compute(x.shape, lambda *at: te.cast(found[at], "int8"), "y")
    return te.create_function("table", [x, packed, identity], [y])


def table_levels(packed: te.Tensor, design: Design) -> te.Tensor:
    """What LOOKUP finds of each level, from the acc tiles from which TABULATE takes it."""
    wide = te.compute(packed.shape, lambda *at: te.cast(packed[at], "int32"), "table_wide")
    return te.compute((TABLE_ENTRIES,), lambda entry: te.cast(wide[table_place(entry, design)], "int8"), "levels")


def looked_up(x: te.Tensor, levels: te.Tensor) -> te.Tensor:
    """What a table has at the low bytes of x."""
    return te.compute(x.shape, lambda *at: te.cast(levels[level_index(x[at])], "int32"), "looked_up")


def max_pool2d(w: PoolWorkload, design: Design) -> ir.Function:
    """x, identity → y. The window is separable: first down the rows, then along the columns, k_h + k_w steps, not k_h · k_w.

    Each direction starts from its first element rather than from -128, and the rows' comes from the GEMM core at one cycle.
    """
    tile = activation_tile(design)
    x = te.placeholder((w.batch, w.blocks, w.height, w.width, *tile), "int8", "x")
    identity = te.placeholder((1, design.gemm.block_out, design.gemm.block_in), "int8", "identity")
    rows = (w.out_height - 1) * w.strides[0] + w.kernel[0]
    columns = (w.out_width - 1) * w.strides[1] + w.kernel[1]
    (top, left, _, _), (sy, sx) = w.pads, w.strides
    padded = te.compute(
        (w.batch, w.blocks, rows, columns, *tile),
        lambda n, c, h, v, b, i: inside(
            x[n, c, h - top, v - left, b, i], (h, w.height, w.row_pads), (v, w.width, w.column_pads), -128
        ),
        "padded",
    )
    down_shape, out_shape = (
        (w.batch, w.blocks, w.out_height, columns, *tile),
        (w.batch, w.blocks, w.out_height, w.out_width, *tile),
    )
    wide = widened(padded, identity, padded.shape, lambda *at: at, "wide")
    down = widened(padded, identity, down_shape, lambda n, c, h, *at: (n, c, h * sy, *at), "down_0")
    for k in range(1, w.kernel[0]):
        down = te.compute(down_shape, _greater(down, wide, 2, sy, k), f"down_{k}", axes=[f"i{d}" for d in range(6)])
    acc = te.compute(out_shape, lambda n, c, h, v, b, i: down[n, c, h, v * sx, b, i], "across_0")
    for k in range(1, w.kernel[1]):
        acc = te.compute(out_shape, _greater(acc, down, 3, sx, k), f"across_{k}", axes=[f"i{d}" for d in range(6)])
    return te.create_function("max_pool2d", [x, identity], [te.compute(out_shape, lambda *at: te.cast(acc[at], "int8"), "y")])


def copy(w: CopyWorkload, design: Design) -> ir.Function:
    """x, identity → y, whose memory is the whole of each of w.axes. Loads are in the order of x; the GEMM core puts tiles in
    that of y, at a micro-op each, so that both loads and stores are long runs."""
    tile = activation_tile(design)
    x = te.placeholder((*w.source, *tile), "int8", "x")
    identity = te.placeholder((1, design.gemm.block_out, design.gemm.block_in), "int8", "identity")
    along = {axis.source: axis for axis in w.axes if axis.source is not None}
    extents = tuple(along[m].extent if m in along else 1 for m in range(len(w.source)))

    def loaded(*at: ir.Var) -> ir.Expr:
        conditions: list[ir.Expr] = []
        place: list[ir.Scalar] = []
        for m, size in enumerate(w.source):
            axis = along.get(m)
            index = at[m] * axis.step + axis.start if axis else ir.Const(0)
            if axis:
                ends = (axis.start, axis.start + (axis.extent - 1) * axis.step)
                conditions += [index >= 0] if min(ends) < 0 else []
                conditions += [index < size] if max(ends) >= size else []
            place.append(index)
        element = x[(*place, *at[len(w.source) :])]
        return te.select(te.logical_and(*conditions), element, w.pad_value) if conditions else element

    names = [f"i{d}" for d in range(len(extents) + 2)]
    narrow = te.compute((*extents, *tile), loaded, "narrow", axes=names)
    places = {axis.source: r for r, axis in enumerate(w.axes) if axis.source is not None}

    def source(*at: ir.Scalar) -> tuple[ir.Scalar, ...]:
        return (*(at[places[m]] if m in places else 0 for m in range(len(w.source))), *at[len(w.axes) :])

    shape = (*(axis.extent for axis in w.axes), *tile)
    wide = widened(narrow, identity, shape, source, "wide")
    y = te.compute(shape, lambda *at: te.cast(wide[at], "int8"), "y", axes=[f"i{d}" for d in range(len(shape))])
    return within(te.create_function("copy", [x, identity], [y]), [(axis.offset, axis.whole) for axis in w.axes])


def within(func: ir.Function, places: list[tuple[int, int]]) -> ir.Function:
    """The function writing its output into a part of a larger one. places: for each leading axis the first index, and the
    extent of the larger one."""
    *inputs, y = func.params
    whole = ir.Buffer(y.name, (*(size for _, size in places), *y.shape[len(places) :]), y.dtype, y.scope)

    def moved(statement: ir.Stmt) -> ir.Stmt:
        if not isinstance(statement, ir.Store) or statement.buffer is not y:
            return statement
        starts = [first for first, _ in places] + [0] * (len(y.shape) - len(places))
        indices = tuple(i + start if start else i for i, start in zip(statement.indices, starts, strict=True))
        return ir.Store(whole, indices, statement.value)

    return replace(func, params=(*inputs, whole), body=map_stmt(func.body, moved))


def _greater(so_far: te.Tensor, other: te.Tensor, axis: int, stride: int, offset: int) -> Callable[..., ir.Expr]:
    """max(so_far[…], other[…]) with index `axis` of `other` moved on to stride · index + offset."""

    def value(*at: ir.Var) -> ir.Expr:
        moved = [index * stride + offset if d == axis else index for d, index in enumerate(at)]
        return te.maximum(so_far[at], other[tuple(moved)])

    return value


def inside(
    value: ir.Expr, rows: tuple[ir.Expr, int, tuple[int, int]], columns: tuple[ir.Expr, int, tuple[int, int]], pad_value: int
) -> ir.Expr:
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


def requantised(x: te.Tensor, parameters: te.Tensor, low: int, high: int, levels: te.Tensor | None = None) -> te.Tensor:
    """Per-channel requantisation of [n][g][o][h][w] tiles, what a table has there, then the narrow result `y`."""
    narrowed = te.compute(
        x.shape,
        lambda n, g, o, h, v, b, k: te.requantise(
            x[n, g, o, h, v, b, k], parameters[g, o, 0, b, k], parameters[g, o, 1, b, k], low, high
        ),
        "requantised",
    )
    result = narrowed if levels is None else looked_up(narrowed, levels)
    return te.compute(x.shape, lambda *at: te.cast(result[at], "int8"), "y")
