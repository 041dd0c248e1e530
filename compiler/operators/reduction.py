"""Reductions along whole axes."""

from __future__ import annotations

from math import prod

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import IMAGE, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axes_in, present
from vdla.errors import ModelError


def infer_global_avg_pool(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    return (TensorType((*x.shape[:2], 1, 1), x.dtype),)


def infer_reduce_mean(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    axes = axes_in(a["axes"], len(x.shape))
    if not axes:
        raise ModelError("a mean over no axes", found=a["axes"], expected="one or more")
    shape = [1 if i in axes else s for i, s in enumerate(x.shape) if i not in axes or a["keepdims"]]
    return (TensorType(tuple(shape), x.dtype),)


def mean_over(x: te.Tensor, axes: tuple[int, ...], shape: tuple[int, ...], keep: bool) -> te.Tensor:
    """The mean over `axes`, to `shape`, which has them as 1 or (not keep) not at all."""
    reduced = {axis: te.reduce_axis(x.shape[axis], f"r{axis}") for axis in sorted(axes)}
    kept = [d for d in range(len(x.shape)) if keep or d not in reduced]

    def total_at(*at: Expr) -> Expr:
        index = {**dict(zip(kept, at, strict=False)), **reduced}  # without kept axes, the one of shape (1,) is no index
        return te.sum(x[tuple(index[d] for d in range(len(x.shape)))], tuple(reduced.values()))

    total = te.compute(shape, total_at, "total")
    count = te.const(prod(x.shape[axis] for axis in reduced), x.dtype)
    return te.compute(shape, lambda *at: total[at] / count, "y")


def define_global_avg_pool(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (mean_over(x, (2, 3), (*x.shape[:2], 1, 1), True),))


def define_reduce_mean(types: Types, a: Attributes) -> Definition:
    """Axes may be negative; a mean over every axis, none kept, has shape (), for which te has (1,)."""
    (x,) = required(*placeholders(types, "x"))
    axes = tuple(sorted({axis % len(x.shape) for axis in a["axes"]}))
    keep = bool(a["keepdims"])
    shape = tuple(1 if d in axes else n for d, n in enumerate(x.shape) if keep or d not in axes)
    return Definition((x,), (mean_over(x, axes, shape or (1,), keep),))


FAMILY = (
    Operator(
        name="global_avg_pool",
        inputs=(Input("x", rank=IMAGE),),
        infer=infer_global_avg_pool,
        define=define_global_avg_pool,
        kernel=lambda i, a: i[0].mean(axis=(2, 3), keepdims=True, dtype=i[0].dtype),
        fusion=Fusion.REDUCTION,
        takes_clip=True,
        slope=1,
    ),
    Operator(
        name="reduce_mean",
        inputs=(Input("x"),),
        attributes={"axes": integers(), "keepdims": flag(True)},
        infer=infer_reduce_mean,
        define=define_reduce_mean,
        kernel=lambda i, a: i[0].mean(axis=tuple(a["axes"]), keepdims=bool(a["keepdims"]), dtype=i[0].dtype),
        fusion=Fusion.REDUCTION,
        takes_clip=True,
        slope=1,
    ),
)
