"""Statements → LLVM basic blocks.

`vectorized` loops become LLVM vector operations, a register's worth of iterations at a time, with a narrower tail;
where the body does not allow it (it accumulates over the vectorised loop, or allocates) they become scalar loops that ask
LLVM's own vectoriser. `unrolled` loops are copied out, `parallel` ones outlined (see `outline`). Small buffers
live on the stack, whence LLVM promotes them to registers; the others on the heap.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir as llvm_ir

from vdla.arithmetic import ceil_div, round_up
from vdla.compiler import ir
from vdla.compiler.backends.llvm.arithmetic import is_false, is_true
from vdla.compiler.backends.llvm.emitter import Emitter, Lanes
from vdla.compiler.backends.llvm.expressions import arithmetic_not, conjoin, emit_expr, emit_store
from vdla.compiler.backends.llvm.indexing import depends
from vdla.compiler.backends.llvm.intrinsics import emit_intrinsic
from vdla.compiler.backends.llvm.outline import emit_parallel
from vdla.compiler.backends.llvm.types import I64, ITEM_BYTES, POINTER, VOID, storage_type
from vdla.compiler.passes.affine import has_load
from vdla.errors import CompileError

STACK_BYTES = 16 << 10
"""Buffers up to this size are on the stack."""
UNROLL_LIMIT = 1024
"""Copies of leaf statements up to which an unrolled loop is copied out here; beyond, LLVM is asked to unroll it."""
VECTOR_UNROLL = 160
"""Operations on vectors up to which the chunks of a vectorised loop are copied out rather than looped over."""
CALL_OPERATIONS = 20
"""Operations a call such as exp or requantise stands for, about."""
ALIGNMENT = 64
PARALLEL_WORK = 30_000
"""Operations a parallel loop must execute to be worth waking other threads, which takes 10 to 25 µs."""
TYPICAL_LANES = 8


def emit_stmt(e: Emitter, stmt: ir.Stmt) -> None:
    """Raises `CompileError` for what lowering should have removed."""
    if type(stmt) not in STATEMENTS:
        what, name = f"the LLVM backend cannot emit a {type(stmt).__name__}", getattr(stmt, "name", None)
        raise CompileError(what, found=name, hint="lower the function first")
    STATEMENTS[type(stmt)](e, stmt)


def _emit_store(e: Emitter, stmt: ir.Store) -> None:
    emit_store(e, stmt.buffer, stmt.indices, emit_expr(e, stmt.value))


def _emit_seq(e: Emitter, stmt: ir.Seq) -> None:
    for s in stmt.body:
        emit_stmt(e, s)


def _emit_if(e: Emitter, stmt: ir.If) -> None:
    condition = emit_expr(e, stmt.condition)
    if is_true(condition):
        emit_stmt(e, stmt.then)
    elif is_false(condition):
        if stmt.otherwise is not None:
            emit_stmt(e, stmt.otherwise)
    elif isinstance(condition.type, llvm_ir.VectorType):
        with e.scope(), e.masked(conjoin(e, e.mask, condition)):
            emit_stmt(e, stmt.then)
        if stmt.otherwise is not None:
            with e.scope(), e.masked(conjoin(e, e.mask, arithmetic_not(e, condition))):
                emit_stmt(e, stmt.otherwise)
    else:
        _emit_branches(e, condition, stmt.then, stmt.otherwise)


def _emit_branches(e: Emitter, condition: llvm_ir.Value, then: ir.Stmt, otherwise: ir.Stmt | None) -> None:
    b = e.builder
    yes, join = b.append_basic_block("then"), b.append_basic_block("join")
    no = join if otherwise is None else b.append_basic_block("else")
    b.cbranch(condition, yes, no)
    for block, body in ((yes, then), (no, otherwise)):
        if body is not None:
            b.position_at_end(block)
            with e.scope():
                emit_stmt(e, body)
            b.branch(join)
    b.position_at_end(join)


def _emit_allocate(e: Emitter, stmt: ir.Allocate) -> None:
    buffer, element = stmt.buffer, storage_type(stmt.buffer.dtype)
    count = 1
    for size in buffer.shape:
        count *= size
    size_bytes = count * ITEM_BYTES[buffer.dtype]
    if size_bytes <= STACK_BYTES:
        if buffer not in e.allocations:
            e.allocations[buffer] = e.stack_array(element, max(count, 1), ALIGNMENT)
        e.pointers[buffer] = e.allocations[buffer]
        emit_stmt(e, stmt.body)
        return
    rounded = round_up(size_bytes, ALIGNMENT)
    if rounded >= 1 << (e.size.width - 1):
        raise CompileError(
            "a buffer that the target's memory cannot hold", where=buffer.name, found=f"{rounded:,} bytes",
            expected=f"less than half of what {e.size.width} bits address",
        )  # fmt: skip
    e.pointers[buffer] = e.builder.call(_allocator(e), [llvm_ir.Constant(e.size, ALIGNMENT), llvm_ir.Constant(e.size, rounded)])
    emit_stmt(e, stmt.body)
    e.builder.call(_declare(e.module, "free", llvm_ir.FunctionType(VOID, [POINTER])), [e.pointers[buffer]])


def _allocator(e: Emitter) -> llvm_ir.Function:
    function = _declare(e.module, "aligned_alloc", llvm_ir.FunctionType(POINTER, [e.size, e.size]))
    function.return_value.add_attribute("noalias")
    return function


def _declare(module: llvm_ir.Module, name: str, type_: llvm_ir.FunctionType) -> llvm_ir.Function:
    return module.globals.get(name) or llvm_ir.Function(module, type_, name)


def _emit_for(e: Emitter, stmt: ir.For) -> None:
    if stmt.extent <= 0:
        return
    if stmt.kind not in LOOPS:
        expected = ", ".join(LOOPS)
        raise CompileError("the LLVM backend has no such loop kind", where=stmt.var.name, found=stmt.kind, expected=expected)
    if stmt.extent == 1:
        _emit_iteration(e, stmt, 0)
    else:
        LOOPS[stmt.kind](e, stmt)


def _emit_iteration(e: Emitter, stmt: ir.For, value: int) -> None:
    """One iteration of a loop, its variable a constant."""
    e.bind(stmt.var, llvm_ir.Constant(I64, value), value, value)
    with e.scope():
        emit_stmt(e, stmt.body)


def emit_loop(e: Emitter, var: ir.Var, extent: int, step: int, body: Callable[[], None], hint: str = "") -> None:
    """for var = 0; var < extent; var += step: body. `extent` is a multiple of `step`; var's range includes all lanes."""
    b = e.builder
    before, loop, after = b.block, b.append_basic_block(f"loop.{var.name}"), b.append_basic_block(f"after.{var.name}")
    b.branch(loop)
    b.position_at_end(loop)
    value = b.phi(I64, var.name)
    value.add_incoming(llvm_ir.Constant(I64, 0), before)
    e.bind(var, value, 0, extent - 1)
    with e.scope():
        body()
    following = b.add(value, llvm_ir.Constant(I64, step), flags=("nuw", "nsw"))
    value.add_incoming(following, b.block)
    branch = b.cbranch(b.icmp_unsigned("<", following, llvm_ir.Constant(I64, extent)), loop, after)
    if hint:
        branch.set_metadata("llvm.loop", loop_metadata(e.module, hint))
    b.position_at_end(after)


