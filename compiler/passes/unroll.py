"""`unroll_loops`: small unrolled loops written out."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler.ir.nodes import Const, For, Function, Seq, Stmt, seq
from vdla.compiler.ir.traverse import map_stmt, stmt_children, substitute_stmt, walk_stmt
from vdla.compiler.passes.virtual_threads import NameSource, copied

UNROLL_LIMIT = 64
"""Leaf statements an unrolled loop may become; beyond it the loop stays and the backend decides."""


def unroll_loops(func: Function) -> Function:
    """for i in unrolled(2): y[i] = x[i]   →   y[0] = x[0]; y[1] = x[1]"""
    if not any(isinstance(s, For) and s.kind == "unrolled" for s in walk_stmt(func.body)):
        return func
    names = NameSource(func)

    def change(stmt: Stmt) -> Stmt:
        if isinstance(stmt, Seq):
            return seq(*stmt.body)
        if not isinstance(stmt, For) or stmt.kind != "unrolled" or stmt.extent * leaf_count(stmt.body) > UNROLL_LIMIT:
            return stmt
        bodies = [substitute_stmt(stmt.body, {stmt.var: Const(k, stmt.var.dtype)}) for k in range(stmt.extent)]
        return seq(bodies[0], *(copied(b, names) for b in bodies[1:]))

    return replace(func, body=map_stmt(func.body, change))


def leaf_count(stmt: Stmt) -> int:
    return sum(1 for s in walk_stmt(stmt) if not stmt_children(s))
