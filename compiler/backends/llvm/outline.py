"""Parallel loops: the body becomes a function over a range of iterations, and the loop a call of `vdla_parallel_for`.

    parallel i in 0..n: body      →      context = {pointers, outer loop variables}, 8 bytes each on any machine
                                         vdla_parallel_for(&chunk, context, n)

    void chunk(context, begin, end)      unpacks the context and calls
    void body(noalias pointers…, variables…, begin, end)

`vdla_parallel_for(void (*chunk)(void *, int64, int64), void *context, int64 extent)` is the runtime's: it calls chunk on
disjoint ranges that cover 0..extent, in any order and on any threads, and returns when all have ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llvmlite import ir as llvm_ir

from vdla.compiler import ir
from vdla.compiler.backends.llvm.emitter import Emitter
from vdla.compiler.backends.llvm.types import I64, ITEM_BYTES, POINTER, VOID

PARALLEL_FOR = "vdla_parallel_for"
RUNTIME_TYPE = llvm_ir.FunctionType(VOID, [POINTER, POINTER, I64])
CHUNK_TYPE = llvm_ir.FunctionType(VOID, [POINTER, I64, I64])

EmitStmt = Callable[[Emitter, ir.Stmt], None]


def used(stmt: ir.Stmt) -> tuple[set[ir.Buffer], set[ir.Var]]:
    """Buffers and variables that occur in `stmt`."""
    buffers: set[ir.Buffer] = set()
    variables: set[ir.Var] = set()
    for inner in ir.walk_stmt(stmt):
        if isinstance(inner, ir.Store):
            buffers.add(inner.buffer)
        elif isinstance(inner, ir.Intrinsic):
            buffers.update(region.buffer for region in inner.operands)
        for expr in (x for top in ir.stmt_exprs(inner) for x in ir.walk_expr(top)):
            if isinstance(expr, ir.Load):
                buffers.add(expr.buffer)
            elif isinstance(expr, ir.Var):
                variables.add(expr)
    return buffers, variables


def emit_parallel(e: Emitter, stmt: ir.For, emit_stmt: EmitStmt) -> None:
    """Outline `stmt` and call the runtime to run it."""
    b = e.builder
    buffers, names = used(stmt.body)
    pointers = [x for x in e.pointers if x in buffers]
    variables = [v for v in e.variables if v in names and not isinstance(e.variables[v], llvm_ir.Constant)]
    name = e.module.get_unique_name(f"{b.function.name}.parallel.{stmt.var.name}")
    body = _emit_body(e, stmt, name, pointers, variables, emit_stmt)
    chunk = _emit_chunk(e, f"{name}.chunk", body, len(pointers), len(variables))

    fields = [e.pointers[x] for x in pointers] + [e.variables[v] for v in variables]
    context = e.stack_array(I64, max(len(fields), 1), ITEM_BYTES["int64"])
    for i, value in enumerate(fields):
        b.store(value, b.gep(context, [llvm_ir.Constant(I64, i)], source_etype=I64))
    runtime = e.module.globals.get(PARALLEL_FOR) or llvm_ir.Function(e.module, RUNTIME_TYPE, PARALLEL_FOR)
    b.call(runtime, [chunk, context, llvm_ir.Constant(I64, stmt.extent)])


def _emit_body(
    e: Emitter, stmt: ir.For, name: str, pointers: list[ir.Buffer], variables: list[ir.Var], emit_stmt: EmitStmt
) -> llvm_ir.Function:
    arguments = [*([POINTER] * len(pointers)), *([I64] * (len(variables) + 2))]
    function = llvm_ir.Function(e.module, llvm_ir.FunctionType(VOID, arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")  # inlined into the chunk, its pointers would lose noalias
    for argument in function.args[: len(pointers)]:
        argument.add_attribute("noalias")
    entry, loop, after = (function.append_basic_block(x) for x in ("entry", "loop", "after"))
    builder = llvm_ir.IRBuilder(entry)
    inner = replace(
        e,
        builder=builder,
        pointers=dict(zip(pointers, function.args, strict=False)),
        variables={**e.variables, **dict(zip(variables, function.args[len(pointers) :], strict=False))},
        ranges=dict(e.ranges),
        depths=dict(e.depths),
        allocations={},
        sums={},
        outlined=True,
    )
    begin, end = function.args[-2:]
    builder.cbranch(builder.icmp_signed("<", begin, end), loop, after)
    builder.position_at_end(loop)
    value = builder.phi(I64, stmt.var.name)
    value.add_incoming(begin, entry)
    inner.bind(stmt.var, value, 0, stmt.extent - 1)
    emit_stmt(inner, stmt.body)
    following = builder.add(value, llvm_ir.Constant(I64, 1), flags=("nsw",))
    value.add_incoming(following, builder.block)
    builder.cbranch(builder.icmp_signed("<", following, end), loop, after)
    builder.position_at_end(after)
    builder.ret_void()
    return function


def _emit_chunk(e: Emitter, name: str, body: llvm_ir.Function, pointers: int, variables: int) -> llvm_ir.Function:
    function = llvm_ir.Function(e.module, CHUNK_TYPE, name)
    function.linkage = "internal"
    builder = llvm_ir.IRBuilder(function.append_basic_block("entry"))
    context, begin, end = function.args
    arguments = []
    for i in range(pointers + variables):
        field = builder.gep(context, [llvm_ir.Constant(I64, i)], source_etype=I64)
        arguments.append(builder.load(field, typ=POINTER if i < pointers else I64))
    builder.call(body, [*arguments, begin, end])
    builder.ret_void()
    return function
