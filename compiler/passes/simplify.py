"""`simplify`: constants folded, index arithmetic made canonical, conditions decided by intervals."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from math import gcd, isfinite

from vdla.arithmetic import ceil_div
from vdla.compiler import ir
from vdla.compiler.ir.scalar_semantics import cast, constant
from vdla.compiler.passes.affine import INDEX_DTYPES, LINEAR_OPS, Linear, Ranges, from_linear, linear_interval, to_linear

EMPTY: frozenset[ir.Expr] = frozenset()


def simplify(expr: ir.Expr, ranges: Ranges, facts: Set[ir.Expr] = EMPTY) -> ir.Expr:
    """An equal expression, for variables within `ranges` and where every one of `facts` holds.

    Values (anything with a load or a call in it) keep their shape, so that patterns still match; only their indices,
    conditions and constants are simplified.
    """
    match expr:
        case ir.Const() | ir.Var() if expr.dtype not in INDEX_DTYPES:
            return expr
        case ir.Binary("and", a, b):
            return simplify_and(simplify(a, ranges, facts), simplify(b, ranges, facts), facts)
        case ir.Binary("or", a, b):
            return simplify_or(simplify(a, ranges, facts), simplify(b, ranges, facts))
        case ir.Binary(op, a, b) if op in ir.COMPARISONS and a.dtype in INDEX_DTYPES and is_index(a) and is_index(b):
            result = simplify_comparison(op, to_linear(a, ranges), to_linear(b, ranges), ranges, a.dtype)
            return ir.TRUE if result in facts else result
    if expr.dtype in INDEX_DTYPES and is_index(expr):
        return from_linear(to_linear(expr, ranges), expr.dtype)
    old = ir.children(expr)
    new = tuple(simplify(c, ranges, facts) for c in old)
    return fold(expr if all(a is b for a, b in zip(old, new, strict=True)) else ir.rebuild(expr, new))


def is_index(expr: ir.Expr) -> bool:
    """Whether `expr` is arithmetic over variables and constants alone."""
    match expr:
        case ir.Var() | ir.Const():
            return True
        case ir.Binary(op, a, b):
            return op in LINEAR_OPS and is_index(a) and is_index(b)
        case _:
            return False


def conjuncts(condition: ir.Expr) -> list[ir.Expr]:
    """The terms of a conjunction, TRUE left out."""
    match condition:
        case ir.Binary("and", a, b):
            return conjuncts(a) + conjuncts(b)
        case _:
            return [] if condition == ir.TRUE else [condition]


def simplify_and(a: ir.Expr, b: ir.Expr, facts: Set[ir.Expr] = EMPTY) -> ir.Expr:
    terms = [t for t in dict.fromkeys(conjuncts(a) + conjuncts(b)) if t not in facts]
    return ir.FALSE if ir.FALSE in terms else ir.all_of(terms)


def simplify_or(a: ir.Expr, b: ir.Expr) -> ir.Expr:
    if ir.TRUE in (a, b):
        return ir.TRUE
    if a in (ir.FALSE, b):
        return b
    return a if b == ir.FALSE else ir.Binary("or", a, b)


def simplify_comparison(op: str, a: Linear, b: Linear, ranges: Ranges, dtype: str) -> ir.Expr:
    """a op b as TRUE, FALSE or positive terms on the left against negative terms or the constant on the right."""
    difference = a.plus(b, -1)
    known = linear_interval(difference, ranges)
    if known is not None:
        decided = decide(op, *known)
        if decided is not None:
            return ir.TRUE if decided else ir.FALSE
    op, difference = drop_carry_free_part(op, difference, ranges)
    left = {x: c for x, c in difference.terms.items() if c > 0}
    right = {x: -c for x, c in difference.terms.items() if c < 0}
    if not left:
        op, left, right, difference = MIRRORED[op], right, {}, difference.times(-1)
    if right:
        return ir.Binary(op, from_linear(Linear(left, 0), dtype), from_linear(Linear(right, -difference.constant), dtype))
    return compare_with_constant(op, Linear(left, 0), -difference.constant, dtype)


MIRRORED = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le", "eq": "eq", "ne": "ne"}


def decide(op: str, low: int, high: int) -> bool | None:
    """Truth of `d op 0` for low ≤ d ≤ high, where it does not depend on d."""
    always = {"lt": high < 0, "le": high <= 0, "gt": low > 0, "ge": low >= 0, "eq": low == high == 0, "ne": low > 0 or high < 0}
    never = {"lt": low >= 0, "le": low > 0, "gt": high <= 0, "ge": high < 0, "eq": low > 0 or high < 0, "ne": low == high == 0}
    return True if always[op] else False if never[op] else None


def drop_carry_free_part(op: str, difference: Linear, ranges: Ranges) -> tuple[str, Linear]:
    """g·y + s < 0 with 0 ≤ s < g holds exactly where y < 0: the tail test of a split that divides loses its inner loop."""
    if op not in ("lt", "ge"):
        return op, difference
    for g in sorted({abs(c) for c in difference.terms.values()} - {1}, reverse=True):
        large = {x: c for x, c in difference.terms.items() if c % g == 0}
        small = Linear({x: c for x, c in difference.terms.items() if c % g}, difference.constant % g)
        known = linear_interval(small, ranges) if small.terms else None
        if known is not None and known[0] >= 0 and known[1] < g:
            return op, Linear(large, difference.constant - small.constant).divided(g)
    return op, difference


def compare_with_constant(op: str, left: Linear, constant: int, dtype: str) -> ir.Expr:
    """`left op constant` with the common factor of the coefficients taken out."""
    g = gcd(*left.terms.values())
    if g > 1:
        if op in ("eq", "ne") and constant % g:
            return ir.FALSE if op == "eq" else ir.TRUE
        constant = ceil_div(constant, g) if op in ("lt", "ge") else constant // g
        left = left.divided(g)
    return ir.Binary(op, from_linear(left, dtype), ir.Const(constant, dtype))


def fold(expr: ir.Expr) -> ir.Expr:
    """One node whose children are simplified already."""
    match expr:
        case ir.Select(condition, a, b):
            if condition in (ir.TRUE, ir.FALSE):
                return a if condition == ir.TRUE else b
            return a if a == b and repr(a) == repr(b) else expr  # 0.0 == -0.0
        case ir.Cast(dtype, ir.Const(value, source)) if isfinite(value):
            return ir.Const(constant(cast(constant(value, source), source, dtype), dtype), dtype)
        case ir.Binary(op, ir.Const(x, dtype), ir.Const(y, _)):
            folded = fold_constants(op, *((constant(v, dtype) for v in (x, y)) if op in ir.COMPARISONS else (x, y)))
            return expr if folded is None else ir.Const(constant(folded, expr.dtype), expr.dtype)
        case ir.Binary("add", a, ir.Const(0, _)) | ir.Binary("sub", a, ir.Const(0, _)) | ir.Binary("mul", a, ir.Const(1, _)):
            return a if is_integer(a.dtype) else expr
        case ir.Binary("add", ir.Const(0, _), a) | ir.Binary("mul", ir.Const(1, _), a):
            return a if is_integer(a.dtype) else expr
    return expr


def is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint"))


def fold_constants(op: str, x: int | float, y: int | float) -> int | float | bool | None:
    """The value of `x op y`; None where it is left to run time (floats round in their own dtype there)."""
    if op in ir.COMPARISONS:
        return {"lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y, "eq": x == y, "ne": x != y}[op]
    if isinstance(x, float) or isinstance(y, float) or (op in ("floordiv", "floormod") and y == 0):
        return None
    table = {"add": lambda: x + y, "sub": lambda: x - y, "mul": lambda: x * y, "floordiv": lambda: x // y,
             "floormod": lambda: x % y, "min": lambda: min(x, y), "max": lambda: max(x, y)}  # fmt: skip
    return table[op]() if op in table else None


def simplify_function(func: ir.Function) -> ir.Function:
    """The pass: every expression simplified, unit loops and decided branches removed, loop-invariant tests hoisted."""
    body = simplify_stmt(func.body, {}, EMPTY)
    return ir.Function(func.name, func.params, body if body is not None else ir.Seq(()), func.output_count, func.attributes)


def simplify_stmt(stmt: ir.Stmt, ranges: dict[ir.Var, tuple[int, int]], facts: frozenset[ir.Expr]) -> ir.Stmt | None:
    """None where nothing is left of the statement."""

    def f(expr: ir.Expr) -> ir.Expr:
        return simplify(expr, ranges, facts)

    match stmt:
        case ir.Store(buffer, indices, value):
            return ir.Store(buffer, tuple(map(f, indices)), f(value))
        case ir.Seq(body):
            kept = [s for s in (simplify_stmt(s, ranges, facts) for s in body) if s is not None]
            return ir.seq(*kept) if kept else None
        case ir.For():
            return simplify_loop(stmt, ranges, facts)
        case ir.If():
            return simplify_branch(stmt, ranges, facts)
        case ir.Allocate(buffer, inner, annotations):
            kept_body = simplify_stmt(inner, ranges, facts)
            return None if kept_body is None else ir.Allocate(buffer, kept_body, annotations)
        case ir.Intrinsic(name, operands, attributes, predicate):
            regions = tuple(type(r)(r.buffer, tuple(map(f, r.starts)), r.extents) for r in operands)
            condition = None if predicate is None else f(predicate)
            return ir.Intrinsic(name, regions, attributes, None if condition == ir.TRUE else condition)
        case ir.Block():
            return simplify_block(stmt, ranges, facts)
    return ir.rebuild_stmt(stmt, tuple(x for s in ir.stmt_children(stmt) if (x := simplify_stmt(s, ranges, facts)) is not None))


REMOVABLE_KINDS = ("serial", "unrolled", "vectorized", "parallel", "vthread")
"""Loops that may change their extent: no thread of a launch grid depends on it."""


def simplify_loop(loop: ir.For, ranges: dict[ir.Var, tuple[int, int]], facts: frozenset[ir.Expr]) -> ir.Stmt | None:
    """A loop of one iteration becomes its body; tests that do not depend on the loop go outside it, `v < 3` into its extent."""
    body = simplify_stmt(loop.body, {**ranges, loop.var: (0, loop.extent - 1)}, facts)
    if body is None or loop.extent == 0:
        return None
    if loop.extent == 1 and loop.kind in REMOVABLE_KINDS:
        return body
    if not isinstance(body, ir.If) or body.otherwise is not None:
        return replace(loop, body=body)
    terms = conjuncts(body.condition)
    inside = [t for t in terms if depends_on(t, loop.var)]
    outside = [t for t in terms if not depends_on(t, loop.var)]
    limits = [limit for t in inside if (limit := upper_limit(t, loop.var)) is not None]
    if limits and min(limits) < loop.extent and loop.kind in REMOVABLE_KINDS:
        inside = [t for t in inside if upper_limit(t, loop.var) is None]
        shorter = replace(loop, extent=min(limits), body=guarded(inside, body.then))
        kept = simplify_loop(shorter, ranges, facts | frozenset(outside))
        return None if kept is None else guarded(outside, kept)
    return guarded(outside, replace(loop, body=guarded(inside, body.then)))


def guarded(terms: list[ir.Expr], body: ir.Stmt) -> ir.Stmt:
    """`body` where all of `terms` hold; tests directly inside it are joined with them."""
    if not terms:
        return body
    if isinstance(body, ir.If) and body.otherwise is None:
        return ir.If(ir.all_of([*terms, *conjuncts(body.condition)]), body.then)
    return ir.If(ir.all_of(terms), body)


def upper_limit(term: ir.Expr, var: ir.Var) -> int | None:
    """n where `term` says var < n."""
    match term:
        case ir.Binary("lt", v, ir.Const(limit, _)) if v is var:
            return max(0, int(limit))
        case ir.Binary("le", v, ir.Const(limit, _)) if v is var:
            return max(0, int(limit) + 1)
    return None


def depends_on(expr: ir.Expr, var: ir.Var) -> bool:
    """Whether a value may change from one iteration of `var` to the next; a load may."""
    return any(e is var or isinstance(e, ir.Load | ir.Call) for e in ir.walk_expr(expr))


def simplify_branch(branch: ir.If, ranges: dict[ir.Var, tuple[int, int]], facts: frozenset[ir.Expr]) -> ir.Stmt | None:
    condition = simplify(branch.condition, ranges, facts)
    if condition == ir.TRUE:
        return simplify_stmt(branch.then, ranges, facts)
    otherwise = None if branch.otherwise is None else simplify_stmt(branch.otherwise, ranges, facts)
    if condition == ir.FALSE:
        return otherwise
    known = frozenset(t for t in conjuncts(condition) if not any(isinstance(e, ir.Load) for e in ir.walk_expr(t)))
    then = simplify_stmt(branch.then, ranges, facts | known)
    if then is None:
        return ir.If(condition, ir.Seq(()), otherwise) if otherwise is not None else None
    if isinstance(then, ir.If) and then.otherwise is None and otherwise is None:
        return ir.If(simplify_and(condition, then.condition), then.then)
    return ir.If(condition, then, otherwise)


def simplify_block(block: ir.Block, ranges: dict[ir.Var, tuple[int, int]], facts: frozenset[ir.Expr]) -> ir.Stmt | None:
    predicate = None if block.predicate is None else simplify(block.predicate, ranges, facts)
    if predicate == ir.FALSE:
        return None
    bindings = tuple(simplify(b, ranges, facts) for b in block.bindings)
    inner = {i.var: (0, i.extent - 1) for i in block.iters}
    body = simplify_stmt(block.body, inner, EMPTY)
    init = None if block.init is None else simplify_stmt(block.init, inner, EMPTY)
    if body is None:
        return None
    return ir.Block(block.name, block.iters, bindings, body, init, None if predicate == ir.TRUE else predicate)
