"""The determinant of square matrices."""

from __future__ import annotations

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, MAX_RANK, Fusion, Input, Operator
from vdla.compiler.operators.shapes import present
from vdla.errors import ModelError


def infer_determinant(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    if x.shape[-1] != x.shape[-2]:
        raise ModelError("the determinant of what is no square matrix", found=x.shape, expected="(…, n, n)")
    return (TensorType(x.shape[:-2], x.dtype),)


def define_determinant(types: Types, a: Attributes) -> Definition:
    """Gaussian elimination as a scan over columns k, which carries the matrix and the product of the pivots so far.

    The pivot is the first of the largest elements of column k from row k on. Rows k and pivot change places, and from those
    below row k is subtracted so often that column k vanishes; where the pivot is 0 the product is, whatever follows.
    """
    (x,) = required(*placeholders(types, "x"))
    batch, n = x.shape[:-2], x.shape[-1]
    k, rest = te.scan_axis(n, "k"), len(batch)
    matrix, det = te.placeholder(x.shape, x.dtype, "matrix"), te.placeholder(batch, x.dtype, "det")
    zero, one = te.const(0, x.dtype), te.const(1, x.dtype)
    along, again = te.reduce_axis(n, "r"), te.reduce_axis(n, "s")
    names = [f"b{d}" for d in range(rest)]

    def size(at: tuple[Expr, ...], row: Expr) -> Expr:
        return te.select(row >= k, te.absolute(matrix[(*at, te.clip(row, 0, n - 1), k)]), te.const(-1, x.dtype))

    def stage(fn: object, name: str) -> te.Tensor:
        return te.compute(batch or (1,), fn, name, axes=names or ["b0"])  # a reduction to shape () is one to (1,)

    def rows(at: tuple[Expr, ...]) -> tuple[Expr, ...]:
        return at if batch else ()

    largest = stage(lambda *at: te.max(size(rows(at), along), along), "largest")
    last = te.const(n - 1, "int32")
    pivot = stage(lambda *at: te.min(te.select(te.equal(size(rows(at), again), largest[at]), again, last), again), "pivot")

    def swapped_row(at: tuple[Expr, ...], row: Expr) -> Expr:
        found = pivot[at or (0,)]
        return te.clip(te.select(te.equal(row, k), found, te.select(te.equal(row, found), k, row)), 0, n - 1)

    swapped = te.compute(x.shape, lambda *at: matrix[(*at[:-2], swapped_row(at[:-2], at[-2]), at[-1])], "swapped")

    def eliminated(*at: Expr) -> Expr:
        *outer, i, j = at
        top = swapped[(*outer, k, k)]
        factor = swapped[(*outer, i, k)] / te.select(te.equal(top, zero), one, top)
        return te.select(i > k, swapped[at] - factor * swapped[(*outer, k, j)], swapped[at])

    def following(*at: Expr) -> Expr:
        top = swapped[(*at, k, k)]
        return det[at] * te.select(te.equal(pivot[at or (0,)], k), top, zero - top)

    ones = te.compute(batch, lambda *at: one, "ones", axes=names)
    states = [
        te.State(matrix, x, te.compute(x.shape, eliminated, "eliminated")),
        te.State(det, ones, te.compute(batch, following, "following", axes=names)),
    ]
    (_, product), _ = te.scan(k, states, name="elimination")
    return Definition((x,), (te.compute(batch, lambda *at: product[at], "y", axes=names),))


FAMILY = (
    Operator(
        name="determinant",
        inputs=(Input("x", FLOAT, rank=(2, MAX_RANK)),),
        infer=infer_determinant,
        define=define_determinant,
        kernel=lambda inputs, a: np.asarray(np.linalg.det(inputs[0]), inputs[0].dtype),
        fusion=Fusion.OPAQUE,
    ),
)
