"""Finding loops and blocks in a function, and changing the tree around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

from vdla.compiler import ir
from vdla.compiler.ir.printer import print_head
from vdla.compiler.names import Names
from vdla.compiler.passes.affine import Interval
from vdla.compiler.passes.region import touched_buffers
from vdla.compiler.passes.simplify import simplify, simplify_and
from vdla.errors import CompileError

LoopRef = ir.Var | str
"""A loop: its variable, or the variable's name."""

Path = tuple[ir.Stmt, ...]
"""Statements from the function's body down to one statement, each a child of the one before."""


class FunctionNames(Names):
    """Hands out names that nothing in the function has, besides the loops of `removed`. Blocks have names of their own."""

    def __init__(self, func: ir.Function, removed: ir.Stmt | None = None) -> None:
        super().__init__(b.name for b in func.params)
        self.blocks = Names()
        for stmt in ir.walk_stmt(func.body):
            match stmt:
                case ir.For(var, _, _):
                    self.taken.add(var.name)
                case ir.Allocate(buffer, _):
                    self.taken.add(buffer.name)
                case ir.Block(name, iters):
                    self.blocks.taken.add(name)
                    self.taken.update(i.var.name for i in iters)
        if removed is not None:
            self.taken -= {s.var.name for s in ir.walk_stmt(removed) if isinstance(s, ir.For)}

    def block(self, wanted: str) -> str:
        return self.blocks.fresh(wanted)

    def var(self, wanted: str, dtype: str = "int32") -> ir.Var:
        return ir.Var(self.fresh(wanted), dtype)


def path_to(root: ir.Stmt, wanted: Callable[[ir.Stmt], bool]) -> Path | None:
    """The path to the first statement that is `wanted`, in program order."""
    if wanted(root):
        return (root,)
    for child in ir.stmt_children(root):
        below = path_to(child, wanted)
        if below is not None:
            return (root, *below)
    return None


def path_to_block(func: ir.Function, name: str) -> Path:
    """The path that ends in block `name`. Raises `CompileError` where there is none."""
    path = path_to(func.body, lambda s: isinstance(s, ir.Block) and s.name == name)
    if path is None:
        found = [s.name for s in ir.walk_stmt(func.body) if isinstance(s, ir.Block)]
        raise CompileError(f"no block {name}", where=f"function {func.name}", found=name, expected="one of " + ", ".join(found))
    return path


def path_to_loop(func: ir.Function, loop: LoopRef) -> Path:
    """The path that ends in the For of `loop`. Raises `CompileError` where there is none."""
    path = path_to(func.body, lambda s: isinstance(s, ir.For) and (s.var is loop or s.var.name == loop))
    if path is None:
        name = loop if isinstance(loop, str) else loop.name
        found = [s.var.name for s in ir.walk_stmt(func.body) if isinstance(s, ir.For)]
        raise CompileError(f"no loop {name}", where=f"function {func.name}", found=name, expected="one of " + ", ".join(found))
    return path


def block_of(path: Path) -> ir.Block:
    block = path[-1]
    assert isinstance(block, ir.Block)
    return block


def loop_of(path: Path) -> ir.For:
    loop = path[-1]
    assert isinstance(loop, ir.For)
    return loop


def loops_of(path: Path) -> list[ir.For]:
    """The loops on a path, outermost first."""
    return [s for s in path if isinstance(s, ir.For)]


def nest_of(path: Path) -> ir.For | ir.Block:
    """The topmost loop that holds nothing but the block the path ends in."""
    top = path[-1]
    for stmt in reversed(path[:-1]):
        if not isinstance(stmt, ir.For):
            break
        top = stmt
    assert isinstance(top, ir.For | ir.Block)
    return top


def blocks_in(stmt: ir.Stmt) -> list[ir.Block]:
    found: list[ir.Block] = []
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, ir.Block):
            found.append(node)
        else:
            stack.extend(reversed(ir.stmt_children(node)))
    return found


def paths_to_blocks(root: ir.Stmt) -> Iterator[Path]:
    """The path to each block below, in program order."""
    if isinstance(root, ir.Block):
        yield (root,)
        return
    for child in ir.stmt_children(root):
        for path in paths_to_blocks(child):
            yield (root, *path)


def nest_text(stmts: Path | list[ir.Stmt] | list[ir.For]) -> str:
    """The heads of the loops and blocks of a path on one line, for messages."""
    return " > ".join(print_head(s).rstrip(":") for s in stmts if isinstance(s, ir.For | ir.Block))


def refuse(step: str, why: str, path: Path, *, hint: str = "") -> NoReturn:
    """Raise the `CompileError` of a step that cannot be applied, showing the loops it looked at."""
    raise CompileError(f"cannot {step}: {why}", where=nest_text(path), hint=hint)


