"""What each VDLA intrinsic does, in NumPy on views of its regions, by the arithmetic of `vdla.isa.semantics`.

Every function takes (regions, attributes, predicate): the views, the written one first, each of whose last two dimensions
are a tile and whose leading ones have extent 1; the attributes as a dict; and the predicate's value. Where the predicate is
False the source views are None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vdla.errors import CompileError
from vdla.isa.definition import AluOp
from vdla.isa.semantics import ALU_RESULTS, requantise, rescale, wrap32

Regions = Sequence[np.ndarray | None]
AttributeValues = Mapping[str, int | float | str]
IntrinsicSemantics = Callable[[Regions, AttributeValues, bool], None]


def tiles(regions: Regions) -> list[np.ndarray]:
    """The 2-D views of the tiles."""
    views = [r for r in regions if r is not None]
    for view in views:
        if view.ndim < 2 or any(n != 1 for n in view.shape[:-2]):
            raise CompileError(
                "an intrinsic's region is not one tile",
                found=list(view.shape),
                expected="extent 1 in all but the last two dimensions",
            )
    return [view[(0,) * (view.ndim - 2)] for view in views]


def load(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    """dst = src, widened for acc, where the predicate holds; else every element is pad_value."""
    if predicate:
        dst, src = tiles(regions)
        dst[...] = src
    else:
        (dst,) = tiles(regions)
        dst[...] = attributes.get("pad_value", 0)


def store(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    """dst = the low byte of each acc element."""
    dst, src = tiles(regions)
    dst[...] = src.astype(np.uint8).view(np.int8)


def gemm(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    """acc += inp · wgtᵀ."""
    acc, inp, wgt = tiles(regions)
    acc[...] = wrap32(acc + inp.astype(np.int64) @ wgt.astype(np.int64).T)


def gemm_reset(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    tiles(regions)[0][...] = 0


def alu(op: AluOp) -> IntrinsicSemantics:
    """dst = x OP y; y is the last operand or `imm`. MOV has no x. SHR rounds half to even, as the machine's does."""

    def execute(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
        dst, *sources = (t.astype(np.int64) for t in tiles(regions))
        y = np.full_like(dst, int(attributes["imm"])) if "imm" in attributes else sources.pop()
        x = sources[0] if sources else y
        tiles(regions)[0][...] = wrap32(ALU_RESULTS[op](x, y))

    return execute


def clip(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    dst, x = tiles(regions)
    dst[...] = np.clip(x, int(attributes["low"]), int(attributes["high"]))


def requantise_tile(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    dst, x, bias, scale = tiles(regions)
    dst[...] = requantise(x, bias, scale, int(attributes["low"]), int(attributes["high"]))


def rescale_tile(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    dst, x, bias, scale = tiles(regions)
    dst[...] = rescale(x, bias, scale)


def tabulate(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    """Entry e of the table is the low byte of element e // tiles of tile e mod tiles."""
    table, source = regions
    assert table is not None and source is not None
    entries = np.arange(table.size)
    elements = source.reshape(source.shape[0], -1)
    table[...] = elements[entries % len(elements), entries // len(elements)].astype(np.uint8).view(np.int8)


def lookup(regions: Regions, attributes: AttributeValues, predicate: bool) -> None:
    """dst = table[low byte of x, as int8, + 128]."""
    *operands, table = regions
    dst, x = tiles(operands)
    assert table is not None
    dst[...] = table[(x & 0xFF) ^ 0x80]


VDLA_INTRINSICS: dict[str, IntrinsicSemantics] = {
    "vdla.load": load,
    "vdla.store": store,
    "vdla.gemm": gemm,
    "vdla.gemm_reset": gemm_reset,
    **{
        f"vdla.alu.{op.name.lower()}": alu(op)
        for op in (AluOp.MIN, AluOp.MAX, AluOp.ADD, AluOp.MUL, AluOp.SHL, AluOp.SHR, AluOp.MOV)
    },
    "vdla.alu.clip": clip,
    "vdla.alu.requantise": requantise_tile,
    "vdla.alu.rescale": rescale_tile,
    "vdla.tabulate": tabulate,
    "vdla.alu.lookup": lookup,
}
