"""Reductions: the outermost expression of a stage."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from vdla.compiler.ir.bounds import FULL_RANGE
from vdla.compiler.ir.element_types import BOOL, FLOATS, INTEGERS
from vdla.compiler.ir.nodes import Const, Expr, Scalar, Var
from vdla.compiler.ir.traverse import walk_expr
from vdla.compiler.te.tensor import ReduceAxis, Reduction, TupleReduction
from vdla.errors import CompileError

Axes = ReduceAxis | Sequence[ReduceAxis]


def sum(value: Expr, axes: Axes) -> Reduction:
    """Σ value, in the dtype of `value`: cast first to accumulate wider."""
    return reduction("add", value, axes, 0)


def prod(value: Expr, axes: Axes) -> Reduction:
    """Π value, in the dtype of `value`."""
    return reduction("mul", value, axes, 1)


def max(value: Expr, axes: Axes, identity: int | float | None = None) -> Reduction:
    """The largest value; `identity` is by default the least value of the dtype."""
    return reduction("max", value, axes, lowest(value.dtype) if identity is None else identity)


def min(value: Expr, axes: Axes, identity: int | float | None = None) -> Reduction:
    """The smallest value; `identity` is by default the greatest value of the dtype."""
    return reduction("min", value, axes, highest(value.dtype) if identity is None else identity)


def reduction(op: str, value: Expr, axes: Axes, identity: int | float) -> Reduction:
    """Fold `value` with the commutative `op` ("add", "mul", "min" or "max") over `axes`, outermost first."""
    listed = checked_axes(op, axes)
    kinds = (*INTEGERS, *FLOATS, *([BOOL] if op in ("min", "max") else []))
    if not isinstance(value, Expr) or value.dtype not in kinds:
        found = value.dtype if isinstance(value, Expr) else value
        raise CompileError(
            f"the {op} reduction of what is no number", found=found, expected="an integer or float expression", hint="te.cast"
        )
    whole = value.dtype in FULL_RANGE
    return Reduction(op, value, listed, Const(int(identity) if whole else float(identity), value.dtype))


def checked_axes(op: str, axes: Axes) -> tuple[ReduceAxis, ...]:
    listed = (axes,) if isinstance(axes, ReduceAxis) else tuple(axes)
    if not listed or not all(isinstance(a, ReduceAxis) for a in listed) or len(set(listed)) != len(listed):
        raise CompileError(
            f"the axes of the {op} reduction", found=[str(a) for a in listed], expected="one or more different reduce axes"
        )
    return listed


Combine = Callable[[tuple[Expr, ...], tuple[Expr, ...]], Sequence[Scalar]]
"""The values so far, the values at one point → the values with that point."""


def reduce_tuple(combine: Combine, identities: Sequence[Scalar], values: Sequence[Expr], axes: Axes) -> TupleReduction:
    """Fold several values together over `axes`, outermost first and each in increasing order: argmax, mean and variance.

        def larger(best, new):
            return te.maximum(best[0], new[0]), te.select(new[0] > best[0], new[1], best[1])

        value, index = te.compute((n,), lambda i: te.reduce_tuple(larger, (-math.inf, 0), (x[i, k], k), k), "largest")

    identities: constants, the values before the first point; a bare number takes the dtype of its value. The results are
    stored one after another, each where it accumulates, in an order in which none reads what was overwritten for this point
    (above the index goes first). Raises `CompileError` where there is no such order.
    """
    listed = checked_axes("tuple", axes)
    if not values or len(identities) != len(values):
        raise CompileError("the identities of a tuple reduction", found=len(identities), expected=f"{len(values)}, one a value")
    starts = tuple(identity_of(start, value) for start, value in zip(identities, values, strict=True))
    accumulators = tuple(Var(f"accumulator_{k}", start.dtype) for k, start in enumerate(starts))
    given = tuple(combine(accumulators, tuple(values)))
    if len(given) != len(starts):
        raise CompileError("the results of a tuple reduction", found=len(given), expected=f"{len(starts)}, one a value")
    results = tuple(r if isinstance(r, Expr) else Const(r, start.dtype) for r, start in zip(given, starts, strict=True))
    if [r.dtype for r in results] != [start.dtype for start in starts]:
        found, expected = [r.dtype for r in results], [start.dtype for start in starts]
        raise CompileError(
            "dtypes of a tuple reduction's results", found=found, expected=f"the values' {expected}", hint="te.cast"
        )
    whole = TupleReduction(accumulators, results, starts, listed)
    store_order(whole)
    return whole


def identity_of(start: Scalar, value: Expr) -> Const:
    if isinstance(start, Expr):
        if not isinstance(start, Const) or start.dtype != value.dtype:
            expected = f"a number, or a constant of {value.dtype}"
            raise CompileError("an identity of a tuple reduction", found=start, expected=expected)
        return start
    return Const(int(start) if value.dtype in FULL_RANGE else float(start), value.dtype)


def store_order(reduction: TupleReduction) -> tuple[int, ...]:
    """The positions in an order such that each result is stored after those that read what it overwrites.

    Raises `CompileError` where results need one another's old values.
    """
    readers = [
        {k for k, result in enumerate(reduction.results) if k != position and accumulator in walk_expr(result)}
        for position, accumulator in enumerate(reduction.accumulators)
    ]
    order: list[int] = []
    while len(order) < len(readers):
        ready = next((k for k, wanted in enumerate(readers) if k not in order and wanted <= set(order)), None)
        if ready is None:
            found = [k for k in range(len(readers)) if k not in order]
            raise CompileError(
                "a tuple reduction whose results read one another's old values",
                found=f"values {found}",
                expected="an order in which each is stored after all that read its old value",
                hint="express one without the other, such as the maximum without the index",
            )
        order.append(ready)
    return tuple(order)


def lowest(dtype: str) -> int | float:
    """The least value of `dtype`."""
    return FULL_RANGE[dtype][0] if dtype in FULL_RANGE else -math.inf


def highest(dtype: str) -> int | float:
    """The greatest value of `dtype`."""
    return FULL_RANGE[dtype][1] if dtype in FULL_RANGE else math.inf
