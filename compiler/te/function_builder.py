"""From a graph of tensors to a loop-IR function: one perfectly nested block for each stage."""

from __future__ import annotations

from collections.abc import Sequence

from vdla.compiler import ir
from vdla.compiler.names import Names
from vdla.compiler.te.tensor import Tensor
from vdla.errors import CompileError


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

    and stages that are not outputs are allocated in scope global around the whole body. A name already taken gets a
    suffix _1, _2, …; parameters choose first, then stages in order. Raises `CompileError` on a placeholder that is not an
    input, an output that is not a stage, or a tensor listed twice.
    """
    stages = stages_of(outputs)
    check_parameters(name, inputs, outputs, stages)
    names = Names()
    parameters = (*inputs, *outputs)
    buffers = {
        t: ir.Buffer(names.fresh(t.name), t.shape, t.dtype) for t in (*parameters, *(s for s in stages if s not in outputs))
    }
    body = ir.seq(*(stage_nest(stage, buffers, names) for stage in stages))
    for stage in reversed(stages):
        if stage not in outputs:
            body = ir.Allocate(buffers[stage], body)
    return ir.Function(name, tuple(buffers[t] for t in parameters), body, len(outputs), tuple(sorted(attributes)))


def stages_of(outputs: Sequence[Tensor]) -> list[Tensor]:
    """Every computed tensor that `outputs` need, producers first."""
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
        for position, tensor in enumerate(listed):
            if tensor in listed[:position]:
                raise CompileError(f"{tensor.name} is listed twice", where=where, expected="each tensor once")
    for stage in stages:
        for tensor in stage.inputs:
            if tensor.value is None and tensor not in inputs:
                found = [t.name for t in inputs]
                raise CompileError(
                    f"stage {stage.name} reads placeholder {tensor.name}, which is not an input",
                    where=where,
                    found=found,
                    expected=f"{tensor.name} among the inputs",
                )


def stage_nest(stage: Tensor, buffers: dict[Tensor, ir.Buffer], names: Names) -> ir.Stmt:
    """The loops and the block of one stage."""
    buffer, reduction = buffers[stage], stage.reduction
    domain = [(axis, extent, "spatial") for axis, extent in zip(stage.axes, stage.shape, strict=True)]
    domain += [(axis, axis.extent, "reduce") for axis in (reduction.axes if reduction else ())]
    iters = tuple(ir.Iter(ir.Var(names.fresh(f"{buffer.name}.{axis.name}")), extent, kind) for axis, extent, kind in domain)
    loops = [ir.Var(names.fresh(f"{buffer.name}_{axis.name}")) for axis, _, _ in domain]
    variables = {axis: it.var for (axis, _, _), it in zip(domain, iters, strict=True)}

    def resolve(node: ir.Expr) -> ir.Expr:
        if isinstance(node, ir.Load) and isinstance(node.buffer, Tensor):
            return ir.Load(buffers[node.buffer], node.indices)
        return variables.get(node, node) if isinstance(node, ir.Var) else node

    element = tuple(it.var for it in iters if it.kind == "spatial")
    init: ir.Stmt | None = None
    if reduction:
        init = ir.Store(buffer, element, reduction.identity)
        value: ir.Expr = ir.Binary(reduction.op, ir.Load(buffer, element), ir.map_expr(reduction.value, resolve))
    else:
        assert stage.value is not None
        value = ir.map_expr(stage.value, resolve)
    nest: ir.Stmt = ir.Block(buffer.name, iters, tuple(loops), ir.Store(buffer, element, value), init)
    for loop, it in zip(reversed(loops), reversed(iters), strict=True):
        nest = ir.For(loop, it.extent, nest)
    return nest
