"""Reductions: the outermost expression of a stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vdla.compiler.ir.bounds import FULL_RANGE
from vdla.compiler.ir.element_types import BOOL, FLOATS, INTEGERS
from vdla.compiler.ir.nodes import Const, Expr
from vdla.compiler.te.tensor import ReduceAxis, Reduction
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
    listed = (axes,) if isinstance(axes, ReduceAxis) else tuple(axes)
    if not listed or not all(isinstance(a, ReduceAxis) for a in listed) or len(set(listed)) != len(listed):
        raise CompileError(
            f"the axes of the {op} reduction", found=[str(a) for a in listed], expected="one or more different reduce axes"
        )
    kinds = (*INTEGERS, *FLOATS, *([BOOL] if op in ("min", "max") else []))
    if not isinstance(value, Expr) or value.dtype not in kinds:
        found = value.dtype if isinstance(value, Expr) else value
        raise CompileError(
            f"the {op} reduction of what is no number", found=found, expected="an integer or float expression", hint="te.cast"
        )
    whole = value.dtype in FULL_RANGE
    return Reduction(op, value, listed, Const(int(identity) if whole else float(identity), value.dtype))


def lowest(dtype: str) -> int | float:
    """The least value of `dtype`."""
    return FULL_RANGE[dtype][0] if dtype in FULL_RANGE else -math.inf


def highest(dtype: str) -> int | float:
    """The greatest value of `dtype`."""
    return FULL_RANGE[dtype][1] if dtype in FULL_RANGE else math.inf
