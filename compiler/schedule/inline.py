"""Steps that remove a block by putting its value where it is used: compute_inline and reverse_compute_inline."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.passes.region import touched_buffers
from vdla.compiler.schedule.locate import (
    Path,
    block_of,
    blocks_in,
    is_step,
    nest_of,
    path_to,
    path_to_block,
    refuse,
    replace_in,
    with_body,
)


def elementwise_store(step: str, path: Path) -> ir.Store:
    """The store of a block that is one store at its own spatial iters, with no reduction."""
    block = block_of(path)
    store = block.body
    if is_step(block):
        refuse(step, "it is a step of a scan: what it reads may have changed where its value is used", path)
    if any(i.kind == "reduce" for i in block.iters):
        refuse(step, "it is a reduction", path)
    if not isinstance(store, ir.Store):
        refuse(step, "its body is not one store", path)
    chosen = [i for i in store.indices if isinstance(i, ir.Var)]
    if len(chosen) != len(store.indices) or set(chosen) != {i.var for i in block.iters}:
        refuse(step, "it does not write one element for each point of its domain", path)
    return store


def only_writer(func: ir.Function, step: str, path: Path, buffer: ir.Buffer) -> None:
    for block in blocks_in(func.body):
        if block is not path[-1] and buffer in touched_buffers(block)[1]:
            refuse(step, f"{block.name} writes {buffer.name} too", path)


def without_allocation(func: ir.Function, buffer: ir.Buffer) -> ir.Function:
    """`func` with the allocation of a buffer nobody uses taken away."""
    path = path_to(func.body, lambda s: isinstance(s, ir.Allocate) and s.buffer is buffer)
    if path is None:
        return func
    allocation = path[-1]
    assert isinstance(allocation, ir.Allocate)
    return replace_in(func, (allocation, allocation.body))


def compute_inline(func: ir.Function, block: str) -> ir.Function:
    """Put the value of `block` where it is read, and remove it.

        for i in range(8): block P: P[i] = x[i] * 2
        for i in range(8): block C: C[i] = P[7 - i]     →     for i in range(8): block C: C[i] = x[7 - i] * 2

    Raises `CompileError` for a reduction, a step of a scan, an output, or a block that is read by an intrinsic.
    """
    step = f"inline {block}"
    path = path_to_block(func, block)
    store = elementwise_store(step, path)
    buffer = store.buffer
    if any(buffer is p for p in func.params):
        refuse(step, f"it writes the output {buffer.name}", path, hint="reverse_compute_inline")
    only_writer(func, step, path, buffer)
    iters = [i for i in store.indices if isinstance(i, ir.Var)]

    def value_at(node: ir.Expr) -> ir.Expr:
        if isinstance(node, ir.Load) and node.buffer is buffer:
            return ir.substitute(store.value, dict(zip(iters, node.indices, strict=True)))
        return node

    func = replace_in(func, (nest_of(path), None))
    func = with_body(func, ir.map_stmt(func.body, lambda s: ir.map_stmt_exprs(s, lambda e: ir.map_expr(e, value_at))))
    if buffer in touched_buffers(func.body)[0]:
        refuse(step, "it is read by an intrinsic", path, hint="inline before tensorize")
    return without_allocation(func, buffer)


def reverse_compute_inline(func: ir.Function, block: str) -> ir.Function:
    """Put `block`, the one reader of an elementwise block, into the block it reads.

        for i in range(8): block P: P[i] = x[i] * 2
        for i in range(8): block C: C[i] = P[i] + 1     →     for i in range(8): block P: C[i] = x[i] * 2 + 1

    Raises `CompileError` when what it reads is a reduction or has another reader, it reads more than one made buffer, or either
    is a step of a scan.
    """
    step = f"reverse inline {block}"
    path = path_to_block(func, block)
    store = elementwise_store(step, path)
    reader = block_of(path)
    makers = [b for b in blocks_in(func.body) if touched_buffers(b)[1] & touched_buffers(reader)[0]]
    if len(makers) != 1:
        found = ", ".join(b.name for b in makers) or "none"
        refuse(step, f"it has to read what exactly one block makes; found {found}", path)
    producer_path = path_to_block(func, makers[0].name)
    made = elementwise_store(step, producer_path)
    if [b.name for b in blocks_in(func.body) if made.buffer in touched_buffers(b)[0]] != [block] or any(
        made.buffer is p for p in func.params
    ):
        refuse(step, f"{made.buffer.name} is used elsewhere too", producer_path)
    found_loads = {
        e for x in ir.stmt_exprs(store) for e in ir.walk_expr(x) if isinstance(e, ir.Load) and e.buffer is made.buffer
    }
    indices = next(iter(found_loads)).indices
    if len(found_loads) != 1 or len({*indices}) != len(indices) or {*indices} != {i.var for i in reader.iters}:
        refuse(step, f"it does not read {made.buffer.name} element by element", path)
    values = {v: i for v, i in zip(indices, made.indices, strict=True) if isinstance(v, ir.Var)}

    def value_at(node: ir.Expr) -> ir.Expr:
        return made.value if isinstance(node, ir.Load) and node.buffer is made.buffer else substitute_var(node, values)

    fused = ir.Store(store.buffer, tuple(ir.map_expr(i, value_at) for i in store.indices), ir.map_expr(store.value, value_at))
    producer = producer_path[-1]
    assert isinstance(producer, ir.Block)
    func = replace_in(func, (producer, replace(producer, body=fused)), (nest_of(path), None))
    return without_allocation(func, made.buffer)


def substitute_var(node: ir.Expr, values: dict[ir.Var, ir.Expr]) -> ir.Expr:
    return values.get(node, node) if isinstance(node, ir.Var) else node
