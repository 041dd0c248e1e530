"""VDLA's operations as tensor intrinsics: what `tensorize` may replace, derived from the instruction set and a design.

Keys tell variants of one operation apart by their operands: "load.inp" and "load_padded.inp" by scope filled, "add" (dst,
x, y) and "add_imm" (dst, x) by operand. The `TensorIntrinsic` carries the name the backend knows, "vdla.load",
"vdla.alu.add".
"""

from __future__ import annotations

from collections.abc import Callable

from vdla.compiler import ir
from vdla.compiler.schedule.tensor_intrinsic import TensorIntrinsic, tile_function
from vdla.design import Design
from vdla.isa.definition import TABLE_ENTRIES, AluOp, table_tiles

Tile = tuple[int, int]
BINARY_OPS = (AluOp.MIN, AluOp.MAX, AluOp.ADD, AluOp.MUL, AluOp.SHL)
"""ALU operations that are one operator of the IR. SHR is not, as it rounds; REQUANTISE and RESCALE shift for it."""


def vdla_intrinsics(design: Design) -> dict[str, TensorIntrinsic]:
    """Every VDLA intrinsic over the tiles of `design`."""
    inp, wgt, out, types = inp_tile(design), wgt_tile(design), acc_tile(design), design.types
    table: dict[str, TensorIntrinsic] = {}
    for scope, tile, dtype in (("inp", inp, types.inp), ("wgt", wgt, types.wgt), ("acc", out, types.acc)):
        table[f"load.{scope}"] = _load(f"vdla.{scope}", tile, dtype, dtype)
        table[f"load_padded.{scope}"] = _load_padded(f"vdla.{scope}", tile, dtype, dtype)
    table["load.out"] = _load("vdla.acc", out, types.out, types.acc)
    table["load_padded.out"] = _load_padded("vdla.acc", out, types.out, types.acc)
    table |= {
        "store": _store(out, types.out),
        "gemm": _gemm(design),
        "gemm_reset": _constant("vdla.gemm_reset", out, ir.Const(0)),
    }
    for op in BINARY_OPS:
        table[op.name.lower()], table[f"{op.name.lower()}_imm"] = _binary(op, out), _binary_imm(op, out)
    table |= {"mov": _move(out), "mov_imm": _constant("vdla.alu.mov", out, ir.Var("imm")), "clip": _clip(out)}
    table |= {"requantise": _per_channel("requantise", out), "rescale": _per_channel("rescale", out)}
    table |= {"tabulate": _tabulate(design), "lookup": _lookup(out)}
    return table


def inp_tile(design: Design) -> Tile:
    return design.gemm.batch, design.gemm.block_in


def wgt_tile(design: Design) -> Tile:
    return design.gemm.block_out, design.gemm.block_in


def acc_tile(design: Design) -> Tile:
    return design.gemm.batch, design.gemm.block_out


def _elementwise(
    name: str, dst: ir.Buffer, sources: tuple[ir.Buffer, ...], value: Callable[..., ir.Expr], holes: tuple[ir.Var, ...] = ()
) -> TensorIntrinsic:
    """dst[b, o] = value(sources[b, o] …)."""

    def body(b: ir.Var, o: ir.Var) -> ir.Store:
        return ir.Store(dst, (b, o), value(*(s[b, o] for s in sources)))

    return TensorIntrinsic(name, tile_function(name.split(".")[-1], dst.shape, body, sources, dst), (dst, *sources), holes)


def _acc(name: str, tile: Tile) -> ir.Buffer:
    """int32: what the vector unit computes in, whatever the operands are."""
    return ir.Buffer(name, tile, "int32", "vdla.acc")


def _load(scope: str, tile: Tile, source: str, target: str) -> TensorIntrinsic:
    dst, src = ir.Buffer("dst", tile, target, scope), ir.Buffer("src", tile, source)
    return _elementwise("vdla.load", dst, (src,), lambda s: s.astype(target))


def _load_padded(scope: str, tile: Tile, source: str, target: str) -> TensorIntrinsic:
    dst, src = ir.Buffer("dst", tile, target, scope), ir.Buffer("src", tile, source)
    predicate, pad_value = ir.Var("predicate", "bool"), ir.Var("pad_value", target)
    return _elementwise(
        "vdla.load", dst, (src,), lambda s: ir.Select(predicate, s.astype(target), pad_value), (predicate, pad_value)
    )


def _store(tile: Tile, target: str) -> TensorIntrinsic:
    return _elementwise("vdla.store", ir.Buffer("dst", tile, target), (_acc("src", tile),), lambda s: s.astype(target))


