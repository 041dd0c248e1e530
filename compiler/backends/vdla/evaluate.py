"""Values of index expressions: on Python integers, or on whole NumPy grids at once by broadcasting."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vdla.compiler import ir
from vdla.errors import CompileError

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "floormod": operator.mod,
    "min": np.minimum,
    "max": np.maximum,
    "shl": operator.lshift,
    "shr": operator.rshift,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "eq": operator.eq,
    "ne": operator.ne,
    "and": np.logical_and,
    "or": np.logical_or,
}


def evaluate(expr: ir.Expr, values: Mapping[ir.Var, Any]) -> Any:
    """`expr` with each variable an int or an integer array; arrays broadcast. Indices are taken not to overflow.

    Raises `CompileError` for an expression that is not index arithmetic (it loads from a buffer, calls a function).
    """
    match expr:
        case ir.Const(value, _):
            return value
        case ir.Var():
            return values[expr]
        case ir.Binary(op, a, b) if op in _BINARY:
            return _BINARY[op](evaluate(a, values), evaluate(b, values))
        case ir.Cast(_, value):
            return evaluate(value, values)
        case ir.Select(condition, a, b):
            return np.where(evaluate(condition, values), evaluate(a, values), evaluate(b, values))
    raise CompileError(
        "an index depends on data",
        found=type(expr).__name__,
        expected="arithmetic on loop variables",
        hint="the machine's addresses are fixed when the program is compiled",
    )


def variables(expr: ir.Expr) -> set[ir.Var]:
    return {e for e in ir.walk_expr(expr) if isinstance(e, ir.Var)}
