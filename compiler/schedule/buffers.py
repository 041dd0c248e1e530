"""Steps on buffers: where they live and how they are laid out."""

from __future__ import annotations

from dataclasses import replace

from vdla.compiler import ir
from vdla.compiler.passes.region import touched_buffers
from vdla.compiler.schedule.locate import (
    FunctionNames,
    block_of,
    blocks_in,
    find_allocation,
    nest_of,
    path_to_block,
    refuse,
    replace_buffers,
    replace_in,
    with_body,
    written_buffers,
)
from vdla.errors import CompileError

BufferRef = ir.Buffer | str
"""A buffer, its name, or the name of the block that writes it."""


def resolve_buffer(func: ir.Function, step: str, ref: BufferRef) -> ir.Allocate:
    """The allocation of a buffer, or of the buffer a block writes."""
    if isinstance(ref, str):
        for stmt in ir.walk_stmt(func.body):
            if isinstance(stmt, ir.Block) and stmt.name == ref:
                buffers = written_buffers(stmt)
                if len(buffers) > 1:
                    found, expected = [b.name for b in buffers], "the name of one of them"
                    raise CompileError(f"cannot {step}: block {ref} writes several buffers", found=found, expected=expected)
                return find_allocation(func, step, buffers[0])
    return find_allocation(func, step, ref)


def set_scope(func: ir.Function, buffer: BufferRef, scope: str) -> ir.Function:
    """allocate P: int8[4, 1, 16]   →   allocate P: int8[4, 1, 16] in vdla.inp

    `buffer` is a buffer, its name, or the block that writes it. Raises `CompileError` for a parameter or unknown scope.
    """
    step = f"set scope {scope}"
    if scope not in ir.SCOPES:
        raise CompileError(
            f"cannot {step}: no such scope",
            where=f"function {func.name}",
            found=scope,
            expected="one of " + ", ".join(ir.SCOPES),
        )
    old = resolve_buffer(func, step, buffer).buffer
    return with_body(func, replace_buffers(func.body, {old: replace(old, scope=scope)}))


def annotate_buffer(func: ir.Function, step: str, buffer: BufferRef, key: str, value: int) -> ir.Function:
    old = resolve_buffer(func, step, buffer)
    return replace_in(func, (old, replace(old, annotations=ir.with_attribute(old.annotations, key, value))))


def storage_align(func: ir.Function, buffer: BufferRef, elements: int) -> ir.Function:
    """allocate P: float32[4, 33]   →   allocate P: float32[4, 33] {storage_align=8}

    Lowering makes the stride from row to row a multiple of `elements` (`passes.align_storage`); tiles of a VDLA scratchpad are
    as large as they are. Raises `CompileError` unless `elements` is positive.
    """
    if elements < 1:
        raise CompileError(
            "cannot align storage", where=f"function {func.name}", found=elements, expected="one element or more"
        )
    return annotate_buffer(func, "align storage", buffer, "storage_align", elements)


def double_buffer(func: ir.Function, buffer: BufferRef) -> ir.Function:
    """allocate P: int8[4, 16]   →   allocate P: int8[4, 16] {double_buffer=1}

    Lowering gives the buffer two copies, used in turn by the iterations of the loop around its allocation, so that a copy
    can be filled while the other is used.
    """
    return annotate_buffer(func, "double buffer", buffer, "double_buffer", 1)


