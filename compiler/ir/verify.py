"""Legality: what every pass may assume and must leave behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vdla.compiler.ir.bounds import bounds
from vdla.compiler.ir.element_types import DTYPES, INTEGERS
from vdla.compiler.ir.nodes import (
    ITERS,
    LOOP_KINDS,
    SCOPES,
    Allocate,
    Block,
    Buffer,
    Expr,
    For,
    Function,
    If,
    Intrinsic,
    Region,
    Stmt,
    Store,
    Var,
    attribute,
)
from vdla.compiler.ir.printer import print_expr
from vdla.compiler.ir.traverse import stmt_children, walk_stmt
from vdla.compiler.ir.verify_expressions import ExpressionChecker, Scope, leaves, loaded, reads_data, variables

TILE_DTYPES = {"vdla.inp": "int8", "vdla.wgt": "int8", "vdla.acc": "int32"}


def verify(func: Function, lowered: bool = False) -> None:
    """Raise `CompileError`, showing the statement, unless `func` is legal.

    - Every name belongs to one variable or buffer, every variable has one binder, block names are unique.
    - Variables and buffers are used inside their loop, block or allocation only; inside a block only its own iters.
    - Dtypes agree, indices and conditions are what they should be, kinds, scopes and operations are known.
    - Extents are positive; indices match the rank and, where that can be decided, the shape.
    - A block's writes follow its spatial iters and no reduce iter; no reduce or scan iter is driven by a concurrent loop.

    lowered: also refuse what lowering removes: blocks, vthread loops, double_buffer, storage_align.
    """
    checker = Checker(func.name, lowered)
    inputs = len(func.params) - func.output_count
    if not 0 <= inputs < len(func.params):
        raise checker.error("output_count", None, func.output_count, f"1 to {len(func.params)}, the number of parameters")
    for param in func.params:
        checker.declare_buffer(param, None)
    checker.check_stmt(func.body, Scope(frozenset(func.params), frozenset(func.params[:inputs])))


class Checker(ExpressionChecker):
    """One walk over a function."""

    def __init__(self, function_name: str, lowered: bool) -> None:
        super().__init__(function_name)
        self.lowered = lowered
        self.owners: dict[str, Var | Buffer] = {}
        self.block_names: set[str] = set()

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
                stable = loaded(condition).isdisjoint(s.buffer for s in walk_stmt(then) if isinstance(s, Store))
                self.check_stmt(then, scope.guard(condition if stable else None))
                if otherwise is not None:
                    self.check_stmt(otherwise, scope.guard())
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
        if kind not in ITERS:
            raise self.error(f"kind of iter {var.name}", block, kind, "one of " + ", ".join(ITERS))
        self.declare_var(var, extent, block)
        self.check_expr(binding, block, scope)
        if binding.dtype != var.dtype:
            raise self.error(f"dtype of the binding of {var.name}", block, binding.dtype, var.dtype)
        if reads_data(binding):
            raise self.error(
                f"binding of {var.name} depends on data", block, print_expr(binding), "loop variables and constants"
            )
        concurrent = sorted(v.name for v in variables(binding) & scope.concurrent)
        if kind != "spatial" and concurrent:
            raise self.error(
                f"{kind} iter {var.name} is driven by a concurrent loop",
                block,
                ", ".join(concurrent),
                "serial or unrolled loops",
                "rfactor" if kind == "reduce" else "make a loop inside the scan concurrent",
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
        inside = replace(scope, ranges=iters, outside=hidden, concurrent=frozenset(), conditions=())
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
        chosen = frozenset().union(*(variables(index) for index in store.indices if not reads_data(index)))
        if used & reduce_vars:
            found = ", ".join(sorted(v.name for v in used & reduce_vars))
            raise self.error(
                f"block {block.name} writes {store.buffer.name} along a reduce iter",
                store,
                found,
                "indices of spatial iters only",
            )
        if needed - chosen:
            found = ", ".join(sorted(v.name for v in needed - chosen))
            raise self.error(
                f"block {block.name} writes the same element of {store.buffer.name} for every value of a spatial iter",
                store,
                found,
                "that iter in the indices, or of kind reduce or scan" + (", data apart" if used - chosen else ""),
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
