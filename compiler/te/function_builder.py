"""From a graph of tensors to a loop-IR function: one perfectly nested block for each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from vdla.compiler import ir
from vdla.compiler.names import Names
from vdla.compiler.te.reductions import store_order
from vdla.compiler.te.scan import Scan
from vdla.compiler.te.tensor import Joint, Part, ReduceAxis, ScanAxis, Tensor, TupleStage
from vdla.errors import CompileError

Slot = Tensor | tuple[Joint, int]
"""What a buffer is for: a tensor, or one of those that are computed together."""
Axis = tuple[ir.Var, int, str]
"""Variable of a stage, extent and kind."""
Resolve = Callable[[ir.Expr], ir.Expr]
"""An expression over tensors and axes → the same over buffers and the iters of a block."""


def create_function(
    name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], attributes: ir.Attributes = ()
) -> ir.Function:
    """A function of `inputs` (placeholders) that writes `outputs` (stages).

    Each stage S with axes (i, k) becomes, in topological order,

        for S_i in range(I):
            for S_k in range(K):
                block S:
                    axis S.i = spatial(I, S_i)
                    axis S.k = reduce(K, S_k)
                    init:
                        S[S.i] = identity
                    S[S.i] = S[S.i] + value

    and stages that are not outputs are allocated in scope global around the whole body. The block of a tuple reduction stores
    each of its tensors; a scan over t with state h, step stage U and collected stage C becomes

        block h_init:  h[…] = initial[…]
        for t in range(T):
            block U, block C: stages, with axis U.t = scan(T, t)
            block C_steps:  C_steps[t, …] = C[…]
            block h:  h[…] = U[…]

    A name already taken gets a suffix _1, _2, …; parameters choose first, then stages in order. Raises `CompileError` on a
    placeholder that is not an input, an output that is not a stage, a tensor listed twice, or a step outside its scan.
    """
    stages = stages_of(outputs)
    check_parameters(name, inputs, outputs, stages)
    builder = Builder()
    parameters = tuple(builder.declare(slot_of(t), t.name, t.shape, t.dtype) for t in (*inputs, *outputs))
    builder.declare_all(stages)
    body = ir.seq(*(stmt for stage in stages for stmt in builder.stage(stage, ())))
    for buffer in reversed(builder.buffers.values()):
        if buffer not in parameters:
            body = ir.Allocate(buffer, body)
    return ir.Function(name, parameters, body, len(outputs), tuple(sorted(attributes)))


def stages_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Every computed tensor that `outputs` need, producers first; of a scan its results only."""
    order: dict[Tensor, None] = {}

    def visit(tensor: Tensor) -> None:
        if tensor in order or tensor.value is None:
            return
        for producer in tensor.inputs:
            visit(producer)
        order[tensor] = None

    for output in outputs:
        visit(output)
    return list(order)


def slot_of(tensor: Tensor) -> Slot:
    return (tensor.value.joint, tensor.value.position) if isinstance(tensor.value, Part) else tensor


def check_parameters(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], stages: list[Tensor]) -> None:
    where = f"function {name}"
    if not outputs:
        raise CompileError("no outputs", where=where, expected="one computed tensor or more")
    for tensor in inputs:
        if tensor.value is not None:
            raise CompileError(f"input {tensor.name} is computed", where=where, expected="a placeholder")
    for tensor in outputs:
        if tensor.value is None:
            raise CompileError(
                f"output {tensor.name} is a placeholder", where=where, expected="a computed tensor", hint="copy it in a stage"
            )
    for listed in (inputs, outputs):
        slots = [slot_of(tensor) for tensor in listed]
        for position, tensor in enumerate(listed):
            if slots[position] in slots[:position]:
                raise CompileError(f"{tensor.name} is listed twice", where=where, expected="each tensor once")
    for stage in stages:
        for axis in stage.scan_axes:
            raise CompileError(
                f"stage {stage.name} uses scan axis {axis.name} outside its scan",
                where=where,
                found=stage.name,
                expected="such a stage below an update or a collected stage of te.scan",
                hint="collect it",
            )
        for tensor in stage.inputs:
            if tensor.value is None and tensor not in inputs:
                found = [t.name for t in inputs]
                raise CompileError(
                    f"stage {stage.name} reads placeholder {tensor.name}, which is not an input",
                    where=where,
                    found=found,
                    expected=f"{tensor.name} among the inputs",
                )


