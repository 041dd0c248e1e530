"""Finding loops and blocks in a function, and changing the tree around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NoReturn

from vdla.compiler.ir.nodes import (
    TRUE,
    Allocate,
    Block,
    Buffer,
    Expr,
    For,
    Function,
    If,
    Intrinsic,
    Load,
    Seq,
    Stmt,
    Store,
    Var,
    seq,
)
from vdla.compiler.ir.printer import print_head
from vdla.compiler.ir.traverse import map_expr, rebuild_stmt, stmt_children, substitute, walk_stmt
from vdla.compiler.passes.affine import Interval
from vdla.compiler.passes.region import touched_buffers
from vdla.compiler.passes.simplify import simplify, simplify_and
from vdla.errors import CompileError

LoopRef = Var | str
"""A loop: its variable, or the variable's name."""

Path = tuple[Stmt, ...]
"""Statements from the function's body down to one statement, each a child of the one before."""


class Names:
    """Hands out names that nothing in the function has, besides the loops of `removed`. Blocks have names of their own."""

    def __init__(self, func: Function, removed: Stmt | None = None) -> None:
        self.taken = {b.name for b in func.params}
        self.blocks: set[str] = set()
        for stmt in walk_stmt(func.body):
            match stmt:
                case For(var, _, _):
                    self.taken.add(var.name)
                case Allocate(buffer, _):
                    self.taken.add(buffer.name)
                case Block(name, iters):
                    self.blocks.add(name)
                    self.taken.update(i.var.name for i in iters)
        if removed is not None:
            self.taken -= {s.var.name for s in walk_stmt(removed) if isinstance(s, For)}

    def fresh(self, wanted: str) -> str:
        return self._fresh(wanted, self.taken)

    def block(self, wanted: str) -> str:
        return self._fresh(wanted, self.blocks)

    def _fresh(self, wanted: str, taken: set[str]) -> str:
        name, suffix = wanted, 0
        while name in taken:
            suffix += 1
            name = f"{wanted}_{suffix}"
        taken.add(name)
        return name

    def var(self, wanted: str, dtype: str = "int32") -> Var:
        return Var(self.fresh(wanted), dtype)


def path_to(root: Stmt, wanted: Callable[[Stmt], bool]) -> Path | None:
    """The path to the first statement that is `wanted`, in program order."""
    if wanted(root):
        return (root,)
    for child in stmt_children(root):
        below = path_to(child, wanted)
        if below is not None:
            return (root, *below)
    return None


def path_to_block(func: Function, name: str) -> Path:
    """The path that ends in block `name`. Raises `CompileError` where there is none."""
    path = path_to(func.body, lambda s: isinstance(s, Block) and s.name == name)
    if path is None:
        found = [s.name for s in walk_stmt(func.body) if isinstance(s, Block)]
        raise CompileError(f"no block {name}", where=f"function {func.name}", found=name, expected="one of " + ", ".join(found))
    return path


def path_to_loop(func: Function, loop: LoopRef) -> Path:
    """The path that ends in the For of `loop`. Raises `CompileError` where there is none."""
    path = path_to(func.body, lambda s: isinstance(s, For) and (s.var is loop or s.var.name == loop))
    if path is None:
        name = loop if isinstance(loop, str) else loop.name
        found = [s.var.name for s in walk_stmt(func.body) if isinstance(s, For)]
        raise CompileError(f"no loop {name}", where=f"function {func.name}", found=name, expected="one of " + ", ".join(found))
    return path


def block_of(path: Path) -> Block:
    block = path[-1]
    assert isinstance(block, Block)
    return block


def loop_of(path: Path) -> For:
    loop = path[-1]
    assert isinstance(loop, For)
    return loop


def loops_of(path: Path) -> list[For]:
    """The loops on a path, outermost first."""
    return [s for s in path if isinstance(s, For)]


def nest_of(path: Path) -> For | Block:
    """The topmost loop that holds nothing but the block the path ends in."""
    top = path[-1]
    for stmt in reversed(path[:-1]):
        if not isinstance(stmt, For):
            break
        top = stmt
    assert isinstance(top, For | Block)
    return top


def blocks_in(stmt: Stmt) -> list[Block]:
    found: list[Block] = []
    stack = [stmt]
    while stack:
        node = stack.pop()
        if isinstance(node, Block):
            found.append(node)
        else:
            stack.extend(reversed(stmt_children(node)))
    return found


def paths_to_blocks(root: Stmt) -> Iterator[Path]:
    """The path to each block below, in program order."""
    if isinstance(root, Block):
        yield (root,)
        return
    for child in stmt_children(root):
        for path in paths_to_blocks(child):
            yield (root, *path)