class _Distinct(llvm_ir.MDValue):
    """`!n = distinct !{!n, …}`: every loop's metadata node names itself."""

    def descr(self, buf: list[str]) -> None:
        operands = ", ".join([f"!{self.name}", *(f"!{o.name}" for o in self.operands)])
        buf.append(f"distinct !{{ {operands} }}\n")


def loop_metadata(module: llvm_ir.Module, hint: str) -> llvm_ir.MDValue:
    """A fresh `llvm.loop` node holding one hint that is true."""
    node = module.add_metadata([llvm_ir.MetaDataString(module, hint), llvm_ir.Constant(llvm_ir.IntType(1), 1)])
    return _Distinct(module, [node], name=str(len(module.metadata)))


def _emit_serial(e: Emitter, stmt: ir.For, hint: str = "") -> None:
    emit_loop(e, stmt.var, stmt.extent, 1, lambda: emit_stmt(e, stmt.body), hint)


def leaf_count(stmt: ir.Stmt) -> int:
    """Leaf statements after unrolling everything marked unrolled."""
    match stmt:
        case ir.For(_, extent, body, "unrolled"):
            return extent * leaf_count(body)
        case ir.For() | ir.Allocate():
            return leaf_count(stmt.body)
        case ir.Seq(body):
            return sum(map(leaf_count, body))
        case ir.If(_, then, otherwise):
            return leaf_count(then) + (leaf_count(otherwise) if otherwise else 0)
        case _:
            return 1


