"""The text form of the IR. `parser.parse` reads it back.

    function dense(x: int8[4, 8], w: int8[2, 8]) -> (y: int32[4, 2]) {layer="fc"}:
        for y_i in parallel(4):
            for y_j in unrolled(2):
                for y_k in range(8):
                    block y:
                        axis y.i = spatial(4, y_i)
                        axis y.j = spatial(2, y_j)
                        axis y.k = reduce(8, y_k)
                        where y_k < 7
                        init:
                            y[y.i, y.j] = 0
                        y[y.i, y.j] = y[y.i, y.j] + cast(int32, x[y.i, y.k]) * cast(int32, w[y.j, y.k])

An axis is spatial, reduce or scan. The other statements:

    allocate t: int8[1, 16] in vdla.inp {double_buffer=1}     its body is the rest of the suite
    vdla.load(t[0 +: 1, 0 +: 16], x[i +: 1, 0 +: 16]; pad_value=0) where i < 3
    if i < 3: …  else: …
    scope: …    a suite, to end an allocate before the suite around it does
    seq: …      a `Seq` where the suite alone would not show it (one statement, or nested);   pass    an empty one

A bare whole number is int32, one with a point float32; other constants are `int8(5)`, `true`, `false`. A call whose dtype
is not its first argument's is `floor:int32(x)`. A name that is no identifier or is a word of the language is quoted as in JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from numbers import Integral

from vdla.compiler.ir.nodes import (
    Allocate,
    Attributes,
    Binary,
    Block,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    For,
    Function,
    If,
    Intrinsic,
    Load,
    Region,
    Select,
    Seq,
    Stmt,
    Store,
    Var,
)

INFIX = {
    "or": ("or", 1), "and": ("and", 2),
    "lt": ("<", 3), "le": ("<=", 3), "gt": (">", 3), "ge": (">=", 3), "eq": ("==", 3), "ne": ("!=", 3),
    "shl": ("<<", 4), "shr": (">>", 4), "add": ("+", 5), "sub": ("-", 5),
    "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "floormod": ("%", 6),
}  # fmt: skip
"""Binary operations written between their operands, and how tightly they bind; min and max are written as calls."""

COMPARISON_LEVEL = 3
KEYWORDS = frozenset(
    ("function", "for", "in", "range", "block", "axis", "where", "init", "allocate", "if", "else", "scope", "seq", "pass")
    + ("true", "false", "and", "or", "inf", "nan", "min", "max", "cast", "select")
)
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
INDENT = "    "


def to_text(node: Function | Stmt | Expr) -> str:
    """The text of a function (ending in a newline), of a statement with all below it, or of an expression."""
    if isinstance(node, Function):
        return print_function(node)
    return print_stmt(node) if isinstance(node, Stmt) else print_expr(node)


def print_function(func: Function) -> str:
    split = len(func.params) - func.output_count
    inputs, outputs = (", ".join(map(print_buffer, part)) for part in (func.params[:split], func.params[split:]))
    head = f"function {print_name(func.name)}({inputs}) -> ({outputs})"
    lines = [f"{head}{print_attributes(func.attributes)}:", *(INDENT + line for line in suite_lines(func.body))]
    return "\n".join(lines) + "\n"


def print_stmt(stmt: Stmt) -> str:
    return "\n".join(stmt_lines(stmt))


def print_head(stmt: Stmt) -> str:
    """The first line of a statement, for messages."""
    return next(stmt_lines(stmt), "pass")


def suite_lines(stmt: Stmt) -> Iterator[str]:
    """A statement as the whole of an indented suite."""
    if isinstance(stmt, Seq) and len(stmt.body) >= 2:
        yield from sequence_lines(stmt.body)
    elif isinstance(stmt, Seq) and not stmt.body:
        yield "pass"
    else:
        yield from stmt_lines(stmt)


def sequence_lines(stmts: tuple[Stmt, ...]) -> Iterator[str]:
    for position, stmt in enumerate(stmts):
        if isinstance(stmt, Allocate) and position < len(stmts) - 1:
            yield "scope:"
            yield from indented(stmt_lines(stmt))
        elif isinstance(stmt, Allocate) or not isinstance(stmt, Seq):
            yield from stmt_lines(stmt)
        else:
            yield from explicit_seq_lines(stmt)


def explicit_seq_lines(stmt: Seq) -> Iterator[str]:
    yield "seq:"
    yield from indented(sequence_lines(stmt.body) if stmt.body else iter(["pass"]))


def indented(lines: Iterator[str]) -> Iterator[str]:
    return (INDENT + line for line in lines)


def stmt_lines(stmt: Stmt) -> Iterator[str]:
    match stmt:
        case Store(buffer, indices, value):
            yield f"{print_name(buffer.name)}[{print_list(indices)}] = {print_expr(value)}"
        case For(var, extent, body, kind):
            kind = "range" if kind == "serial" else kind
            yield f"for {print_binder(var)} in {kind}({extent}):"
            yield from indented(suite_lines(body))
        case Seq():
            yield from explicit_seq_lines(stmt)
        case If(condition, then, otherwise):
            yield f"if {print_expr(condition)}:"
            yield from indented(suite_lines(then))
            if otherwise is not None:
                yield "else:"
                yield from indented(suite_lines(otherwise))
        case Allocate(buffer, body, annotations):
            yield f"allocate {print_buffer(buffer)}{print_attributes(annotations)}"
            yield from suite_lines(body)
        case Block():
            yield from block_lines(stmt)
        case Intrinsic(name, operands, attributes, predicate):
            arguments = print_arguments([print_region(r) for r in operands], attributes)
            yield f"{print_name(name)}({arguments})" + ("" if predicate is None else f" where {print_expr(predicate)}")
        case _:
            raise TypeError(f"not a statement: {stmt!r}")


def block_lines(block: Block) -> Iterator[str]:
    yield f"block {print_name(block.name)}:"
    for position, it in enumerate(block.iters):  # a broken block prints too, for the error that refuses it
        binding = print_expr(block.bindings[position]) if position < len(block.bindings) else "?"
        yield f"{INDENT}axis {print_binder(it.var)} = {it.kind}({it.extent}, {binding})"
    if block.predicate is not None:
        yield f"{INDENT}where {print_expr(block.predicate)}"
    if block.init is not None:
        yield f"{INDENT}init:"
        yield from indented(indented(suite_lines(block.init)))
    yield from indented(suite_lines(block.body))


def print_expr(node: Expr, level: int = 0) -> str:
    """`level`: how tightly the operator around `node` binds; looser operators inside get brackets."""
    match node:
        case Var(name):
            return print_name(name)
        case Const(value, dtype):
            return print_const(value, dtype)
        case Binary(op, a, b) if op in INFIX:
            symbol, own = INFIX[op]
            left = own + 1 if own == COMPARISON_LEVEL else own  # a < b < c would read as Python's chain
            text = f"{print_expr(a, left)} {symbol} {print_expr(b, own + 1)}"
            return f"({text})" if own < level else text
        case Binary(op, a, b):
            return f"{op}({print_expr(a)}, {print_expr(b)})"
        case Cast(dtype, value):
            return f"cast({dtype}, {print_expr(value)})"
        case Select(condition, a, b):
            return f"select({print_expr(condition)}, {print_expr(a)}, {print_expr(b)})"
        case Call(op, args, dtype, attributes):
            suffix = "" if args and args[0].dtype == dtype else f":{dtype}"
            return f"{op}{suffix}({print_arguments([print_expr(a) for a in args], attributes)})"
        case Load(buffer, indices):
            return f"{print_name(buffer.name)}[{print_list(indices)}]"
        case _:
            raise TypeError(f"not an expression: {node!r}")


def print_const(value: int | float, dtype: str) -> str:
    if dtype == "bool" and value in (0, 1):
        return "true" if value else "false"
    if dtype == "int32" and isinstance(value, Integral):
        return print_number(value)
    if dtype == "float32" and not isinstance(value, Integral) and math.isfinite(value):
        return print_number(value)
    return f"{dtype}({print_number(value)})"


def print_number(value: int | float) -> str:
    return repr(int(value)) if isinstance(value, Integral) else repr(float(value))


def print_name(name: str) -> str:
    return name if IDENTIFIER.fullmatch(name) and name not in KEYWORDS else json.dumps(name)


def print_binder(var: Var) -> str:
    return print_name(var.name) + ("" if var.dtype == "int32" else f": {var.dtype}")


def print_buffer(buffer: Buffer) -> str:
    scope = "" if buffer.scope == "global" else f" in {print_name(buffer.scope)}"
    return f"{print_name(buffer.name)}: {buffer.dtype}[{', '.join(map(str, buffer.shape))}]{scope}"


def print_region(region: Region) -> str:
    box = (f"{print_expr(start)} +: {extent}" for start, extent in zip(region.starts, region.extents, strict=False))
    return f"{print_name(region.buffer.name)}[{', '.join(box)}]"


def print_list(nodes: tuple[Expr, ...]) -> str:
    return ", ".join(map(print_expr, nodes))


def print_pairs(attributes: Attributes) -> str:
    return ", ".join(f"{print_name(key)}={print_value(value)}" for key, value in attributes)


def print_value(value: int | float | str) -> str:
    return json.dumps(value) if isinstance(value, str) else print_number(value)


def print_attributes(attributes: Attributes) -> str:
    return f" {{{print_pairs(attributes)}}}" if attributes else ""


def print_arguments(arguments: list[str], attributes: Attributes) -> str:
    return ", ".join(arguments) + (f"; {print_pairs(attributes)}" if attributes else "")