def nest_text(stmts: Path | list[Stmt] | list[For]) -> str:
    """The heads of the loops and blocks of a path on one line, for messages."""
    return " > ".join(print_head(s).rstrip(":") for s in stmts if isinstance(s, For | Block))


def refuse(step: str, why: str, path: Path, *, hint: str = "") -> NoReturn:
    """Raise the `CompileError` of a step that cannot be applied, showing the loops it looked at."""
    raise CompileError(f"cannot {step}: {why}", where=nest_text(path), hint=hint)


def rewrite(root: Stmt, changes: Mapping[int, Stmt | None]) -> Stmt | None:
    """`root` with statements, by id, replaced; None deletes, and empties go with it."""
    if id(root) in changes:
        return changes[id(root)]
    old = stmt_children(root)
    if not old or isinstance(root, Block):
        return root
    new = tuple(rewrite(child, changes) for child in old)
    if all(a is b for a, b in zip(old, new, strict=True)):
        return root
    kept = tuple(s for s in new if s is not None)
    if isinstance(root, Seq):
        return seq(*kept) if kept else None
    return rebuild_stmt(root, kept) if kept else None


def with_body(func: Function, body: Stmt | None) -> Function:
    return replace(func, body=Seq(()) if body is None else body)


def replace_in(func: Function, *changes: tuple[Stmt, Stmt | None]) -> Function:
    """`func` with each statement (by identity) replaced, or deleted where the new one is None."""
    return with_body(func, rewrite(func.body, {id(old): new for old, new in changes}))


def rebind(stmt: Stmt, values: Mapping[Var, Expr], ranges: Mapping[Var, Interval], condition: Expr = TRUE) -> Stmt:
    """Replace loop variables in the bindings and predicates below, and restrict every block there by `condition`.

    ranges: of the loops outside `stmt`.
    """
    match stmt:
        case For(var, extent, body):
            return replace(stmt, body=rebind(body, values, {**ranges, var: (0, extent - 1)}, condition))
        case Block(_, _, bindings, _, _, predicate):
            tests = condition if predicate is None else simplify_and(substitute(predicate, values), condition)
            kept = simplify(tests, ranges)
            bound = tuple(simplify(substitute(b, values), ranges) for b in bindings)
            return replace(stmt, bindings=bound, predicate=None if kept == TRUE else kept)
        case If(test, _, _):
            children = tuple(rebind(s, values, ranges, condition) for s in stmt_children(stmt))
            return rebuild_stmt(replace(stmt, condition=substitute(test, values)), children)
    return rebuild_stmt(stmt, tuple(rebind(s, values, ranges, condition) for s in stmt_children(stmt)))


def replace_buffers(stmt: Stmt, new: Mapping[Buffer, Buffer]) -> Stmt:
    """Each key replaced by its value wherever it is allocated, loaded, stored or an operand."""
    if isinstance(stmt, Block):
        reads, writes = touched_buffers(stmt)
        if not any(b in reads or b in writes for b in new):
            return stmt

    def expr(node: Expr) -> Expr:
        return Load(new[node.buffer], node.indices) if isinstance(node, Load) and node.buffer in new else node

    old = stmt_children(stmt)
    children = tuple(replace_buffers(s, new) for s in old)
    if any(a is not b for a, b in zip(old, children, strict=True)):
        stmt = rebuild_stmt(stmt, children)
    match stmt:
        case Allocate(buffer, body, annotations) if buffer in new:
            return Allocate(new[buffer], body, annotations)
        case Store(buffer, indices, value):
            return Store(new.get(buffer, buffer), tuple(map_expr(i, expr) for i in indices), map_expr(value, expr))
        case Intrinsic(name, operands, attributes, predicate):
            regions = tuple(replace(r, buffer=new.get(r.buffer, r.buffer)) for r in operands)
            return Intrinsic(name, regions, attributes, predicate)
        case If(condition, then, otherwise):
            return If(map_expr(condition, expr), then, otherwise)
    return stmt


def allocations(func: Function) -> Iterator[Allocate]:
    return (s for s in walk_stmt(func.body) if isinstance(s, Allocate))


def find_allocation(func: Function, step: str, buffer: Buffer | str) -> Allocate:
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


def written_buffer(block: Block) -> Buffer:
    """The one buffer a block writes."""
    for stmt in walk_stmt(block.body):
        if isinstance(stmt, Store):
            return stmt.buffer
        if isinstance(stmt, Intrinsic):
            return stmt.operands[0].buffer
    raise CompileError("the block writes nothing", where=f"block {block.name}")
