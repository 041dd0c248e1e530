"""`lower_blocks`: iters become the loops' values, predicates and initialisations become tests."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir


def lower_blocks(func: ir.Function) -> ir.Function:
    """Remove blocks.

    for i_0, i_1, k:                                 for i_0, i_1, k:
        block A:                                         if i_0 * 4 + i_1 < 10:
            axis A.i = spatial(10, i_0 * 4 + i_1)            if k == 0:
            axis A.k = reduce(8, k)             →                A[i_0 * 4 + i_1] = 0
            where i_0 * 4 + i_1 < 10                         A[i_0 * 4 + i_1] = A[i_0 * 4 + i_1] + …
            init: A[A.i] = 0
            A[A.i] = A[A.i] + …
    """
    return replace(func, body=ir.map_stmt(func.body, lambda s: lower_block(s) if isinstance(s, ir.Block) else s))


def lower_block(block: ir.Block) -> ir.Stmt:
    values = {i.var: b for i, b in zip(block.iters, block.bindings, strict=True)}
    body = ir.substitute_stmt(block.body, values)
    if block.init is not None:
        first: list[ir.Expr] = [
            ir.Binary("eq", b, ir.Const(0, b.dtype))
            for i, b in zip(block.iters, block.bindings, strict=True)
            if i.kind == "reduce"
        ]
        init = ir.substitute_stmt(block.init, values)
        body = ir.seq(ir.If(ir.all_of(first), init) if first else init, body)
    if block.predicate is not None and block.predicate != ir.TRUE:
        body = ir.If(block.predicate, body)
    return body
