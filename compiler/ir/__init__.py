"""The tensor IR: its nodes, its text form, what is legal, what it means."""

from vdla.compiler.ir.bounds import bounds
from vdla.compiler.ir.equality import structural_equal
from vdla.compiler.ir.interpreter import interpret
from vdla.compiler.ir.nodes import (
    FALSE,
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
)
from vdla.compiler.ir.parser import parse
from vdla.compiler.ir.printer import to_text
from vdla.compiler.ir.vdla_intrinsic_semantics import VDLA_INTRINSICS
from vdla.compiler.ir.verify import verify

__all__ = [
    "FALSE", "TRUE", "VDLA_INTRINSICS", "Allocate", "Attributes", "Binary", "Block", "Buffer", "Call", "Cast", "Const", "Expr",
    "For", "Function", "If", "Intrinsic", "Iter", "Load", "Region", "Scalar", "Select", "Seq", "Stmt", "Store", "Var",
    "bounds", "interpret", "parse", "structural_equal", "to_text", "verify",
]  # fmt: skip
