"""`unroll_loops`: small unrolled loops written out."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.passes.virtual_threads import copied, new_names

UNROLL_LIMIT = 64
"""Leaf statements an unrolled loop may become; beyond it the loop stays and the backend decides."""


def unroll_loops(func: ir.Function) -> ir.Function:
    """for i in unrolled(2): y[i] = x[i]   →   y[0] = x[0]; y[1] = x[1]"""
    if not any(isinstance(s, ir.For) and s.kind == "unrolled" for s in ir.walk_stmt(func.body)):
        return func
    names = new_names(func)

    def change(stmt: ir.Stmt) -> ir.Stmt:
        if isinstance(stmt, ir.Seq):
            return ir.seq(*stmt.body)
        if not isinstance(stmt, ir.For) or stmt.kind != "unrolled" or stmt.extent * leaf_count(stmt.body) > UNROLL_LIMIT:
            return stmt
        bodies = [ir.substitute_stmt(stmt.body, {stmt.var: ir.Const(k, stmt.var.dtype)}) for k in range(stmt.extent)]
        return ir.seq(bodies[0], *(copied(b, names) for b in bodies[1:]))

    return replace(func, body=ir.map_stmt(func.body, change))


def leaf_count(stmt: ir.Stmt) -> int:
    return sum(1 for s in ir.walk_stmt(stmt) if not ir.stmt_children(s))
