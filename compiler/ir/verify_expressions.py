"""Legality of expressions, and of buffers where a statement uses them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

from vdla.compiler.ir.bounds import ARITHMETIC_BOUNDS, FULL_RANGE, Interval, bounds
from vdla.compiler.ir.element_types import BOOL, DTYPES, FLOATS, INTEGERS
from vdla.compiler.ir.nodes import (
    ARITHMETIC,
    CALLS,
    COMPARISONS,
    LOGICAL,
    Binary,
    Buffer,
    Call,
    Cast,
    Const,
    Expr,
    Load,
    Select,
    Stmt,
    Var,
)
from vdla.compiler.ir.printer import print_expr, print_head
from vdla.compiler.ir.traverse import children, walk_expr
from vdla.element_types import ELEMENT_TYPES
from vdla.errors import CompileError

OPERANDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*ARITHMETIC, *COMPARISONS), (*INTEGERS, *FLOATS)),
    **dict.fromkeys(("floordiv", "floormod", "shl", "shr", "bit_and", "bit_or", "bit_xor"), INTEGERS),
    **dict.fromkeys(("min", "max"), (BOOL, *INTEGERS, *FLOATS)),
    **dict.fromkeys(("eq", "ne"), DTYPES),
    **dict.fromkeys(LOGICAL, (BOOL,)),
    "div": FLOATS,
}
"""Binary operation → the dtypes it takes."""
BINARY_CALLS = ("pow", "fmod")
INT32_CALLS = {"requantise": (3, ("high", "low")), "rescale": (3, ())}
"""Calls on int32: how many arguments, and which attributes they must have."""


@dataclass(frozen=True)
class Scope:
    """What a statement may use."""

    buffers: frozenset[Buffer]
    read_only: frozenset[Buffer]
    ranges: dict[Var, Interval] = field(default_factory=dict)
    outside: frozenset[Var] = frozenset()  # variables of the loops around a block, hidden inside it
    concurrent: frozenset[Var] = frozenset()  # variables of loops whose iterations may run at the same time
    guarded: bool = False  # under a condition: an index out of range may never be computed
    conditions: tuple[Expr, ...] = ()  # those that hold

    def with_var(self, var: Var, extent: int, concurrent: bool) -> Scope:
        more = self.concurrent | {var} if concurrent else self.concurrent
        return replace(self, ranges={**self.ranges, var: (0, extent - 1)}, concurrent=more)

    def with_buffer(self, buffer: Buffer) -> Scope:
        return replace(self, buffers=self.buffers | {buffer})

    def guard(self, condition: Expr | None = None) -> Scope:
        """Under a condition, which holds if it is given."""
        if condition is not None:
            return replace(self, guarded=True, conditions=(*self.conditions, condition))
        return self if self.guarded else replace(self, guarded=True)


class ExpressionChecker:
    """Raises the `CompileError` of an expression that is not legal, showing the statement it is in."""

    def __init__(self, function_name: str) -> None:
        self.function_name = function_name

    def error(self, what: str, stmt: Stmt | None, found: object, expected: str, hint: str = "") -> CompileError:
        where = f"function {self.function_name}" + ("" if stmt is None else f", at `{print_head(stmt)}`")
        return CompileError(what, where=where, found=found, expected=expected, hint=hint)

    def check_buffer(self, buffer: Buffer, stmt: Stmt, scope: Scope, written: bool) -> None:
        if buffer not in scope.buffers:
            found = "a buffer of that name elsewhere" if buffer.name in {b.name for b in scope.buffers} else "not in scope"
            raise self.error(
                f"buffer {buffer.name} is used outside its allocation",
                stmt,
                found,
                "a parameter, or an allocate around the statement",
            )
        if written and buffer in scope.read_only:
            raise self.error(f"{buffer.name} is written", stmt, "an input", "an output or an allocated buffer")

    def check_indices(self, buffer: Buffer, indices: Sequence[Expr], extents: Sequence[int], stmt: Stmt, scope: Scope) -> None:
        if len(indices) != len(buffer.shape):
            raise self.error(f"number of indices into {buffer.name}", stmt, len(indices), f"{len(buffer.shape)}, its rank")
        for position, (index, extent) in enumerate(zip(indices, extents, strict=True)):
            room = buffer.shape[position] - extent + 1
            if isinstance(index, Const) and index.dtype == "int32" and type(index.value) is int and 0 <= index.value < room:
                continue  # nearly half of all indices
            self.check_expr(index, stmt, scope)
            if index.dtype not in INTEGERS:
                raise self.error(f"index {position} into {buffer.name}", stmt, index.dtype, "an integer")
            limits = bounds(index, scope.ranges)
            if limits[0] >= 0 and limits[1] < room:
                continue
            if reads_data(index):
                self.check_data_index(buffer, position, index, room, stmt, scope)
            elif not scope.guarded and leaves(index, limits, room):
                raise self.error(
                    f"index {position} into {buffer.name} leaves its shape",
                    stmt,
                    f"{print_expr(index)} in {limits[0]}..{limits[1]}",
                    f"0..{room - 1}",
                )

    def check_data_index(self, buffer: Buffer, position: int, index: Expr, room: int, stmt: Stmt, scope: Scope) -> None:
        """An index made of data has to be in bounds whatever the data are.

        That is clamped, or compared in a condition that holds; a condition that is not about it is trusted, as with other
        indices, for what the variables in it contribute, but never for the data.
        """
        low, high = limited(bounds(index, scope.ranges), index, scope.conditions, scope.ranges)
        if low >= 0 and high < room:
            return
        data, has_variables = data_part(index, scope.ranges)
        if scope.guarded and has_variables and data[1] - data[0] < room:
            return
        raise self.error(
            f"index {position} into {buffer.name} depends on data and may leave its shape",
            stmt,
            f"{print_expr(index)} in {low}..{high}",
            f"0..{room - 1}",
            f"clamp it, te.clip(index, 0, {room - 1}), or read under a select that compares it",
        )

    def check_condition(self, what: str, node: Expr, stmt: Stmt, scope: Scope) -> None:
        self.check_expr(node, stmt, scope)
        if node.dtype != "bool":
            raise self.error(f"dtype of the {what}", stmt, node.dtype, "bool")

    def check_expr(self, node: Expr, stmt: Stmt, scope: Scope) -> None:
        match node:
            case Var():
                self.check_variable(node, stmt, scope)
            case Const(value, dtype):
                self.check_constant(value, dtype, stmt)
            case Load(buffer, indices):
                self.check_buffer(buffer, stmt, scope, written=False)
                self.check_indices(buffer, indices, (1,) * len(indices), stmt, scope)
            case Select(condition, a, b):
                self.check_condition("condition of a select", condition, stmt, scope)
                self.check_expr(a, stmt, scope.guard(condition))
                self.check_expr(b, stmt, scope.guard())
                self.same_dtype("select", (a, b), stmt)
            case _:
                for child in children(node):
                    self.check_expr(child, stmt, scope)
                self.check_operation(node, stmt)

    def check_variable(self, var: Var, stmt: Stmt, scope: Scope) -> None:
        if var in scope.ranges:
            return
        if var in scope.outside:
            raise self.error(
                f"variable {var.name} from outside its block", stmt, var.name, "the block's own iters", "bind an iter to it"
            )
        raise self.error(
            f"variable {var.name} is used outside its loop",
            stmt,
            var.name,
            ", ".join(v.name for v in scope.ranges) or "no variable",
        )

    def check_operation(self, node: Expr, stmt: Stmt) -> None:
        match node:
            case Binary(op, a, b):
                if op not in OPERANDS:
                    raise self.error("binary operation", stmt, op, "one of " + ", ".join(OPERANDS))
                self.same_dtype(op, (a, b), stmt)
                if a.dtype not in OPERANDS[op]:
                    raise self.error(f"operands of {op}", stmt, a.dtype, "one of " + ", ".join(OPERANDS[op]))
            case Cast(dtype):
                if dtype not in DTYPES:
                    raise self.error("dtype of a cast", stmt, dtype, "one of " + ", ".join(DTYPES))
            case Call():
                self.check_call(node, stmt)

    def check_call(self, node: Call, stmt: Stmt) -> None:
        if node.op not in CALLS:
            raise self.error("call", stmt, node.op, "one of " + ", ".join(CALLS))
        count, keys = INT32_CALLS.get(node.op, (2 if node.op in BINARY_CALLS else 1, ()))
        if len(node.args) != count:
            raise self.error(f"number of arguments of {node.op}", stmt, len(node.args), str(count))
        if tuple(key for key, _ in node.attributes) != keys:
            raise self.error(f"attributes of {node.op}", stmt, [key for key, _ in node.attributes], ", ".join(keys) or "none")
        if node.op == "reinterpret":
            self.check_reinterpretation(node, stmt)
            return
        allowed = ("int32",) if node.op in INT32_CALLS else (*INTEGERS, *FLOATS) if node.op == "abs" else FLOATS
        self.same_dtype(node.op, node.args, stmt)
        if node.args[0].dtype not in allowed or node.dtype != node.args[0].dtype:
            found = f"{node.args[0].dtype} to {node.dtype}"
            raise self.error(f"dtypes of {node.op}", stmt, found, "one of " + ", ".join(allowed) + ", the result's too")

    def check_reinterpretation(self, node: Call, stmt: Stmt) -> None:
        found = (node.args[0].dtype, node.dtype)
        if BOOL in found or any(d not in DTYPES for d in found) or ELEMENT_TYPES[found[0]].bits != ELEMENT_TYPES[found[1]].bits:
            raise self.error("dtypes of reinterpret", stmt, " to ".join(found), "two of one width, neither of them bool")

    def check_constant(self, value: int | float, dtype: str, stmt: Stmt) -> None:
        if dtype not in DTYPES:
            raise self.error("dtype of a constant", stmt, dtype, "one of " + ", ".join(DTYPES))
        if dtype in FULL_RANGE:
            low, high = FULL_RANGE[dtype]
            if value != value or not low <= value <= high or value != int(value):
                raise self.error(f"a constant that {dtype} does not hold", stmt, value, f"a whole number in {low}..{high}")

        if dtype == "float4_e2m1fn" and not isfinite(value):
            raise self.error(f"a constant that {dtype} does not hold", stmt, value, "a finite number")

    def same_dtype(self, what: str, nodes: Sequence[Expr], stmt: Stmt) -> None:
        if len({n.dtype for n in nodes}) > 1:
            raise self.error(f"operands of {what}", stmt, ", ".join(n.dtype for n in nodes), "one dtype", "cast one")


def variables(node: Expr) -> frozenset[Var]:
    return frozenset(n for n in walk_expr(node) if isinstance(n, Var))


def loaded(node: Expr) -> set[Buffer]:
    return {n.buffer for n in walk_expr(node) if isinstance(n, Load)}


def reads_data(node: Expr) -> bool:
    return any(isinstance(n, Load) for n in walk_expr(node))


def terms_of(condition: Expr) -> list[Expr]:
    """The terms of a conjunction."""
    match condition:
        case Binary("and", a, b):
            return terms_of(a) + terms_of(b)
    return [condition]


def limited(limits: Interval, index: Expr, conditions: Sequence[Expr], ranges: Mapping[Var, Interval]) -> Interval:
    """`limits` of an index, narrowed by what `conditions` say of this very expression."""
    low, high = limits
    for term in (t for condition in conditions for t in terms_of(condition)):
        match term:
            case Binary(op, a, b) if a == index and op in COMPARISONS:
                least, greatest = bounds(b, ranges)
            case Binary(op, a, b) if b == index and op in COMPARISONS:
                op = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}.get(op, op)
                least, greatest = bounds(a, ranges)
            case _:
                continue
        if op in ("lt", "le", "eq"):
            high = min(high, greatest - (op == "lt"))
        if op in ("gt", "ge", "eq"):
            low = max(low, least + (op == "gt"))
    return low, high


def data_part(index: Expr, ranges: Mapping[Var, Interval]) -> tuple[Interval, bool]:
    """(interval of the terms of a sum that load something, whether there are others with variables in them)."""
    if not reads_data(index):
        return (0, 0), bool(variables(index))
    match index:
        case Binary("add" | "sub" as op, a, b):
            (x, in_a), (y, in_b) = data_part(a, ranges), data_part(b, ranges)
            return ARITHMETIC_BOUNDS[op](x, y), in_a or in_b
        case Binary("mul", a, Const(factor)) | Binary("mul", Const(factor), a):
            x, found = data_part(a, ranges)
            return ARITHMETIC_BOUNDS["mul"](x, (int(factor), int(factor))), found
    return bounds(index, ranges), False


def leaves(index: Expr, limits: Interval, size: int) -> bool:
    """Is `index`, anywhere in `limits`, certain to leave 0 … size-1 at some point? Only if its limits are really reached."""
    if limits[1] < 0 or limits[0] >= size:
        return True
    return (limits[0] < 0 or limits[1] >= size) and reaches_limits(index)


def reaches_limits(index: Expr) -> bool:
    """Monotone in each variable, and none appears twice: then the interval's ends are values."""
    seen = [n for n in walk_expr(index) if isinstance(n, Var)]
    return len(seen) == len(set(seen)) and all(is_monotone(n) for n in walk_expr(index))


def is_monotone(node: Expr) -> bool:
    match node:
        case Var() | Const():
            return True
        case Binary("add" | "sub" | "min" | "max"):
            return True
        case Binary("mul", a, b):
            return isinstance(a, Const) or isinstance(b, Const)
        case Binary("floordiv", _, b):
            return isinstance(b, Const) and b.value > 0
        case _:
            return False
