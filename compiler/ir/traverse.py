"""Walking and rewriting: the children of expressions and statements, and functions applied to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from vdla.compiler.ir.nodes import (
    Allocate,
    Binary,
    Block,
    Call,
    Cast,
    Expr,
    For,
    If,
    Intrinsic,
    Load,
    Select,
    Seq,
    Stmt,
    Store,
    Var,
)


def children(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Binary(_, a, b):
            return (a, b)
        case Cast(_, value):
            return (value,)
        case Select(c, a, b):
            return (c, a, b)
        case Call(_, args, _, _):
            return args
        case Load(_, indices):
            return indices
        case _:
            return ()


def rebuild(node: Expr, new: tuple[Expr, ...]) -> Expr:
    """`node` with its children replaced."""
    match node:
        case Binary(op, _, _):
            return Binary(op, *new)
        case Cast(dtype, _):
            return Cast(dtype, *new)
        case Select():
            return Select(*new)
        case Call():
            return replace(node, args=new)
        case Load(buffer, _):
            return Load(buffer, new)
        case _:
            return node


def map_expr(node: Expr, f: Callable[[Expr], Expr]) -> Expr:
    """Bottom-up rewrite: children first, then `f` on the rebuilt node."""
    old = children(node)
    new = tuple(map_expr(c, f) for c in old)
    return f(node if all(a is b for a, b in zip(old, new, strict=True)) else rebuild(node, new))


def substitute(node: Expr, values: Mapping[Var, Expr]) -> Expr:
    """Replace variables."""
    return map_expr(node, lambda e: values.get(e, e) if isinstance(e, Var) else e) if values else node


def walk_expr(node: Expr) -> Iterator[Expr]:
    """`node` and everything below it, parents first."""
    pending = [node]
    while pending:  # a generator within a generator costs its depth for every node
        node = pending.pop()
        yield node
        pending.extend(reversed(children(node)))


def stmt_children(node: Stmt) -> tuple[Stmt, ...]:
    match node:
        case For() | Allocate():
            return (node.body,)
        case Seq(body):
            return body
        case If(_, then, otherwise):
            return (then,) if otherwise is None else (then, otherwise)
        case Block():
            return (node.body,) if node.init is None else (node.init, node.body)
        case _:
            return ()


def rebuild_stmt(node: Stmt, new: tuple[Stmt, ...]) -> Stmt:
    """`node` with its child statements replaced."""
    match node:
        case For() | Allocate():
            return replace(node, body=new[0])
        case Seq():
            return Seq(new)
        case If():
            return replace(node, then=new[0], otherwise=new[1] if len(new) > 1 else None)
        case Block():
            return replace(node, body=new[-1], init=new[0] if len(new) > 1 else None)
        case _:
            return node


def map_stmt(node: Stmt, f: Callable[[Stmt], Stmt]) -> Stmt:
    """Bottom-up rewrite of statements."""
    old = stmt_children(node)
    new = tuple(map_stmt(c, f) for c in old)
    return f(node if all(a is b for a, b in zip(old, new, strict=True)) else rebuild_stmt(node, new))


def walk_stmt(node: Stmt) -> Iterator[Stmt]:
    """`node` and every statement below it, parents first, in program order."""
    pending = [node]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(stmt_children(node)))


def stmt_exprs(node: Stmt) -> tuple[Expr, ...]:
    """The expressions directly in one statement."""
    match node:
        case Store(_, indices, value):
            return (*indices, value)
        case If(condition, _, _):
            return (condition,)
        case Block(_, _, bindings, _, _, predicate):
            return bindings if predicate is None else (*bindings, predicate)
        case Intrinsic(_, operands, _, predicate):
            starts = tuple(s for region in operands for s in region.starts)
            return starts if predicate is None else (*starts, predicate)
        case _:
            return ()


def map_stmt_exprs(node: Stmt, f: Callable[[Expr], Expr]) -> Stmt:
    """One statement with `f` applied to each of its own expressions (not to its child statements)."""
    match node:
        case Store(buffer, indices, value):
            return Store(buffer, tuple(map(f, indices)), f(value))
        case If(condition, then, otherwise):
            return If(f(condition), then, otherwise)
        case Block():
            return replace(
                node, bindings=tuple(map(f, node.bindings)), predicate=None if node.predicate is None else f(node.predicate)
            )
        case Intrinsic():
            operands = tuple(replace(r, starts=tuple(map(f, r.starts))) for r in node.operands)
            return replace(node, operands=operands, predicate=None if node.predicate is None else f(node.predicate))
        case _:
            return node


def substitute_stmt(node: Stmt, values: Mapping[Var, Expr]) -> Stmt:
    """Replace variables throughout a statement."""
    return map_stmt(node, lambda s: map_stmt_exprs(s, lambda e: substitute(e, values)))
