"""Equality of functions up to which variables and buffers they are made of."""

from __future__ import annotations

from dataclasses import fields

from vdla.compiler.ir.nodes import Buffer, Const, Expr, Function, Iter, Region, Stmt, Var

Node = Function | Stmt | Expr


def structural_equal(a: Node, b: Node) -> bool:
    """Whether `a` and `b` are the same but for the identity and the names of variables and buffers.

    Each variable or buffer of one stands for exactly one of the other, throughout, of the same dtype, shape and scope.
    Names of functions, blocks and intrinsics count. So do a constant's type and sign: 1 is not 1.0, 0.0 is not -0.0.
    """
    return Matcher().match(a, b)


class Matcher:
    """A one-to-one correspondence of variables and buffers, grown while two trees are compared."""

    def __init__(self) -> None:
        self.forth: dict[Var | Buffer, Var | Buffer] = {}
        self.back: dict[Var | Buffer, Var | Buffer] = {}

    def match(self, a: object, b: object) -> bool:
        match a, b:
            case Var(), Var():
                return a.dtype == b.dtype and self.correspond(a, b)
            case Buffer(), Buffer():
                return (a.shape, a.dtype, a.scope) == (b.shape, b.dtype, b.scope) and self.correspond(a, b)
            case Const(), Const():
                return a.dtype == b.dtype and repr(a.value) == repr(b.value)  # repr: NaN equals itself, -0.0 is not 0.0
            case tuple(), tuple():
                return len(a) == len(b) and all(self.match(x, y) for x, y in zip(a, b, strict=True))
            case ((Expr() | Stmt() | Function() | Iter() | Region()), _) if type(a) is type(b):
                return all(self.match(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))  # type: ignore[arg-type]
            case _:
                return type(a) is type(b) and repr(a) == repr(b)

    def correspond(self, a: Var | Buffer, b: Var | Buffer) -> bool:
        return self.forth.setdefault(a, b) is b and self.back.setdefault(b, a) is a