class Builder:
    """Buffers and names handed out so far, and what has been computed. Each stage is made once."""

    def __init__(self) -> None:
        self.names = Names()
        self.buffers: dict[Slot, ir.Buffer] = {}
        self.states: dict[Tensor, Slot] = {}
        self.scans: dict[Tensor, Scan] = {}
        self.done: set[Tensor | Joint] = set()

    # Buffers

    def declare(self, slot: Slot, name: str, shape: tuple[int, ...], dtype: str) -> ir.Buffer:
        if slot not in self.buffers:
            self.buffers[slot] = ir.Buffer(self.names.fresh(name), shape, dtype)
        return self.buffers[slot]

    def declare_all(self, stages: Iterable[Tensor]) -> None:
        for stage in stages:
            if not isinstance(stage.value, Part):
                self.declare(stage, stage.name, stage.shape, stage.dtype)
                continue
            joint = stage.value.joint
            for position, result in enumerate(joint.results):
                self.declare((joint, position), *result)
            if isinstance(joint, Scan) and joint not in self.scans.values():
                self.declare_scan(joint)

    def declare_scan(self, scan: Scan) -> None:
        """Raises `CompileError` for a state or a step that another scan has too: there it would be another value."""
        for position, state in enumerate(scan.states):
            self.states.setdefault(state.tensor, (scan, position))
        for tensor in (*(state.tensor for state in scan.states), *scan.steps):
            if tensor in self.scans:
                found, hint = [self.scans[tensor].name, scan.name], "make a placeholder and stages for each scan"
                raise CompileError(f"{tensor.name} belongs to two scans", found=found, expected="one scan", hint=hint)
            self.scans[tensor] = scan
        self.declare_all(scan.steps)

    def buffer(self, tensor: Tensor) -> ir.Buffer:
        return self.buffers[self.states.get(tensor, slot_of(tensor))]

    # Statements

    def stage(self, stage: Tensor, around: Sequence[tuple[ScanAxis, ir.Var]]) -> Iterator[ir.Stmt]:
        """What computes one stage inside the loops of the scans `around`; nothing when it is computed already."""
        whole = stage.value.joint if isinstance(stage.value, Part) else stage
        if whole in self.done:
            return
        self.done.add(whole)
        if isinstance(whole, Scan):
            yield from self.scan(whole, around)
        elif isinstance(whole, TupleStage):
            yield self.tuple_nest(whole, around)
        else:
            yield self.stage_nest(stage, around)

    def stage_nest(self, stage: Tensor, around: Sequence[tuple[ScanAxis, ir.Var]]) -> ir.Stmt:
        """The loops and the block of one stage."""
        buffer, reduction = self.buffers[stage], stage.reduction
        domain = self.domain(stage.axes, stage.shape, reduction.axes if reduction else ())
        element = stage.axes

        def body(resolve: Resolve) -> tuple[ir.Stmt, ir.Stmt | None]:
            at = tuple(resolve(axis) for axis in element)
            if reduction is None:
                assert stage.value is not None
                return ir.Store(buffer, at, resolve(stage.value)), None
            value = ir.Binary(reduction.op, ir.Load(buffer, at), resolve(reduction.value))
            return ir.Store(buffer, at, value), ir.Store(buffer, at, reduction.identity)

        return self.nest(buffer.name, domain, around, body)

    def tuple_nest(self, stage: TupleStage, around: Sequence[tuple[ScanAxis, ir.Var]]) -> ir.Stmt:
        """One block for the tensors of a tuple reduction, stored in an order in which none is read after it is overwritten."""
        reduction = stage.reduction
        buffers = [self.buffers[stage, k] for k in range(len(reduction.results))]

        def body(resolve: Resolve) -> tuple[ir.Stmt, ir.Stmt | None]:
            at = tuple(resolve(axis) for axis in stage.axes)
            loads: dict[ir.Var, ir.Expr] = {a: ir.Load(b, at) for a, b in zip(reduction.accumulators, buffers, strict=True)}
            stores = [
                ir.Store(buffers[k], at, ir.substitute(resolve(reduction.results[k]), loads)) for k in store_order(reduction)
            ]
            inits = [ir.Store(b, at, identity) for b, identity in zip(buffers, reduction.identities, strict=True)]
            return ir.seq(*stores), ir.seq(*inits)

        return self.nest(self.names.fresh(stage.name), self.domain(stage.axes, stage.shape, reduction.axes), around, body)

    def scan(self, scan: Scan, around: Sequence[tuple[ScanAxis, ir.Var]]) -> Iterator[ir.Stmt]:
        buffers = [self.buffers[scan, k] for k in range(len(scan.results))]
        finals, kept = buffers[: len(scan.states)], buffers[len(scan.states) :]
        for buffer, state in zip(finals, scan.states, strict=True):
            yield self.copy(self.names.fresh(f"{buffer.name}_init"), buffer, state.initial, around)
        inside = (*around, (scan.axis, ir.Var(self.names.fresh(scan.axis.name))))
        stmts = [stmt for step in scan.steps for stmt in self.stage(step, inside)]
        for buffer, stage in zip(kept, scan.collect, strict=True):
            stmts.append(self.copy(buffer.name, buffer, stage, inside, lambda *at: (scan.axis, *at)))
        for buffer, state, write in zip(finals, scan.states, scan.writes, strict=True):
            place = dict(zip(write.axes, range(len(write.axes)), strict=True))

            def target(*at: ir.Expr, write=write, place=place) -> tuple[ir.Expr, ...]:
                return tuple(ir.substitute(i, {axis: at[k] for axis, k in place.items()}) for i in write.indices)

            stmts.append(self.copy(buffer.name, buffer, state.update, inside, target))
        yield ir.For(inside[-1][1], scan.axis.extent, ir.seq(*stmts))

    def copy(
        self,
        name: str,
        buffer: ir.Buffer,
        source: Tensor,
        around: Sequence[tuple[ScanAxis, ir.Var]],
        target: Callable[..., tuple[ir.Expr, ...]] = lambda *at: at,
    ) -> ir.Stmt:
        """A block that puts element (i, …) of `source` at element target(i, …) of `buffer`."""
        axes = tuple(ir.Var(f"i{d}") for d in range(len(source.shape)))

        def body(resolve: Resolve) -> tuple[ir.Stmt, ir.Stmt | None]:
            return ir.Store(buffer, tuple(map(resolve, target(*axes))), resolve(ir.Load(source, axes))), None

        return self.nest(name, self.domain(axes, source.shape, ()), around, body)

    def domain(self, axes: Sequence[ir.Var], shape: Sequence[int], reduced: Sequence[ReduceAxis]) -> list[Axis]:
        spatial = [(axis, extent, "spatial") for axis, extent in zip(axes, shape, strict=True)]
        return [*spatial, *((axis, axis.extent, "reduce") for axis in reduced)]

    def nest(
        self,
        name: str,
        domain: Sequence[Axis],
        around: Sequence[tuple[ScanAxis, ir.Var]],
        make: Callable[[Resolve], tuple[ir.Stmt, ir.Stmt | None]],
    ) -> ir.Stmt:
        """Loops over `domain` and a block; make: its body and its initialisation."""
        scans = [(axis, axis.extent, "scan") for axis, _ in around]
        iters = tuple(
            ir.Iter(ir.Var(self.names.fresh(f"{name}.{axis.name}")), extent, kind) for axis, extent, kind in (*scans, *domain)
        )
        loops = [ir.Var(self.names.fresh(f"{name}_{axis.name}")) for axis, _, _ in domain]
        variables = {axis: it.var for (axis, _, _), it in zip((*scans, *domain), iters, strict=True)}
        body, init = make(lambda expr: ir.map_expr(expr, lambda node: self.resolved(node, variables)))
        stmt: ir.Stmt = ir.Block(name, iters, (*(loop for _, loop in around), *loops), body, init)
        for loop, (_, extent, _) in zip(reversed(loops), reversed(domain), strict=True):
            stmt = ir.For(loop, extent, stmt)
        return stmt

    def resolved(self, node: ir.Expr, variables: Mapping[ir.Var, ir.Var]) -> ir.Expr:
        if isinstance(node, ir.Load) and isinstance(node.buffer, Tensor):
            return ir.Load(self.buffer(node.buffer), node.indices)
        return variables.get(node, node) if isinstance(node, ir.Var) else node
