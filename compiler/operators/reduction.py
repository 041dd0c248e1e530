"""Reductions along whole axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from vdla.compiler import te
from vdla.compiler.graph.graph import TensorType
from vdla.compiler.ir.nodes import Expr
from vdla.compiler.operators.attribute import flag, integer, integers
from vdla.compiler.operators.definition import Attributes, Definition, Types, placeholders, required
from vdla.compiler.operators.operator import FLOAT, IMAGE, MAX_RANK, NUMBER, Fusion, Input, Operator
from vdla.compiler.operators.shapes import axes_in, axis_in, present
from vdla.compiler.te.reductions import highest, lowest
from vdla.errors import ModelError

Fold = Callable[[Expr, Sequence[te.ReduceAxis]], Expr]
REDUCED = {"axes": integers(), "keepdims": flag(True)}


def infer_global_avg_pool(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    return (TensorType((*x.shape[:2], 1, 1), x.dtype),)


def infer_reduced(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    axes = axes_in(a["axes"], len(x.shape))
    if not axes:
        raise ModelError("a reduction over no axes", found=a["axes"], expected="one or more")
    return (TensorType(kept_shape(x.shape, axes, a["keepdims"]), x.dtype),)


def kept_shape(shape: tuple[int, ...], axes: set[int], keep: bool) -> tuple[int, ...]:
    """What is left of `shape` after a reduction over `axes`."""
    return tuple(1 if d in axes else n for d, n in enumerate(shape) if keep or d not in axes)


def infer_arg(types: Types, a: Attributes) -> tuple[TensorType, ...]:
    (x,) = present(types)
    return (TensorType(kept_shape(x.shape, {axis_in(a["axis"], len(x.shape))}, a["keepdims"]), "int64"),)


def over(x: te.Tensor, axes: Sequence[int], keep: bool, name: str, fold: Callable[..., Expr]) -> te.Tensor:
    """A stage: `fold(read, axes, at)` of the elements along `axes`, which the result has as 1 or (not keep) not at all.

    read(*): an element of a tensor of x's shape, by default of x. A result of shape () is one of (1,): te has no loops for it.
    """
    reduced = {axis: te.reduce_axis(x.shape[axis], f"r{axis}") for axis in sorted(axes)}
    kept = [d for d in range(len(x.shape)) if keep or d not in reduced]

    def element(*at: Expr) -> Expr:
        index = {**dict(zip(kept, at, strict=False)), **reduced}  # without kept axes, the one of shape (1,) is no index
        return fold(tuple(index[d] for d in range(len(x.shape))), tuple(reduced.values()), at)

    return te.compute(kept_shape(x.shape, set(axes), keep) or (1,), element, name)


def folded(x: te.Tensor, axes: Sequence[int], keep: bool, name: str, fold: Fold) -> te.Tensor:
    """`fold` of the elements along `axes`."""
    return over(x, axes, keep, name, lambda index, along, at: fold(x[index], along))


def unordered(x: te.Tensor, axes: Sequence[int], keep: bool) -> te.Tensor:
    """How many elements along `axes` are NaN, as int32."""
    one, none = te.const(1, "int32"), te.const(0, "int32")
    return folded(x, axes, keep, "nans", lambda v, along: te.sum(te.select(te.not_equal(v, v), one, none), along))


def reduced_axes(x: te.Tensor, a: Attributes) -> tuple[int, ...]:
    return tuple(sorted({axis % len(x.shape) for axis in a["axes"]}))


def mean_over(x: te.Tensor, axes: tuple[int, ...], keep: bool) -> te.Tensor:
    total = folded(x, axes, keep, "total", te.sum)
    count = te.const(prod(x.shape[axis] for axis in axes), x.dtype)
    return te.compute(total.shape, lambda *at: total[at] / count, "y")


def define_global_avg_pool(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (mean_over(x, (2, 3), True),))


def define_reduce_mean(types: Types, a: Attributes) -> Definition:
    (x,) = required(*placeholders(types, "x"))
    return Definition((x,), (mean_over(x, reduced_axes(x, a), bool(a["keepdims"])),))


def define_folded(fold: Fold) -> Callable[[Types, Attributes], Definition]:
    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        return Definition((x,), (folded(x, reduced_axes(x, a), bool(a["keepdims"]), "y", fold),))

    return define


def define_extreme(fold: Fold) -> Callable[[Types, Attributes], Definition]:
    """NaN where any element is."""

    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        axes, keep = reduced_axes(x, a), bool(a["keepdims"])
        if x.dtype not in FLOAT:
            return Definition((x,), (folded(x, axes, keep, "y", fold),))
        extreme, nans = folded(x, axes, keep, "extreme", fold), unordered(x, axes, keep)
        element = lambda *at: te.select(nans[at] > 0, te.const(float("nan"), x.dtype), extreme[at])  # noqa: E731
        return Definition((x,), (te.compute(extreme.shape, element, "y"),))

    return define


def define_arg(fold: Fold) -> Callable[[Types, Attributes], Definition]:
    """Where the extreme is: the least position (or the greatest) of what equals it, of NaNs if there are any."""

    def define(types: Types, a: Attributes) -> Definition:
        (x,) = required(*placeholders(types, "x"))
        axis, keep = a["axis"] % len(x.shape), bool(a["keepdims"])
        extreme = folded(x, (axis,), keep, "extreme", fold)
        nans = unordered(x, (axis,), keep) if x.dtype in FLOAT else None
        choose = te.max if a["last"] else te.min
        nowhere = te.const(0 if a["last"] else x.shape[axis] - 1, "int32")

        def position(index: tuple[Expr, ...], along: Sequence[te.ReduceAxis], at: tuple[Expr, ...]) -> Expr:
            value = x[index]
            found = te.equal(value, extreme[at])
            if nans is not None:
                found = te.select(nans[at] > 0, te.not_equal(value, value), found)
            return choose(te.select(found, along[0], nowhere), along)

        where = over(x, (axis,), keep, "position", position)
        return Definition((x,), (te.compute(where.shape, lambda *at: te.cast(where[at], "int64"), "y"),))

    return define


def arg(kernel: Callable[..., np.ndarray]) -> Callable[[Sequence[Any], Attributes], np.ndarray]:
    def run(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
        x, axis = inputs[0], a["axis"]
        if not a["last"]:
            return kernel(x, axis=axis, keepdims=bool(a["keepdims"])).astype(np.int64)
        backwards = kernel(np.flip(x, axis), axis=axis, keepdims=bool(a["keepdims"]))
        return (x.shape[axis] - 1 - backwards).astype(np.int64)

    return run


def reduction(
    name: str,
    define: Callable[[Types, Attributes], Definition],
    kernel: Callable[..., np.ndarray],
    dtypes: tuple[str, ...] = NUMBER,
    **traits: Any,
) -> Operator:
    """y = the kernel along `axes`. traits: further fields of `Operator`."""

    def run(inputs: Sequence[Any], a: Attributes) -> np.ndarray:
        return np.asarray(kernel(inputs[0], axis=tuple(a["axes"]), keepdims=bool(a["keepdims"])))

    return Operator(
        name=name,
        inputs=(Input("x", dtypes),),
        attributes=REDUCED,
        infer=infer_reduced,
        define=define,
        kernel=run,
        fusion=Fusion.REDUCTION,
        **traits,
    )


def position(name: str, fold: Fold, kernel: Callable[..., np.ndarray]) -> Operator:
    """The position of an extreme along `axis`, the first one or the last one of several."""
    return Operator(
        name=name,
        inputs=(Input("x", NUMBER, rank=(1, MAX_RANK)),),
        attributes={"axis": integer(0), "keepdims": flag(True), "last": flag()},
        infer=infer_arg,
        define=define_arg(fold),
        kernel=arg(kernel),
        fusion=Fusion.OPAQUE,
    )


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
    reduction(
        "reduce_mean",
        define_reduce_mean,
        lambda x, **over: x.mean(**over, dtype=x.dtype),
        dtypes=FLOAT,
        takes_clip=True,
        slope=1,
    ),
    reduction("reduce_sum", define_folded(te.sum), lambda x, **over: x.sum(**over, dtype=x.dtype)),
    reduction("reduce_prod", define_folded(te.prod), lambda x, **over: x.prod(**over, dtype=x.dtype)),
    reduction("reduce_max", define_extreme(te.max), lambda x, **over: x.max(**over, initial=lowest(str(x.dtype))), slope=1),
    reduction("reduce_min", define_extreme(te.min), lambda x, **over: x.min(**over, initial=highest(str(x.dtype))), slope=1),
    position("arg_max", te.max, np.argmax),
    position("arg_min", te.min, np.argmin),
)