def operations(stmt: ir.Stmt) -> int:
    """Vector operations in one chunk of a vectorised loop: loads, arithmetic and stores, not index arithmetic."""
    match stmt:
        case ir.Store(_, _, value):
            return 1 + _value_operations(value)
        case ir.For(_, extent, body, kind):
            return operations(body) * (extent if kind == "unrolled" else 1)
        case _:
            return sum(map(operations, ir.stmt_children(stmt)))


def _value_operations(value: ir.Expr) -> int:
    if isinstance(value, ir.Load):
        return 1
    return (CALL_OPERATIONS if isinstance(value, ir.Call) else 1) + sum(map(_value_operations, ir.children(value)))


def work(stmt: ir.Stmt) -> int:
    """Operations executed, at most; those of a whole vector count as one."""
    match stmt:
        case ir.For(_, extent, body, kind):
            return work(body) * (ceil_div(extent, TYPICAL_LANES) if kind == "vectorized" else extent)
        case ir.Store():
            return operations(stmt)
        case _:
            return sum(map(work, ir.stmt_children(stmt))) or 1


def _emit_unrolled(e: Emitter, stmt: ir.For) -> None:
    if leaf_count(stmt) > UNROLL_LIMIT:
        _emit_serial(e, stmt, "llvm.loop.unroll.enable")
    else:
        for i in range(stmt.extent):
            _emit_iteration(e, stmt, i)


def _is_vectorisable(stmt: ir.For) -> bool:
    """Every store must go to a different element in each lane; nothing may be allocated."""
    for inner in ir.walk_stmt(stmt.body):
        if isinstance(inner, ir.Allocate | ir.Intrinsic) or (isinstance(inner, ir.For) and inner.kind == "parallel"):
            return False
        if isinstance(inner, ir.Store) and not any(depends(i, stmt.var) and not has_load(i) for i in inner.indices):
            return False
    return True


def _widest_bytes(stmt: ir.Stmt) -> int:
    """Bytes of the widest element computed with; requantisation works in int64 inside but keeps int32's lanes."""
    stores = [inner for inner in ir.walk_stmt(stmt) if isinstance(inner, ir.Store)]
    dtypes = {x.dtype for s in stores for x in ir.walk_expr(s.value) if not isinstance(x, ir.Var)} | {
        s.buffer.dtype for s in stores
    }
    return max((ITEM_BYTES[dtype] for dtype in dtypes), default=1)


def _emit_vectorized(e: Emitter, stmt: ir.For) -> None:
    if e.lanes is not None or not _is_vectorisable(stmt):
        _emit_serial(e, stmt, "" if e.lanes is not None else "llvm.loop.vectorize.enable")
        return
    lanes = min(max(e.vector_bytes // _widest_bytes(stmt.body), 2), 64)
    chunks, tail = divmod(stmt.extent, lanes)
    if chunks * operations(stmt.body) > VECTOR_UNROLL:
        emit_loop(e, stmt.var, chunks * lanes, lanes, lambda: _emit_lanes(e, stmt, lanes))
    else:
        for chunk in range(chunks):
            e.bind(stmt.var, llvm_ir.Constant(I64, chunk * lanes), chunk * lanes, (chunk + 1) * lanes - 1)
            _emit_lanes(e, stmt, lanes)
    if tail == 1:
        _emit_iteration(e, stmt, stmt.extent - 1)
    elif tail:
        e.bind(stmt.var, llvm_ir.Constant(I64, chunks * lanes), chunks * lanes, stmt.extent - 1)
        _emit_lanes(e, stmt, tail)


def _emit_lanes(e: Emitter, stmt: ir.For, lanes: int) -> None:
    with e.vector(Lanes(stmt.var, lanes)):
        emit_stmt(e, stmt.body)


def _emit_parallel(e: Emitter, stmt: ir.For) -> None:
    if e.outlined or e.lanes is not None or work(stmt) < PARALLEL_WORK:
        _emit_serial(e, stmt)
    else:
        emit_parallel(e, stmt, emit_stmt)


LOOPS: dict[str, Callable[[Emitter, ir.For], None]] = {
    "serial": _emit_serial,
    "parallel": _emit_parallel,
    "vectorized": _emit_vectorized,
    "unrolled": _emit_unrolled,
}

STATEMENTS: dict[type[ir.Stmt], Callable] = {
    ir.Store: _emit_store,
    ir.Seq: _emit_seq,
    ir.If: _emit_if,
    ir.Allocate: _emit_allocate,
    ir.For: _emit_for,
    ir.Intrinsic: emit_intrinsic,
}