def _gemm(design: Design) -> TensorIntrinsic:
    acc, types = _acc("acc", acc_tile(design)), design.types
    inp = ir.Buffer("inp", inp_tile(design), types.inp, "vdla.inp")
    wgt = ir.Buffer("wgt", wgt_tile(design), types.wgt, "vdla.wgt")

    def body(b: ir.Var, o: ir.Var, i: ir.Var) -> ir.Store:
        return ir.Store(acc, (b, o), acc[b, o] + inp[b, i].astype(types.acc) * wgt[o, i].astype(types.acc))

    extents = (design.gemm.batch, design.gemm.block_out, design.gemm.block_in)
    return TensorIntrinsic("vdla.gemm", tile_function("gemm", extents, body, (inp, wgt), acc), (acc, inp, wgt))


def _constant(name: str, tile: Tile, value: ir.Expr) -> TensorIntrinsic:
    """dst = a constant, or a hole."""
    return _elementwise(name, _acc("dst", tile), (), lambda: value, (value,) if isinstance(value, ir.Var) else ())


def _move(tile: Tile) -> TensorIntrinsic:
    return _elementwise("vdla.alu.mov", _acc("dst", tile), (_acc("y", tile),), lambda y: y)


def _binary(op: AluOp, tile: Tile) -> TensorIntrinsic:
    name = op.name.lower()
    sources = (_acc("x", tile), _acc("y", tile))
    return _elementwise(f"vdla.alu.{name}", _acc("dst", tile), sources, lambda x, y: ir.Binary(name, x, y))


def _binary_imm(op: AluOp, tile: Tile) -> TensorIntrinsic:
    name, imm = op.name.lower(), ir.Var("imm")
    return _elementwise(f"vdla.alu.{name}", _acc("dst", tile), (_acc("x", tile),), lambda x: ir.Binary(name, x, imm), (imm,))


def _clip(tile: Tile) -> TensorIntrinsic:
    """max with low, then min with high."""
    low, high = ir.Var("low"), ir.Var("high")
    return _elementwise(
        "vdla.alu.clip",
        _acc("dst", tile),
        (_acc("x", tile),),
        lambda x: ir.Binary("min", ir.Binary("max", x, low), high),
        (low, high),
    )


def _per_channel(name: str, tile: Tile) -> TensorIntrinsic:
    """requantise and rescale are functions of the IR; requantise carries its bounds as attributes."""
    holes = (ir.Var("low"), ir.Var("high")) if name == "requantise" else ()
    attributes = tuple(sorted((h.name, h.name) for h in holes))
    sources = (_acc("x", tile), _acc("bias", tile), _acc("scale", tile))
    return _elementwise(
        f"vdla.alu.{name}", _acc("dst", tile), sources, lambda *tiles: ir.Call(name, tiles, "int32", attributes), holes
    )


def level_index(x: ir.Expr) -> ir.Expr:
    """Where a table has the value of the level that is the low byte of `x`."""
    return x.astype("int8").astype("int32") + 128


def table_place(entry: ir.Expr, design: Design) -> tuple[ir.Expr, ir.Expr, ir.Expr]:
    """Tile, row and column of an entry among the acc tiles from which TABULATE takes a table."""
    tiles, columns = table_tiles(design), design.gemm.block_out
    element = entry // tiles
    return entry % tiles, element // columns, element % columns


def _tabulate(design: Design) -> TensorIntrinsic:
    """All of the table, from acc."""
    dst = ir.Buffer("dst", (TABLE_ENTRIES,), "int8", "vdla.table")
    src = ir.Buffer("src", (table_tiles(design), *acc_tile(design)), "int32", "vdla.acc")

    def body(entry: ir.Var) -> ir.Store:
        return ir.Store(dst, (entry,), src[table_place(entry, design)].astype("int8"))

    return TensorIntrinsic("vdla.tabulate", tile_function("tabulate", dst.shape, body, (src,), dst), (dst, src))


def _lookup(tile: Tile) -> TensorIntrinsic:
    dst, x, table = _acc("dst", tile), _acc("x", tile), ir.Buffer("table", (TABLE_ENTRIES,), "int8", "vdla.table")

    def body(b: ir.Var, o: ir.Var) -> ir.Store:
        return ir.Store(dst, (b, o), table[level_index(x[b, o])].astype("int32"))

    return TensorIntrinsic("vdla.alu.lookup", tile_function("lookup", tile, body, (x, table), dst), (dst, x, table))