def rewrite(root: ir.Stmt, changes: Mapping[int, ir.Stmt | None]) -> ir.Stmt | None:
    """`root` with statements, by id, replaced; None deletes, and empties go with it."""
    if id(root) in changes:
        return changes[id(root)]
    old = ir.stmt_children(root)
    if not old or isinstance(root, ir.Block):
        return root
    new = tuple(rewrite(child, changes) for child in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return root
    kept = tuple(s for s in new if s is not None)
    if isinstance(root, ir.Seq):
        return ir.seq(*kept) if kept else None
    return ir.rebuild_stmt(root, kept) if kept else None


def with_body(func: ir.Function, body: ir.Stmt | None) -> ir.Function:
    return replace(func, body=ir.Seq(()) if body is None else body)


def replace_in(func: ir.Function, *changes: tuple[ir.Stmt, ir.Stmt | None]) -> ir.Function:
    """`func` with each statement (by identity) replaced, or deleted where the new one is None."""
    return with_body(func, rewrite(func.body, {id(old): new for old, new in changes}))


def rebind(
    stmt: ir.Stmt, values: Mapping[ir.Var, ir.Expr], ranges: Mapping[ir.Var, Interval], condition: ir.Expr = ir.TRUE
) -> ir.Stmt:
    """Replace loop variables in the bindings and predicates below, and restrict every block there by `condition`.

    ranges: of the loops outside `stmt`.
    """
    match stmt:
        case ir.For(var, extent, body):
            return replace(stmt, body=rebind(body, values, {**ranges, var: (0, extent - 1)}, condition))
        case ir.Block(_, _, bindings, _, _, predicate):
            tests = condition if predicate is None else simplify_and(ir.substitute(predicate, values), condition)
            kept = simplify(tests, ranges)
            bound = tuple(simplify(ir.substitute(b, values), ranges) for b in bindings)
            return replace(stmt, bindings=bound, predicate=None if kept == ir.TRUE else kept)
        case ir.If(test, _, _):
            children = tuple(rebind(s, values, ranges, condition) for s in ir.stmt_children(stmt))
            return ir.rebuild_stmt(replace(stmt, condition=ir.substitute(test, values)), children)
    return ir.rebuild_stmt(stmt, tuple(rebind(s, values, ranges, condition) for s in ir.stmt_children(stmt)))


def replace_buffers(stmt: ir.Stmt, new: Mapping[ir.Buffer, ir.Buffer]) -> ir.Stmt:
    """Each key replaced by its value wherever it is allocated, loaded, stored or an operand."""
    if isinstance(stmt, ir.Block):
        reads, writes = touched_buffers(stmt)
        if not any(b in reads or b in writes for b in new):
            return stmt

    def expr(node: ir.Expr) -> ir.Expr:
        return ir.Load(new[node.buffer], node.indices) if isinstance(node, ir.Load) and node.buffer in new else node

    old = ir.stmt_children(stmt)
    children = tuple(replace_buffers(s, new) for s in old)
    if any(a is not b for a, b in zip(old, children, strict=True)):
        stmt = ir.rebuild_stmt(stmt, children)
    match stmt:
        case ir.Allocate(buffer, body, annotations) if buffer in new:
            return ir.Allocate(new[buffer], body, annotations)
        case ir.Store(buffer, indices, value):
            return ir.Store(new.get(buffer, buffer), tuple(ir.map_expr(i, expr) for i in indices), ir.map_expr(value, expr))
        case ir.Intrinsic(name, operands, attributes, predicate):
            regions = tuple(replace(r, buffer=new.get(r.buffer, r.buffer)) for r in operands)
            return ir.Intrinsic(name, regions, attributes, predicate)
        case ir.If(condition, then, otherwise):
            return ir.If(ir.map_expr(condition, expr), then, otherwise)
    return stmt


def allocations(func: ir.Function) -> Iterator[ir.Allocate]:
    return (s for s in ir.walk_stmt(func.body) if isinstance(s, ir.Allocate))


def find_allocation(func: ir.Function, step: str, buffer: ir.Buffer | str) -> ir.Allocate:
    """The Allocate of a buffer. Raises `CompileError` for a parameter or an unknown buffer."""
    name = buffer if isinstance(buffer, str) else buffer.name
    for stmt in allocations(func):
        if stmt.buffer is buffer or stmt.buffer.name == name:
            return stmt
    where = f"function {func.name}"
    if any(p.name == name for p in func.params):
        hint = "cache_read or cache_write makes an intermediate buffer"
        raise CompileError(f"cannot {step}: {name} is a parameter", where=where, expected="an intermediate buffer", hint=hint)
    found = [s.buffer.name for s in allocations(func)]
    raise CompileError(f"cannot {step}: no buffer {name}", where=where, expected="one of " + ", ".join(found))


def written_buffers(block: ir.Block) -> tuple[ir.Buffer, ...]:
    """The buffers a block writes, in order: one, or those of a tuple reduction."""
    found: dict[ir.Buffer, None] = {}
    for stmt in ir.walk_stmt(block.body):
        if isinstance(stmt, ir.Store):
            found[stmt.buffer] = None
        elif isinstance(stmt, ir.Intrinsic):
            found[stmt.operands[0].buffer] = None
    if not found:
        raise CompileError("the block writes nothing", where=f"block {block.name}")
    return tuple(found)


def driving_loops(block: ir.Block, kind: str) -> set[ir.Var]:
    """Variables of the loops that choose the points of the block's iters of one kind."""
    bound = (b for i, b in zip(block.iters, block.bindings, strict=True) if i.kind == kind)
    return {v for binding in bound for v in ir.walk_expr(binding) if isinstance(v, ir.Var)}


def is_step(block: ir.Block) -> bool:
    """Whether a block is computed at the steps of a scan."""
    return any(i.kind == "scan" for i in block.iters)