def cache_read(func: ir.Function, block: str, buffer: BufferRef, scope: str) -> tuple[ir.Function, str]:
    """Read `buffer` in `block` through a copy in `scope`, made just before; returns the name of the copying block.

        for k in range(8): block A: … W[k] …     →     allocate W_wgt: int8[8] in vdla.wgt
                                                       for W_wgt_ax0 in range(8):
                                                           block W_wgt: W_wgt[W_wgt.ax0] = W[W_wgt.ax0]
                                                       for k in range(8): block A: … W_wgt[k] …

    Move it with compute_at; lowering shrinks the copy to what one iteration uses. Raises `CompileError` when the block does
    not read the buffer, or the buffer is made inside the block's own loops.
    """
    path = path_to_block(func, block)
    reader = block_of(path)
    name = buffer if isinstance(buffer, str) else buffer.name
    step = f"cache {name} for {block}"
    read = {b.name: b for b in touched_buffers(reader)[0]}
    if name not in read or read[name] in written_buffers(reader):
        refuse(step, f"the block does not read it; it reads {', '.join(sorted(read))}", path)
    if scope not in ir.SCOPES:
        refuse(step, f"no scope {scope}", path, hint="one of " + ", ".join(ir.SCOPES))
    source = read[name]
    top = nest_of(path)
    outermost = next((s for s in path if isinstance(s, ir.For)), top)
    makers = [b for b in blocks_in(outermost) if source in touched_buffers(b)[1]]
    if makers:
        why = f"{source.name} is made by {makers[0].name} inside the loops around {block}"
        refuse(step, why, path, hint=f"cache_read before compute_at of {makers[0].name}")
    names = FunctionNames(func)
    cache, copy = copy_block(names, source, scope, to_cache=True)
    body = replace_loads(outermost, reader, source, cache)
    func = replace_in(func, (outermost, ir.seq(copy, body)))
    label = blocks_in(copy)[0].name
    return with_body(func, ir.Allocate(cache, func.body)), label


def replace_loads(nest: ir.Stmt, reader: ir.Block, source: ir.Buffer, cache: ir.Buffer) -> ir.Stmt:
    """`reader`'s loads of `source` from `cache`."""
    return ir.map_stmt(nest, lambda s: replace_buffers(s, {source: cache}) if s is reader else s)


def copy_block(names: FunctionNames, source: ir.Buffer, scope: str, *, to_cache: bool) -> tuple[ir.Buffer, ir.Stmt]:
    """A buffer like `source` in `scope`, and the nest that fills it (or, not to_cache, writes it back)."""
    cache = ir.Buffer(names.fresh(f"{source.name}_{scope.rpartition('.')[2]}"), source.shape, source.dtype, scope)
    label = names.block(cache.name if to_cache else f"{source.name}_store")
    target, origin = (cache, source) if to_cache else (source, cache)
    iters = tuple(ir.Iter(names.var(f"{label}.ax{k}"), extent) for k, extent in enumerate(source.shape))
    loops = [names.var(f"{label}_ax{k}") for k in range(len(source.shape))]
    element = tuple(i.var for i in iters)
    nest: ir.Stmt = ir.Block(label, iters, tuple(loops), ir.Store(target, element, ir.Load(origin, element)))
    for loop, it in zip(reversed(loops), reversed(iters), strict=True):
        nest = ir.For(loop, it.extent, nest)
    return cache, nest


def cache_write(func: ir.Function, block: str, scope: str) -> tuple[ir.Function, str]:
    """Let `block` write a buffer in `scope`, copied to the old one afterwards; returns the name of the copying block.

        for i in range(8): block Y: Y[i] = …     →     allocate Y_local: float32[8] in local
                                                       for i in range(8): block Y: Y_local[i] = …
                                                       for Y_store_ax0 in range(8):
                                                           block Y_store: Y[Y_store.ax0] = Y_local[Y_store.ax0]

    Raises `CompileError` when another block writes the same buffer too, or reads it inside the loops of this one, or the block
    writes several.
    """
    path = path_to_block(func, block)
    writer = block_of(path)
    source, *others = written_buffers(writer)
    step = f"cache what {block} writes"
    if others:
        refuse(step, f"it reduces {', '.join(b.name for b in (source, *others))} together", path)
    if scope not in ir.SCOPES:
        refuse(step, f"no scope {scope}", path, hint="one of " + ", ".join(ir.SCOPES))
    outermost = next((s for s in path if isinstance(s, ir.For)), nest_of(path))
    for other in blocks_in(func.body):
        reads, writes = touched_buffers(other)
        if other is not writer and source in writes:
            refuse(step, f"{other.name} writes {source.name} too", path, hint="decompose_reduction afterwards")
        if other is not writer and source in reads and any(other is b for b in blocks_in(outermost)):
            refuse(
                step,
                f"{other.name} reads {source.name} inside the loops around {block}",
                path,
                hint="cache_write before compute_at",
            )
    names = FunctionNames(func)
    cache, copy = copy_block(names, source, scope, to_cache=False)
    func = replace_in(func, (outermost, ir.seq(replace_loads(outermost, writer, source, cache), copy)))
    label = blocks_in(copy)[0].name
    return with_body(func, ir.Allocate(cache, func.body)), label
