"""The tensor IR: its nodes, walking and rewriting them, its text form, what is legal, what it means.

from vdla.compiler import ir
"""

from vdla.compiler.ir.bounds import bounds
from vdla.compiler.ir.equality import structural_equal
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import (
    ARITHMETIC,
    CALLS,
    COMPARISONS,
    FALSE,
    ITERS,
    LOGICAL,
    LOOP_KINDS,
    SCOPES,
    TRUE,
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
    Iter,
    Load,
    Region,
    Scalar,
    Select,
    Seq,
    Stmt,
    Store,
    Var,
    all_of,
    as_expr,
    attribute,
    binary,
    seq,
    with_attribute,
)
from vdla.compiler.ir.parser import parse
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ir.traverse import (
    children,
    map_expr,
    map_stmt,
    map_stmt_exprs,
    rebuild,
    rebuild_stmt,
    stmt_children,
    stmt_exprs,
    substitute,
    substitute_stmt,
    walk_expr,
    walk_stmt,
)
from vdla.compiler.ir.vdla_intrinsic_semantics import VDLA_INTRINSICS
from vdla.compiler.ir.verify import verify

__all__ = [
    "ARITHMETIC", "Allocate", "Attributes", "Binary", "Block", "Buffer", "CALLS", "COMPARISONS", "Call", "Cast", "Const",
    "Expr", "FALSE", "For", "Function", "ITERS", "If", "Intrinsic", "Iter", "LOGICAL", "LOOP_KINDS", "Load", "Region", "SCOPES",
    "Scalar", "Select", "Seq", "Stmt", "Store", "TRUE", "VDLA_INTRINSICS", "Var", "all_of", "as_expr", "attribute",
    "binary", "bounds", "children", "interpret", "map_expr", "map_stmt", "map_stmt_exprs", "parse", "rebuild",
    "rebuild_stmt", "seq", "stmt_children", "stmt_exprs", "structural_equal", "substitute", "substitute_stmt", "to_text",
    "verify", "walk_expr", "walk_stmt", "with_attribute",
]  # fmt: skip
