"""Legality: what every pass may assume and must leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from vdla.compiler.ir.bounds import FULL_RANGE, Interval, bounds
from vdla.compiler.ir.nodes import (
    ARITHMETIC,
    CALLS,
    COMPARISONS,
    LOGICAL,
    LOOP_KINDS,
    SCOPES,
    Allocate,
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
    Stmt,
    Store,
    Var,
    attribute,
)
from vdla.compiler.ir.printer import print_expr, print_head
from vdla.compiler.ir.traverse import children, stmt_children, walk_expr, walk_stmt
from vdla.errors import CompileError

INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
FLOATS = ("float32", "float64")
DTYPES = ("bool", *INTEGERS, *FLOATS)
TILE_DTYPES = {"vdla.inp": "int8", "vdla.wgt": "int8", "vdla.acc": "int32"}
OPERANDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((*ARITHMETIC, *COMPARISONS), (*INTEGERS, *FLOATS)),
    **dict.fromkeys(("floordiv", "floormod", "shl", "shr"), INTEGERS),
    **dict.fromkeys(("eq", "ne"), DTYPES),
    **dict.fromkeys(LOGICAL, ("bool",)),
    "div": FLOATS,
}
"""Binary operation → the dtypes it takes."""
BINARY_CALLS = ("pow", "fmod")
INT32_CALLS = {"requantise": (3, ("high", "low")), "rescale": (3, ())}
"""Calls on int32: how many arguments, and which attributes they must have."""


def verify(func: Function, lowered: bool = False) -> None:
    """Raise `CompileError`, showing the statement, unless `func` is legal.

    - Every name belongs to one variable or buffer, every variable has one binder, block names are unique.
    - Variables and buffers are used inside their loop, block or allocation only; inside a block only its own iters.
    - Dtypes agree, indices and conditions are what they should be, kinds, scopes and operations are known.
    - Extents are positive; indices match the rank and, where that can be decided, the shape.
    - A block's writes follow its spatial iters and no reduce iter; no reduce iter is driven by a concurrent loop.

    lowered: also refuse what lowering removes: blocks, vthread loops, double_buffer, storage_align.
    """
    checker = Checker(func.name, lowered)
    inputs = len(func.params) - func.output_count
    if not 0 <= inputs < len(func.params):
        raise checker.error("output_count", None, func.output_count, f"1 to {len(func.params)}, the number of parameters")
    for param in func.params:
        checker.declare_buffer(param, None)
    checker.check_stmt(func.body, Scope(frozenset(func.params), frozenset(func.params[:inputs])))


@dataclass(frozen=True)
class Scope:
    """What a statement may use."""

    buffers: frozenset[Buffer]
    read_only: frozenset[Buffer]
    ranges: dict[Var, Interval] = field(default_factory=dict)
    outside: frozenset[Var] = frozenset()  # variables of the loops around a block, hidden inside it
    concurrent: frozenset[Var] = frozenset()  # variables of loops whose iterations may run at the same time
    guarded: bool = False  # under a condition: an index out of range may never be computed

    def with_var(self, var: Var, extent: int, concurrent: bool) -> Scope:
        more = self.concurrent | {var} if concurrent else self.concurrent
        return replace(self, ranges={**self.ranges, var: (0, extent - 1)}, concurrent=more)

    def with_buffer(self, buffer: Buffer) -> Scope:
        return replace(self, buffers=self.buffers | {buffer})

    def guard(self) -> Scope:
        return self if self.guarded else replace(self, guarded=True)


class Checker:
    """One walk over a function."""

    def __init__(self, function_name: str, lowered: bool) -> None:
        self.function_name, self.lowered = function_name, lowered
        self.owners: dict[str, Var | Buffer] = {}
        self.block_names: set[str] = set()

    def error(self, what: str, stmt: Stmt | None, found: object, expected: str, hint: str = "") -> CompileError:
        where = f"function {self.function_name}" + ("" if stmt is None else f", at `{print_head(stmt)}`")
        return CompileError(what, where=where, found=found, expected=expected, hint=hint)

    # Declarations

    def declare(self, owner: Var | Buffer, stmt: Stmt | None) -> None:
        if self.owners.get(owner.name) is owner:
            raise self.error(
                f"{owner.name} is bound twice", stmt, owner, "each variable and buffer bound once", "a fresh one for the copy"
            )
        if owner.name in self.owners:
            raise self.error("a name with two owners", stmt, owner.name, "names unique within a function")
        self.owners[owner.name] = owner

    def declare_var(self, var: Var, extent: int, stmt: Stmt) -> None:
        if var.dtype not in INTEGERS:
            raise self.error(f"dtype of variable {var.name}", stmt, var.dtype, "one of " + ", ".join(INTEGERS))
        if not isinstance(extent, int) or extent <= 0:
            raise self.error(f"extent of {var.name}", stmt, extent, "a whole number, 1 or more")
        self.declare(var, stmt)

    def declare_buffer(self, buffer: Buffer, stmt: Stmt | None) -> None:
        self.declare(buffer, stmt)
        if buffer.dtype not in DTYPES:
            raise self.error(f"dtype of buffer {buffer.name}", stmt, buffer.dtype, "one of " + ", ".join(DTYPES))
        if not all(isinstance(n, int) and n > 0 for n in buffer.shape):
            raise self.error(f"shape of buffer {buffer.name}", stmt, list(buffer.shape), "whole numbers, 1 or more")
        if buffer.scope not in SCOPES:
            raise self.error(f"scope of buffer {buffer.name}", stmt, buffer.scope, "one of " + ", ".join(SCOPES))
        if buffer.scope in TILE_DTYPES and len(buffer.shape) < 2:
            raise self.error(
                f"rank of buffer {buffer.name} in {buffer.scope}",
                stmt,
                len(buffer.shape),
                "2 or more: the last two dimensions are an SRAM tile",
            )
        if buffer.scope in TILE_DTYPES and buffer.dtype != TILE_DTYPES[buffer.scope]:
            raise self.error(f"dtype of buffer {buffer.name} in {buffer.scope}", stmt, buffer.dtype, TILE_DTYPES[buffer.scope])

    # Statements

    def check_stmt(self, stmt: Stmt, scope: Scope) -> None:
        match stmt:
            case Store():
                self.check_store(stmt, scope)
            case For():
                self.check_for(stmt, scope)
            case If(condition, then, otherwise):
                self.check_condition("condition", condition, stmt, scope)
                for branch in (then, otherwise):
                    if branch is not None:
                        self.check_stmt(branch, scope.guard())
            case Allocate(buffer, body, annotations):
                if self.lowered and attribute(annotations, "double_buffer"):
                    raise self.error("double_buffer after lowering", stmt, buffer.name, "none: lower() removes it")
                if attribute(annotations, "storage_align") and (self.lowered or buffer.scope in TILE_DTYPES):
                    where = "after lowering" if self.lowered else f"in {buffer.scope}"
                    expected = "none: lower() pads the rows" if self.lowered else "none: the last two dimensions are a tile"
                    raise self.error(f"storage_align {where}", stmt, buffer.name, expected)
                self.declare_buffer(buffer, stmt)
                self.check_stmt(body, scope.with_buffer(buffer))
            case Block():
                self.check_block(stmt, scope)
            case Intrinsic():
                self.check_intrinsic(stmt, scope)
            case _:
                for child in stmt_children(stmt):
                    self.check_stmt(child, scope)

    def check_store(self, stmt: Store, scope: Scope) -> None:
        self.check_buffer(stmt.buffer, stmt, scope, written=True)
        self.check_indices(stmt.buffer, stmt.indices, (1,) * len(stmt.indices), stmt, scope)
        self.check_expr(stmt.value, stmt, scope)
        if stmt.value.dtype != stmt.buffer.dtype:
            raise self.error(f"dtype stored to {stmt.buffer.name}", stmt, stmt.value.dtype, stmt.buffer.dtype)

    def check_for(self, stmt: For, scope: Scope) -> None:
        if stmt.kind not in LOOP_KINDS:
            raise self.error(f"kind of loop {stmt.var.name}", stmt, stmt.kind, "one of " + ", ".join(LOOP_KINDS))
        if self.lowered and stmt.kind == "vthread":
            raise self.error("a vthread loop after lowering", stmt, stmt.var.name, "none: lower() interleaves it")
        self.declare_var(stmt.var, stmt.extent, stmt)
        self.check_stmt(stmt.body, scope.with_var(stmt.var, stmt.extent, stmt.kind not in ("serial", "unrolled")))

    def check_block(self, block: Block, scope: Scope) -> None:
        if self.lowered:
            raise self.error("a block after lowering", block, block.name, "none: lower() replaces it by its body")
        if block.name in self.block_names:
            raise self.error("two blocks of one name", block, block.name, "block names unique within a function")
        self.block_names.add(block.name)
        if len(block.bindings) != len(block.iters):
            raise self.error("number of bindings", block, len(block.bindings), f"{len(block.iters)}, one for each iter")
        for it, binding in zip(block.iters, block.bindings, strict=True):
            self.check_binding(block, it.var, it.kind, it.extent, binding, scope)
        if block.predicate is not None:
            self.check_condition("predicate", block.predicate, block, scope)
        self.check_block_inside(block, scope)

    def check_binding(self, block: Block, var: Var, kind: str, extent: int, binding: Expr, scope: Scope) -> None:
        if kind not in ("spatial", "reduce"):
            raise self.error(f"kind of iter {var.name}", block, kind, "spatial or reduce")
        self.declare_var(var, extent, block)
        self.check_expr(binding, block, scope)
        if binding.dtype != var.dtype:
            raise self.error(f"dtype of the binding of {var.name}", block, binding.dtype, var.dtype)
        concurrent = sorted(v.name for v in variables(binding) & scope.concurrent)
        if kind == "reduce" and concurrent:
            raise self.error(
                f"reduce iter {var.name} is driven by a concurrent loop",
                block,
                ", ".join(concurrent),
                "serial or unrolled loops",
                "rfactor",
            )
        limits = bounds(binding, scope.ranges)
        if (
            limits[1] < 0
            or limits[0] >= extent
            or (block.predicate is None and not scope.guarded and leaves(binding, limits, extent))
        ):
            raise self.error(
                f"binding of {var.name} leaves its domain",
                block,
                f"{print_expr(binding)} in {limits[0]}..{limits[1]}",
                f"0..{extent - 1}",
            )

    def check_block_inside(self, block: Block, scope: Scope) -> None:
        reduce_vars = frozenset(it.var for it in block.iters if it.kind == "reduce")
        iters = {it.var: (0, it.extent - 1) for it in block.iters}
        hidden = scope.outside | frozenset(scope.ranges)
        inside = replace(scope, ranges=iters, outside=hidden, concurrent=frozenset())
        spatial = {var: limits for var, limits in iters.items() if var not in reduce_vars}
        if block.init is not None:
            self.check_stmt(block.init, replace(inside, ranges=spatial, outside=hidden | reduce_vars))
        self.check_stmt(block.body, inside)
        needed = frozenset(it.var for it in block.iters if it.kind == "spatial" and it.extent > 1)
        for part in (block.body,) if block.init is None else (block.init, block.body):
            for store in direct_stores(part):
                self.check_write(block, store, needed, reduce_vars)

    def check_write(self, block: Block, store: Store, needed: frozenset[Var], reduce_vars: frozenset[Var]) -> None:
        used = frozenset().union(*(variables(index) for index in store.indices))
        if used & reduce_vars:
            found = ", ".join(sorted(v.name for v in used & reduce_vars))
            raise self.error(
                f"block {block.name} writes {store.buffer.name} along a reduce iter",
                store,
                found,
                "indices of spatial iters only",
            )
        if needed - used:
            found = ", ".join(sorted(v.name for v in needed - used))
            raise self.error(
                f"block {block.name} writes the same element of {store.buffer.name} for every value of a spatial iter",
                store,
                found,
                "that iter in the indices, or of kind reduce",
            )

    def check_intrinsic(self, stmt: Intrinsic, scope: Scope) -> None:
        if not stmt.operands:
            raise self.error(f"operands of {stmt.name}", stmt, 0, "the written region at least")
        if stmt.predicate is not None:
            self.check_condition("predicate", stmt.predicate, stmt, scope)
        for position, region in enumerate(stmt.operands):
            self.check_buffer(region.buffer, stmt, scope, written=position == 0)
            self.check_region(region, stmt, scope if position == 0 or stmt.predicate is None else scope.guard())

    def check_region(self, region: Region, stmt: Stmt, scope: Scope) -> None:
        shape = region.buffer.shape
        if len(region.extents) != len(shape):
            raise self.error(
                f"number of extents of a region of {region.buffer.name}", stmt, len(region.extents), f"{len(shape)}, its rank"
            )
        if not all(isinstance(e, int) and 0 < e <= n for e, n in zip(region.extents, shape, strict=True)):
            raise self.error(
                f"extents of a region of {region.buffer.name}", stmt, list(region.extents), f"1 or more, at most {list(shape)}"
            )
        self.check_indices(region.buffer, region.starts, region.extents, stmt, scope)

    # Expressions

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
            if not scope.guarded and leaves(index, limits, room):
                raise self.error(
                    f"index {position} into {buffer.name} leaves its shape",
                    stmt,
                    f"{print_expr(index)} in {limits[0]}..{limits[1]}",
                    f"0..{room - 1}",
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
                for branch in (a, b):
                    self.check_expr(branch, stmt, scope.guard())
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
        allowed = ("int32",) if node.op in INT32_CALLS else (*INTEGERS, *FLOATS) if node.op == "abs" else FLOATS
        self.same_dtype(node.op, node.args, stmt)
        if node.args[0].dtype not in allowed or node.dtype != node.args[0].dtype:
            found = f"{node.args[0].dtype} to {node.dtype}"
            raise self.error(f"dtypes of {node.op}", stmt, found, "one of " + ", ".join(allowed) + ", the result's too")

    def check_constant(self, value: int | float, dtype: str, stmt: Stmt) -> None:
        if dtype not in DTYPES:
            raise self.error("dtype of a constant", stmt, dtype, "one of " + ", ".join(DTYPES))
        if dtype in FULL_RANGE:
            low, high = FULL_RANGE[dtype]
            if value != value or not low <= value <= high or value != int(value):
                raise self.error(f"a constant that {dtype} does not hold", stmt, value, f"a whole number in {low}..{high}")

    def same_dtype(self, what: str, nodes: Sequence[Expr], stmt: Stmt) -> None:
        if len({n.dtype for n in nodes}) > 1:
            raise self.error(f"operands of {what}", stmt, ", ".join(n.dtype for n in nodes), "one dtype", "cast one")


def variables(node: Expr) -> frozenset[Var]:
    return frozenset(n for n in walk_expr(node) if isinstance(n, Var))


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


def direct_stores(stmt: Stmt) -> Iterator[Store]:
    """Stores under `stmt` to buffers from outside it, not counting those in nested blocks."""
    local = {s.buffer for s in walk_stmt(stmt) if isinstance(s, Allocate)}
    pending = [stmt]
    while pending:
        node = pending.pop()
        if isinstance(node, Store) and node.buffer not in local:
            yield node
        elif not isinstance(node, Block):
            pending.extend(stmt_children(node))
