"""What the emitter asks of index expressions; the algebra is `passes.affine`'s."""

from __future__ import annotations

from vdla.compiler import ir
from vdla.compiler.ir.bounds import bounds
from vdla.compiler.passes.affine import (
    INDEX_DTYPES,
    LINEAR_OPS,
    Linear,
    Ranges,
    interval,
    linear_interval,
    recombine,
    to_linear,
)


def depends(expr: ir.Expr, var: ir.Var) -> bool:
    return any(e is var for e in ir.walk_expr(expr))


def is_index(expr: ir.Expr) -> bool:
    """Made of loop variables and constants only, so evaluable in 64 bits: indices do not wrap."""
    match expr:
        case ir.Var() | ir.Const():
            return expr.dtype in INDEX_DTYPES
        case ir.Binary(op, a, b):
            return op in LINEAR_OPS and is_index(a) and is_index(b)
        case ir.Cast(dtype, value):
            return dtype in INDEX_DTYPES and is_index(value)
        case _:
            return False


def is_non_negative(expr: ir.Expr, ranges: Ranges) -> bool:
    known = interval(expr, ranges)
    return known is not None and known[0] >= 0


def coefficient(form: Linear, var: ir.Var) -> int | None:
    """The multiple of `var` in a sum; None when `var` also occurs inside an atom."""
    if any(atom is not var and depends(atom, var) for atom in form.terms):
        return None
    return form.terms.get(var, 0)


def decide(op: str, a: ir.Expr, b: ir.Expr, ranges: Ranges) -> bool | None:
    """A comparison of two index expressions, when it comes out the same for every value of the variables."""
    known = linear_interval(to_linear(a, ranges).plus(to_linear(b, ranges), -1), ranges)
    if known is None:
        return None
    low, high = known
    always, never = {
        "lt": (high < 0, low >= 0),
        "le": (high <= 0, low > 0),
        "gt": (low > 0, high <= 0),
        "ge": (low >= 0, high < 0),
        "eq": (low == high == 0, low > 0 or high < 0),
        "ne": (low > 0 or high < 0, low == high == 0),
    }[op]
    return True if always else False if never else None


def in_bounds(indices: tuple[ir.Expr, ...], shape: tuple[int, ...], ranges: Ranges) -> bool:
    """Whether every index surely lies inside `shape`."""
    return all(
        any(known is not None and known[0] >= 0 and known[1] < size for known in (interval(i, ranges), bounds(i, ranges)))
        for i, size in zip(indices, shape, strict=True)
    )


def offset_of(indices: tuple[ir.Expr, ...], shape: tuple[int, ...], ranges: Ranges) -> Linear:
    """The row-major element offset."""
    total, stride = Linear({}, 0), 1
    for index, size in zip(reversed(indices), reversed(shape), strict=True):
        total = total.plus(to_linear(index, ranges), stride)
        stride *= size
    return recombine(total, ranges)
